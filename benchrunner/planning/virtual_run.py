"""A run played call by call under a virtual clock: the engine's own rules, real policies, real windows. Pure.

    instants (a heap) ──> what happens ──> conductor (RunState) ──> orders: start, hand, let go
       ▲                                                               │
       └── ready · ask · send · reply · gone · tick ◄──────────────────┘

Under a managed policy a call leaves when the windows allow it; under `native` at its shard's own pace, and a strict
provider refuses what is too much, as the embedded one does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

from benchrunner.limits.domains import spread_s
from benchrunner.limits.local import LocalWindows
from benchrunner.planning.conducting import Conductor, GoOn, Hand, LetGo, Order, Start, TellWhenSent
from benchrunner.planning.forecast import (
    CALL_OVERHEAD_S,
    WORKER_START_S,
    Forecast,
    LeaseForecast,
    LoadMeter,
    Usage,
    World,
    finish,
)
from benchrunner.planning.trial_shapes import TrialShape
from benchrunner.records import Domain, Limit, LimitKind, Permit, Shard

TICK_S = 0.05
"""How often the rules are asked when nothing happens: as often as the supervisor does."""

MOST_TICKS = 4000
"""A run that is expected to take long is asked less often: what a tick decides late is small against its length."""

EXIT_S = 0.02
"""From a worker's letting go to the end of its process, at which the rules are asked again."""


class VirtualClock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        """Start at zero."""
        self.at_s = 0.0

    def now_s(self) -> float:
        """Return the virtual instant."""
        return self.at_s

    def sleep_s(self, seconds: float) -> None:
        """Move on by `seconds`."""
        self.at_s += max(0.0, seconds)

    def utc(self) -> str:
        """Return no time: nothing of a forecast is kept under one."""
        return ""


@dataclass(slots=True)
class _Worker:
    worker_id: str
    shard: Shard
    key_id: str
    domains: tuple[str, ...]
    usages: tuple[Usage, Usage]
    logs: tuple[_StrictLog, ...]  # the provider's, under `native`
    leased_s: float  # since when it serves `shard`
    ready_s: float
    next_pace_s: float = 0.0  # under `native`
    held_until_s: float = 0.0
    in_hand: int = 0  # trials it holds
    unsent: int = 0  # of these, those that have sent nothing yet
    tell_sent: int = 0  # under which number to say that there are none of these; 0: nobody asked
    let_go: bool = False


@dataclass(slots=True)
class _Dialogue:
    worker: _Worker
    trial_id: str
    shape: TrialShape
    place: int = 0  # its present call
    asked_s: float = 0.0
    permit: Permit | None = None


class _StrictLog:
    """What a provider counts at arrival for one limit."""

    def __init__(self, limit: Limit) -> None:
        self._limit, self._sent, self._used = limit, deque[tuple[float, float]](), 0.0

    def wait_s(self, now_s: float, tokens: float) -> float:
        """Return how long a call would have to wait; 0.0: it may be served."""
        weight = self._weight(tokens)
        while self._sent and self._sent[0][0] + self._limit.per_s <= now_s:
            self._used -= self._sent.popleft()[1]
        over = self._used + weight - self._limit.amount
        if over <= 1e-9:
            return 0.0
        for at_s, held in self._sent:
            over -= held
            if over <= 1e-9:
                return at_s + self._limit.per_s - now_s
        return self._limit.per_s

    def count(self, now_s: float, tokens: float) -> None:
        """Count a call that is served."""
        weight = self._weight(tokens)
        self._sent.append((now_s, weight))
        self._used += weight

    def _weight(self, tokens: float) -> float:
        return min(tokens, self._limit.amount) if self._limit.kind is LimitKind.TOKENS else 1.0


def play_calls(world: World, conductor: Conductor) -> Forecast:
    """Return the forecast of a run under the conductor's rules, every call played."""
    return _Run(world, conductor).play()


