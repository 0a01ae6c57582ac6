"""The planner's values are exact: closed forms, exhaustive search, a clairvoyant, and the real tools agree."""

from __future__ import annotations

import math
from functools import cache
from statistics import fmean, stdev

import pytest
from planner_reference import clairvoyant_score, exhaustive_value, play_out

from benchrunner.records import ChatReply, Level, TrialScore
from benchrunner.suites.base import Dialogue
from benchrunner.suites.workflow.dialogue import play
from benchrunner.suites.workflow.planner import Planner, naive_moves
from benchrunner.suites.workflow.problem import CALL_COST, RECENT_LIMIT, after, failures, problem_of
from benchrunner.suites.workflow.simulation import success_probability
from benchrunner.suites.workflow.stop_rules import FAILURE_STREAK
from benchrunner.suites.workflow.tasks import TASK_TYPES, WorkflowTask, make_task
from benchrunner.suites.workflow.trace import Execution

READ, PARSE, TRANSFORM = "file_operations_reader", "data_processing_parser", "data_processing_transformer"
FETCH, CHECK, POST = "network_fetcher", "network_validator", "network_poster"
LOGIN, FILTER, CACHE, MAP = (
    "integration_authenticator",
    "data_processing_filter",
    "utility_cache",
    "integration_mapper",
)
LIBRARY = {  # the field's number of tasks by type
    "simple_task": 40,
    "basic_task": 150,
    "data_pipeline": 190,
    "api_integration": 170,
    "multi_stage_pipeline": 80,
}
CONFLICTS = [  # required orders that contradict the tools' prerequisites, as in the field's api tasks
    (FETCH, CHECK, PARSE),
    (FETCH, CHECK, TRANSFORM),
    (CHECK, TRANSFORM, FILTER),
]
LONG = (READ, PARSE, TRANSFORM, FILTER, "computation_analyzer", "utility_notifier")


@cache
def library() -> tuple[WorkflowTask, ...]:
    return tuple(
        make_task(seed=1, phase="5.1", difficulty="easy", task_type=task_type, index=index)
        for task_type, count in LIBRARY.items()
        for index in range(count)
    )


@cache
def best_plan(required: tuple[str, ...], task_type: str, base: float) -> Planner:
    return Planner(problem_of(required, task_type), base)


@cache
def naive_plan(required: tuple[str, ...], task_type: str, base: float) -> Planner:
    return Planner(problem_of(required, task_type), base, strategy=naive_moves)


def value_of(planner: Planner) -> float:
    return planner.outlook(planner.start).value


def test_the_record_of_recent_outcomes_tells_streaks_and_failures() -> None:
    """It counts failures among the last three, and reaches its limit at five in a row, whatever came before."""
    for history in range(2**7):
        outcomes = [bool(history >> place & 1) for place in range(7)]
        recent = 0
        for place, ok in enumerate(outcomes, start=1):
            recent = after(recent, ok=ok)
            streak = next((n for n, was_ok in enumerate(reversed(outcomes[:place])) if was_ok), place)
            if streak >= FAILURE_STREAK:
                assert recent >= RECENT_LIMIT
                break
            assert recent < RECENT_LIMIT
            assert failures(recent) == outcomes[max(0, place - 3) : place].count(False)


@pytest.mark.parametrize("calls", range(1, 11))
@pytest.mark.parametrize("base", [0.1, 0.5, 0.8, 1.0])
def test_one_independent_tool_has_a_closed_form(base: float, calls: int) -> None:
    """Called again until it succeeds: three tries at the base rate, two more under the penalty of three failures."""
    # Given
    fresh, tired = (success_probability(base, never_met=0, lost_again=0, recent_failures=failed) for failed in (0, 3))
    misses = [1 - fresh] * 3 + [1 - tired] * 2
    tries = min(calls, FAILURE_STREAK)
    # When
    planner = Planner(problem_of((MAP,), "simple_task"), base, calls=calls)
    # Then
    p_full = 1 - math.prod(misses[:tries])
    cost = CALL_COST * sum(math.prod(misses[:made]) for made in range(tries))
    assert planner.outlook(planner.start).p_full == pytest.approx(p_full, abs=1e-12)
    assert value_of(planner) == pytest.approx(p_full - cost, abs=1e-12)


def test_with_perfect_tools_only_the_calls_cost() -> None:
    """A full success in as many calls as there are required tools; helpers are left out."""

    def always(base: float, *, never_met: int, lost_again: int, recent_failures: int) -> float:
        return 1.0

    for task in library()[::7]:
        planner = Planner(problem_of(task.required_tools, task.task_type), 0.8, probability=always)
        length = len(task.required_tools)
        found = planner.outlook(planner.start)
        assert (found.p_full, found.move) == (1.0, 0)
        assert found.value == pytest.approx(1 - CALL_COST * length)


