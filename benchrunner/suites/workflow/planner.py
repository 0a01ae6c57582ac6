"""The exact planner: the best thing to do in every state of a trial, by backward induction over the calls left.

Nothing is learned or sampled: chances and levels come from the code of the simulated tools and of the rule-based
level. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from benchrunner.records import Level
from benchrunner.suites.workflow.problem import (
    CALL_COST,
    FALLBACK,
    RECENT_LIMIT,
    SAFE,
    STOP,
    WORTH,
    Move,
    Place,
    Problem,
    State,
    after,
    failures,
)
from benchrunner.suites.workflow.simulation import STREAK_WINDOW, success_probability
from benchrunner.suites.workflow.stop_rules import MAX_TURNS
from benchrunner.suites.workflow.trace import Execution

TIE: Final = 1e-12
"""Values closer than this are equal: the last bits of a sum must not make plans differ between machines."""


class Probability(Protocol):
    """The chance that a call succeeds; `success_probability` is the real one."""

    def __call__(self, base: float, *, never_met: int, lost_again: int, recent_failures: int) -> float:
        """Return the chance, 0..1, non-decreasing in `base` and non-increasing in the rest."""
        ...


class Outlook(NamedTuple):
    """What a state is worth under a strategy."""

    value: float  # expected weighted score (1 full, 0.5 partial), less what the calls still to come cost
    p_full: float
    move: Move


Strategy = Callable[[Problem, Place], Sequence[Move]]
"""Returns the moves open at a place, of which the planner takes the best; among equals, the first."""


def best_moves(problem: Problem, place: Place) -> Sequence[Move]:
    """Return every move that can be the best one at a place."""
    following = problem.first_missing(place.done)
    fallback = (FALLBACK,) if problem.fallbacks else ()
    useful = problem.useful_helpers(place.done)
    helpers = [bit for bit in range(len(problem.required), len(problem.tools)) if useful >> bit & 1]
    if place.extra != SAFE:
        # Whatever succeeds brings a partial success nearer, a tool out of its turn too.
        later = [bit for bit in range(following + 1, len(problem.required)) if not place.done >> bit & 1]
        return (following, *helpers, *later, *fallback, STOP)
    if not place.ordered:
        return (STOP,)
    # A fallback can keep a streak of failures from ending the trial; a next step as likely to succeed does it better.
    if problem.unmet(following, place.done):
        return (following, *helpers, *fallback, STOP)
    return (following, *helpers, STOP)


def naive_moves(problem: Problem, place: Place) -> Sequence[Move]:
    """Return the next required tool: the required order, each tool again until it succeeds, and never a helper."""
    return (problem.first_missing(place.done),)


class _Option(NamedTuple):
    """A move at a place: its chance by recent failures, and where a success leads."""

    move: Move
    chances: Sequence[float]
    success: Place


class _Prospect(NamedTuple):
    """What a place is worth should the trial end there, and what can be done instead."""

    ended: Outlook
    options: Sequence[_Option]
    may_stop: bool


class Planner:
    """Values of the states of one problem. Holds what it has worked out so far; one thread uses it at a time."""

    def __init__(
        self,
        problem: Problem,
        base: float,
        *,
        calls: int = MAX_TURNS,
        strategy: Strategy = best_moves,
        probability: Probability = success_probability,
    ) -> None:
        self.problem, self.calls = problem, calls
        self._strategy = strategy
        self._chances = [
            [
                probability(base, never_met=unmet, lost_again=0, recent_failures=failed)
                for failed in range(STREAK_WINDOW + 1)
            ]
            for unmet in range(max(needs.bit_count() for needs in problem.needs) + 1)
        ]
        self._outlooks: dict[State, Outlook] = {}
        self._prospects: dict[Place, _Prospect] = {}

    @property
    def start(self) -> State:
        """Return the state before the first call."""
        return State(self.calls, self.problem.reduced(Place(0, True, 0)), 0)

    @property
    def states_valued(self) -> int:
        """Return how many states have been valued so far."""
        return len(self._outlooks)

    def outlook(self, state: State) -> Outlook:
        """Return what `state` is worth, and the move to make in it."""
        known = self._outlooks.get(state)
        if known is None:
            known = self._outlooks[state] = self._value(state)
        return known

    def is_over(self, state: State) -> bool:
        """Return whether a rule ends the trial at `state`: nothing is left to be called, or too much has failed."""
        done_all = self.problem.first_missing(state.place.done) == STOP
        return done_all or state.calls_left == 0 or state.recent >= RECENT_LIMIT

    def chance(self, state: State, move: Move) -> float:
        """Return the chance that the call `move` succeeds in `state`."""
        return self._chances[self.problem.unmet(move, state.place.done)][self._counted_failures(state)]

    def next_state(self, state: State, move: Move, *, ok: bool) -> State:
        """Return the state after a call."""
        place = self.problem.place_after(state.place, move) if ok else state.place
        return State(state.calls_left - 1, place, after(state.recent, ok=ok))

    def state_after(self, executions: Iterable[Execution]) -> State:
        """Return where the calls of a trial have led.

        A call of any other tool, or of one that has succeeded before, counts as a fallback. That is exact as long as
        no prerequisite that has succeeded is called again and fails, and no such other tool delivers something before
        a partial success is certain; what the planner advises does neither.
        """
        state = self.start
        for execution in executions:
            bits = self.problem.tools
            move = bits.index(execution.tool) if execution.tool in bits else FALLBACK
            if move != FALLBACK and state.place.done >> move & 1:
                move = FALLBACK
            state = self.next_state(state, move, ok=execution.ok)
        return state

    def next_call(self, executions: Sequence[Execution]) -> str | None:
        """Return the tool to call after `executions`, or None to say that the work is done."""
        move = self.outlook(self.state_after(executions)).move
        if move == STOP:
            return None
        if move != FALLBACK:
            return self.problem.tools[move]
        used = {execution.tool for execution in executions if execution.ok}
        return next((name for name in self.problem.fallbacks if name not in used), self.problem.fallbacks[0])

    def _prospect(self, place: Place) -> _Prospect:
        known = self._prospects.get(place)
        if known is not None:
            return known
        problem = self.problem
        level = problem.level(place)
        moves: Sequence[Move] = ()
        if problem.first_missing(place.done) != STOP:
            moves = self._strategy(problem, place)
        found = self._prospects[place] = _Prospect(
            Outlook(WORTH[level], float(level is Level.FULL), STOP),
            [
                _Option(move, self._chances[problem.unmet(move, place.done)], problem.place_after(place, move))
                for move in moves
                if move != STOP
            ],
            STOP in moves,
        )
        return found

    def _counted_failures(self, state: State) -> int:
        # As the tools do: only once there have been enough calls to look back on.
        return failures(state.recent) if self.calls - state.calls_left >= STREAK_WINDOW else 0

    def _value(self, state: State) -> Outlook:
        calls_left, place, recent = state
        prospect = self._prospect(place)
        if not prospect.options or calls_left == 0 or recent >= RECENT_LIMIT:
            return prospect.ended
        counted = self._counted_failures(state)
        failed = self.outlook(State(calls_left - 1, place, after(recent, ok=False)))
        best: Outlook | None = None
        for move, chances, success in prospect.options:
            p = chances[counted]
            done = self.outlook(State(calls_left - 1, success, after(recent, ok=True)))
            value = p * done.value + (1.0 - p) * failed.value - CALL_COST
            if best is None or value > best.value + TIE:
                best = Outlook(value, p * done.p_full + (1.0 - p) * failed.p_full, move)
        assert best is not None
        return prospect.ended if prospect.may_stop and prospect.ended.value > best.value + TIE else best
