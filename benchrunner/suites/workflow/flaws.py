"""Seven ways to damage a plan without saying so. The layout stays exactly that of the `optimal` prompt.

Whatever the task, the damaged prompt differs from the optimal one: two of the field's flaws never reached the prompt
and measured nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from benchrunner.suites.workflow.plan import Plan, PlanStep
from benchrunner.suites.workflow.tools import catalogue

FLAW_GROUPS: Final[dict[str, int]] = {  # prompt -> group: 1 structural, 2 operational, 3 logical
    "flawed_sequence_disorder": 1,
    "flawed_incomplete_description": 1,
    "flawed_missing_step": 2,
    "flawed_insufficient_detail": 2,
    "flawed_parameter_issues": 2,
    "flawed_logical_inconsistency": 3,
    "flawed_contradictory_instructions": 3,
}

_VERBS: Final = {
    "parser": "parse", "transformer": "transform", "filter": "filter", "validator": "check", "aggregator": "group",
    "reader": "read", "scanner": "scan", "converter": "convert", "compressor": "pack", "writer": "write",
    "fetcher": "fetch", "poster": "send", "monitor": "watch", "router": "route", "calculator": "calculate",
    "analyzer": "analyze", "predictor": "predict", "simulator": "simulate", "optimizer": "optimize",
    "authenticator": "log in", "mapper": "map", "queue": "queue", "scheduler": "schedule", "connector": "connect",
    "logger": "log", "cache": "keep", "tracker": "track", "helper": "help", "notifier": "notify",
}  # fmt: skip
_FOREIGN_FORMATS: Final = ("audio stream", "image tiles", "sealed archive")


def damage(flaw: str, description: str, plan: Plan) -> tuple[str, Plan]:
    """Return the description and the plan as the flaw leaves them. Raises KeyError for an unknown flaw."""
    return _DAMAGES[flaw](description, plan)


def _sequence_disorder(description: str, plan: Plan) -> tuple[str, Plan]:
    steps = list(plan.steps)
    for step in plan.steps:
        places = [place for place, other in enumerate(steps) if other.tool in catalogue()[step.tool].dependencies]
        own = steps.index(step)
        if places and places[0] < own:
            steps.insert(places[0], steps.pop(own))
    if len(steps) == 1:
        steps = [_detour(steps[0]), *steps]
    elif tuple(steps) == plan.steps or tuple(step.tool for step in steps) == plan.sequence:
        steps[0], steps[-1] = steps[-1], steps[0]
    return description, replace(plan, steps=tuple(steps))


def _detour(step: PlanStep) -> PlanStep:
    """Return a step that does not belong before `step`: a single one cannot stand in the wrong place."""
    fitting = (step.tool, *catalogue()[step.tool].dependencies)
    tool = next(tool for tool in catalogue().tools if tool.name not in fitting)
    return replace(step, tool=tool.name, label=tool.name, prerequisites=tool.dependencies)


def _incomplete_description(description: str, plan: Plan) -> tuple[str, Plan]:
    words = re.split(r"[,;:.]", description, maxsplit=1)[0].split()
    # A description of one clause is cut in its middle, so that something is always missing.
    cut = words if len(words) < len(description.split()) else words[: max(1, len(words) // 2)]
    steps = tuple(replace(step, reason="not given", prerequisites=()) for step in plan.steps)
    return " ".join(cut) + " ...", replace(plan, steps=steps)


def _missing_step(description: str, plan: Plan) -> tuple[str, Plan]:
    kept = (plan.steps[0], plan.steps[-1]) if len(plan.steps) > 2 else plan.steps[: len(plan.steps) - 1]
    named = {step.label for step in kept}
    return description, replace(plan, steps=kept, critical=tuple(name for name in plan.critical if name in named))


def _insufficient_detail(description: str, plan: Plan) -> tuple[str, Plan]:
    steps = tuple(
        replace(
            step,
            label=_vague(step.tool),
            reason="not given",
            prerequisites=(),
            parameters="as needed",
            on_failure=(),
            alternatives=(),
        )
        for step in plan.steps
    )
    return description, replace(plan, steps=steps, critical=())


def _vague(name: str) -> str:
    tool = catalogue()[name]
    return f"{tool.category.replace('_', ' ')}: {_VERBS[tool.operation]}"


def _parameter_issues(description: str, plan: Plan) -> tuple[str, Plan]:
    # Half of the steps and one more. Last steps first: a source that cannot be opened would show at once.
    first = len(plan.steps) - min(len(plan.steps), len(plan.steps) // 2 + 1)
    steps = tuple(
        replace(step, parameters=_corrupted(step, position)) if position >= first else step
        for position, step in enumerate(plan.steps)
    )
    return description, replace(plan, steps=steps)


def _corrupted(step: PlanStep, position: int) -> str:
    required = [parameter for parameter in catalogue()[step.tool].parameters if parameter.required]
    if not required:
        return 'options="none"'  # wrong type: options is an object
    wrong_type = [f"{p.name}={'[]' if p.type == 'string' else '0'}" for p in required]
    match position % 3:
        case 0:
            return ", ".join(wrong_type[1:]) or "none"  # the first required one is missing
        case 1:
            return ", ".join(wrong_type)
        case _:
            return ", ".join(f'{p.name}="unset"' for p in required)  # wrong value


def _logical_inconsistency(description: str, plan: Plan) -> tuple[str, Plan]:
    # Every step from the second on wants what the step before it cannot give.
    first = min(1, len(plan.steps) - 1)
    steps = tuple(
        replace(step, takes=_FOREIGN_FORMATS[position % len(_FOREIGN_FORMATS)]) if position >= first else step
        for position, step in enumerate(plan.steps)
    )
    return description, replace(plan, steps=steps)


def _contradictory_instructions(description: str, plan: Plan) -> tuple[str, Plan]:
    first, last = plan.steps[0].label, plan.steps[-1].label
    notes = (
        f"Call {last} first of all; nothing else may run before it.",
        *plan.notes,
        f"Never call {last} before {first} and every other step has succeeded."
        if first != last
        else f"Never call {last} before you have said that the work is done.",
    )
    return description, replace(plan, notes=notes)


_DAMAGES: Final[dict[str, Callable[[str, Plan], tuple[str, Plan]]]] = {
    "flawed_sequence_disorder": _sequence_disorder,
    "flawed_incomplete_description": _incomplete_description,
    "flawed_missing_step": _missing_step,
    "flawed_insufficient_detail": _insufficient_detail,
    "flawed_parameter_issues": _parameter_issues,
    "flawed_logical_inconsistency": _logical_inconsistency,
    "flawed_contradictory_instructions": _contradictory_instructions,
}
