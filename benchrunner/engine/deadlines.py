"""How long a lease may last, and what becomes of workers and shards that take longer. Pure."""

from __future__ import annotations

from benchrunner.engine.books import Rules, ShardState, WorkerState

FRUITLESS_LEASES = 2
"""Leases of a shard in a row that may run out of time with no trial ended, before the shard is given up."""


def lease_end_s(rules: Rules, *, expected_s: float, now_s: float) -> float:
    """Return when a lease from now on is over, for a shard that is expected to take `expected_s`."""
    return now_s + (rules.shard_timeout_s or max(3600.0, 10.0 * expected_s))


def note_kill_time(worker: WorkerState, rules: Rules, now_s: float) -> bool:
    """Return whether a worker that was told to end at once has had its time for it; it gets as much again."""
    if worker.kill_at_s is not None and now_s < worker.kill_at_s:
        return False
    had_its_time = worker.kill_at_s is not None
    worker.kill_at_s = now_s + rules.kill_after_s
    return had_its_time


def note_overrun(state: ShardState, worker: WorkerState) -> bool:
    """Count a lease that ran out of time; return whether its shard is to be given up.

    Without this a shard that always stalls would keep the run alive for ever.
    """
    state.fruitless = 0 if worker.ended else state.fruitless + 1
    return state.fruitless >= FRUITLESS_LEASES and state.status != "failed"
