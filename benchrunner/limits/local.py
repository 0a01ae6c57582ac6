"""What a holder of windows can be asked, and the holder that lives inside one process.

How a caller sends, whichever holder it has:

    permit = windows.reserve(domains, tokens=estimate)
    may_send = False
    while not may_send:
        clock.sleep_s(permit.not_before_mono_s - clock.now_s())
        permit, may_send = windows.spend(permit)
    ... send ...
    windows.settle(permit, tokens_used)
    windows.note_answer(permit)                             # or note_refusal(domain, when it left)
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar, TypeVarTuple

from benchrunner.clock import Clock
from benchrunner.limits.cap import CapChange
from benchrunner.limits.ledger import CELL_BYTES, HEADER_CELLS, Grant, Ledger, format_header
from benchrunner.records import Domain, DomainUse, Permit

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Windows(Protocol):
    """The windows of every domain. Any thread may call; none of the calls waits for an instant to come."""

    def register(self, domains: Sequence[Domain]) -> None:
        """Hold windows for every domain. Repeating it changes nothing; changed limits take effect, entries stay."""
        ...

    def reserve(self, domains: Sequence[str], tokens: int = 0) -> Permit:
        """Return leave to send one call at the earliest instant at which every window of the domains allows it.

        All windows count it from now on. Equal calls get their instants in the order in which they ask. `tokens` is
        the estimate; 0 leaves token windows alone; more than a window's whole limit counts as the whole limit.
        Raises RegistryError for a domain that is not registered.
        """
        ...

    def spend(self, permit: Permit, learn_drift: bool = True) -> tuple[Permit, bool]:
        """Return the permit as it stands now, and whether to send this very moment.

        True: the call is counted as sent now, and the permit's instant says so; send without delay. False: it is too
        early, or somebody in front left late, or there was a pause or a change of limits; the returned permit holds
        the next instant: wait for it and ask again. Whatever came in between, True is only said when every window
        holds. The permit passed in is void. How late the caller came is learned into the domains' margins unless
        `learn_drift` is False (for a caller that was held up on purpose).
        """
        ...

    def hasten(self, permit: Permit) -> Permit:
        """Return the unspent permit with an earlier instant if calls that used less than estimated made room.

        For callers with a long wait ahead: ask now and then, and wait for the instant of what comes back. Unchanged
        if nothing better is there; later only after a pause or a change of limits.
        """
        ...

    def depart(self, permit: Permit, at_mono_s: float) -> Permit:
        """Return the spent permit counted from `at_mono_s`, when its request's last byte went to the network.

        For a sender that was held up between `spend` and the network: the provider counts arrivals.
        """
        ...

    def settle(self, permit: Permit, tokens_used: int) -> None:
        """Correct the estimate of a spent permit (as returned by `spend`) by what the reply says it used."""
        ...

    def give_back(self, permit: Permit) -> None:
        """Withdraw a permit that will not be used. A spent or unknown one is left as it is."""
        ...

    def pause(self, domain: str, for_s: float) -> None:
        """Let nothing in the domain go out for `for_s` seconds (a longer pause stays); unspent permits are re-taken."""
        ...

    def resume(self, domain: str) -> None:
        """End the domain's pause."""
        ...

    def note_refusal(self, domain: str, sent_mono_s: float) -> CapChange | None:
        """Tell that the provider refused a call that left at `sent_mono_s` although the windows allowed it.

        The domain's learned cap is cut, once for all calls that were in flight together; a full window's margin widens.
        Returns the change if it is more than noise.
        """
        ...

    def note_answer(self, permit: Permit) -> tuple[CapChange, ...]:
        """Tell that the provider answered the call of a spent permit: its domains' caps grow towards their limits.

        Returns the changes that are more than noise. Nothing happens where no cap is learned.
        """
        ...

    def snapshot(self, names: Sequence[str] | None = None) -> tuple[DomainUse, ...]:
        """Return the named domains as they stand now; None: all of them."""
        ...

    def close(self) -> None:
        """Let go of what the windows are kept in. Nothing else may be called afterwards."""
        ...


