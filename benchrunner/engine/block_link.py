"""How a gate talks to a registry that is a network away, and what it learns on the way: its clock, its terms.

A registry may be lost and started anew on another node. It then has another clock, and knows of no permit so far.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from benchrunner.clock import Clock
from benchrunner.errors import RegistryError
from benchrunner.limits.blocks import Ask, Block, ClockFit
from benchrunner.records import Domain

FIRST_LOOKS, GOOD_FIT_S = 10, 0.002
"""How often a new gate looks at the registry's clock before its first call, and how exact a look is enough."""

TOOK_FADES = 0.9
"""What is left of the longest exchange for each one that was shorter."""

RETRY_S, PATIENCE_S = 0.2, 30.0
"""How often a registry that does not answer is asked again, and for how long. It may be starting on another node."""


class Blocks(Protocol):
    """The registry as a gate sees it. Any thread may call; both raise RegistryError when it cannot be reached."""

    def register(self, domains: Sequence[Domain]) -> None:
        """Hold windows for every domain."""
        ...

    def exchange(self, ask: Ask) -> tuple[str, Block]:
        """Return which registry answered, and its answer."""
        ...


class BlockLink:
    """One gate's line to the registry. Its threads share it.

    What was learned (the public fields) changes under the gate's lock, so that a gate which holds it decides on one
    state of them.
    """

    def __init__(
        self,
        registry: Blocks,
        domains: Sequence[Domain],
        clock: Clock,
        *,
        fits: dict[str, ClockFit],
        lock: threading.Condition,
    ) -> None:
        """`fits`: how far each registry's clock is ahead, as far as this process knows; learned on. `lock`: the gate's.

        Nothing is sent before `open`.
        """
        self.fit = ClockFit()  # how far the registry's clock is ahead
        self.incarnation = ""  # which registry answered last; "": none did yet
        self.generation = 0  # permits of an earlier one are void
        self.paced = False  # a cap is learned: answers are worth telling
        self.took_s = 0.0  # the longest exchange lately
        self._registry, self._domains, self._clock = registry, tuple(domains), clock
        self._fits, self._lock = fits, lock

    def open(self, ask: Ask) -> None:
        """Have windows held, and ask `ask`, for nothing, until the registry's clock is known well enough."""
        self._registry.register(self._domains)
        for _ in range(FIRST_LOOKS):
            if self.fit.error_s <= GOOD_FIT_S:
                return
            self.exchange(ask)

    def exchange(self, ask: Ask) -> tuple[str, Block]:
        """Return which registry answered and its answer, learned from; one that is being started anew is asked again.

        Raises RegistryError when none answers for as long as patience lasts. Not under the lock.
        """
        gave_up_s = self._clock.now_s() + PATIENCE_S
        while True:
            asked_s = self._clock.now_s()
            try:
                incarnation, block = self._registry.exchange(replace(ask, registry=self.incarnation))
            except RegistryError:
                if self._clock.now_s() > gave_up_s:
                    raise
                self._clock.sleep_s(RETRY_S)
                self._register_again()
                continue
            with self._lock:
                if incarnation != self.incarnation:
                    # Another registry: another clock, and permits it knows nothing of.
                    self.fit = self._fits.setdefault(incarnation, ClockFit())
                    self.generation, self.incarnation = 0, incarnation
                answered_s = self._clock.now_s()
                self.took_s = max(answered_s - asked_s, TOOK_FADES * self.took_s)
                self.fit.note(asked_s, block.now_s, answered_s)
                self.generation, self.paced = max(self.generation, block.generation), block.paced
            return incarnation, block

    def _register_again(self) -> None:
        try:
            self._registry.register(self._domains)
        except RegistryError:
            return  # still not there: the exchange that follows says so, until patience ends
