"""The scores of a trial, as the field computes them, so that new tables stand beside old ones.

`workflow_score` is taken against the plan the model was *shown*; levels (levels.py) against what the task requires.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchrunner.records import Level
from benchrunner.suites.workflow.tools import catalogue
from benchrunner.suites.workflow.trace import Trace

# Two terms of the field's execution quality never vary there, because its scorer is not handed the history they need.
# They stay constant here: otherwise quality scores of old and new tables would not compare.
STATE_TERM = 0.8
RECOVERY_TERM = 0.0
KINDRED = 0.5  # what a success of the same category or operation is worth for a required tool that did not succeed
ENOUGH_TOOLS = 2  # distinct successes that count as full progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Each in 0..1."""

    workflow: float
    phase2: float
    quality: float
    final: float


def workflow_score(trace: Trace, plan: tuple[str, ...]) -> float:
    """Return how closely the successful calls follow `plan`, 0..0.92; 0.0 when either is empty."""
    actual = trace.successes
    if not plan or not actual:
        return 0.0
    covered = len(set(plan) & set(actual)) / len(set(plan))
    followed = _longest_common_subsequence(plan, actual) / len(plan)
    hit_rate = len(actual) / len(trace.executions)
    exact = 0.2 if actual == plan else 0.0
    return min(1.0, 0.4 * covered + 0.3 * followed + 0.2 * hit_rate + 0.1 * exact)


def score(trace: Trace, required: tuple[str, ...], plan: tuple[str, ...], level: Level) -> Scores:
    """Return the scores of a trial that reached `level`."""
    any_call = bool(trace.executions)
    workflow = workflow_score(trace, plan)
    achievement = _adjusted(_achievement(trace, required), level, any_call, full_floor=0.8, partial_floor=0.5)
    quality = _adjusted(_quality(trace, workflow), level, any_call, full_floor=0.7, partial_floor=0.0)
    phase2 = 0.5 * achievement + 0.5 * quality
    final = max(phase2, 0.05) if any_call else phase2
    return Scores(workflow=workflow, phase2=phase2, quality=quality, final=final)


def _achievement(trace: Trace, required: tuple[str, ...]) -> float:
    succeeded = set(trace.successes)
    output = 1.0 if succeeded else 0.0
    progress = min(1.0, len(succeeded) / ENOUGH_TOOLS)
    met = sum(1.0 if tool in succeeded else _kinship(tool, succeeded) for tool in required) / len(required)
    weights = (0.5, 0.3, 0.2) if output > 0.8 else (0.3, 0.3, 0.4)
    return sum(weight * part for weight, part in zip(weights, (output, progress, met), strict=True))


def _kinship(name: str, succeeded: set[str]) -> float:
    tool = catalogue()[name]
    kindred = any(
        other.category == tool.category or other.operation == tool.operation
        for other in map(catalogue().__getitem__, succeeded)
    )
    return KINDRED if kindred else 0.0


def _quality(trace: Trace, workflow: float) -> float:
    total = len(trace.executions)
    if not total:
        return 0.0
    unique = len({execution.tool for execution in trace.executions})
    economy = min(1.0, 1.2 * unique / total) if total <= 2 * unique else 0.8 * unique / total
    return 0.4 * STATE_TERM + 0.3 * economy + 0.2 * workflow + 0.1 * RECOVERY_TERM


def _adjusted(value: float, level: Level, any_call: bool, *, full_floor: float, partial_floor: float) -> float:
    if level is Level.FULL:
        return max(value, full_floor)
    if level is Level.PARTIAL:
        return max(value, partial_floor)
    return max(0.8 * value, 0.2) if any_call else 0.5 * value


def _longest_common_subsequence(left: tuple[str, ...], right: tuple[str, ...]) -> int:
    row = [0] * (len(right) + 1)
    for item in left:
        previous = row
        row = [0]
        for position, other in enumerate(right):
            row.append(previous[position] + 1 if item == other else max(row[position], previous[position + 1]))
    return row[-1]