EXHAUSTIVE = [
    # required, type, base, calls, further tools besides helpers
    ((READ, PARSE), "simple_task", 0.8, 5, (CACHE,)),
    ((READ, FILTER), "basic_task", 0.5, 5, ("file_operations_compressor", CACHE)),
    ((TRANSFORM,), "basic_task", 0.8, 6, (FILTER, CACHE)),
    ((PARSE, TRANSFORM), "data_pipeline", 0.3, 5, (FILTER, CACHE)),
    ((TRANSFORM, PARSE), "data_pipeline", 0.8, 6, (FILTER, CACHE)),
    ((TRANSFORM, PARSE), "data_pipeline", 0.3, 6, (FILTER, CACHE)),
    ((CHECK,), "api_integration", 0.6, 6, (FILTER,)),
    ((CHECK, PARSE), "api_integration", 0.8, 5, (FILTER, CACHE)),
    ((CHECK, PARSE), "multi_stage_pipeline", 0.5, 5, (CACHE, FILTER)),
    ((FETCH, CHECK, PARSE), "multi_stage_pipeline", 0.8, 5, (FILTER,)),
    ((POST,), "api_integration", 0.8, 5, (FILTER, CACHE)),
    ((TRANSFORM, MAP, PARSE), "multi_stage_pipeline", 0.4, 5, (FILTER, "data_processing_aggregator")),
    ((FILTER, MAP), "multi_stage_pipeline", 0.2, 5, ("file_operations_compressor", CACHE, TRANSFORM)),
]


@pytest.mark.parametrize(("required", "task_type", "base", "calls", "further"), EXHAUSTIVE)
def test_nothing_is_lost_by_the_planners_shortcuts(
    required: tuple[str, ...], task_type: str, base: float, calls: int, further: tuple[str, ...]
) -> None:
    """Trying every call after every course of events, repeats of what has succeeded included, wins exactly as much."""
    problem = problem_of(required, task_type)
    every = exhaustive_value(required, task_type, base, calls, (*problem.tools, *further))
    assert value_of(Planner(problem, base, calls=calls)) == pytest.approx(every, abs=1e-12)


@pytest.mark.parametrize(
    ("required", "calls"), [((READ, PARSE), 4), ((TRANSFORM,), 5), ((CHECK,), 4), ((TRANSFORM, PARSE), 5)]
)
def test_a_clairvoyant_is_never_beaten(required: tuple[str, ...], calls: int) -> None:
    """Who knows a trial's draws does at least as well in every trial, and so on average as the value says."""
    problem = problem_of(required, "data_pipeline")
    planner = Planner(problem, 0.8, calls=calls)
    tools = (*problem.tools, *problem.fallbacks[:1])
    bounds = [clairvoyant_score(required, "data_pipeline", 0.8, calls, tools, seed) for seed in range(80)]
    played = [play_out(planner, 0.8, seed, calls) for seed in range(80)]
    assert all(bound >= score - 1e-12 for bound, score in zip(bounds, played, strict=True))
    assert fmean(bounds) >= value_of(planner)


def test_the_plan_is_worth_at_least_the_naive_order_on_every_task() -> None:
    """By value, at two tool success rates; where a prerequisite is missing it is worth clearly more."""
    for base in (0.8, 0.5):
        for required, task_type in {(task.required_tools, task.task_type) for task in library()}:
            best = value_of(best_plan(required, task_type, base))
            naive = value_of(naive_plan(required, task_type, base))
            assert best >= naive - 1e-12
            if problem_of(required, task_type).helpers:
                assert best > naive + 0.01


def test_every_structure_of_a_library_stays_small() -> None:
    """Prompts are made while trials wait: no structure may have more than a few thousand states to value."""
    for task in library():
        planner = best_plan(task.required_tools, task.task_type, 0.8)
        planner.outlook(planner.start)
        assert planner.states_valued < 8000


def test_played_against_the_real_tools_every_task_scores_what_its_value_says() -> None:
    """630 tasks, 12 trials each way: means lie within 4 standard errors, and the plan is ahead of the naive order."""
    # Given
    gaps: dict[str, list[float]] = {"best": [], "naive": []}
    lead = []
    for number, task in enumerate(library()):
        best = best_plan(task.required_tools, task.task_type, 0.8)
        naive = naive_plan(task.required_tools, task.task_type, 0.8)
        # When both are played with the same draws
        for seed in range(number * 12, number * 12 + 12):
            scores = [play_out(planner, 0.8, seed) for planner in (best, naive)]
            gaps["best"].append(scores[0] - value_of(best))
            gaps["naive"].append(scores[1] - value_of(naive))
            lead.append(scores[0] - scores[1])
    # Then
    for found in gaps.values():
        assert abs(fmean(found)) <= 4 * stdev(found) / math.sqrt(len(found))
    assert fmean(lead) > 4 * stdev(lead) / math.sqrt(len(lead))


