"""How long the rest of a run takes: its forecast played again, from where the run stands. Pure.

    shapes of the trials left ┐
    keys that serve, caps     ├─> planning.flow, under the run's own policy ─> seconds
    leases, starts so far     ┘

Capacity and work left decide, never how fast the last minute was: a run that waits out a pause is not called endless
for it. What is learned on the way is what does not pass: how long a model's calls take, a key that is gone, a cap.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from benchrunner.engine.books import ShardState
from benchrunner.engine.state import RunState
from benchrunner.planning.flow import play_flow
from benchrunner.planning.forecast import World
from benchrunner.planning.shard_time import SLOWEST
from benchrunner.planning.trial_shapes import TrialShape
from benchrunner.policies.base import Choice, Grant, KeyView, Policy, ShardView, view_of
from benchrunner.records import DomainUse, KeyEntry, Limit, LimitKind, WindowUse

PLAY_AGAIN_S = 2.0
PLAY_AGAIN_PER_TRIAL_S = 0.008
"""How rarely it is played again: a trial left costs some 0.04 ms, so this keeps it to half a percent of the time."""

PRIOR_CALLS = 20.0
"""So many calls the expectation of a model's call time is worth: the first replies are those of the fastest calls."""

LEARNED_BY = 0.05
"""Call times are believed to differ from their expectation from this share on."""

CAP_OVER_S, CAP_KNOWN_S = 60.0, 15.0
"""A learned cap halves and grows within seconds, with pauses in between; what gets through under it over the one time
is what the rest will meet. Below the other nobody can tell yet."""

LEAST_OF_CAP = 0.2
"""So much of a cap is counted on whatever got through: few may have asked."""

SHORT_WINDOW_S = 4.0
"""A window that is in use already is played as a rate, which is what planning.flow takes one of this length for."""


