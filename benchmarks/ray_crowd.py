"""A cluster of 1,000 keys and 10,000 workers under a virtual clock: the real windows and blocks, a modelled network.

    worker: so many dialogues; a waiting one asks, together with all others of the worker that wait
      └── way there ──> registry: a queue and one server ──> way back ──> each slot leaves at its instant, a little late
    a dialogue is back after its call's latency; the provider counts arrivals per key in an exact window of its own

What is modelled is only what this machine cannot hold: the network's delay, the registry's service time and the calls.
`ClusterRegistry`, `BlockWindows` and `OwnLog` are those of production.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from benchrunner.engine.block_gate import REPORT_EVERY_S
from benchrunner.engine.block_link import TOOK_FADES
from benchrunner.limits.blocks import Ask, Block, News, OwnLog, Report, allowed_late_s, permits_of
from benchrunner.records import Domain, Lease, Limit, LimitKind, Permit
from benchrunner.registry.cluster import ClusterRegistry, KeyClaim
from benchrunner.registry.service import KeyRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """What is simulated. Each worker serves one key; each key is served by `workers_per_key` of them."""

    keys: int = 1_000
    workers_per_key: int = 10
    dialogues: int = 3  # of one worker
    limit: int = 10  # requests per second and key
    latency_s: float = 1.0  # median of a call, log-normal with sigma 0.3
    way_s: float = 0.000_5  # one way between worker and registry, exponential
    exchange_s: float = 0.000_4  # of the registry's time, whatever is asked
    permit_s: float = 0.000_012  # and for each permit
    late_s: float = 0.002  # mean lateness of a sender, exponential
    lead_s: float = 0.03
    seconds: float = 15.0
    warm_s: float = 5.0  # left out of the figures: everybody starts at once
    seed: int = 7

    @property
    def workers(self) -> int:
        """Return how many workers there are."""
        return self.keys * self.workers_per_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What came of it."""

    used: float  # share of what all limits together allow
    busy: float  # share of the busiest registry's time
    exchanges_per_s: float  # of one registry
    answer_p99_s: float  # from a worker's question to its answer
    refused: int
    voids: int  # slots that came too late to be used


class VirtualClock:
    """A clock that stands where the simulation is."""

    def __init__(self) -> None:
        self._now_s = 1_000.0

    def now_s(self) -> float:
        """Return the simulation's time."""
        return self._now_s

    def move(self, to_s: float) -> None:
        """Go on to an instant that is not before now."""
        self._now_s = to_s

    def sleep_s(self, seconds: float) -> None:
        """Refuse: nothing sleeps in here."""
        raise AssertionError(f"a simulation does not sleep {seconds} s")

    def utc(self) -> str:
        """Return nothing of use: no record is kept."""
        return ""


@dataclass(slots=True)
class _Registry:
    held: ClusterRegistry
    free_s: float = 0.0
    busy_s: float = 0.0
    exchanges: int = 0


@dataclass(slots=True)
class _Worker:
    registry: _Registry
    ask: Ask
    own: OwnLog
    key: int
    waiting: int = 0
    asking: bool = False
    again_s: float = 0.0
    took_s: float = 0.0
    news: list[Report] = field(default_factory=list)


