"""A run played trial by trial: calls are a flow. For runs of more calls than can be played one by one. Pure.

A worker with n trials in flight asks for n / (seconds per call) calls per second. Where its key, its (account, model)
or its own pace lets fewer through, all its trials slow down alike: permits are given out first come, first served, so
every dialogue waits the same. So each worker has one clock of work done, a trial ends when that clock reaches its
work, and only such ends, grants and the bins of long windows need be looked at: some thousand instants instead of a
hundred thousand calls.

The engine's rules (engine/state.py) stand here once more, in the compact form they have when nothing goes wrong:
who is fed how much, when keys come free, who joins. The policies are the real ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf, pow, sqrt

from benchrunner.limits.domains import burst_of
from benchrunner.planning.flow_windows import FlowDomain
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
from benchrunner.planning.shard_time import SATURATED_SHARE, SHARE_HOLD_S, expected_shard_s, last_reply_s, most_in_hand
from benchrunner.planning.trial_shapes import TrialShape
from benchrunner.planning.windows import rate_per_s
from benchrunner.policies.base import KeyView, ShardView, view_of
from benchrunner.records import KeyEntry, LimitKind, Shard

REGRANT_S = 0.005
"""From a key's release to the next lease on it: two questions to the Manager and a message to the next worker."""

HELD_BACK_SPEED = 0.98
"""A worker slower than this waits for permits; as `wait_s` tells engine/rations.py."""

_NEVER_S = 1e12


@dataclass(slots=True)
class _ShardFlow:
    shard: Shard
    pending: list[TrialShape]  # reversed: the next one is the last
    call_s: float  # mean, overhead included
    tokens_per_call: float
    started_s: float | None = None
    running: int = 0
    workers: list[_WorkerFlow] = field(default_factory=list)

    @property
    def left(self) -> int:
        return len(self.pending) + self.running


@dataclass(slots=True)
class _Lane:
    """The limits of one domain and the workers that go through them."""

    domain: FlowDomain
    usage: Usage = field(default_factory=Usage)
    workers: list[_WorkerFlow] = field(default_factory=list)


@dataclass(slots=True)
class _WorkerFlow:
    of: _ShardFlow
    key: KeyEntry
    lanes: tuple[_Lane, _Lane]  # the key's, the (account, model)'s
    granted_s: float
    ready_s: float
    leased_s: float  # since when it serves `of`
    progress_s: float = 0.0  # work done by each of its trials since the first began
    # progress at which a trial ends, a number, its shard (perhaps the one before), how long it takes alone
    ends: list[tuple[float, int, _ShardFlow, float]] = field(default_factory=list)
    took_s: float = 0.0  # when it last took a trial
    asked_per_s: float = 0.0  # calls its trials ask for while nothing holds them back
    asked_tokens_per_s: float = 0.0
    speed: float = 1.0  # work done per second
    flow_per_s: float = 0.0
    held_back: bool = False
    calls: float = 0.0
    metered_calls: float = 0.0  # of these, and until when, the load over time knows
    metered_s: float = 0.0

    @property
    def tokens_per_call(self) -> float:
        """Return the tokens of its calls, in the mean over the trials it runs."""
        return self.asked_tokens_per_s / self.asked_per_s if self.ends else self.of.tokens_per_call

    def begin(self, one: _ShardFlow, work_s: float, number: int) -> None:
        """Take a trial of the shard."""
        heappush(self.ends, (self.progress_s + work_s, number, one, work_s))
        one.running += 1
        self.asked_per_s += 1.0 / one.call_s
        self.asked_tokens_per_s += one.tokens_per_call / one.call_s

    def end(self) -> None:
        """Be done with the trial that is done first."""
        _, _, one, _ = heappop(self.ends)
        one.running -= 1
        # To exactly nothing with the last: what is left of sums of fractions would be a flow of no trials.
        self.asked_per_s = self.asked_per_s - 1.0 / one.call_s if self.ends else 0.0
        left = self.asked_tokens_per_s - one.tokens_per_call / one.call_s
        self.asked_tokens_per_s = left if self.ends else 0.0


def play_flow(world: World) -> Forecast:
    """Return the forecast of a run, played trial by trial."""
    return _Flow(world).play()