class TimeLeft:
    """Answers how long the rest takes; plays it anew now and then, and counts down in between."""

    def __init__(self, world: World) -> None:
        """Take the run as its forecast has it: all its trials, at the speed of the run."""
        self._world = world
        self._shards = {shard.shard_id: shard for shard in world.shards}
        self._begun: dict[str, int] = {}  # trial -> its present call, from 1
        self._call_s = {
            model: _mean_call_s([world.shapes[t] for s in world.shards if s.model == model for t in s.trial_ids])
            for model in {shard.model for shard in world.shards}
        }
        self._heard: dict[str, tuple[float, int]] = dict.fromkeys(self._call_s, (0.0, 0))  # model -> seconds, calls
        self._sent_since_s: dict[str, float] = {}  # worker -> since when it only waits for replies
        self._capped_s: dict[str, float] = {}  # a domain's label -> since when it has a cap
        self._answered_s: dict[str, deque[float]] = {}  # a domain's label -> when its calls of late were answered
        self._left_s: float | None = None
        self._played_s = float("-inf")
        self._played_with: tuple[str, ...] = ()

    def call_leaves(self, trial_id: str, turn: int) -> None:
        """Note the 0-based call that a trial is at."""
        self._begun[trial_id] = turn + 1

    def call_took(self, model: str, latency_s: float, labels: Iterable[str], now_s: float) -> None:
        """Note how long a call that was answered took; `labels` are those of its domains."""
        seconds, calls = self._heard[model]
        self._heard[model] = seconds + latency_s, calls + 1
        for label in labels:
            answered_s = self._answered_s.setdefault(label, deque())
            answered_s.append(now_s)
            while answered_s[0] < now_s - CAP_OVER_S:
                answered_s.popleft()

    def seconds(self, state: RunState, uses: Mapping[str, DomainUse], now_s: float) -> float | None:
        """Return how long the rest takes; None: part of it has no key to run on, so nobody knows.

        `uses`: the run's domains as they stand, by label. Seldom costs more than a look at the clock.
        """
        self._note_caps(uses, now_s)
        sent = self._sent_out(state, now_s)
        left = [
            one
            for one in state.shards.values()
            if one.status != "failed" and len(one.pending) + one.running > sent[one.shard.shard_id]
        ]
        trials = sum(len(one.pending) + one.running for one in left)
        keys = self._keys(state, self._with_real_caps(uses, now_s), now_s)
        names = tuple(key.key_id for key in keys)
        pause_s = PLAY_AGAIN_S if names != self._played_with else max(PLAY_AGAIN_S, PLAY_AGAIN_PER_TRIAL_S * trials)
        if not left and not sent:
            return 0.0
        if now_s - self._played_s >= pause_s:
            served = {key.provider for key in keys}
            known = all(one.shard.provider in served for one in left)
            play_s = self._play(state, left, keys, self._with_real_caps(uses, now_s), now_s) if left and known else 0.0
            self._left_s = max(play_s, self._replies_s(state, now_s)) if known else None
            self._played_s, self._played_with = now_s, names
        return None if self._left_s is None else max(0.0, self._left_s - (now_s - self._played_s))

    def _sent_out(self, state: RunState, now_s: float) -> Counter[str]:
        """Return, by shard, how many trials only wait for a reply: their worker has given its key back."""
        waiting = [worker for worker in state.workers.values() if worker.released and worker.running]
        since_s = self._sent_since_s
        self._sent_since_s = {worker.worker_id: since_s.get(worker.worker_id, now_s) for worker in waiting}
        return Counter(shard_id for worker in waiting for shard_id in worker.running.values())

    def _replies_s(self, state: RunState, now_s: float) -> float:
        """Return how long the slowest of such replies may still take."""
        left_s = [0.0]
        for worker_id, since_s in self._sent_since_s.items():
            model = state.shards[state.workers[worker_id].shard_id].shard.model
            left_s.append(since_s + SLOWEST * self._call_s[model] * self._slower(model) - now_s)
        return max(left_s)

    def _note_caps(self, uses: Mapping[str, DomainUse], now_s: float) -> None:
        for label, use in uses.items():
            if use.cap_per_s is None:
                self._capped_s.pop(label, None)
            else:
                self._capped_s.setdefault(label, now_s)

    def _with_real_caps(self, uses: Mapping[str, DomainUse], now_s: float) -> dict[str, DomainUse]:
        """Return the domains with their caps as what got through under them."""
        real = dict(uses)
        for label, use in uses.items():
            over_s = min(CAP_OVER_S, now_s - self._capped_s.get(label, now_s))
            if use.cap_per_s is None or over_s < CAP_KNOWN_S:
                continue
            answered = sum(at_s >= now_s - over_s for at_s in self._answered_s.get(label, ()))
            real[label] = replace(use, cap_per_s=max(answered / over_s, LEAST_OF_CAP * use.cap_per_s))
        return real

    def _keys(self, state: RunState, uses: Mapping[str, DomainUse], now_s: float) -> tuple[KeyEntry, ...]:
        """Return the keys that serve, under what they are held to now."""
        working = {worker.key_id for worker in state.workers.values() if not worker.released}
        keys = []
        for key in self._world.keys:
            standing = state.keys.get(key.key_id)
            if standing is None or standing.retired or now_s < standing.parked_until_s:
                continue
            if standing.denied_by and key.key_id not in working:
                continue
            keys.append(replace(key, limits=limits_now(key.limits, uses.get(key.key_id))))
        return tuple(keys)

    def _play(
        self,
        state: RunState,
        left: list[ShardState],
        keys: tuple[KeyEntry, ...],
        uses: Mapping[str, DomainUse],
        now_s: float,
    ) -> float:
        world, names = self._world, {key.key_id for key in keys}
        shards, shapes = [], {}
        at_work = [worker for worker in state.workers.values() if not worker.released]
        held = sorted(pair for worker in at_work for pair in worker.running.items())
        for one in left:
            running = [trial_id for trial_id, shard_id in held if shard_id == one.shard.shard_id]
            trial_ids = (*running, *one.pending)
            per_trial = one.shard.expected_calls / len(one.shard.trial_ids)
            shards.append(replace(one.shard, trial_ids=trial_ids, expected_calls=per_trial * len(trial_ids)))
            slower = self._slower(one.shard.model)
            begun = set(running)
            for trial_id in trial_ids:
                at = self._begun.get(trial_id, 1) if trial_id in begun else 1
                shapes[trial_id] = _rest_of(world.shapes[trial_id], at, slower)
        accounts = {key.account for key in keys}
        models = {
            name: replace(model, limits=_model_limits_now(model.limits, name, accounts, uses))
            for name, model in world.models.items()
        }
        alive = {one.shard.shard_id for one in left}
        # A worker that went on to another shard stands for two until the trials of the first have ended.
        standing = tuple(
            Grant(shard_id=shard_id, key_id=worker.key_id)
            for worker in state.workers.values()
            if not worker.stopping and worker.key_id in names
            for shard_id in worker.shard_ids
            if shard_id in alive
        )
        policy = _FromHere(world.policy, state, standing, now_s)
        return play_flow(
            replace(world, shards=tuple(shards), shapes=shapes, keys=keys, models=models, policy=policy)
        ).makespan_s

    def _slower(self, model: str) -> float:
        """Return how many times as long as expected the model's calls take, 1.0 where that is about right."""
        expected_s, (seconds, calls) = self._call_s[model], self._heard[model]
        if expected_s <= 0.0:
            return 1.0
        factor = (PRIOR_CALLS * expected_s + seconds) / (PRIOR_CALLS + calls) / expected_s
        return factor if abs(factor - 1.0) > LEARNED_BY else 1.0


