"""A trial's worth derived anew from its transcript: what the model said is taken from there, all else is played again.

The opening, the reading of each reply, the fate of each tool call and every word of every answer must come out as the
transcript has them. A transcript that parts from its replay anywhere proves nothing, and is said to.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import orjson

from benchrunner.errors import SuiteError
from benchrunner.records import ChatReply, Message, ToolCall, TrialScore
from benchrunner.suites.workflow.answers import Course
from benchrunner.suites.workflow.dialogue import SPEECHES, kept, worth
from benchrunner.suites.workflow.prompts import opening
from benchrunner.suites.workflow.simulation import ToolSimulation
from benchrunner.suites.workflow.speech import Heard
from benchrunner.suites.workflow.stop_rules import MAX_TURNS
from benchrunner.suites.workflow.tasks import WorkflowTask, decode_task

REMEMBERED: Final = 512  # openings kept: every model of a phase is asked the same tasks


def replay(
    body: str, transcript: str, *, prompt: str, tool_success_rate: float, trial_seed: int, protocol: str
) -> TrialScore:
    """Return the score that follows from the replies in `transcript`. Raises SuiteError where the replay parts from it.

    `body` is the task's JSON text.
    """
    speech = SPEECHES.get(protocol)
    if speech is None:
        raise SuiteError(f"unknown protocol {protocol!r}; the workflow suite has {', '.join(SPEECHES)}")
    task, messages, sequence = _opened(body, prompt, tool_success_rate)
    fresh = speech.open(messages, prompt)
    course = Course(
        tools=ToolSimulation(trial_seed=trial_seed, base=tool_success_rate), required=frozenset(task.required_tools)
    )
    turns = _turns(transcript)
    over = False
    for number, turn in enumerate(turns, start=1):
        if over:
            raise SuiteError(f"turn {number}: the dialogue was over after turn {number - 1}")
        _must_match(number, turn, "turn", number)
        _must_match(number, turn, "sent", [kept(message) for message in fresh])
        heard = speech.hear(_reply(number, turn), number)
        before = len(course.tools.executions)
        fresh = speech.tell(heard, course.answer(heard.parsed, speech.how_to_act))
        results = [{"tool": e.tool, "error": e.error} for e in course.tools.executions[before:]]
        _must_match(number, turn, "results", results)
        _match_reading(number, turn, heard)
        over = course.is_over()
    if not over and len(turns) != MAX_TURNS:
        raise SuiteError(f"turn {len(turns)}: no rule ends the dialogue here")
    return worth(task, sequence, course, turns=len(turns), at_turn_limit=not over, transcript=transcript)


@lru_cache(maxsize=REMEMBERED)
def _opened(body: str, prompt: str, rate: float) -> tuple[WorkflowTask, tuple[Message, ...], tuple[str, ...]]:
    task = decode_task(body)
    messages, sequence = opening(task, prompt, rate)
    return task, messages, sequence


def _turns(transcript: str) -> list[dict[str, Any]]:
    try:
        turns = orjson.loads(transcript)
    except orjson.JSONDecodeError as fault:
        raise SuiteError(f"the transcript is not JSON: {fault}") from fault
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, dict) for turn in turns):
        raise SuiteError("the transcript is no list of turns")
    return turns


def _reply(number: int, turn: Mapping[str, Any]) -> ChatReply:
    try:
        return ChatReply(
            text=turn["reply"],
            finish_reason=turn["finish_reason"],
            tool_calls=tuple(
                ToolCall(call_id=call["id"], name=call["name"], arguments=call["arguments"]) for call in turn["calls"]
            ),
        )
    except (KeyError, TypeError) as fault:
        raise SuiteError(f"turn {number}: holds no reply ({type(fault).__name__} {fault})") from fault


def _match_reading(number: int, turn: Mapping[str, Any], heard: Heard) -> None:
    """Hold what the transcript says of a reply against the reply itself: tables are made from it."""
    parsed = heard.parsed
    _must_match(number, turn, "variant", parsed.variant)
    _must_match(number, turn, "claims_completion", parsed.claims_completion)
    actions = [{"kind": a.kind, "subject": a.subject, "arguments": a.arguments} for a in parsed.actions]
    _must_match(number, turn, "actions", actions)


def _must_match(number: int, turn: Mapping[str, Any], field: str, replayed: object) -> None:
    stored = turn.get(field)
    if stored != replayed:
        raise SuiteError(f"turn {number} {field}: replayed {_first_difference(replayed, stored)}")


def _first_difference(replayed: object, stored: object) -> str:
    """Return both sides from where they part on, short."""
    left, right = (orjson.dumps(side).decode() for side in (replayed, stored))
    place = next((at for at, (one, other) in enumerate(zip(left, right, strict=False)) if one != other), 0)
    start = max(0, place - 20)
    return f"{left[start : place + 40]!r}, stored {right[start : place + 40]!r}"