class _Run:
    def __init__(self, world: World, conductor: Conductor) -> None:
        self._world, self._conductor = world, conductor
        self._shards = {shard.shard_id: shard for shard in world.shards}
        self._keys = {key.key_id: key for key in world.keys}
        self._clock = VirtualClock()
        self._windows = LocalWindows(self._clock)
        self._heap: list[tuple[float, int, Callable[[_Dialogue], None], _Dialogue]] = []
        self._number = count()
        self._workers: dict[str, _Worker] = {}
        self._gone: list[tuple[float, str]] = []
        self._usages: dict[tuple[str, str], Usage] = {}
        self._logs: dict[tuple[str, str], tuple[_StrictLog, ...]] = {}
        self._meter = LoadMeter([key.key_id for key in world.keys])
        self._leases: list[tuple[Shard, str, float, float]] = []  # key, granted and released
        self._first_s: float | None = None
        self._last_reply_s = 0.0
        self._refused = 0
        self._registered: set[tuple[str, str]] = set()
        busy_s = sum(shape.busy_s for shape in world.shapes.values())
        self._tick_s = max(TICK_S, busy_s / MOST_TICKS / 4)

    def play(self) -> Forecast:
        """Play to the end."""
        conductor, heap = self._conductor, self._heap
        tick_s = 0.0
        while not conductor.ended:
            due_s = min(tick_s, heap[0][0] if heap else tick_s, self._gone[0][0] if self._gone else tick_s)
            self._clock.at_s = due_s
            if self._gone and self._gone[0][0] == due_s:
                _, worker_id = heappop(self._gone)
                self._follow(conductor.worker_gone(worker_id, due_s))
            elif heap and heap[0][0] == due_s:
                _, _, happens, dialogue = heappop(heap)
                happens(dialogue)
            else:
                self._follow(conductor.tick(due_s))
                tick_s = due_s + self._tick_s
                if not heap and not self._gone and (again_s := conductor.asks_again_s) is not None:
                    tick_s = max(tick_s, again_s)  # launches may be hours apart, with nothing going on in between
        self._windows.close()
        first_s = self._first_s or 0.0
        leases = [
            LeaseForecast(
                shard_id=shard.shard_id,
                model=shard.model,
                label=shard.label,
                key_id=key_id,
                start_s=round(start_s - first_s, 3),
                end_s=round(end_s - first_s, 3),
            )
            for shard, key_id, start_s, end_s in self._leases
        ]
        return finish(
            self._world,
            played="call",
            first_s=first_s,
            end_s=self._last_reply_s,
            refused=self._refused,
            usages=self._usages,
            meter=self._meter,
            leases=sorted(leases, key=lambda lease: (lease.start_s, lease.shard_id)),
        )

    # --- orders -----------------------------------------------------------------------------------------------------

    def _follow(self, orders: list[Order]) -> None:
        now_s = self._clock.at_s
        asked: list[_Worker] = []
        for order in orders:
            match order:
                case Start():
                    self._start(order, now_s)
                case Hand():
                    worker = self._workers[order.worker_id]
                    worker.in_hand += len(order.trial_ids)
                    worker.unsent += len(order.trial_ids)
                    worker.tell_sent = 0
                    for trial_id in order.trial_ids:
                        dialogue = _Dialogue(worker, trial_id, self._world.shapes[trial_id])
                        self._at(max(now_s, worker.ready_s), self._ask, dialogue)
                case GoOn():
                    worker = self._workers[order.worker_id]
                    self._note_lease(worker, now_s)
                    worker.shard, worker.leased_s = self._shards[order.shard_id], now_s
                case TellWhenSent():
                    asked.append(self._workers[order.worker_id])
                    asked[-1].tell_sent = order.nth
                case LetGo():
                    worker = self._workers[order.worker_id]
                    worker.let_go = True
                    self._note_lease(worker, now_s)
                    self._end_if_idle(worker)
        for worker in asked:
            self._say_if_sent(worker)

    def _say_if_sent(self, worker: _Worker) -> None:
        if worker.tell_sent and not worker.unsent:
            nth, worker.tell_sent = worker.tell_sent, 0
            self._follow(self._conductor.all_sent(worker.worker_id, nth, self._clock.at_s))

    def _end_if_idle(self, worker: _Worker) -> None:
        if worker.let_go and not worker.in_hand:
            heappush(self._gone, (self._clock.at_s + EXIT_S, worker.worker_id))

    def _note_lease(self, worker: _Worker, now_s: float) -> None:
        self._leases.append((worker.shard, worker.key_id, worker.leased_s, now_s))

    def _start(self, order: Start, now_s: float) -> None:
        shard, key = self._shards[order.shard_id], self._keys[order.key_id]
        places = ("key", key.key_id), (key.account, shard.model)
        limits = key.limits, self._world.models[shard.model].limits
        names = tuple("/".join(place) for place in places)
        managed = self._world.policy.managed
        for place, name, mine in zip(places, names, limits, strict=True):
            if place in self._registered:
                continue
            self._registered.add(place)
            self._usages[place] = Usage()
            self._logs[place] = tuple(map(_StrictLog, mine))
            if managed:
                self._windows.register([self._domain(name, shard.provider, mine)])
        self._workers[order.worker_id] = _Worker(
            worker_id=order.worker_id,
            shard=shard,
            key_id=order.key_id,
            domains=names,
            usages=(self._usages[places[0]], self._usages[places[1]]),
            logs=self._logs[places[0]] + self._logs[places[1]],
            leased_s=now_s,
            ready_s=now_s + WORKER_START_S,
        )

    def _domain(self, name: str, provider: str, limits: tuple[Limit, ...]) -> Domain:
        place = self._world.providers[provider]
        return Domain(
            name=name,
            label=name,
            provider=provider,
            limits=limits,
            spread_s=spread_s(limits),
            margin_floor_s=place.margin_floor_s,
            margin_ceiling_s=place.margin_ceiling_s,
        )

    # --- what happens to one call -----------------------------------------------------------------------------------

    def _at(self, at_s: float, happens: Callable[[_Dialogue], None], dialogue: _Dialogue) -> None:
        heappush(self._heap, (at_s, next(self._number), happens, dialogue))

    def _ask(self, dialogue: _Dialogue) -> None:
        worker, now_s = dialogue.worker, self._clock.at_s
        dialogue.asked_s = now_s
        if self._world.policy.managed:
            dialogue.permit = self._windows.reserve(worker.domains, round(dialogue.shape.tokens_per_call))
            self._at(max(now_s, dialogue.permit.not_before_mono_s), self._spend, dialogue)
        else:
            self._take_turn(dialogue)

    def _spend(self, dialogue: _Dialogue) -> None:
        assert dialogue.permit is not None, "a managed call reserves before it spends"
        dialogue.permit, may_send = self._windows.spend(dialogue.permit)
        if may_send:
            self._send(dialogue)
        else:
            self._at(max(self._clock.at_s, dialogue.permit.not_before_mono_s), self._spend, dialogue)

    def _take_turn(self, dialogue: _Dialogue) -> None:
        worker, now_s = dialogue.worker, self._clock.at_s
        at_s = max(worker.next_pace_s, worker.held_until_s, now_s)
        worker.next_pace_s = at_s + 1.0 / worker.shard.pace_qps
        self._at(at_s, self._dare, dialogue)

    def _dare(self, dialogue: _Dialogue) -> None:
        worker, now_s = dialogue.worker, self._clock.at_s
        if now_s < worker.held_until_s:
            self._take_turn(dialogue)
            return
        tokens = dialogue.shape.tokens_per_call
        wait_s = max((log.wait_s(now_s, tokens) for log in worker.logs), default=0.0)
        if wait_s > 0.0:
            self._refused += 1
            worker.held_until_s = max(worker.held_until_s, now_s + wait_s)
            self._take_turn(dialogue)
            return
        for log in worker.logs:
            log.count(now_s, tokens)
        self._send(dialogue)

    def _send(self, dialogue: _Dialogue) -> None:
        worker, now_s = dialogue.worker, self._clock.at_s
        if self._first_s is None:
            self._first_s = now_s
        tokens = dialogue.shape.tokens_per_call
        for usage in worker.usages:
            usage.add(now_s, now_s, 1.0, tokens)
        since_s = now_s - self._first_s
        self._meter.add(worker.key_id, since_s, since_s, 1.0)
        self._conductor.call_leaves(worker.worker_id, now_s - dialogue.asked_s, now_s)
        latency_s = dialogue.shape.latencies_s[dialogue.place]
        self._at(now_s + latency_s + CALL_OVERHEAD_S, self._reply, dialogue)
        if not dialogue.place:
            worker.unsent -= 1
            self._say_if_sent(worker)

    def _reply(self, dialogue: _Dialogue) -> None:
        now_s = self._clock.at_s
        self._last_reply_s = now_s
        dialogue.place += 1
        if dialogue.place < dialogue.shape.calls:
            self._ask(dialogue)
        else:
            worker = dialogue.worker
            worker.in_hand -= 1
            self._end_if_idle(worker)
            self._follow(self._conductor.trial_done(worker.worker_id, dialogue.trial_id, now_s))
