"""What the planner is held against: the real tools played call by call, and two searches that leave nothing out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from benchrunner.suites.workflow.levels import rule_level
from benchrunner.suites.workflow.planner import Planner
from benchrunner.suites.workflow.problem import CALL_COST, WORTH
from benchrunner.suites.workflow.simulation import ToolSimulation, call_rng, success_probability
from benchrunner.suites.workflow.stop_rules import FAILURE_STREAK, MAX_TURNS, SAME_TOOL_STREAK
from benchrunner.suites.workflow.tools import catalogue
from benchrunner.suites.workflow.trace import Execution, Trace


def worth(executions: Sequence[Execution], task_type: str, required: tuple[str, ...]) -> float:
    """Return what a trial with these calls, in which the model has said that it is done, scores by the real rules."""
    trace = Trace(
        executions=tuple(executions), claimed_completion=True, at_turn_limit=False, format_helps=0, unknown_calls=0
    )
    return WORTH[rule_level(trace, task_type, required)]


def play_out(planner: Planner, base: float, seed: int, calls: int = MAX_TURNS) -> float:
    """Return the score less the calls' cost of one trial in which the planner's advice is followed."""
    tools = ToolSimulation(trial_seed=seed, base=base)
    while len(tools.executions) < calls:
        tool = planner.next_call(tools.executions)
        if tool is None:
            break
        tools.call(catalogue()[tool])
    score = worth(tools.executions, planner.problem.task_type, planner.problem.required)
    return score - CALL_COST * len(tools.executions)


def exhaustive_value(
    required: tuple[str, ...], task_type: str, base: float, calls: int, callable_tools: tuple[str, ...]
) -> float:
    """Return the best expected score less costs, trying every call of `callable_tools` after every course of events.

    Tools that have succeeded may be called again. Knows none of the planner's shortcuts: a state is the successes in
    their order with repeats, the tools whose latest try failed, and the last outcomes.
    """
    needs = {name: catalogue()[name].dependencies for name in callable_tools}
    ending = cache(
        lambda successes: worth([Execution(tool=name, attempt=1) for name in successes], task_type, required)
    )

    @cache
    def value(made: int, successes: tuple[str, ...], failing: frozenset[str], outcomes: tuple[bool, ...]) -> float:
        ended = ending(successes)
        too_many = len(outcomes) == FAILURE_STREAK and not any(outcomes)
        in_circles = len(successes) >= SAME_TOOL_STREAK and len(set(successes[-SAME_TOOL_STREAK:])) == 1
        if made == calls or too_many or in_circles or set(required) <= set(successes):
            return ended
        recent_failures = outcomes[-3:].count(False) if made >= 3 else 0
        best = ended
        for tool in callable_tools:
            p = success_probability(
                base,
                never_met=sum(name not in successes for name in needs[tool]),
                lost_again=sum(name in successes and name in failing for name in needs[tool]),
                recent_failures=recent_failures,
            )
            good = value(made + 1, (*successes, tool), failing - {tool}, (*outcomes, True)[-FAILURE_STREAK:])
            bad = value(made + 1, successes, failing | {tool}, (*outcomes, False)[-FAILURE_STREAK:])
            best = max(best, p * good + (1 - p) * bad - CALL_COST)
        return best

    return value(0, (), frozenset(), ())


def clairvoyant_score(
    required: tuple[str, ...], task_type: str, base: float, calls: int, callable_tools: tuple[str, ...], seed: int
) -> float:
    """Return the best score less costs that anyone could reach in this very trial, all its draws being known."""

    def best(executions: list[Execution]) -> float:
        found = worth(executions, task_type, required) - CALL_COST * len(executions)
        if len(executions) == calls:
            return found
        for tool in callable_tools:
            attempt = 1 + sum(execution.tool == tool for execution in executions)
            error = "" if call_rng(seed, tool, attempt).random() < _chance(base, tool, executions) else "FAILED"
            found = max(found, best([*executions, Execution(tool=tool, attempt=attempt, error=error)]))
        return found

    return best([])


def _chance(base: float, tool: str, executions: list[Execution]) -> float:
    tools = ToolSimulation(trial_seed=0, base=base)
    tools.executions = executions
    for execution in executions:
        tools._last_ok[execution.tool] = execution.ok
        if execution.ok:
            tools._succeeded.add(execution.tool)
    return tools.probability(catalogue()[tool])