class LedgerWindows(ABC):
    """The verbs of `Windows` over a ledger. A holder says how one caller at a time gets at it."""

    @abstractmethod
    def _alone(self, act: Callable[[Ledger, float, *Ts], T], *args: *Ts) -> T:
        """Return `act(ledger, now_s, ...)`, nobody else being at the ledger; `now_s` is read inside."""

    @abstractmethod
    def register(self, domains: Sequence[Domain]) -> None:
        """See Windows."""

    @abstractmethod
    def close(self) -> None:
        """See Windows."""

    def reserve(self, domains: Sequence[str], tokens: int = 0) -> Permit:
        """See Windows."""
        names = tuple(domains)
        return _permit(self._alone(Ledger.reserve, names, tokens), names, tokens)

    def spend(self, permit: Permit, learn_drift: bool = True) -> tuple[Permit, bool]:
        """See Windows."""
        grant, may_send = self._alone(Ledger.spend, permit, learn_drift)
        if grant is None:
            return permit, may_send
        return _permit(grant, permit.domains, permit.tokens), may_send

    def hasten(self, permit: Permit) -> Permit:
        """See Windows."""
        grant = self._alone(Ledger.hasten, permit)
        return permit if grant is None else _permit(grant, permit.domains, permit.tokens)

    def depart(self, permit: Permit, at_mono_s: float) -> Permit:
        """See Windows."""
        self._alone(Ledger.depart, permit, at_mono_s)
        return replace(permit, not_before_mono_s=at_mono_s)

    def settle(self, permit: Permit, tokens_used: int) -> None:
        """See Windows."""
        self._alone(Ledger.settle, permit, tokens_used)

    def give_back(self, permit: Permit) -> None:
        """See Windows."""
        self._alone(Ledger.give_back, permit)

    def pause(self, domain: str, for_s: float) -> None:
        """See Windows."""
        self._alone(Ledger.pause, domain, for_s)

    def resume(self, domain: str) -> None:
        """See Windows."""
        self._alone(Ledger.resume, domain)

    def note_refusal(self, domain: str, sent_mono_s: float) -> CapChange | None:
        """See Windows."""
        return self._alone(Ledger.note_refusal, domain, sent_mono_s)

    def note_answer(self, permit: Permit) -> tuple[CapChange, ...]:
        """See Windows."""
        return self._alone(Ledger.note_answer, permit)

    def snapshot(self, names: Sequence[str] | None = None) -> tuple[DomainUse, ...]:
        """See Windows."""
        return self._alone(Ledger.snapshot, names)


def _permit(grant: Grant, domains: tuple[str, ...], tokens: int) -> Permit:
    permit_id, at_s, generation = grant
    return Permit(permit_id=permit_id, domains=domains, not_before_mono_s=at_s, tokens=tokens, generation=generation)


class LocalWindows(LedgerWindows):
    """Windows of one process, in ordinary memory: for forecasts under a virtual clock, and for tests."""

    ledger_type: type[Ledger] = Ledger

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Keeps: one thread at a time sees or changes the ledger.
        self._mutex = threading.Lock()
        self._buffer = bytearray(HEADER_CELLS * CELL_BYTES)
        format_header(memoryview(self._buffer), boot=0)
        self._ledger = self.ledger_type(memoryview(self._buffer))

    def register(self, domains: Sequence[Domain]) -> None:
        """See Windows."""
        with self._mutex:
            missing = self._ledger.cells_wanted(domains) * CELL_BYTES - len(self._buffer)
            if missing > 0:
                self._ledger.release()  # a bytearray that is looked at cannot grow
                self._buffer.extend(bytes(missing))
                self._ledger = self.ledger_type(memoryview(self._buffer))
            self._ledger.register(self._clock.now_s(), domains)

    def close(self) -> None:
        """See Windows."""
        with self._mutex:
            self._ledger.release()

    def _alone(self, act: Callable[[Ledger, float, *Ts], T], *args: *Ts) -> T:
        with self._mutex:
            return act(self._ledger, self._clock.now_s(), *args)
