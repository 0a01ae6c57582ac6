"""What a policy is shown of a run: its shards, its keys, and whether there is anything to choose. Reads only; pure."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from benchrunner.engine import rations
from benchrunner.engine.books import KeyState, ShardState, WorkerState
from benchrunner.engine.call_times import CallTimes
from benchrunner.planning.shard_time import expected_shard_s, last_reply_s
from benchrunner.policies.base import KeyView, ShardView, view_of


class PolicyViews:
    """A run's books as policies see them. Holds the books, and no state of its own."""

    def __init__(
        self,
        shards: Mapping[str, ShardState],
        keys: Mapping[str, KeyState],
        workers: Mapping[str, WorkerState],
        call_times: CallTimes,
    ) -> None:
        """Look at these books, which go on changing."""
        self._shards, self._keys, self._workers, self._call_times = shards, keys, workers, call_times

    def expected_s(self, state: ShardState, *, keys: int = 1) -> float:
        """Return how long the shard's unfinished trials take on `keys` of its keys, latency and limits considered."""
        shard = state.shard
        key = self._keys.get(shard.key_id)
        return expected_shard_s(
            shard,
            len(state.pending) + state.running,
            total=state.total,
            limit_per_s=key.setup.rate_per_s if key else float("inf"),
            call_s=self._call_times.expected_s(shard),
            last_reply_s=last_reply_s(shard.model, self._call_times.known),
            keys=keys,
        )

    def any_room(self, *, joins: bool) -> bool:
        """Return whether any key could take one more lease, as far as its slots go, or any worker another shard.

        `joins`: the policy lets workers go on with another shard of their model.
        """
        leases = dict.fromkeys(self._keys, 0)
        wanting = {state.shard.model for state in self._shards.values() if state.pending} if joins else ()
        for worker in self._workers.values():
            if wanting and self._model_of(worker) in wanting and self._is_spare(worker):
                return True
            if not worker.released:
                leases[worker.key_id] += 1
        return any(not key.setup.slots or leases[key_id] < key.setup.slots for key_id, key in self._keys.items())

    def shards(self, *, unreachable: AbstractSet[str]) -> tuple[ShardView, ...]:
        """Return every shard that is not given up, by itself or with its provider (`unreachable`)."""
        return tuple(
            view_of(
                state.shard,
                pending=len(state.pending),
                running=state.running,
                expected_s=self.expected_s(state),
                keys=tuple(worker.key_id for w in state.workers if not (worker := self._workers[w]).stopping),
                started_s=state.started_s,
            )
            for state in self._shards.values()
            if state.status != "failed" and state.shard.provider not in unreachable
        )

    def keys(self, now_s: float) -> tuple[KeyView, ...]:
        """Return every key, with the models that are served on it."""
        models: dict[str, list[str]] = {key_id: [] for key_id in self._keys}
        spare: dict[str, list[str]] = {key_id: [] for key_id in self._keys}
        for worker in self._workers.values():
            if not worker.released:
                models[worker.key_id].append(self._model_of(worker))
                if self._is_spare(worker):
                    spare[worker.key_id].append(self._model_of(worker))
        return tuple(
            KeyView(
                key_id=key_id,
                provider=key.setup.provider,
                slots=key.setup.slots,
                models=tuple(models[key_id]),
                spare=tuple(spare[key_id]),
                usable=key.usable(now_s),
            )
            for key_id, key in self._keys.items()
        )

    def spare_worker(self, key_id: str, model: str) -> WorkerState:
        """Return the first worker behind an entry of the key's `spare` for this model, which must be there."""
        return next(
            worker
            for worker in self._workers.values()
            if worker.key_id == key_id and self._is_spare(worker) and self._model_of(worker) == model
        )

    def _model_of(self, worker: WorkerState) -> str:
        return self._shards[worker.shard_id].shard.model

    def _is_spare(self, worker: WorkerState) -> bool:
        state = self._shards[worker.shard_id]
        call_s = self._call_times.expected_s(state.shard)
        return rations.is_spare(state, worker, self._keys[worker.key_id], call_s)
