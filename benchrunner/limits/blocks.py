"""Permits by the block, for callers that are a network away from the windows: one exchange serves several calls.

    worker                                              registry
      waiting calls, what became of earlier permits ──> exchange: books what was told, reserves for those who wait
      slots, each "may leave in X s"                <── those due within the horizon; for the rest: when to ask again

Two clocks are involved and never compared: the registry answers in its own, the worker places the answer on its own
(`ClockFit`), and tells what it did as durations after a permit's instant.

Between two exchanges a worker is on its own, and may send late. What it sent itself it checks exactly (`OwnLog`). What
others may send is decided after its news has come: of a window of 1 s, slots are granted half a second ahead at most,
may be used an eighth late, and are told of within another eighth; so when a slot is granted, all that it must keep its
distance from has been told, with a quarter of the window to spare for the way. Where answers take longer, because the
registry is overloaded or far, less lateness is allowed (`allowed_late_s`), down to what margins are for. A worker that
dies between a late send and telling of it is the exception: that call counts from its instant.

Everything here is pure: time is an argument.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf

from benchrunner.limits.cap import CapChange
from benchrunner.limits.ledger import Grant, Ledger
from benchrunner.limits.local import LocalWindows
from benchrunner.limits.margins import learn_lateness
from benchrunner.limits.pages import P_GRANTED, P_MARGIN
from benchrunner.limits.window import WIRE_SHARE
from benchrunner.records import Domain, LimitKind, Permit

HORIZON_SHARE, HORIZON_S = 0.5, 0.5
"""How far ahead of now a slot may lie: this share of the shortest window, but no further than this. What a dead worker
takes with it, and how long a worker goes on after a pause that another one caused, is bounded by it; that a key's next
window is asked for half a second early costs nothing."""

GATHER_SHARE = 0.5
"""Who is told to ask again is told to do so when the horizon reaches this much further than the next slot, so that it
finds several. The answer may then take half a horizon before a slot of it comes too late."""

MOST_SLOTS = 64
"""Slots of one exchange at most."""

LATE_SHARE, LONGEST_LATE_S = 1 / 8, 0.25
"""How long after its instant a slot may be used, and then told of: this share of the shortest window."""

FIT_SAMPLES, FIT_AGE_S = 64, 60.0
"""Exchanges a clock fit is taken over: clocks drift by some 50 us in a second, a minute is as much as a lean reply."""


class News(StrEnum):
    """What a worker tells about a permit or a domain."""

    SENT = "sent"  # it left, `seconds` after its instant
    DEPARTED = "departed"  # it was held up on the way to the network, and left so long after its instant
    BACK = "back"  # it was not used
    SETTLED = "settled"  # its reply used `tokens`
    ANSWERED = "answered"
    REFUSED = "refused"  # the provider refused it, in `domain`
    PAUSE = "pause"  # let nothing of `domain` leave for `seconds`


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One piece of news. Instants never stand in it, other than the permit's own, which came from the registry."""

    news: News
    permit: Permit | None = None
    domain: str = ""
    seconds: float = 0.0
    tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One exchange's question: slots for `wanted` calls, each (estimated tokens, seconds it needs to get ready)."""

    names: tuple[str, ...]
    key: str  # fingerprint of the key that the asker holds
    fence: int  # of its lease
    wanted: tuple[tuple[int, float], ...] = ()
    reports: tuple[Report, ...] = ()
    registry: str = ""  # the one that granted what is reported on; "": none did yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One exchange's answer, in the registry's clock. Slots are in the order of `Ask.wanted`, perhaps fewer."""

    now_s: float
    slots: tuple[Grant, ...] = ()
    again_s: float = 0.0  # ask again for the rest after so long
    generation: int = 0  # slots of an earlier one are void
    late_s: float = 0.0  # how long after its instant a slot may be used, and how soon after that it is to be told of
    slack_s: float = 0.0  # how long after its instant a send must be known here at the latest
    sure_s: float = 0.0  # how late a send may be that is told of too late: what margins are for
    guard_s: float = 0.0  # what two sends keep beyond their window whatever happens
    paced: bool = False  # a cap is learned: answers are worth telling
    fenced: bool = False  # the lease is no longer held: nothing is granted
    changes: tuple[CapChange, ...] = ()


