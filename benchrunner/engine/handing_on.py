"""When a worker's key goes to another model while its last replies are still out. Pure.

    a worker has no trial left to take   ──> it is asked to say when its last request has left       TellWhenSent
    it has, and others wait for its key  ──> it ends with its last replies, the key is free now      StopWorker, SENT
    a reply would need one more request  ──> its trial is handed back, and keeps its next key to its end
"""

from __future__ import annotations

from collections.abc import Mapping

from benchrunner.engine.books import SENT, KeyState, ShardState, WorkerState


class HandingOn:
    """Which workers send no more, and which of them are to end. `note_handed_back` changes it; the rest reads."""

    def __init__(
        self, shards: Mapping[str, ShardState], keys: Mapping[str, KeyState], workers: Mapping[str, WorkerState]
    ) -> None:
        """Look at these books, which go on changing."""
        self._shards, self._keys, self._workers = shards, keys, workers
        self._came_back: set[str] = set()  # trials that needed their key again after it was handed on

    def note_handed_back(self, worker: WorkerState, trial_id: str) -> bool:
        """Remember a trial that came back because its worker's key had been handed on; return whether it did."""
        if worker.stopping != SENT:
            return False
        self._came_back.add(trial_id)
        return True

    def only_runs_out(self, worker: WorkerState) -> bool:
        """Return whether the worker, on a key that serves a bounded number of models, has trials but gets no more."""
        if worker.stopping or not worker.running or self._shards[worker.shard_id].pending:
            return False
        return bool(self._keys[worker.key_id].setup.slots)

    def is_to_end(self, worker: WorkerState) -> bool:
        """Return whether a worker that only runs out has sent everything, and its key is wanted elsewhere."""
        return bool(worker.sent_out) and self._is_awaited(worker) and self._came_back.isdisjoint(worker.running)

    def _is_awaited(self, worker: WorkerState) -> bool:
        """Return whether another model's shard has trials left that the worker's key could run, and does not yet."""
        mine = self._shards[worker.shard_id].shard
        waiting = [
            one
            for one in self._shards.values()
            if one.pending and one.status != "failed" and one.shard.provider == mine.provider
        ]
        # What is left of its own model it will go on with, as soon as few enough replies are out.
        if any(one.shard.model == mine.model for one in waiting):
            return False
        return any(not self._serves(worker.key_id, one) for one in waiting)

    def _serves(self, key_id: str, one: ShardState) -> bool:
        serving = (self._workers[worker_id] for worker_id in one.workers)
        return any(other.key_id == key_id and not other.released for other in serving)
