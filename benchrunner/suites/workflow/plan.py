"""The execution plan that the `optimal` prompt shows: what each step is, needs, takes and gives, and what if it fails.

Steps and advice are the exact planner's; what stands around them is derived from the registry and the task.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import orjson

from benchrunner.suites.workflow.advice import Advice, PlannedCall, Role, advice_text, planned_calls
from benchrunner.suites.workflow.planner import Outlook, Planner, naive_moves
from benchrunner.suites.workflow.problem import problem_of
from benchrunner.suites.workflow.ranking import match_percents
from benchrunner.suites.workflow.tasks import WorkflowTask
from benchrunner.suites.workflow.tools import Parameter, Tool, catalogue

MAX_ALTERNATIVES: Final = 2
PLANNED_RATE: Final = 0.8  # tool success rate that a plan is made for when none is given: that of most phases

# operation -> (what it takes, what it gives), as the plan words it
_FLOW: Final = {
    "reader": ("file path", "raw text"),
    "scanner": ("folder path", "raw text"),
    "fetcher": ("URL", "raw text"),
    "parser": ("raw text", "records"),
    "analyzer": ("records", "findings"),
    "predictor": ("records", "findings"),
    "authenticator": ("service address", "session"),
}
_DEFAULT_FLOW: Final = ("records", "records")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """One step of a plan. `tool` is the step's meaning; `label` is what the prompt calls it."""

    tool: str
    label: str
    match_percent: int
    confidence: float
    reason: str
    prerequisites: tuple[str, ...]
    parameters: str
    takes: str
    gives: str
    on_failure: tuple[Advice, ...]
    alternatives: tuple[str, ...]
    chance: float  # that the call succeeds, should all before it have succeeded
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Steps in order, the tools that matter most, and advice; and what following it is worth.

    `value` is the expected weighted score less 0.001 per call, `p_full` the chance of a full success: of the plan with
    its advice, and of the naive way (the required tools in order, each again until it succeeds).
    """

    steps: tuple[PlanStep, ...]
    critical: tuple[str, ...]
    notes: tuple[str, ...]
    base: float  # the tool success rate it was made for
    value: float
    p_full: float
    naive_value: float
    naive_p_full: float

    @property
    def sequence(self) -> tuple[str, ...]:
        """Return the tools of the steps, in order: what the plan tells the model to do."""
        return tuple(step.tool for step in self.steps)


@lru_cache(maxsize=4096)
def _solved(required: tuple[str, ...], task_type: str, base: float) -> tuple[tuple[PlannedCall, ...], Outlook, Outlook]:
    """Return the calls of the best plan, what it is worth, and what the naive order is.

    Kept per structure, since many tasks share one; the planners themselves go, whose states would fill a worker.
    """
    problem = problem_of(required, task_type)
    best, naive = Planner(problem, base), Planner(problem, base, strategy=naive_moves)
    return planned_calls(best), best.outlook(best.start), naive.outlook(naive.start)


def plan_task(task: WorkflowTask, base: float = PLANNED_RATE) -> Plan:
    """Return the best plan of a task for tools that succeed at the rate `base`, fully explained."""
    calls, best, naive = _solved(task.required_tools, task.task_type, base)
    tools = [catalogue()[call.tool] for call in calls]
    planned = tuple(call.tool for call in calls)
    matches = match_percents(task.description)
    steps = []
    carried = _FLOW.get(tools[0].operation, _DEFAULT_FLOW)[0]
    for call, tool in zip(calls, tools, strict=True):
        takes, gives = carried, _FLOW.get(tool.operation, ("", carried))[1]
        steps.append(
            PlanStep(
                tool=tool.name,
                label=tool.name,
                match_percent=matches[tool.name],
                confidence=_confidence(tool, planned),
                reason=_reason(tool, tools, call.role),
                prerequisites=tool.dependencies,
                parameters=", ".join(f"{p.name}={_value(p, task)}" for p in tool.parameters if p.required) or "none",
                takes=takes,
                gives=gives,
                on_failure=call.on_failure,
                alternatives=_alternatives(tool, planned),
                chance=call.chance,
                role=call.role,
            )
        )
        carried = gives
    needed = {name for tool in tools for name in tool.dependencies}
    critical = tuple(tool.name for tool in tools if tool.name in needed or tool is tools[-1])
    return Plan(
        steps=tuple(steps),
        critical=critical,
        notes=_notes(steps),
        base=base,
        value=best.value,
        p_full=best.p_full,
        naive_value=naive.value,
        naive_p_full=naive.p_full,
    )


def plan_text(plan: Plan) -> str:
    """Return a plan as people read it: a line a step, then what it is worth beside the naive order."""
    width = max(len(step.tool) for step in plan.steps)
    lines = [f"plan for tools that succeed at {plan.base:g}:"]
    for number, step in enumerate(plan.steps, start=1):
        head = f"{number:3}. {step.tool:<{width}}  {step.role:<8}  p {step.chance:.2f}"
        lines.append(f"{head}  if it fails: {advice_text(step.on_failure)}")
    lines.append(f"{'':17}value  p(full)")
    lines.append(f"{'this plan':<17}{plan.value:5.3f}  {plan.p_full:7.3f}")
    lines.append(f"{'required order':<17}{plan.naive_value:5.3f}  {plan.naive_p_full:7.3f}")
    return "\n".join(lines)


def _confidence(tool: Tool, planned: tuple[str, ...]) -> float:
    if tool.operation == "validator":
        return 0.95
    if not tool.dependencies:
        return 0.90
    return 0.85 if all(name in planned for name in tool.dependencies) else 0.80


def _reason(tool: Tool, tools: list[Tool], role: Role) -> str:
    served = [other.name for other in tools if tool.name in other.dependencies]
    what = tool.description[0].lower() + tool.description[1:].rstrip(".")
    if role is Role.HELPER:
        after = ", ".join(served) or "what follows"
        return f"it {what}; the goal does not ask for it, but {after} fails far less with it done"
    if role is Role.FALLBACK:
        return f"it {what}; the goal does not ask for it, but it secures a part of the credit"
    if served:
        return f"it {what}; {', '.join(served)} builds on it"
    if tool is tools[-1]:
        return f"it {what}; this is what the task ends with"
    return f"it {what}"


def _alternatives(tool: Tool, planned: tuple[str, ...]) -> tuple[str, ...]:
    same_operation = [other for other in catalogue().tools if other.operation == tool.operation]
    gives = {returned.name for returned in tool.returns}
    same_category = [
        other
        for other in catalogue().tools
        if other.category == tool.category and gives <= {returned.name for returned in other.returns}
    ]
    names = dict.fromkeys(other.name for other in (*same_operation, *same_category))
    return tuple(name for name in names if name not in planned)[:MAX_ALTERNATIVES]


def _value(parameter: Parameter, task: WorkflowTask) -> str:
    inputs = task.inputs
    value: str | dict[str, str]
    match parameter.name:
        case "source":
            value = inputs.get("source_path") or inputs.get("url") or inputs.get("source") or "the result so far"
        case "destination":
            value = inputs.get("destination", "/data/out/result")
        case "input_format" | "output_format":
            value = inputs.get(parameter.name, "json")
        case "schema":
            value = {"format": inputs.get("input_format", "json")}
        case _:
            value = {"from": "the result so far"}
    return orjson.dumps(value).decode()


def _notes(steps: list[PlanStep]) -> tuple[str, ...]:
    notes = [
        "Take the steps in the order given; later ones rely on earlier ones.",
        "When a step fails, do what stands under it before you go on.",
    ]
    if len(steps) > 3:
        notes.append("Do not repeat a step that has succeeded.")
    return tuple(notes)
