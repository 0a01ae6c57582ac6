"""The dialogue of one trial: requests out, replies in, a score at the end. It knows no network and no clock.

It ends only by the rules of the benchmark: every required tool has succeeded and the model has said that it is done;
the turns are used up; or one of three signs that nothing more will come. Whatever else a reply holds, it is answered
and the dialogue goes on. No answer ever names the required tools.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import orjson

from benchrunner.errors import SuiteError
from benchrunner.records import ChatRequest, Message, TrialScore
from benchrunner.suites.base import Dialogue
from benchrunner.suites.workflow.answers import Course
from benchrunner.suites.workflow.error_classes import classify_error
from benchrunner.suites.workflow.levels import rule_level
from benchrunner.suites.workflow.native import NATIVE_SPEECH
from benchrunner.suites.workflow.prompts import opening
from benchrunner.suites.workflow.protocol import NATIVE, TEXT
from benchrunner.suites.workflow.scoring import score
from benchrunner.suites.workflow.simulation import ToolSimulation
from benchrunner.suites.workflow.speech import TEXT_SPEECH
from benchrunner.suites.workflow.stop_rules import MAX_TURNS
from benchrunner.suites.workflow.tasks import WorkflowTask
from benchrunner.suites.workflow.trace import Trace

SPEECHES: Final = {TEXT: TEXT_SPEECH, NATIVE: NATIVE_SPEECH}


@dataclass(slots=True)
class _Turn:
    """What the transcript keeps of one turn."""

    turn: int
    sent: list[dict[str, str]]  # the messages added since the last request
    reply: str
    calls: list[dict[str, str]]  # the function calls as the model wrote them; none under the text protocol
    finish_reason: str
    variant: str
    claims_completion: bool
    actions: list[dict[str, str]]
    results: list[dict[str, str]]  # per executed call its tool and error ("" for a success); the words stand in `sent`


def play(
    task: WorkflowTask, *, prompt: str, tool_success_rate: float, trial_seed: int, protocol: str = TEXT
) -> Dialogue:
    """Return the dialogue of one trial, not yet started. Its first request raises SuiteError for unknown words."""
    speech = SPEECHES.get(protocol)
    if speech is None:
        raise SuiteError(f"unknown protocol {protocol!r}; the workflow suite has {', '.join(SPEECHES)}")
    messages, sequence = opening(task, prompt, tool_success_rate)
    messages = speech.open(messages, prompt)
    course = Course(
        tools=ToolSimulation(trial_seed=trial_seed, base=tool_success_rate), required=frozenset(task.required_tools)
    )
    turns: list[_Turn] = []
    fresh = messages
    over = False
    while not over and len(turns) < MAX_TURNS:
        reply = yield ChatRequest(messages=messages, tools=speech.tools)
        heard = speech.hear(reply, len(turns) + 1)
        parsed = heard.parsed
        before = len(course.tools.executions)
        answer = speech.tell(heard, course.answer(parsed, speech.how_to_act))
        turns.append(
            _Turn(
                turn=len(turns) + 1,
                sent=[kept(message) for message in fresh],
                reply=heard.message.content,
                calls=[{"id": c.call_id, "name": c.name, "arguments": c.arguments} for c in heard.calls],
                finish_reason=reply.finish_reason,
                variant=parsed.variant,
                claims_completion=parsed.claims_completion,
                actions=[
                    {"kind": action.kind, "subject": action.subject, "arguments": action.arguments}
                    for action in parsed.actions
                ],
                results=[{"tool": e.tool, "error": e.error} for e in course.tools.executions[before:]],
            )
        )
        over = course.is_over()
        messages = (*messages, heard.message, *answer)
        fresh = answer
    return worth(
        task,
        sequence,
        course,
        turns=len(turns),
        at_turn_limit=not over,
        transcript=orjson.dumps(turns).decode(),
    )


def kept(message: Message) -> dict[str, str]:
    """Return what the transcript keeps of a message that was sent."""
    call = {"tool_call_id": message.tool_call_id} if message.tool_call_id else {}
    return {"role": message.role, "content": message.content, **call}


def worth(
    task: WorkflowTask,
    sequence: tuple[str, ...],
    course: Course,
    *,
    turns: int,
    at_turn_limit: bool,
    transcript: str,
) -> TrialScore:
    """Return what a dialogue that took this course is worth. `sequence`: the plan that its model was shown."""
    trace = Trace(
        executions=tuple(course.tools.executions),
        claimed_completion=course.claimed_completion,
        at_turn_limit=at_turn_limit,
        format_helps=course.format_helps,
        unknown_calls=course.unknown_calls,
    )
    level = rule_level(trace, task.task_type, task.required_tools)
    scores = score(trace, task.required_tools, sequence, level)
    return TrialScore(
        level=level,
        workflow_score=scores.workflow,
        phase2_score=scores.phase2,
        quality_score=scores.quality,
        final_score=scores.final,
        error_class=classify_error(trace, task.required_tools, level),
        turns=turns,
        tool_calls=len(trace.executions),
        transcript=transcript,
    )