class _Play:
    def __init__(self, crowd: Crowd, registries: int) -> None:
        self.crowd, self.clock, self.rng = crowd, VirtualClock(), random.Random(crowd.seed)
        self.began_s = self.clock.now_s()
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.order = itertools.count()
        self.registries = [_Registry(ClusterRegistry(self.clock, name=str(n))) for n in range(registries)]
        self.arrivals: list[deque[float]] = [deque() for _ in range(crowd.keys)]
        self.accepted = self.refused = self.voids = 0
        self.answers: list[float] = []
        self.workers = [self._worker(n) for n in range(crowd.workers)]

    def _worker(self, number: int) -> _Worker:
        key = number // self.crowd.workers_per_key
        limits = (Limit(kind=LimitKind.REQUESTS, amount=self.crowd.limit, per_s=1.0),)
        # As limits/domains.py makes a key's domain, with the shipped margins.
        domain = Domain(
            name=f"key:{key}", label=f"key{key}", provider="p", limits=limits, margin_floor_s=0.015, spread_s=0.005
        )
        registry = self.registries[key % len(self.registries)]
        registry.held.register([domain])
        granted = registry.held.lease(
            KeyClaim(
                row=KeyRow(key_id=str(key), provider="p", slots=0), model="m", shard_id="s", holder=f"r/s/{number}",
                worker="", note="", counted=False,
            )
        )  # fmt: skip
        assert isinstance(granted, Lease)
        ask = Ask(names=(domain.name,), key=str(key), fence=granted.fence, registry=registry.held.name)
        return _Worker(registry=registry, ask=ask, own=OwnLog([domain]), key=key)

    def at(self, at_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self.events, (at_s, next(self.order), act))

    def run(self) -> None:
        for worker in self.workers:
            for _ in range(self.crowd.dialogues):
                self.at(self.began_s + self.rng.random() * self.crowd.latency_s, lambda w=worker: self.want(w))  # type: ignore[misc]
        end_s = self.began_s + self.crowd.seconds
        while self.events and self.events[0][0] <= end_s:
            at_s, _, act = heapq.heappop(self.events)
            self.clock.move(at_s)
            act()

    def want(self, worker: _Worker) -> None:
        worker.waiting += 1
        self.ask(worker)

    def ask(self, worker: _Worker) -> None:
        now_s = self.clock.now_s()
        if worker.asking or not worker.waiting:
            return
        if worker.again_s > now_s:
            self.at(worker.again_s, lambda: self.ask(worker))  # a report may go in between
            return
        worker.asking = True
        self.depart(worker)

    def report(self, worker: _Worker) -> None:
        """Tell what nobody has come to tell yet."""
        if worker.news and not worker.asking:
            worker.asking = True
            self.depart(worker)

    def depart(self, worker: _Worker) -> None:
        asked_s = self.clock.now_s()
        may_ask = asked_s >= worker.again_s
        wanted = ((100, self.crowd.lead_s),) * (worker.waiting if may_ask else 0)
        news, worker.news = tuple(worker.news), []
        ask = replace(worker.ask, wanted=wanted, reports=news)
        self.at(asked_s + self.way(), lambda: self.arrive(worker, ask, asked_s))

    def arrive(self, worker: _Worker, ask: Ask, asked_s: float) -> None:
        """Queue at the registry; it is asked when its turn comes, as an actor runs one call after the other."""
        registry = worker.registry
        begins_s = max(self.clock.now_s(), registry.free_s)
        cost_s = self.crowd.exchange_s + self.crowd.permit_s * len(ask.wanted)
        registry.free_s = begins_s + cost_s
        if begins_s >= self.began_s + self.crowd.warm_s:
            registry.busy_s += cost_s
            registry.exchanges += 1
        self.at(begins_s, lambda: self.serve(worker, ask, asked_s, cost_s))

    def serve(self, worker: _Worker, ask: Ask, asked_s: float, cost_s: float) -> None:
        block = worker.registry.held.exchange(ask)
        self.at(self.clock.now_s() + cost_s + self.way(), lambda: self.hear(worker, ask, block, asked_s))

    def hear(self, worker: _Worker, ask: Ask, block: Block, asked_s: float) -> None:
        now_s = self.clock.now_s()
        self.answers.append(now_s - asked_s)
        worker.took_s = max(now_s - asked_s, TOOK_FADES * worker.took_s)
        worker.asking = False
        if ask.wanted:
            worker.again_s = now_s + block.again_s if block.again_s else 0.0
        for permit in permits_of(block, ask):
            worker.waiting -= 1
            leaves_s = max(now_s, permit.not_before_mono_s) + self.rng.expovariate(1.0 / self.crowd.late_s)
            self.at(leaves_s, lambda p=permit, b=block: self.send(worker, p, b))  # type: ignore[misc]
        self.ask(worker)

    def send(self, worker: _Worker, permit: Permit, block: Block) -> None:
        now_s = self.clock.now_s()
        late_s = now_s - permit.not_before_mono_s
        told_after_s = min(REPORT_EVERY_S, block.late_s)
        allowed_s = allowed_late_s(block, told_after_s=told_after_s, exchange_s=worker.took_s)
        if late_s > allowed_s or worker.own.wait_s(now_s, block.guard_s) > 0.0:
            self.voids += 1
            worker.news.append(Report(news=News.BACK, permit=permit))
            self.want(worker)
            return
        worker.own.note(now_s, block.guard_s)
        worker.news.append(Report(news=News.SENT, permit=permit, seconds=late_s))
        self.at(now_s + told_after_s, lambda: self.report(worker))
        self.count(worker.key, now_s)
        self.at(now_s + self.crowd.latency_s * self.rng.lognormvariate(0.0, 0.3), lambda: self.want(worker))

    def count(self, key: int, now_s: float) -> None:
        stamps = self.arrivals[key]
        while stamps and stamps[0] <= now_s - 1.0:
            stamps.popleft()
        if len(stamps) >= self.crowd.limit:
            self.refused += 1
            return
        stamps.append(now_s)
        self.accepted += now_s >= self.began_s + self.crowd.warm_s

    def way(self) -> float:
        return self.rng.expovariate(1.0 / self.crowd.way_s)


def run_crowd(crowd: Crowd, *, registries: int) -> Found:
    """Return what so many registries, the keys dealt out among them, make of the crowd."""
    play = _Play(crowd, registries)
    play.run()
    seconds = crowd.seconds - crowd.warm_s
    busiest = max(play.registries, key=lambda one: one.busy_s)
    answers = sorted(play.answers)
    return Found(
        used=play.accepted / (crowd.keys * crowd.limit * seconds),
        busy=min(1.0, busiest.busy_s / seconds),
        exchanges_per_s=busiest.exchanges / seconds,
        answer_p99_s=answers[len(answers) * 99 // 100] if answers else 0.0,
        refused=play.refused,
        voids=play.voids,
    )


