"""A planner's strategy in words: the calls to make as long as all succeed, and what each failure asks for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from benchrunner.suites.workflow.planner import Planner
from benchrunner.suites.workflow.problem import FALLBACK, STOP, Move
from benchrunner.suites.workflow.tools import catalogue


class Role(StrEnum):
    """Why a call is in the plan."""

    REQUIRED = "required"
    HELPER = "helper"  # a prerequisite that is not required, but raises the chances of a step that is
    FALLBACK = "fallback"  # a success of it secures a partial success early


class AdviceKind(StrEnum):
    """What a failed call can ask for."""

    AGAIN = "again"  # the same tool
    HELPER = "helper"  # a prerequisite of it first
    GO_ON = "go_on"  # another step
    FALLBACK = "fallback"  # any tool that is likely to succeed
    FINISH = "finish"  # say that the work is done: no call can win more than it costs


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What to do next. `tool` is "" for FINISH."""

    kind: AdviceKind
    tool: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCall:
    """One call of the plan.

    `on_failure` tells what to do after its first failure, its second in a row, and so on: it ends with the first
    advice to do something else, or where the trial ends.
    """

    tool: str
    role: Role
    chance: float  # that it succeeds, should all calls before it have succeeded
    on_failure: tuple[Advice, ...]


def planned_calls(planner: Planner) -> tuple[PlannedCall, ...]:
    """Return the calls to make as long as every one succeeds."""
    problem, state = planner.problem, planner.start
    calls: list[PlannedCall] = []
    while (move := planner.outlook(state).move) != STOP:
        fallback = _fallback(planner, sum(call.role is Role.FALLBACK for call in calls))
        on_failure: list[Advice] = []
        failed = planner.next_state(state, move, ok=False)
        while not planner.is_over(failed):
            found = planner.outlook(failed).move
            on_failure.append(_advice(planner, move, found, fallback))
            if found != move:
                break
            failed = planner.next_state(failed, move, ok=False)
        calls.append(
            PlannedCall(
                tool=fallback if move == FALLBACK else problem.tools[move],
                role=_role(planner, move),
                chance=planner.chance(state, move),
                on_failure=tuple(on_failure),
            )
        )
        state = planner.next_state(state, move, ok=True)
    return tuple(calls)


def _fallback(planner: Planner, used: int) -> str:
    """Return the fallback to name next; one that has succeeded does not come again while there is another."""
    fallbacks = planner.problem.fallbacks
    return fallbacks[min(used, len(fallbacks) - 1)] if fallbacks else ""


def _role(planner: Planner, move: Move) -> Role:
    if move == FALLBACK:
        return Role.FALLBACK
    return Role.REQUIRED if move < len(planner.problem.required) else Role.HELPER


def _advice(planner: Planner, failed: Move, found: Move, fallback: str) -> Advice:
    problem = planner.problem
    if found == STOP:
        return Advice(kind=AdviceKind.FINISH)
    tool = fallback if found == FALLBACK else problem.tools[found]
    if found == failed:
        return Advice(kind=AdviceKind.AGAIN, tool=tool)
    if found == FALLBACK:
        return Advice(kind=AdviceKind.FALLBACK, tool=tool)
    if failed != FALLBACK and tool in catalogue()[problem.tools[failed]].dependencies:
        return Advice(kind=AdviceKind.HELPER, tool=tool)
    return Advice(kind=AdviceKind.GO_ON, tool=tool)


def advice_text(on_failure: tuple[Advice, ...]) -> str:
    """Return the advice as a clause, such as "call it again, up to 3 times; then go on with network_poster"."""
    if not on_failure:
        return "not given"
    again = sum(advice.kind is AdviceKind.AGAIN for advice in on_failure)
    last = on_failure[-1]
    if last.kind is AdviceKind.AGAIN:
        return "call it again"
    words = {
        AdviceKind.HELPER: f"call {last.tool} first",
        AdviceKind.GO_ON: f"go on with {last.tool}",
        AdviceKind.FALLBACK: f"call {last.tool}, so that something succeeds",
        AdviceKind.FINISH: "say that you are done",
    }[last.kind]
    if not again:
        return words
    return f"call it again, {'once' if again == 1 else f'up to {again} times'}; then {words}"