class _Flow:
    def __init__(self, world: World) -> None:
        self._world = world
        self._shards = [self._shard(shard) for shard in sorted(world.shards, key=lambda shard: shard.position)]
        self._by_id = {one.shard.shard_id: one for one in self._shards}
        self._keys = {key.key_id: key for key in world.keys}
        self._measured = {one.model: one.measured_call_s for one in world.shards if one.measured_call_s is not None}
        self._key_rate = {
            key.key_id: rate_per_s([one for one in key.limits if one.kind is LimitKind.REQUESTS], 1.0)
            for key in world.keys
        }
        self._key_burst = {key.key_id: burst_of(key.limits) for key in world.keys}
        self._workers: list[_WorkerFlow] = []
        self._lanes: dict[tuple[str, str], _Lane] = {}
        self._limited: tuple[list[_Lane], list[_Lane]] = ([], [])  # keys' and models' that have any limit
        self._stepped: list[_Lane] = []  # those that must be looked at step by step
        self._left = sum(len(one.pending) for one in self._shards)
        self._meter = LoadMeter([key.key_id for key in world.keys])
        self._leases: list[LeaseForecast] = []
        self._number = 0
        self._first_s = self._end_s = 0.0
        self._hands_on = world.policy.hands_on and world.one_turn
        self._now_s = 0.0
        self._ask_s = 0.0  # when the policy is to be asked next
        self._hold_ends_s = _NEVER_S  # when a worker may next be given more than its fair share

    def _shard(self, shard: Shard) -> _ShardFlow:
        shapes = [self._world.shapes[trial_id] for trial_id in shard.trial_ids]
        calls = sum(shape.calls for shape in shapes)
        busy_s = sum(shape.busy_s for shape in shapes)
        return _ShardFlow(
            shard=shard,
            pending=shapes[::-1],
            call_s=busy_s / calls + CALL_OVERHEAD_S,
            tokens_per_call=sum(shape.calls * shape.tokens_per_call for shape in shapes) / calls,
        )

    def play(self) -> Forecast:
        """Play to the end."""
        while self._left:
            if self._now_s >= self._ask_s:
                self._grant()
            if self._now_s >= self._hold_ends_s:
                self._hold_ends_s = min(
                    (end_s for one in self._workers if (end_s := one.granted_s + SHARE_HOLD_S) > self._now_s),
                    default=_NEVER_S,
                )
                for shard in self._shards:
                    self._feed(shard)
            self._set_speeds()
            self._move_to(self._next_instant())
            self._end_trials()
            if self._hands_on:
                self._hand_on()
        return finish(
            self._world,
            played="trial",
            first_s=self._first_s,
            end_s=self._end_s,
            refused=0,
            usages={place: lane.usage for place, lane in self._lanes.items()},
            meter=self._meter,
            leases=sorted(self._leases, key=lambda lease: (lease.start_s, lease.shard_id)),
        )

    # --- who runs where ---------------------------------------------------------------------------------------------

    def _grant(self) -> None:
        now_s = self._now_s
        choice = self._world.policy.choose(
            now_s=now_s, shards=tuple(map(self._view, self._shards)), keys=tuple(map(self._key_view, self._world.keys))
        )
        self._ask_s = _NEVER_S if choice.ask_again_s is None else choice.ask_again_s
        for grant in choice.grants:
            one, key = self._by_id[grant.shard_id], self._keys[grant.key_id]
            if not self._leases and not self._workers:
                self._first_s = now_s + WORKER_START_S
            if one.started_s is None:
                one.started_s = now_s
            if grant.goes_on:
                self._go_on(one, key)
            else:
                self._start(one, key)
        for one in {grant.shard_id: self._by_id[grant.shard_id] for grant in choice.grants}.values():
            self._feed(one)
            self._let_go(one)
        if not self._workers and self._ask_s == _NEVER_S:
            raise RuntimeError(f"policy {self._world.policy.name} leaves shards waiting with nothing running")

    def _start(self, one: _ShardFlow, key: KeyEntry) -> None:
        ready_s = self._now_s + WORKER_START_S
        worker = _WorkerFlow(
            of=one,
            key=key,
            lanes=self._lanes_of(key, one.shard),
            granted_s=self._now_s,
            ready_s=ready_s,
            leased_s=self._now_s,
            metered_s=ready_s,
        )
        for lane in worker.lanes:
            lane.workers.append(worker)
        one.workers.append(worker)
        self._workers.append(worker)
        self._hold_ends_s = min(self._hold_ends_s, self._now_s + SHARE_HOLD_S)

    def _go_on(self, one: _ShardFlow, key: KeyEntry) -> None:
        model = one.shard.model
        worker = next(w for w in self._workers if w.key is key and w.of.shard.model == model and self._is_spare(w))
        self._note_lease(worker)
        worker.of.workers.remove(worker)
        worker.of, worker.leased_s = one, self._now_s
        one.workers.append(worker)

    def _is_spare(self, worker: _WorkerFlow) -> bool:
        """See engine/rations.py."""
        one = worker.of
        if one.pending or len(worker.ends) >= one.shard.workers:
            return False
        return len(worker.ends) <= self._key_rate[worker.key.key_id] * one.call_s

    def _lanes_of(self, key: KeyEntry, shard: Shard) -> tuple[_Lane, _Lane]:
        margin_s = self._world.providers[shard.provider].margin_floor_s if self._world.policy.managed else 0.0
        places = ("key", key.key_id), (key.account, shard.model)
        for kind, limits in enumerate((key.limits, self._world.models[shard.model].limits)):
            if places[kind] in self._lanes:
                continue
            lane = self._lanes[places[kind]] = _Lane(FlowDomain(limits, margin_s))
            if limits:
                self._limited[kind].append(lane)
            if lane.domain.has_memory:
                self._stepped.append(lane)
        return self._lanes[places[0]], self._lanes[places[1]]

    def _view(self, one: _ShardFlow) -> ShardView:
        return view_of(
            one.shard,
            pending=len(one.pending),
            running=one.running,
            expected_s=self._expected_s(one),
            keys=tuple(worker.key.key_id for worker in one.workers),
            started_s=one.started_s,
        )

    def _expected_s(self, one: _ShardFlow) -> float:
        return expected_shard_s(
            one.shard,
            one.left,
            total=len(one.shard.trial_ids),
            limit_per_s=self._key_rate.get(one.shard.key_id, inf),
            call_s=one.shard.expected_call_s,
            last_reply_s=last_reply_s(one.shard.model, self._measured),
        )

    def _key_view(self, key: KeyEntry) -> KeyView:
        return KeyView(
            key_id=key.key_id,
            provider=key.provider,
            slots=key.slots,
            models=tuple(worker.of.shard.model for worker in self._workers if worker.key is key),
            spare=tuple(w.of.shard.model for w in self._workers if w.key is key and self._is_spare(w)),
            usable=True,
        )

    def _feed(self, one: _ShardFlow) -> None:
        pending = one.pending
        if not pending:
            return
        others_wait = self._world.policy.joins and any(
            other.pending and not other.workers and other.shard.provider == one.shard.provider
            for other in self._shards
        )
        alone = len(one.workers) == 1
        for worker in one.workers:
            room = self._room(one, worker, others_wait)
            idle_beside = 0 if alone else sum(1 for other in one.workers if other is not worker and not other.ends)
            while len(worker.ends) < room and len(pending) > (idle_beside if worker.ends else 0):
                shape = pending.pop()
                self._number += 1
                worker.begin(one, shape.busy_s + shape.calls * CALL_OVERHEAD_S, self._number)
                worker.took_s = self._now_s

    def _room(self, one: _ShardFlow, worker: _WorkerFlow, others_wait: bool) -> int:
        limit = one.shard.workers
        if others_wait or not self._world.policy.joins:
            return limit
        keys = sum(1 for key in self._world.keys if key.provider == one.shard.provider and key.slots)
        if keys < 2:
            return limit
        enough_per_s = SATURATED_SHARE * self._key_rate[worker.key.key_id]
        # The first calls of all its dialogues leave together, and for a second that looks like a full key.
        bursts = len(worker.ends) >= enough_per_s and self._now_s < worker.ready_s + 1.0
        busy = bursts or worker.held_back or worker.flow_per_s >= enough_per_s
        if not busy and self._now_s >= worker.granted_s + SHARE_HOLD_S:
            return limit
        key_id = worker.key.key_id
        enough = most_in_hand(self._key_burst[key_id], self._key_rate[key_id], one.call_s)
        return min(limit, max(1, int(min(-(-one.left // keys), enough))))

    # --- time passes ------------------------------------------------------------------------------------------------

    def _set_speeds(self) -> None:
        """Set how fast each worker goes from now on: what it asks, cut down by its pace, its model, its key."""
        now_s = self._now_s
        managed = self._world.policy.managed
        for worker in self._workers:
            if not worker.ends or worker.ready_s > now_s:
                worker.flow_per_s = 0.0
                continue
            asked = worker.asked_per_s
            worker.flow_per_s = (
                asked if managed else _let_through(asked, worker.of.shard.pace_qps, len(worker.ends))
            )
        for lanes in reversed(self._limited):  # models' first: what they cut off, others may use of the key
            for lane in lanes:
                if lane.workers:
                    _share_out(lane, now_s)
        for worker in self._workers:
            if worker.ends:
                worker.speed = worker.flow_per_s / worker.asked_per_s
                worker.held_back = worker.speed < HELD_BACK_SPEED

    def _next_instant(self) -> float:
        now_s, soonest_s = self._now_s, min(self._ask_s, self._hold_ends_s)
        for worker in self._workers:
            if not worker.ends:
                continue
            due_s = worker.ready_s
            if due_s <= now_s:
                if worker.speed <= 0.0:
                    continue
                due_s = now_s + (worker.ends[0][0] - worker.progress_s) / worker.speed
            if self._hands_on and self._only_runs_out(worker):
                due_s = min(due_s, self._all_sent_s(worker))
            if due_s < soonest_s:
                soonest_s = due_s
        for lane in self._stepped:
            if lane.workers:
                soonest_s = min(soonest_s, now_s + lane.domain.lasts_s(now_s))
        return max(soonest_s, now_s)

    def _move_to(self, to_s: float) -> None:
        now_s, span_s = self._now_s, to_s - self._now_s
        for lane in self._stepped:
            calls = sum(worker.flow_per_s for worker in lane.workers) * span_s
            if calls:
                tokens = sum(worker.flow_per_s * worker.tokens_per_call for worker in lane.workers) * span_s
                lane.domain.pass_through(now_s, to_s, calls, tokens)
        every_s = self._meter.bucket_s / 4
        for worker in self._workers:
            if worker.flow_per_s:
                worker.progress_s += worker.speed * span_s
                worker.calls += worker.flow_per_s * span_s
                if to_s - worker.metered_s >= every_s:
                    self._note_load(worker, to_s)
        self._now_s = to_s

    def _note_load(self, worker: _WorkerFlow, to_s: float) -> None:
        calls = worker.calls - worker.metered_calls
        from_s = worker.metered_s
        if calls:
            self._meter.add(worker.key.key_id, max(0.0, from_s - self._first_s), max(0.0, to_s - self._first_s), calls)
            for lane in worker.lanes:
                lane.usage.add(from_s, to_s, calls, calls * worker.tokens_per_call)
        worker.metered_calls, worker.metered_s = worker.calls, to_s

    def _end_trials(self) -> None:
        ended: list[_WorkerFlow] = []
        for worker in self._workers:
            before = len(worker.ends)
            while worker.ends and worker.ends[0][0] <= worker.progress_s + 1e-9:
                worker.end()
                self._left -= 1
            if len(worker.ends) < before:
                self._end_s = max(self._end_s, self._now_s)
                ended.append(worker)
        for one in {id(worker.of): worker.of for worker in ended}.values():
            self._feed(one)
        if self._world.policy.joins and any(self._is_wanted(worker) for worker in ended):
            self._grant()
        for one in {id(worker.of): worker.of for worker in ended}.values():
            self._let_go(one)

    def _is_wanted(self, worker: _WorkerFlow) -> bool:
        """Return whether the worker has nothing left to take while other shards of its model do."""
        model = worker.of.shard.model
        return self._is_spare(worker) and any(one.pending and one.shard.model == model for one in self._shards)

    def _only_runs_out(self, worker: _WorkerFlow) -> bool:
        """See engine/handing_on.py: whether its key is to be handed on once all it has in hand has left."""
        mine = worker.of
        if mine.pending or not worker.ends or not worker.key.slots:
            return False
        waiting = [one for one in self._shards if one.pending and one.shard.provider == mine.shard.provider]
        if any(one.shard.model == mine.shard.model for one in waiting):
            return False
        return any(all(other.key is not worker.key for other in one.workers) for one in waiting)

    def _all_sent_s(self, worker: _WorkerFlow) -> float:
        """Return when the last of its one-turn trials leaves: as long before its end as its reply takes.

        A flow knows no bursts: those it took at once leave no faster than its key lets them.
        """
        if worker.speed <= 0.0:
            return _NEVER_S
        waits_s = max((end - worker.progress_s) / worker.speed - work_s for end, _, _, work_s in worker.ends)
        key_id = worker.key.key_id
        beyond = max(0.0, len(worker.ends) - self._key_burst[key_id])
        through_s = max(worker.took_s, worker.ready_s) + beyond / self._key_rate[key_id]
        return max(self._now_s + waits_s, through_s)

    def _hand_on(self) -> None:
        """Have what workers still run end without their keys where all requests have left and only replies are out."""
        for worker in [one for one in self._workers if self._only_runs_out(one)]:
            if worker.ready_s > self._now_s or self._all_sent_s(worker) > self._now_s + 1e-9:
                continue
            for ends_at, _, one, _ in worker.ends:
                worker.calls += (ends_at - worker.progress_s) / one.call_s
                self._end_s = max(self._end_s, self._now_s + (ends_at - worker.progress_s) / worker.speed)
            self._left -= len(worker.ends)
            while worker.ends:
                worker.end()
            self._let_go(worker.of)

    def _let_go(self, one: _ShardFlow) -> None:
        for worker in [] if one.pending else [worker for worker in one.workers if not worker.ends]:
            self._note_load(worker, self._now_s)
            for lane in worker.lanes:
                lane.workers.remove(worker)
            one.workers.remove(worker)
            self._workers.remove(worker)
            self._ask_s = min(self._ask_s, self._now_s + REGRANT_S)
            self._note_lease(worker)

    def _note_lease(self, worker: _WorkerFlow) -> None:
        shard = worker.of.shard
        self._leases.append(
            LeaseForecast(
                shard_id=shard.shard_id,
                model=shard.model,
                label=shard.label,
                key_id=worker.key.key_id,
                start_s=round(worker.leased_s - self._first_s, 3),
                end_s=round(self._now_s - self._first_s, 3),
            )
        )


def _let_through(asked_per_s: float, allowed_per_s: float, dialogues: int) -> float:
    """Return what gets through where `dialogues` ask for so much in all and so much is allowed.

    Near the limit it is less than either: calls come unevenly, so some wait while at other times the window has room
    that nobody fills; the more dialogues, the less so. The shape is a smooth minimum whose sharpness grows with the
    root of their number, as the spread of their sum does.
    """
    if allowed_per_s <= 0.0:
        return 0.0
    sharpness = 2.0 * sqrt(dialogues)
    load = asked_per_s / allowed_per_s
    # The larger one is factored out, or a power of a large load would overflow.
    if load > 1.0:
        return allowed_per_s * pow(1.0 + pow(load, -sharpness), -1.0 / sharpness)
    return asked_per_s * pow(1.0 + pow(load, sharpness), -1.0 / sharpness)


def _share_out(lane: _Lane, now_s: float) -> None:
    """Slow the lane's workers down, all by the same share, to what the lane lets through."""
    workers = lane.workers
    flow = sum(worker.flow_per_s for worker in workers)
    if flow <= 0.0:
        return
    tokens_per_call = sum(worker.flow_per_s * worker.tokens_per_call for worker in workers) / flow
    allowed = lane.domain.allowed_per_s(now_s, tokens_per_call)
    dialogues = sum(len(worker.ends) for worker in workers)
    share = _let_through(flow, allowed, dialogues) / flow
    for worker in workers:
        worker.flow_per_s *= share
