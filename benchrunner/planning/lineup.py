"""Who runs beside whom under a policy, and what one shard asks of one key: what load and bounds both rest on. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from benchrunner.planning.sharding import PhasePlan
from benchrunner.planning.windows import rate_per_s
from benchrunner.records import KeyEntry, Limit, ModelEntry, PhaseOrder, Shard


class Lineup:
    """One phase under one policy: its shards, the keys that may serve them, and the look-ups between the two."""

    def __init__(
        self,
        plan: PhasePlan,
        models: Sequence[ModelEntry],
        keys: Sequence[KeyEntry],
        *,
        policy: str,
        batch_size: int,
        tokens_per_call: float,
    ) -> None:
        self.shards, self.phase, self.one_turn = plan.shards, plan.phase, plan.one_turn
        self.model = {model.name: model for model in models}
        self.key = {key.key_id: key for key in keys}
        self.batch_size, self.tokens_per_call = batch_size, tokens_per_call
        self.batched = policy == "batched"
        self.pooled = policy == "pool"
        self.paced = policy == "native"
        self.launched_apart = self.paced and self.phase.order is PhaseOrder.CONCURRENT
        self.providers = tuple(dict.fromkeys(shard.provider for shard in self.shards))
        self.keys = tuple(key for key in keys if key.provider in self.providers)
        self.waves = self._waves()

    def of_model(self, name: str) -> list[Shard]:
        """Return the model's shards."""
        return [shard for shard in self.shards if shard.model == name]

    def of_key(self, key: KeyEntry) -> list[Shard]:
        """Return the shards that run on the key; under `pool`, those that may."""
        if self.pooled:
            return [shard for shard in self.shards if shard.provider == key.provider]
        return [shard for shard in self.shards if shard.key_id == key.key_id]

    def paces(self, shard: Shard, key: KeyEntry) -> list[tuple[float, str]]:
        """Return the calls per second that each thing that holds the shard back on the key allows, and its name."""
        paces = [(rate_per_s([one], self.tokens_per_call), f"{in_words([one])} of {key.key_id}") for one in key.limits]
        for one in self.model[shard.model].limits:
            owner = f"({key.account}, {shard.model})"
            paces.append((rate_per_s([one], self.tokens_per_call), f"{in_words([one])} of {owner}"))
        # Without the number of trials: it says what a full shard asks, not how a small one trails off.
        paces.append((shard.workers / shard.expected_call_s, f"latency of {shard.model} ({shard.workers} workers)"))
        if self.paced:
            paces.append((shard.pace_qps, f"own pace of {shard.pace_qps:g} requests/s"))
        return paces

    def asked_per_s(self, shard: Shard, key: KeyEntry) -> float:
        """Return the requests per second that the shard sends, or under `native` tries to, on the key."""
        if self.paced:  # a shard that consults no window asks without regard to it
            return min(shard.pace_qps, shard.workers / shard.expected_call_s)
        return min(pace for pace, _ in self.paces(shard, key))

    def _waves(self) -> list[list[Shard]]:
        """Return the sets of shards that run at once, one after the other. Under `pool` the keys alone decide."""
        if self.pooled or self.launched_apart:
            return [list(self.shards)] if self.shards else []
        if self.batched:
            return self._batches()
        if self.paced and self.phase.order is PhaseOrder.GROUPED:
            return self._side_by_side()
        return [[shard] for shard in self.shards]

    def _batches(self) -> list[list[Shard]]:
        waiting, batches = list(self.shards), []
        while waiting:
            batch: list[Shard] = []
            for shard in waiting:
                if len(batch) < self.batch_size and shard.key_id not in {one.key_id for one in batch}:
                    batch.append(shard)
            batches.append(batch)
            taken = {shard.shard_id for shard in batch}
            waiting = [shard for shard in waiting if shard.shard_id not in taken]
        return batches

    def _side_by_side(self) -> list[list[Shard]]:
        """Return, model by model, the first parts of its groups, then the second parts, and so on."""
        waves: list[list[Shard]] = []
        for name in dict.fromkeys(shard.model for shard in self.shards):
            lines: dict[int, list[Shard]] = {}
            for shard in self.of_model(name):
                lines.setdefault(shard.group, []).append(shard)
            longest = max(map(len, lines.values()))
            waves.extend([line[n] for line in lines.values() if n < len(line)] for n in range(longest))
        return waves


def in_words(limits: Sequence[Limit]) -> str:
    """Return the limits as people say them."""
    return " and ".join(f"{one.amount:,} {one.kind.value} per {one.per_s:g} s" for one in limits) or "no limit"
