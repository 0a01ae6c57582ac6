"""The success level of a trial: by rule, and the field's older score-based one."""

from __future__ import annotations

from benchrunner.records import Level
from benchrunner.suites.workflow.trace import Trace, first_successes

COVERAGE_FOR_PARTIAL = 0.6
SIGNS_FOR_PARTIAL = 2
MIN_SUCCESSES = {
    "simple_task": 1,
    "basic_task": 2,
    "data_pipeline": 2,
    "api_integration": 2,
    "multi_stage_pipeline": 3,
}
OUTPUT_WORDS = ("writer", "post", "export", "save", "store", "notif", "filter", "aggregator", "compressor")


def coverage(trace: Trace, required: tuple[str, ...]) -> float:
    """Return the share of the required tools that succeeded at least once."""
    return len(first_successes(trace, required)) / len(set(required))


def is_output_tool(name: str) -> bool:
    """Return whether a tool delivers something, judged by its name as the field does."""
    return any(word in name for word in OUTPUT_WORDS)


def rule_level(trace: Trace, task_type: str, required: tuple[str, ...]) -> Level:
    """Return the level against what the task truly requires, whatever plan the model was shown.

    Full: every required tool succeeded, first in the required order. Partial: two of four signs.
    """
    return level_of_signs(
        in_order=first_successes(trace, required) == tuple(dict.fromkeys(required)),
        covered=coverage(trace, required),
        delivered=any(is_output_tool(tool) for tool in trace.successes),
        successes=len(trace.successes),
        claimed_completion=trace.claimed_completion,
        task_type=task_type,
    )


def level_of_signs(
    *, in_order: bool, covered: float, delivered: bool, successes: int, claimed_completion: bool, task_type: str
) -> Level:
    """Return the level that follows from what `rule_level` looks at.

    `in_order`: every required tool succeeded, first in the required order; `covered`: the share that succeeded;
    `delivered`: an output tool did; `successes`: successful calls, repeats included.
    """
    if in_order:
        return Level.FULL
    signs = (
        covered >= COVERAGE_FOR_PARTIAL,
        delivered,
        successes >= MIN_SUCCESSES[task_type],
        claimed_completion,
    )
    return Level.PARTIAL if sum(signs) >= SIGNS_FOR_PARTIAL else Level.FAILURE


def legacy_level(workflow_score: float, phase2_score: float) -> Level:
    """Return the level that the field's published tables hold; for comparison only."""
    if workflow_score >= 0.8 and phase2_score >= 0.8:
        return Level.FULL
    if workflow_score >= 0.5 or phase2_score >= 0.5:
        return Level.PARTIAL
    return Level.FAILURE
