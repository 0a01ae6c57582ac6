"""One trial as people read it: what it was, what came of it, and its transcript turn by turn."""

from __future__ import annotations

import orjson
from rich.console import RenderableType
from rich.text import Text

from benchrunner.records import TrialStatus
from benchrunner.reporting.wording import SIMULATED, printable
from benchrunner.store.answers import TrialRow

_KNOWN = ("turn", "sent", "reply", "calls", "finish_reason", "results")
"""What is shown in a place of its own; whatever else a suite keeps of a turn follows as it is."""


def trial_parts(trial: TrialRow, *, simulated: bool) -> list[RenderableType]:
    """Return the header and the turns. A transcript that is no list of turns is shown as it is."""
    mark = f"{SIMULATED} " if simulated else ""
    short = trial.trial_id.removeprefix(f"{trial.run_id}/")
    head = f"{mark}trial {short} of run {trial.run_id}"
    lines = [
        f"{trial.model}; {trial.prompt}, {trial.difficulty}, tools {trial.tool_success_rate:g}; {trial.task_type}",
        _result(trial),
    ]
    parts: list[RenderableType] = [Text.assemble((head, "bold"), "\n", "\n".join(map(printable, lines)))]
    turns = _turns(trial.transcript)
    if turns is None:
        return [*parts, Text(_clean(trial.transcript))]
    if not turns:
        return [*parts, Text("the transcript is empty")]
    return [*parts, *(_turn_text(number, turn) for number, turn in enumerate(turns, start=1))]


def _result(trial: TrialRow) -> str:
    if trial.status is TrialStatus.INVALID or trial.level is None:
        return f"invalid, in no score: {trial.error_class}"
    error = f" ({trial.error_class})" if trial.error_class else ""
    return (
        f"{trial.level.value}{error}: workflow {trial.workflow_score:.2f}, phase 2 {trial.phase2_score:.2f}, "
        f"quality {trial.quality_score:.2f}, final {trial.final_score:.2f}; {trial.turns} turns, "
        f"{trial.tool_calls} tool calls"
    )


def _turn_text(number: int, turn: dict[str, object]) -> Text:
    text = Text()
    text.append(f"--- turn {number} ---\n", "bold")
    for message in _entries(turn.get("sent")):
        text.append(f"{printable(str(message.get('role', '')))}:\n", "bold")
        text.append(_clean(str(message.get("content", ""))) + "\n")
    text.append("reply:\n", "bold")
    text.append(_clean(str(turn.get("reply", ""))) + "\n")
    for call in _entries(turn.get("calls")):
        text.append(printable(f"calls {call.get('name', '')}({call.get('arguments', '')})") + "\n")
    for result in _entries(turn.get("results")):
        text.append(printable(f"tool {result.get('tool', '')}: {result.get('error') or 'ok'}") + "\n")
    rest = {name: value for name, value in turn.items() if name not in _KNOWN and value not in ("", [], None)}
    told = [f"finish {turn['finish_reason']}"] if turn.get("finish_reason") else []
    for name, value in rest.items():
        told.append(f"{name} {value if isinstance(value, str) else orjson.dumps(value).decode()}")
    text.append(printable("; ".join(told)), "dim")
    return text


def _turns(transcript: str) -> list[dict[str, object]] | None:
    try:
        content = orjson.loads(transcript)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(content, list) or not all(isinstance(turn, dict) and "reply" in turn for turn in content):
        return None
    return content


def _entries(value: object) -> list[dict[str, object]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _clean(text: str) -> str:
    """Return the text with its lines and their indents, without control characters: it must not steer the terminal."""
    return "\n".join(
        "".join(char if char.isprintable() else " " for char in line).rstrip() for line in text.split("\n")
    )
