"""The opening messages of a trial: the protocol as system message, the task (and perhaps a plan) as user message.

The system message is the same for every task of a prompt type, so that a provider can keep its prefix.
"""

from __future__ import annotations

from typing import Final

from benchrunner.errors import SuiteError
from benchrunner.records import Message
from benchrunner.suites.workflow import protocol
from benchrunner.suites.workflow.advice import advice_text
from benchrunner.suites.workflow.flaws import FLAW_GROUPS, damage
from benchrunner.suites.workflow.plan import PLANNED_RATE, Plan, PlanStep, plan_task
from benchrunner.suites.workflow.protocol import FIND_TAG, FINISH_PHRASE, SHOW_TAG, USE_TAG, tag
from benchrunner.suites.workflow.tasks import WorkflowTask

BASELINE: Final = "baseline"
COT: Final = "cot"
OPTIMAL: Final = "optimal"
PROMPTS: Final = (BASELINE, COT, OPTIMAL, *FLAW_GROUPS)

_PROTOCOL: Final = f"""\
You carry out a data task by calling tools. The tools are listed nowhere: look for them in the registry.

How to act (write the tag in your message; the answer comes in the next one):
- look for tools by what they do: {tag(FIND_TAG, "what the tool should do")}
- see one tool's parameters, results and errors: {tag(SHOW_TAG, "tool_name")}
- call a tool: {tag(USE_TAG, "tool_name")}

Rules:
- One tool call per message. Wait for its outcome before the next one.
- A call can fail. Calling the same tool again may succeed.
- Tools take their arguments from the inputs of the task; you need not write them out.
- Never ask the user anything; where something is open, take the value given under "Inputs".
- When everything has been done, say: {FINISH_PHRASE}"""

_REASONING: Final = """

Before each action, reason step by step: what has been reached, what is missing, which tool gets you there and what
that tool needs to have happened before. Then write the tag on a line of its own."""


def opening(
    task: WorkflowTask, prompt: str, tool_success_rate: float = PLANNED_RATE
) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    """Return the messages a trial starts with, and the tool sequence that they tell the model to follow.

    A plan is made for tools that succeed at `tool_success_rate`. Without one the sequence is the required one. Raises
    SuiteError for an unknown prompt.
    """
    if prompt not in PROMPTS:
        raise SuiteError(f"unknown prompt {prompt!r}; the workflow suite has {', '.join(PROMPTS)}")
    system = _PROTOCOL + (_REASONING if prompt == COT else "")
    description, shown = task.description, ""
    sequence = task.required_tools
    if prompt not in (BASELINE, COT):
        plan = plan_task(task, tool_success_rate)
        if prompt in FLAW_GROUPS:
            description, plan = damage(prompt, description, plan)
        shown, sequence = "\n\n" + _shown_plan(plan), plan.sequence
    user = _task_text(task, description) + shown + "\n\nBegin."
    return (Message(role="system", content=system), Message(role="user", content=user)), sequence


def _task_text(task: WorkflowTask, description: str) -> str:
    lines = [
        f"{protocol.TASK_HEADING} ({task.task_type.replace('_', ' ')})",
        f"{protocol.GOAL_MARK} {description}",
        "Inputs:",
        *(f"- {name}: {value}" for name, value in task.inputs.items()),
        "Expected outputs:",
        *(f"- {name}: {value}" for name, value in task.expected_outputs.items()),
    ]
    return "\n".join(lines)


def _shown_plan(plan: Plan) -> str:
    lines = [protocol.PLAN_HEADING]
    for number, step in enumerate(plan.steps, start=1):
        lines += _step_lines(number, step)
    lines.append(f"Critical tools: {', '.join(plan.critical) or 'not given'}")
    lines.append(protocol.NOTES_HEADING)
    lines += [f"- {note}" for note in plan.notes]
    return "\n".join(lines)


def _step_lines(number: int, step: PlanStep) -> list[str]:
    return [
        f"{protocol.STEP_MARK} {number}. {step.label} (match {step.match_percent} %, confidence {step.confidence:.2f})",
        f"   why: {step.reason}",
        f"   {protocol.NEEDS_MARK} {', '.join(step.prerequisites) or 'nothing'}",
        f"   {protocol.WITH_MARK} {step.parameters}",
        f"   {protocol.FLOW_MARK} {step.takes}, gives: {step.gives}",
        f"   if it fails: {advice_text(step.on_failure)}",
        f"   similar tools, worth only part of the credit: {', '.join(step.alternatives) or 'nothing'}",
    ]