@dataclass(slots=True)
class _Standing:
    """What a played run begins with."""

    grants: tuple[Grant, ...]


class _FromHere:
    """The run's policy, told that what runs already runs and what has ended was there. For one play."""

    def __init__(self, policy: Policy, state: RunState, standing: tuple[Grant, ...], now_s: float) -> None:
        self.name, self.managed, self.joins, self.hands_on = policy.name, policy.managed, policy.joins, policy.hands_on
        self._policy = policy
        self._standing = _Standing(standing)
        self._started_s = {
            shard_id: one.started_s - now_s for shard_id, one in state.shards.items() if one.started_s is not None
        }
        # A policy that launches its shards apart counts those that are done.
        self._ended = tuple(
            _ended_view(one, self._started_s.get(shard_id))
            for shard_id, one in state.shards.items()
            if not one.pending and not one.running
        )

    def choose(self, *, now_s: float, shards: tuple[ShardView, ...], keys: tuple[KeyView, ...]) -> Choice:
        """Return the leases as they are, the first time; after that what the policy says."""
        if self._standing.grants:
            grants, self._standing.grants = self._standing.grants, ()
            return Choice(grants=grants, ask_again_s=now_s)
        views = tuple(
            replace(view, started_s=self._started_s.get(view.shard_id, view.started_s)) for view in shards
        )
        return self._policy.choose(now_s=now_s, shards=views + self._ended, keys=keys)


def _ended_view(one: ShardState, started_s: float | None) -> ShardView:
    return view_of(one.shard, pending=0, running=0, expected_s=0.0, started_s=started_s)


def limits_now(limits: tuple[Limit, ...], use: DomainUse | None) -> tuple[Limit, ...]:
    """Return the limits as the rest of a run meets them: a learned cap beside them, and no first burst twice."""
    if use is None:
        return limits
    held = [_without_burst(limit) if _is_in_use(limit, use.windows) else limit for limit in limits]
    if use.cap_per_s:
        amount = max(1, round(use.cap_per_s * SHORT_WINDOW_S))
        held.append(Limit(kind=LimitKind.REQUESTS, amount=amount, per_s=amount / use.cap_per_s))
    return tuple(held)


def _model_limits_now(
    limits: tuple[Limit, ...], model: str, accounts: set[str], uses: Mapping[str, DomainUse]
) -> tuple[Limit, ...]:
    for account in sorted(accounts):
        if (use := uses.get(f"{account}/{model}")) is not None:
            return limits_now(limits, use)
    return limits


def _is_in_use(limit: Limit, windows: tuple[WindowUse, ...]) -> bool:
    """Return whether the window is used so far that its first burst is behind it."""
    return any(
        (one.kind, one.amount, one.per_s) == (limit.kind, limit.amount, limit.per_s) and one.used >= one.amount / 2
        for one in windows
    )


def _without_burst(limit: Limit) -> Limit:
    if limit.per_s <= SHORT_WINDOW_S:
        return limit
    amount = max(1, round(limit.amount * SHORT_WINDOW_S / limit.per_s))
    return replace(limit, amount=amount, per_s=amount * limit.per_s / limit.amount)


def _rest_of(shape: TrialShape, at_call: int, slower: float) -> TrialShape:
    """Return what is left of a trial that is at its `at_call`-th call, which it is half through."""
    if at_call <= 1 and slower == 1.0:
        return shape
    rest_s = shape.latencies_s[min(at_call, shape.calls) - 1 :]
    if at_call > 1:
        rest_s = (rest_s[0] / 2, *rest_s[1:])
    return replace(shape, latencies_s=tuple(latency_s * slower for latency_s in rest_s))


def _mean_call_s(shapes: list[TrialShape]) -> float:
    calls = sum(shape.calls for shape in shapes)
    return sum(shape.busy_s for shape in shapes) / calls if calls else 0.0
