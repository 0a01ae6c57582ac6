"""What a table wants to know of a trial and its row does not hold: read from the transcript and the task's body."""

from __future__ import annotations

from dataclasses import dataclass

import orjson


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """How a trial went about its tools. Both are 0 for a trial of a suite that has none."""

    coverage: float  # share of the required tools that succeeded at least once
    assisted_turns: int  # replies made after the model had to be told how to write an action


def read_tool_use(task_body: str, transcript: str) -> ToolUse:
    """Return what the texts of a trial say about its tools.

    Help given to the last reply reached nobody and is not counted. Texts of another suite, or of none, give zeros.
    """
    turns = _turns(transcript)
    body = _json(task_body)
    listed = body.get("required_tools") if isinstance(body, dict) else None
    required = {name for name in listed if isinstance(name, str)} if isinstance(listed, list) else set()
    if not required:
        return ToolUse(coverage=0.0, assisted_turns=0)
    succeeded = {
        result.get("tool")
        for turn in turns
        for result in _entries(turn.get("results"))
        if not result.get("error")
    }
    helped = sum(not turn.get("actions") and not turn.get("claims_completion") for turn in turns[:-1])
    return ToolUse(coverage=len(required & succeeded) / len(required), assisted_turns=helped)


def _turns(transcript: str) -> list[dict[str, object]]:
    return _entries(_json(transcript))


def _entries(value: object) -> list[dict[str, object]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _json(text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