@pytest.mark.parametrize("base", [0.8, 0.5])
@pytest.mark.parametrize("required", [*CONFLICTS, LONG, (FETCH, POST)])
def test_played_against_the_real_tools_hard_tasks_score_their_value(required: tuple[str, ...], base: float) -> None:
    """Orders that contradict prerequisites, long tasks and missing helpers: 800 trials within 4 standard errors."""
    best = best_plan(required, "api_integration", base)
    naive = naive_plan(required, "api_integration", base)
    for planner in (best, naive):
        scores = [play_out(planner, base, seed) for seed in range(800)]
        assert abs(fmean(scores) - value_of(planner)) <= 4 * stdev(scores) / math.sqrt(len(scores))


def test_missing_prerequisites_are_called_before_what_needs_them() -> None:
    """Each doubles the chance of what depends on it, those of prerequisites included."""
    planner = best_plan((FETCH, POST), "api_integration", 0.8)
    executions: list[Execution] = []
    while (tool := planner.next_call(executions)) is not None:
        executions.append(Execution(tool=tool, attempt=1))
    called = [execution.tool for execution in executions]
    assert (called[0], called[-1], sorted(called[1:-1])) == (FETCH, POST, sorted([PARSE, TRANSFORM, LOGIN]))
    assert called.index(PARSE) < called.index(TRANSFORM)


def test_a_prerequisite_that_is_required_later_waits_for_its_turn() -> None:
    """Calling it early would double a chance but forfeit the full success: the plan weighs that and keeps the order."""
    for required in CONFLICTS:
        planner = best_plan(required, "api_integration", 0.8)
        executions: list[Execution] = []
        while (tool := planner.next_call(executions)) is not None:
            executions.append(Execution(tool=tool, attempt=1))
        assert [execution.tool for execution in executions if execution.tool in required] == list(required)


def test_the_failure_streak_is_broken_by_a_likelier_tool() -> None:
    """One failure before the end of the trial, an unlikely step makes way for a tool that probably succeeds."""
    # Given a certain partial success, a step that needs two prerequisites, and neither to be had
    planner = best_plan((FETCH, CHECK, PARSE), "api_integration", 0.8)
    called = [Execution(tool=FETCH, attempt=1), Execution(tool=FILTER, attempt=1)]
    failed = [Execution(tool=TRANSFORM, attempt=n, error="TIMEOUT") for n in range(1, FAILURE_STREAK)]
    # When / Then
    assert planner.next_call([*called, *failed]) in planner.problem.fallbacks
    assert planner.next_call([*called, *failed[:-1]]) in planner.problem.tools


def test_repeated_required_tools_count_once() -> None:
    """An imported task may name a tool twice; only its first success has a place in the order."""
    assert problem_of((READ, PARSE, READ), "simple_task").required == (READ, PARSE)


def test_a_planned_trial_fits_into_the_real_dialogue() -> None:
    """Ten turns hold ten calls: the finish phrase goes with a call, and the real score is the one that was planned."""
    for seed in range(300):
        task = library()[(seed * 7) % len(library())]
        planner = best_plan(task.required_tools, task.task_type, 0.8)
        dialogue = play(task, prompt="optimal", tool_success_rate=0.8, trial_seed=seed)
        score = follow(dialogue, planner)
        expected = play_out(planner, 0.8, seed)
        worth = {Level.FULL: 1.0, Level.PARTIAL: 0.5, Level.FAILURE: 0.0}[score.level]
        assert worth - CALL_COST * score.tool_calls == pytest.approx(expected)


def follow(dialogue: Dialogue, planner: Planner) -> TrialScore:
    """Play a model that does what the planner says, and says "Task completed." with every call, as it may."""
    executions: list[Execution] = []
    next(dialogue)
    while True:
        tool = planner.next_call(executions)
        text = "Task completed." if tool is None else f"<use_tool>{tool}</use_tool>\nTask completed."
        try:
            request = dialogue.send(ChatReply(text=text, finish_reason="stop"))
        except StopIteration as end:
            score: TrialScore = end.value
            return score
        if tool is not None:
            ok = request.messages[-1].content.startswith("[ok]")
            executions.append(Execution(tool=tool, attempt=1, error="" if ok else "FAILED"))


def test_all_task_types_are_planned() -> None:
    """Whatever a type's minimum of successes, a plan exists and begins with a call."""
    for task_type in TASK_TYPES:
        planner = best_plan((READ, PARSE), task_type, 0.8)
        assert planner.next_call([]) == READ
