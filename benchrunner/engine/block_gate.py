"""A gate whose windows are a network away: permits come by the block, and what became of them goes back with the next.

    dialogue threads ── line ──> fetcher thread ── exchange: reports, who waits ──> registry
         ▲                           │ slots, first come first served
         └── slot: sleep, prepare, sleep to its instant ── own log says yes, not too late ──> send
                                                        └─ else: reported, a new slot

One exchange serves everybody who waits, so a busy key costs one or two a window. limits/blocks.py holds the rules,
block_link.py does the talking.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from benchrunner.clock import Clock
from benchrunner.engine.block_link import BlockLink, Blocks
from benchrunner.engine.calls import LEAD_S, HandBack, Pass
from benchrunner.engine.gates import PROMPT_S, THROTTLE_PAUSE_S
from benchrunner.errors import RegistryError
from benchrunner.limits.blocks import (
    MOST_SLOTS,
    Ask,
    Block,
    ClockFit,
    News,
    OwnLog,
    Report,
    allowed_late_s,
    permits_of,
)
from benchrunner.limits.cap import CapChange
from benchrunner.records import Domain, LimitKind, Permit

NAP_S = 0.25
"""How long a waiting thread sleeps before it looks whether its worker is to stop."""

REPORT_EVERY_S = 0.1
"""How long news that nobody waits for may stay here; no longer than a slot may be late (limits/blocks.py)."""

HURRY_S = 0.005
"""A send later than this is told at once: others may be right behind it."""

LONGEST_LEAD_S = 0.3
LEAD_FADES = 0.98
"""What is left of the longest preparation for each one that was shorter."""


@dataclass(slots=True)
class _Waiter:
    """A thread in the line."""

    tokens: int
    lead_s: float
    served: threading.Event = field(default_factory=threading.Event)
    slot: _Slot | None = None
    fault: BaseException | None = None
    gone: bool = False


@dataclass(frozen=True, slots=True)
class _Slot:
    """A permit on our clock."""

    permit: Permit
    due_s: float
    error_s: float  # how wrong `due_s` may be
    block: Block  # the terms it came under
    registry: str


_Left = tuple[float, Permit]
"""When a call left, on our clock, and its permit as the registry counts it."""


class BlockGate:
    """The gate of one worker on a cluster. Its threads share it."""

    def __init__(
        self,
        registry: Blocks,
        domains: Sequence[Domain],
        clock: Clock,
        *,
        key: str,
        fence: int,
        fits: dict[str, ClockFit] | None = None,
    ) -> None:
        """`domains`: the key's first, then the (account, model)'s; `key` and `fence` name the lease it sends under.

        `fits`: how far each registry's clock is ahead, as this process has learned it so far, to be learned on.
        """
        self._clock = clock
        self._ask = Ask(names=tuple(domain.name for domain in domains), key=key, fence=fence)
        self._labels = {"key": domains[0], "model": domains[-1]}
        self._counts_tokens = any(limit.kind is LimitKind.TOKENS for domain in domains for limit in domain.limits)
        self._own = OwnLog(domains)
        # Keeps the line, the news and what was learned of the registry whole; `_leave` decides and counts under it.
        self._lock = threading.Condition()
        self._link = BlockLink(registry, domains, clock, fits={} if fits is None else fits, lock=self._lock)
        self._line: list[_Waiter] = []
        self._news: list[Report] = []
        self._news_since_s = 0.0
        self._urgent = self._closed = False
        self._again_s = 0.0  # whoever heads the line cannot be served before
        self._lead_s, self._report_s = LEAD_S, REPORT_EVERY_S
        self._broken: RegistryError | None = None
        self._link.open(self._ask)
        self._fetcher = threading.Thread(target=self._fetch, name="permits", daemon=True)
        self._fetcher.start()

    # --- the verbs of a gate ----------------------------------------------------------------------------------------

    def wait(self, tokens: int, prepare: Callable[[], None], stopped: Callable[[float], bool]) -> Pass:
        """Return at the instant of a permit that this call may use. Raises RegistryError when the lease is lost."""
        began_s = self._clock.now_s()
        ready = False
        while True:
            # Who is ready needs no time but that of the answer's way.
            slot = self._draw(tokens, 2.0 * self._fit_error_s() if ready else self._lead_s, stopped)
            try:
                left, ready = self._use(slot, prepare, stopped, ready)
            except BaseException:
                self._tell([Report(news=News.BACK, permit=slot.permit)])
                raise
            if left is not None:
                sent_s, counted = left
                return Pass(wait_s=sent_s - began_s, sent_mono_s=sent_s, permit=counted)

    def departed(self, granted: Pass, at_mono_s: float) -> None:
        """Count the call from its departure, here and there."""
        held_up_s = at_mono_s - granted.sent_mono_s
        if held_up_s > PROMPT_S and isinstance(granted.permit, Permit):
            permit = granted.permit
            with self._lock:
                self._own.move(granted.sent_mono_s, at_mono_s)
            self._tell([Report(news=News.DEPARTED, permit=permit, seconds=held_up_s)], hurry=held_up_s > HURRY_S)
            granted.permit = replace(permit, not_before_mono_s=permit.not_before_mono_s + held_up_s)
        granted.sent_mono_s = at_mono_s

    def settle(self, granted: Pass, tokens: int) -> None:
        """Correct the token windows."""
        if self._counts_tokens and isinstance(granted.permit, Permit):
            self._tell([Report(news=News.SETTLED, permit=granted.permit, tokens=tokens)])

    def throttled(self, granted: Pass, scope: str, for_s: float) -> str:
        """Pause the domain for the provider's hint, or a second, and cut its cap."""
        domain = self._labels.get(scope, self._labels["key"])
        reports = [Report(news=News.PAUSE, domain=domain.name, seconds=for_s or THROTTLE_PAUSE_S)]
        if isinstance(granted.permit, Permit):
            reports.append(Report(news=News.REFUSED, permit=granted.permit, domain=domain.name))
        granted.cap_changes = self._tell_and_hear(reports)
        return domain.label

    def succeeded(self, granted: Pass) -> None:
        """Let the caps of the call's domains grow, where there are any."""
        if self._link.paced and isinstance(granted.permit, Permit):
            granted.cap_changes = self._tell_and_hear([Report(news=News.ANSWERED, permit=granted.permit)])

    def close(self) -> None:
        """Give everything back and end the fetcher. No dialogue may be under way."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
        self._fetcher.join()

    # --- using a slot -----------------------------------------------------------------------------------------------

    def _use(
        self, slot: _Slot, prepare: Callable[[], None], stopped: Callable[[float], bool], ready: bool
    ) -> tuple[_Left | None, bool]:
        """Return how the call left, None: it must draw again; and whether it is prepared."""
        clock = self._clock
        while (ahead_s := slot.due_s - clock.now_s()) > self._lead_s:
            if stopped(min(ahead_s - self._lead_s, NAP_S)):
                raise HandBack
        if stopped(0.0):
            raise HandBack
        began_s = clock.now_s()
        prepare()
        if not ready:
            self._note_preparation(clock.now_s() - began_s)
        clock.sleep_s(slot.due_s - clock.now_s())
        if stopped(0.0):
            raise HandBack
        return self._leave(slot), True

    def _leave(self, slot: _Slot) -> _Left | None:
        """Return how the call left; None: its slot is void, which is told."""
        while True:
            with self._lock:
                now_s = self._clock.now_s()
                # Not knowing the registry's clock better is a lateness too: others keep their distance from it.
                allowed_s = allowed_late_s(slot.block, told_after_s=self._report_s, exchange_s=self._link.took_s)
                late_s = max(0.0, now_s - slot.due_s) + min(slot.error_s, 0.5 * allowed_s)
                void = slot.permit.generation < self._link.generation or slot.registry != self._link.incarnation
                own_s = 0.0 if void else self._own.wait_s(now_s, slot.block.guard_s)
                if not void and late_s <= allowed_s and own_s <= 0.0:
                    self._own.note(now_s, slot.block.guard_s)
                    report = Report(news=News.SENT, permit=slot.permit, seconds=late_s)
                    self._note(report, hurry=late_s > HURRY_S)
                    at_s = slot.permit.not_before_mono_s + late_s
                    return now_s, replace(slot.permit, not_before_mono_s=at_s)
            if void or late_s + own_s > allowed_s:
                self._tell([Report(news=News.BACK, permit=slot.permit)])
                return None
            self._clock.sleep_s(own_s)

    def _note_preparation(self, took_s: float) -> None:
        with self._lock:
            self._lead_s = min(LONGEST_LEAD_S, max(LEAD_S, 1.5 * took_s, LEAD_FADES * self._lead_s))

    def _fit_error_s(self) -> float:
        with self._lock:
            return min(self._link.fit.error_s, LONGEST_LEAD_S)

    # --- the line ---------------------------------------------------------------------------------------------------

    def _draw(self, tokens: int, lead_s: float, stopped: Callable[[float], bool]) -> _Slot:
        waiter = _Waiter(tokens, lead_s)
        with self._lock:
            broken = self._broken
            if broken is None:
                self._line.append(waiter)
                self._lock.notify_all()
        if broken is not None:
            if stopped(NAP_S):
                raise HandBack
            raise broken
        while not waiter.served.wait(NAP_S):
            if stopped(0.0):
                with self._lock:
                    waiter.gone = True
                    if waiter in self._line:
                        self._line.remove(waiter)
                    if waiter.slot is not None:
                        self._note(Report(news=News.BACK, permit=waiter.slot.permit))
                raise HandBack
        if waiter.fault is not None:
            if stopped(NAP_S):
                raise HandBack  # told to end: its lease may be gone before it hears of that
            raise waiter.fault
        assert waiter.slot is not None
        return waiter.slot

    def _fetch(self) -> None:
        while True:
            with self._lock:
                while not self._closed and (rest_s := self._rest_s()) > 0.0:
                    self._lock.wait(rest_s)
                asked = self._line[:MOST_SLOTS] if self._clock.now_s() >= self._again_s else []
                news, self._news, self._urgent = self._news, [], False
                if self._closed and not news:
                    return
            wanted = tuple((waiter.tokens, waiter.lead_s) for waiter in asked)
            ask = replace(self._ask, wanted=wanted, reports=tuple(news))
            try:
                incarnation, block = self._link.exchange(ask)
            except RegistryError as fault:
                self._fail(fault)
                return
            with self._lock:
                self._serve(asked, ask, incarnation, block)

    def _rest_s(self) -> float:
        """Return how long there is nothing to ask: 0.0 is now. Under the lock."""
        now_s = self._clock.now_s()
        rests = [3600.0]
        if self._urgent:
            return 0.0
        if self._line:
            rests.append(self._again_s - now_s)
        if self._news:
            rests.append(self._news_since_s + self._report_s - now_s)
        return max(0.0, min(rests))

    def _serve(self, asked: Sequence[_Waiter], ask: Ask, incarnation: str, block: Block) -> None:
        if asked:
            self._again_s = self._clock.now_s() + block.again_s if block.again_s else 0.0
        self._report_s = min(REPORT_EVERY_S, block.late_s)
        for waiter, permit in zip(asked, permits_of(block, ask), strict=False):
            if waiter.gone:
                self._note(Report(news=News.BACK, permit=permit))
                continue
            due_s = permit.not_before_mono_s - self._link.fit.ahead_s
            waiter.slot = _Slot(permit, due_s, self._link.fit.error_s, block, incarnation)
            self._line.remove(waiter)
            waiter.served.set()
        if block.fenced:
            # The worker ends by it, as a crash would: handing trials back would have them handed in again.
            self._broken = RegistryError(f"the lease with fence {ask.fence} is no longer this worker's")
            self._dismiss(self._broken)

    def _dismiss(self, fault: BaseException) -> None:
        for waiter in self._line:
            waiter.fault = fault
            waiter.served.set()
        self._line.clear()

    def _fail(self, fault: RegistryError) -> None:
        with self._lock:
            self._closed, self._broken = True, fault
            self._dismiss(fault)

    # --- what is told -----------------------------------------------------------------------------------------------

    def _tell(self, reports: Sequence[Report], *, hurry: bool = False) -> None:
        with self._lock:
            for report in reports:
                self._note(report, hurry=hurry)

    def _note(self, report: Report, *, hurry: bool = False) -> None:
        """Have it told with the next exchange. Under the lock."""
        if not self._news:
            self._news_since_s = self._clock.now_s()
            self._lock.notify_all()
        self._news.append(report)
        if hurry:
            self._urgent = True
            self._lock.notify_all()

    def _tell_and_hear(self, reports: Sequence[Report]) -> tuple[CapChange, ...]:
        with self._lock:
            news, self._news = [*self._news, *reports], []
        _, block = self._link.exchange(replace(self._ask, reports=tuple(news)))
        return block.changes
