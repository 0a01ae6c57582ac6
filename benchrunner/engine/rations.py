"""How many trials a worker may have in its hands, and which it takes off its shard's queue. Pure.

    limit of the model entry ──> at the end of a run: a fair share, no more than its key can use
                             ──> less what idle neighbours were started for ──> taken
                             └─> less company for a trial that was there at crashes
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchrunner.engine.books import KeyState, ShardState, WorkerState
from benchrunner.planning.shard_time import SATURATED_SHARE, SHARE_HOLD_S, most_in_hand

SATURATED_WAIT_S = 0.02
"""A worker whose calls wait longer than this for a permit keeps its key busy: more dialogues would not help it."""

SATURATED_OVER_S = 1.0
"""So does one that sent `SATURATED_SHARE` of its key's rate lately: a window's first burst waits for nothing."""


def note_send(worker: WorkerState, wait_s: float, now_s: float) -> None:
    """Count a call that leaves after waiting `wait_s` for its permit."""
    worker.wait_s = wait_s
    worker.sent_s.append(now_s)
    _forget_sends(worker, now_s)


def take(
    state: ShardState, worker: WorkerState, room: int, idle_beside: int, crashes_of: Mapping[str, int]
) -> list[str]:
    """Return trials off the queue for a worker with `room` dialogues.

    After its first it leaves one for each of the shard's `idle_beside` other workers that have none: they were started
    for it.

    A trial that was running at a crash (`crashes_of`) gets a quarter of the company at each further try, until it runs
    alone: so the one that crashes its workers is found before it has spent the run's restarts.
    """
    taken: list[str] = []
    if not room or not state.pending:
        return taken
    crashes = 0
    if crashes_of:  # else there is nothing to look for: this comes at every trial's end, over all that run
        crashes = max((crashes_of.get(trial_id, 0) for trial_id in worker.running), default=0)
    while len(state.pending) > (idle_beside if worker.running or taken else 0):
        crashes = max(crashes, crashes_of.get(state.pending[0], 0))
        if len(worker.running) + len(taken) >= min(room, max(1, room >> 2 * crashes)):
            break
        taken.append(state.pending.popleft())
    return taken


def waits_for_key(state: ShardState, workers: Mapping[str, WorkerState]) -> bool:
    """Return whether the shard has trials to hand out and no key to run them on: never had one, or lost it."""
    return bool(state.pending) and state.status != "failed" and all(workers[w].released for w in state.workers)


def idle_beside(state: ShardState, worker: WorkerState, workers: Mapping[str, WorkerState]) -> int:
    """Return how many other workers of the shard have nothing to do."""
    others = (workers[worker_id] for worker_id in state.workers if worker_id != worker.worker_id)
    return sum(1 for other in others if not other.stopping and not other.running)


def fair_room(
    state: ShardState, worker: WorkerState, keys: Mapping[str, KeyState], call_s: float, now_s: float
) -> int:
    """Return how many dialogues the worker may have in flight while no shard waits for a key.

    Idle keys will join this shard, and they can only take trials that nobody has begun: so a worker keeps to its fair
    share as long as that keeps its own key busy, and to what its key can make use of.
    """
    limit = state.shard.workers
    helpers = _keys_that_can_join(state, keys.values(), now_s)
    if helpers < 2:
        return limit
    hold = now_s < worker.started_s + SHARE_HOLD_S
    if not hold and not _is_saturated(worker, keys[worker.key_id], now_s):
        return limit
    fair = -(-(len(state.pending) + state.running) // helpers)
    setup = keys[worker.key_id].setup
    return min(limit, max(1, int(min(fair, most_in_hand(setup.burst, setup.rate_per_s, call_s)))))


def is_spare(state: ShardState, worker: WorkerState, key: KeyState, call_s: float) -> bool:
    """Return whether the worker has no trial left to take, and runs fewer than keep its key busy (Little's law)."""
    if worker.stopping or state.pending or len(worker.running) >= state.shard.workers:
        return False
    return len(worker.running) <= key.setup.rate_per_s * call_s


def _keys_that_can_join(state: ShardState, keys: Iterable[KeyState], now_s: float) -> int:
    provider = state.shard.provider
    return sum(1 for key in keys if key.setup.provider == provider and key.usable(now_s) and key.setup.slots)


def _is_saturated(worker: WorkerState, key: KeyState, now_s: float) -> bool:
    _forget_sends(worker, now_s)
    enough = SATURATED_SHARE * key.setup.rate_per_s * SATURATED_OVER_S
    return worker.wait_s > SATURATED_WAIT_S or len(worker.sent_s) >= enough


def _forget_sends(worker: WorkerState, now_s: float) -> None:
    while worker.sent_s and worker.sent_s[0] < now_s - SATURATED_OVER_S:
        worker.sent_s.popleft()