class BlockLedger(Ledger):
    """A ledger whose permits are spent elsewhere and booked afterwards."""

    def exchange(self, now_s: float, ask: Ask) -> Block:
        """Book what is told, then reserve for those who wait, as far ahead as the horizon reaches."""
        changes: list[CapChange] = []
        for report in ask.reports:
            changes += self._book(now_s, report)
        slots: list[Grant] = []
        again_s = 0.0
        horizon_s = min(HORIZON_S, HORIZON_SHARE * self._shortest_s(ask.names))
        for tokens, lead_s in ask.wanted[:MOST_SLOTS]:
            grant = self.reserve_from(now_s, ask.names, tokens, now_s + lead_s)
            beyond_s = grant[1] - now_s - max(horizon_s, lead_s)
            if beyond_s > 0.0:
                self.give_back(now_s, _permit(grant, ask.names, tokens))
                again_s = beyond_s + GATHER_SHARE * horizon_s
                break
            slots.append(grant)
        for page in map(self._page, ask.names):
            self.cell[page.at + P_GRANTED] += len(slots)
        return self._terms(now_s, ask.names, tuple(slots), again_s, tuple(changes))

    def reserve_from(self, now_s: float, names: tuple[str, ...], tokens: int, from_s: float) -> Grant:
        """Reserve as `reserve` does, at no instant before `from_s`."""
        joint = self._joints.get(names) or self._join(names)
        if joint.paced:
            joint.keep_pace()
        return self._take(joint, now_s, tokens, from_s=from_s)

    def note_sent(self, now_s: float, permit: Permit, late_s: float) -> None:
        """Book that the call left `late_s` after its permit's instant."""
        joint = self._joints.get(permit.domains) or self._join(permit.domains)
        at_s = permit.not_before_mono_s + late_s
        # It has been told before anybody is granted what could come too close; but a machine that wakes late is a busy
        # one, and what the network and the server of a busy one need is learned from it, as for local senders.
        for page_at in joint.pages:
            learn_lateness(self.num, page_at, now_s, late_s)
        for window, amount, place in self._entries_of(joint, permit):
            if place:
                window.spend(place, at_s)
            else:  # told twice, or dropped from a full log
                window.insert(now_s, at_s, amount, -permit.permit_id)
        for pacer in joint.pacers:
            pacer.note_send(at_s)

    def _book(self, now_s: float, report: Report) -> Iterable[CapChange]:
        permit, seconds = report.permit, report.seconds
        if permit is None:
            if report.news is News.PAUSE:
                self.pause(now_s, report.domain, seconds)
            return ()
        sent = replace(permit, not_before_mono_s=permit.not_before_mono_s + seconds)
        match report.news:
            case News.SENT:
                self.note_sent(now_s, permit, seconds)
            case News.DEPARTED:
                self.depart(now_s, permit, permit.not_before_mono_s + seconds)
            case News.BACK:
                self.give_back(now_s, permit)
            case News.SETTLED:
                self.settle(now_s, sent, report.tokens)
            case News.ANSWERED:
                return self.note_answer(now_s, sent)
            case News.REFUSED:
                change = self.note_refusal(now_s, report.domain, sent.not_before_mono_s)
                return () if change is None else (change,)
            case News.PAUSE:
                self.pause(now_s, report.domain, seconds)
        return ()

    def _terms(
        self, now_s: float, names: tuple[str, ...], slots: tuple[Grant, ...], again_s: float,
        changes: tuple[CapChange, ...],
    ) -> Block:  # fmt: skip
        joint = self._joints.get(names) or self._join(names)
        counted = [self.num[page.at + P_MARGIN] for page in map(self._page, names) if page.windows]
        margin_s = min(counted, default=0.0)
        shortest_s = self._shortest_s(names)
        return Block(
            now_s=now_s,
            slots=slots,
            again_s=again_s,
            generation=self._generation_of(joint),
            late_s=min(LONGEST_LATE_S, LATE_SHARE * shortest_s),
            slack_s=shortest_s - min(HORIZON_S, HORIZON_SHARE * shortest_s),
            sure_s=margin_s * (1.0 - WIRE_SHARE),
            guard_s=margin_s * WIRE_SHARE,
            paced=bool(joint.paced),
            changes=changes,
        )

    def _shortest_s(self, names: tuple[str, ...]) -> float:
        return min((window.per_s for page in map(self._page, names) for window in page.windows), default=inf)


