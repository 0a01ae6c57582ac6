"""Levels, scores and error classes of a trace."""

from __future__ import annotations

import pytest

from benchrunner.records import Level
from benchrunner.suites.workflow.error_classes import classify_error
from benchrunner.suites.workflow.levels import legacy_level, rule_level
from benchrunner.suites.workflow.scoring import score, workflow_score
from benchrunner.suites.workflow.trace import Execution, Trace

READ, PARSE, TRANSFORM = "file_operations_reader", "data_processing_parser", "data_processing_transformer"
FILTER, CACHE, POST = "data_processing_filter", "utility_cache", "network_poster"
REQUIRED = (READ, PARSE, FILTER)


def trace(
    *calls: str | Execution, claimed: bool = False, at_limit: bool = False, helps: int = 0, unknown: int = 0
) -> Trace:
    return Trace(
        executions=tuple(Execution(tool=call, attempt=1) if isinstance(call, str) else call for call in calls),
        claimed_completion=claimed,
        at_turn_limit=at_limit,
        format_helps=helps,
        unknown_calls=unknown,
    )


def failed(tool: str, code: str = "TIMEOUT", unmet: tuple[str, ...] = ()) -> Execution:
    return Execution(tool=tool, attempt=1, error=code, unmet=unmet)


@pytest.mark.parametrize(
    ("played", "level"),
    [
        (trace(*REQUIRED), Level.FULL),
        (trace(READ, failed(PARSE), PARSE, CACHE, FILTER, READ), Level.FULL),
        (trace(PARSE, READ, FILTER), Level.PARTIAL),  # wrong order
        (trace(READ, PARSE), Level.PARTIAL),  # coverage 2/3 and two successes
        (trace(FILTER, claimed=True), Level.PARTIAL),  # an output tool and a claim
        (trace(FILTER), Level.FAILURE),  # one sign only
        (trace(READ, claimed=True), Level.FAILURE),
        (trace(claimed=True), Level.FAILURE),
        (trace(), Level.FAILURE),
        (trace(failed(READ), failed(PARSE), failed(FILTER), claimed=True), Level.FAILURE),
    ],
)
def test_the_level_follows_the_rules(played: Trace, level: Level) -> None:
    """Full: all required in the order of first success. Partial: two of four signs. Against the required tools only."""
    assert level is rule_level(played, "basic_task", REQUIRED)


def test_the_minimum_of_successes_depends_on_the_type() -> None:
    """One success is a sign for a simple task, three for a multi-stage one."""
    one = trace(READ, claimed=True)
    assert rule_level(one, "simple_task", REQUIRED) is Level.PARTIAL
    three = trace(READ, CACHE, TRANSFORM, claimed=True)
    six = (READ, PARSE, "network_validator", "data_processing_aggregator", "computation_analyzer", POST)
    assert rule_level(three, "multi_stage_pipeline", six) is Level.PARTIAL
    assert rule_level(trace(READ, CACHE, claimed=True), "multi_stage_pipeline", six) is Level.FAILURE


@pytest.mark.parametrize(
    ("played", "plan", "expected"),
    [
        (trace(*REQUIRED), REQUIRED, 0.4 + 0.3 + 0.2 + 0.02),
        (trace(READ, failed(PARSE), PARSE, FILTER), REQUIRED, 0.4 + 0.3 + 0.2 * 3 / 4 + 0.02),
        (trace(PARSE, READ, FILTER), REQUIRED, 0.4 + 0.3 * 2 / 3 + 0.2),
        (trace(READ, CACHE), REQUIRED, 0.4 / 3 + 0.3 / 3 + 0.2),
        (trace(failed(READ)), REQUIRED, 0.0),
        (trace(READ), (), 0.0),
        (trace(), REQUIRED, 0.0),
    ],
)
def test_the_workflow_score_is_the_fields(played: Trace, plan: tuple[str, ...], expected: float) -> None:
    """0.4 coverage + 0.3 longest common subsequence + 0.2 hit rate + 0.1 x 0.2 for an exact match."""
    assert expected == pytest.approx(workflow_score(played, plan))


