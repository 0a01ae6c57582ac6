"""What there is to plan in a task, and the states a trial of it can be in: small enough to visit them all.

A state leaves out whatever cannot change what is still to be won (docs/decisions/exact-planner.md has the reasons).
Tools are bits: the required ones first, in their order, then the helpers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from benchrunner.records import Level
from benchrunner.suites.workflow.levels import is_output_tool, level_of_signs
from benchrunner.suites.workflow.simulation import STREAK_WINDOW
from benchrunner.suites.workflow.stop_rules import FAILURE_STREAK
from benchrunner.suites.workflow.tools import catalogue

FALLBACK: Final = -1
STOP: Final = -2
Move = int
"""The bit of a required tool or a helper to call, FALLBACK for one of the fallbacks, or STOP."""

SAFE: Final = 99
"""`Place.extra` once a partial success is certain: more successes than any rule asks for."""

WORTH: Final = {Level.FULL: 1.0, Level.PARTIAL: 0.5, Level.FAILURE: 0.0}
CALL_COST: Final = 0.001  # so that of two equally good plans the shorter one is better

_ALL_FAILED: Final = (1 << STREAK_WINDOW) - 1
RECENT_LIMIT: Final = _ALL_FAILED + FAILURE_STREAK - STREAK_WINDOW
"""The first value of `State.recent` at which the trial is over: FAILURE_STREAK failures in a row."""


class Place(NamedTuple):
    """What the successful calls of a trial have come to."""

    done: int  # bits of the tools that have succeeded, or that cannot matter any more
    ordered: bool  # the required tools that have succeeded are the first of them, in order
    extra: int  # successes of fallbacks; SAFE once a partial success is certain, however it came about


class State(NamedTuple):
    """Where a trial stands."""

    calls_left: int
    place: Place
    recent: int  # the last outcomes: a bit each, 1 for a failure, latest lowest; beyond that one more per failure


def after(recent: int, *, ok: bool) -> int:
    """Return `recent` one outcome later."""
    if not ok and recent >= _ALL_FAILED:
        return recent + 1
    return (min(recent, _ALL_FAILED) << 1 & _ALL_FAILED) | (not ok)


def failures(recent: int) -> int:
    """Return how many of the last STREAK_WINDOW outcomes were failures."""
    return min(recent, _ALL_FAILED).bit_count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """The tools that can matter for a task, and what their successes are worth.

    `helpers`: prerequisites of required tools, of their prerequisites and so on, that are not required themselves.
    `fallbacks`: the other tools without prerequisites, those that deliver something first; they earn partial credit.
    """

    task_type: str
    required: tuple[str, ...]
    helpers: tuple[str, ...]
    fallbacks: tuple[str, ...]
    needs: tuple[int, ...]  # per bit, the bits of the tool's prerequisites
    outputs: int  # the bits of the tools that deliver something

    @property
    def tools(self) -> tuple[str, ...]:
        """Return required tools and helpers, in the order of their bits."""
        return self.required + self.helpers

    @property
    def all_required(self) -> int:
        """Return the bits of all required tools."""
        return (1 << len(self.required)) - 1

    def unmet(self, move: Move, done: int) -> int:
        """Return how many prerequisites of the called tool have not succeeded."""
        return 0 if move == FALLBACK else (self.needs[move] & ~done).bit_count()

    def first_missing(self, done: int) -> Move:
        """Return the first required tool that has not succeeded, or STOP."""
        missing = self.all_required & ~done
        return (missing & -missing).bit_length() - 1 if missing else STOP

    def level(self, place: Place) -> Level:
        """Return the level of a trial that ends at `place`, once the model has said that it is done."""
        covered = place.done & self.all_required
        output_fallback = bool(self.fallbacks) and is_output_tool(self.fallbacks[0])
        return level_of_signs(
            in_order=place.ordered and covered == self.all_required,
            covered=covered.bit_count() / len(self.required),
            delivered=bool(place.done & self.outputs) or (place.extra > 0 and output_fallback),
            successes=place.done.bit_count() + place.extra,
            claimed_completion=True,
            task_type=self.task_type,
        )

    def place_after(self, place: Place, move: Move) -> Place:
        """Return the place that a success of `move` leads to."""
        done, ordered, extra = place
        if move == FALLBACK:
            extra += 1
        else:
            ordered = ordered and (move >= len(self.required) or move == self.first_missing(done))
            done |= 1 << move
        return self.reduced(Place(done, ordered, extra))

    def reduced(self, place: Place) -> Place:
        """Return the one place that stands for all from which the same can be won as from `place`."""
        if self.level(place) is Level.FAILURE:
            return place
        useless = ~self.useful_helpers(place.done) & ~self.all_required & ((1 << len(self.tools)) - 1)
        return Place(place.done | useless, place.ordered, SAFE)

    def useful_helpers(self, done: int) -> int:
        """Return the bits of the helpers that a tool still to be called depends on, directly or through others."""
        waiting = self.all_required & ~done
        seen = 0
        while waiting & ~seen:
            bit = (waiting & ~seen).bit_length() - 1
            seen |= 1 << bit
            waiting |= self.needs[bit] & ~done
        return waiting & ~self.all_required


@lru_cache(maxsize=4096)
def problem_of(required: tuple[str, ...], task_type: str) -> Problem:
    """Return what there is to plan for these required tools; one named twice counts once, where it stands first."""
    required = tuple(dict.fromkeys(required))
    tools = list(required)
    for name in tools:  # grows while it runs: the prerequisites of prerequisites come too
        tools += [needed for needed in catalogue()[name].dependencies if needed not in tools]
    rest = [tool.name for tool in catalogue().tools if tool.name not in tools and not tool.dependencies]
    return Problem(
        task_type=task_type,
        required=required,
        helpers=tuple(tools[len(required) :]),
        fallbacks=tuple(sorted(rest, key=lambda name: not is_output_tool(name))),
        needs=tuple(sum(1 << tools.index(needed) for needed in catalogue()[name].dependencies) for name in tools),
        outputs=sum(1 << bit for bit, name in enumerate(tools) if is_output_tool(name)),
    )