class BlockWindows(LocalWindows):
    """Windows of a registry that hands out blocks, in its process's memory."""

    ledger_type = BlockLedger

    def exchange(self, ask: Ask) -> Block:
        """Answer one worker's question. Raises RegistryError for a domain that is not registered."""
        return self._alone(_exchange, ask)


def _exchange(ledger: Ledger, now_s: float, ask: Ask) -> Block:
    assert isinstance(ledger, BlockLedger)
    return ledger.exchange(now_s, ask)


def _permit(grant: Grant, names: tuple[str, ...], tokens: int) -> Permit:
    permit_id, at_s, generation = grant
    return Permit(permit_id=permit_id, domains=names, not_before_mono_s=at_s, tokens=tokens, generation=generation)


def allowed_late_s(block: Block, *, told_after_s: float, exchange_s: float) -> float:
    """Return how long after its instant a slot may be used by a worker whose news wait `told_after_s`, and whose
    exchanges take `exchange_s` lately: one may be under way when there is something to tell.
    """
    return max(block.sure_s, min(block.late_s, block.slack_s - told_after_s - 2.0 * exchange_s))


class OwnLog:
    """What one worker sent lately, against the request windows of its domains. Tokens are the registry's to count.

    A slot's instant keeps the windows if everybody leaves on time. A worker need not hope so of itself.
    """

    def __init__(self, domains: Iterable[Domain]) -> None:
        self._windows = [
            (limit.amount, limit.per_s)
            for domain in domains
            for limit in domain.limits
            if limit.kind is LimitKind.REQUESTS
        ]
        self._span_s = max((per_s for _, per_s in self._windows), default=0.0)
        self._stamps: list[float] = []  # ascending

    def wait_s(self, now_s: float, guard_s: float) -> float:
        """Return seconds until one more may leave: 0.0 is now."""
        until_s = now_s
        for amount, per_s in self._windows:
            span = per_s + guard_s
            if len(self._stamps) - bisect_right(self._stamps, now_s - span) >= amount:
                until_s = max(until_s, self._stamps[-amount] + span)
        return until_s - now_s

    def note(self, at_s: float, guard_s: float = 0.0) -> None:
        """Count a call that leaves now."""
        if not self._windows:
            return
        insort(self._stamps, at_s)
        old = bisect_right(self._stamps, at_s - self._span_s - 2.0 * guard_s - 1.0)
        if old > len(self._stamps) // 2:  # seldom, so that dropping costs a call next to nothing
            del self._stamps[:old]

    def move(self, from_s: float, to_s: float) -> None:
        """Count a call from when it really left."""
        place = bisect_right(self._stamps, from_s) - 1
        if place >= 0 and self._stamps[place] == from_s:
            del self._stamps[place]
            insort(self._stamps, to_s)


class ClockFit:
    """How far another clock is ahead of ours, from exchanges: the one with the least way there and back tells best."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, float, float]] = []  # (when, how long it took, how far ahead)
        self.ahead_s = 0.0
        self.error_s = inf
        """The other clock is at most so much further from `ahead_s`."""

    def note(self, asked_s: float, theirs_s: float, answered_s: float) -> None:
        """Learn from one exchange: `theirs_s` was read there, some time between the two of ours."""
        took_s = answered_s - asked_s
        self._samples.append((answered_s, took_s, theirs_s - (asked_s + answered_s) / 2.0))
        self._samples = [one for one in self._samples[-FIT_SAMPLES:] if one[0] > answered_s - FIT_AGE_S]
        _, took_s, self.ahead_s = min(self._samples, key=_took)
        self.error_s = took_s / 2.0


def _took(sample: tuple[float, float, float]) -> float:
    return sample[1]


def permits_of(block: Block, ask: Ask) -> Sequence[Permit]:
    """Return the slots of an answer as permits, each for the call that stands at its place in `ask.wanted`."""
    return [
        _permit(grant, ask.names, tokens) for grant, (tokens, _) in zip(block.slots, ask.wanted, strict=False)
    ]
