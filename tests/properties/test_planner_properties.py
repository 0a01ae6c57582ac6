"""The planner's value behaves as the value of a best course of action must."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from benchrunner.suites.workflow.advice import AdviceKind, Role, planned_calls
from benchrunner.suites.workflow.planner import Planner, naive_moves
from benchrunner.suites.workflow.problem import CALL_COST, STOP, problem_of
from benchrunner.suites.workflow.stop_rules import MAX_TURNS
from benchrunner.suites.workflow.tasks import TASK_TYPES
from benchrunner.suites.workflow.tools import catalogue

NAMES = [tool.name for tool in catalogue().tools]
REQUIRED = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True).map(tuple)
BASES = st.floats(0.0, 1.0)


def value(required: tuple[str, ...], task_type: str, base: float, calls: int = MAX_TURNS) -> float:
    planner = Planner(problem_of(required, task_type), base, calls=calls)
    return planner.outlook(planner.start).value


@settings(max_examples=40, deadline=None)
@given(REQUIRED, st.sampled_from(TASK_TYPES), st.lists(BASES, min_size=2, max_size=2))
def test_more_reliable_tools_are_never_worth_less(
    required: tuple[str, ...], task_type: str, bases: list[float]
) -> None:
    """The value is non-decreasing in the base rate."""
    low, high = sorted(bases)
    assert value(required, task_type, low) <= value(required, task_type, high) + 1e-9


@settings(max_examples=40, deadline=None)
@given(REQUIRED, st.sampled_from(TASK_TYPES), BASES, st.integers(0, MAX_TURNS - 1))
def test_more_calls_are_never_worth_less(required: tuple[str, ...], task_type: str, base: float, calls: int) -> None:
    """The value is non-decreasing in the horizon; without any call nothing is won."""
    assert value(required, task_type, base, calls) <= value(required, task_type, base, calls + 1) + 1e-9
    assert value(required, task_type, base, 0) == 0.0


@settings(max_examples=40, deadline=None)
@given(REQUIRED, st.sampled_from(TASK_TYPES), BASES)
def test_the_plan_is_worth_at_least_the_naive_order(required: tuple[str, ...], task_type: str, base: float) -> None:
    """For any required tools in any order; and neither value nor chance leaves its bounds."""
    problem = problem_of(required, task_type)
    best, naive = Planner(problem, base), Planner(problem, base, strategy=naive_moves)
    found, other = best.outlook(best.start), naive.outlook(naive.start)
    assert found.value >= other.value - 1e-9
    for outlook in (found, other):
        assert 0.0 <= outlook.p_full <= 1.0
        # Whoever is not fully successful has at most half of the score.
        assert -CALL_COST * MAX_TURNS <= outlook.value <= 0.5 + 0.5 * outlook.p_full


@settings(max_examples=40, deadline=None)
@given(REQUIRED, st.sampled_from(TASK_TYPES), BASES)
def test_a_plan_calls_no_tool_twice_and_only_what_can_matter(
    required: tuple[str, ...], task_type: str, base: float
) -> None:
    """Steps are required tools in order, helpers and fallbacks; advice leaves a step at most once, at its end."""
    planner = Planner(problem_of(required, task_type), base)
    calls = planned_calls(planner)
    tools = [call.tool for call in calls]
    assert 1 <= len(set(tools)) == len(tools) <= MAX_TURNS
    assert not set(tools) - {*planner.problem.tools, *planner.problem.fallbacks}
    kept = [call.tool for call in calls if call.role is Role.REQUIRED]
    assert kept == list(required[: len(kept)])
    for call in calls:
        assert all(advice.kind is AdviceKind.AGAIN for advice in call.on_failure[:-1])
        assert all((advice.tool == "") == (advice.kind is AdviceKind.FINISH) for advice in call.on_failure)


@settings(max_examples=25, deadline=None)
@given(REQUIRED, st.sampled_from(TASK_TYPES), BASES, st.randoms(use_true_random=False))
def test_every_value_is_the_mean_of_what_may_follow(
    required: tuple[str, ...], task_type: str, base: float, rng: Random
) -> None:
    """Along any course of events a state's value is its call's cost below the mean of the two states after it."""
    planner = Planner(problem_of(required, task_type), base)
    state = planner.start
    while not planner.is_over(state) and (found := planner.outlook(state)).move != STOP:
        p = planner.chance(state, found.move)
        good, bad = (planner.next_state(state, found.move, ok=ok) for ok in (True, False))
        mean = p * planner.outlook(good).value + (1 - p) * planner.outlook(bad).value
        assert abs(found.value - (mean - CALL_COST)) < 1e-12
        state = good if rng.random() < p else bad