def test_the_scores_of_a_perfect_trial() -> None:
    """Worked by hand: TA = 1, EQ = 0.4 x 0.8 + 0.3 + 0.2 x 0.92."""
    found = score(trace(*REQUIRED), REQUIRED, REQUIRED, Level.FULL)
    quality = 0.32 + 0.3 + 0.2 * 0.92
    assert found.quality == pytest.approx(quality)
    assert found.phase2 == pytest.approx(0.5 + 0.5 * quality)
    assert found.final == found.phase2


def test_the_scores_of_a_failure_with_calls_are_cut_but_not_to_nothing() -> None:
    """TA and EQ are multiplied by 0.8, with a floor of 0.2 each."""
    found = score(trace(failed(READ)), REQUIRED, REQUIRED, Level.FAILURE)
    # TA: no output, no progress, nothing met -> 0 -> floor 0.2. EQ: 0.8 x (0.32 + 0.3) = 0.496
    assert found.quality == pytest.approx(0.8 * 0.62)
    assert found.phase2 == pytest.approx(0.5 * 0.2 + 0.5 * 0.496)


def test_the_scores_of_a_trial_without_calls_are_zero() -> None:
    """Nothing done is worth nothing."""
    found = score(trace(claimed=True), REQUIRED, REQUIRED, Level.FAILURE)
    assert (found.workflow, found.phase2, found.quality, found.final) == (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("workflow", "phase2", "level"),
    [(0.8, 0.8, Level.FULL), (0.79, 0.9, Level.PARTIAL), (0.1, 0.5, Level.PARTIAL), (0.49, 0.49, Level.FAILURE)],
)
def test_the_legacy_level_is_read_off_the_scores(workflow: float, phase2: float, level: Level) -> None:
    """What the published tables call success, for comparison only."""
    assert level is legacy_level(workflow, phase2)


@pytest.mark.parametrize(
    ("played", "expected"),
    [
        (trace(at_limit=True, helps=10), "tool_call_format"),
        (trace(at_limit=True), "tool_call_format"),
        (trace(at_limit=True, helps=1, unknown=4), "tool_call_format"),
        (trace(READ, at_limit=True, helps=8), "max_turns"),
        (trace(at_limit=True, unknown=10), "max_turns"),
        (trace(*[failed(READ)] * 5), "tool_selection"),
        (trace(READ, *[CACHE] * 5), "tool_selection"),
        (trace(READ, PARSE, *[failed(FILTER, "INVALID_INPUT")] * 5), "parameter_config"),
        (trace(PARSE, READ, FILTER, claimed=True), "sequence_order"),
        (trace(READ, *[failed(PARSE)] * 5), "sequence_order"),  # the filter was never tried
        (trace(READ, PARSE, *[failed(FILTER, unmet=(PARSE,))] * 5), "dependency"),
        (trace(READ, PARSE, *[failed(FILTER)] * 5), "other"),
        (trace(READ, PARSE, *[failed(FILTER, "TIMEOUT")] * 5), "other"),  # a tool's TIMEOUT is no time-out
    ],
)
def test_the_error_class_is_the_first_that_fits(played: Trace, expected: str) -> None:
    """Fixed rules over the trace, in the field's order."""
    level = rule_level(played, "basic_task", REQUIRED)
    assert level is not Level.FULL
    assert expected == classify_error(played, REQUIRED, level)


def test_a_full_success_has_no_error_class() -> None:
    """Even when it ran to the turn limit and needed help."""
    assert classify_error(trace(*REQUIRED, at_limit=True, helps=3), REQUIRED, Level.FULL) == ""


def test_calling_a_prerequisite_is_no_wrong_choice() -> None:
    """A helper that a required tool depends on is not held against the model."""
    required = (READ, TRANSFORM)
    played = trace(READ, PARSE, *[failed(TRANSFORM)] * 5)
    assert classify_error(played, required, Level.PARTIAL) == "other"
