"""What the policies share: when a shard is in want, and the keys as they stand within one choice.

A policy is stateless, but one choice may make several grants, and the second must see the first.
"""

from __future__ import annotations

from collections.abc import Iterable

from benchrunner.policies.base import KeyView, ShardView


def needs_key(shard: ShardView) -> bool:
    """Return whether the shard has trials to take and no key for them: never started, or its worker died."""
    return not shard.done and not shard.keys and shard.pending > 0


def is_active(shard: ShardView) -> bool:
    """Return whether somebody works on the shard: a worker with a key, or one that lost it and still winds down."""
    return bool(shard.keys) or shard.running > 0


class KeyBook:
    """The usable keys of one choice, with the grants made so far counted in. Lives as long as the choice."""

    def __init__(self, keys: Iterable[KeyView]) -> None:
        self._keys = {key.key_id: key for key in keys if key.usable}
        self._rank = {key_id: rank for rank, key_id in enumerate(self._keys)}
        self._load = {key_id: len(key.models) for key_id, key in self._keys.items()}
        self._spare = {key_id: list(key.spare) for key_id, key in self._keys.items()}

    def serves(self, shard: ShardView) -> bool:
        """Return whether any usable key, free or not, belongs to the shard's provider."""
        return any(key.provider == shard.provider for key in self._keys.values())

    def of_provider(self, provider: str) -> list[str]:
        """Return the provider's usable keys, least loaded first, then in the order they were given."""
        mine = (key_id for key_id, key in self._keys.items() if key.provider == provider)
        return sorted(mine, key=lambda key_id: (self._load[key_id], self._rank[key_id]))

    def load(self, key_id: str) -> int:
        """Return how many leases the usable key has."""
        return self._load[key_id]

    def is_bounded(self, key_id: str) -> bool:
        """Return whether there is a bound on the usable key's leases."""
        return self._keys[key_id].slots > 0

    def has_room(self, key_id: str) -> bool:
        """Return whether one more lease on the usable key stays within its slots."""
        return not self.is_bounded(key_id) or self._load[key_id] < self._keys[key_id].slots

    def take(self, key_id: str) -> None:
        """Count one more lease on the usable key."""
        self._load[key_id] += 1

    def can_go_on(self, key_id: str, model: str) -> bool:
        """Return whether a worker on the usable key serves the model and has no trial left to take."""
        return model in self._spare[key_id]

    def go_on(self, key_id: str, model: str) -> None:
        """Count one worker of the model less that has no trial left to take."""
        self._spare[key_id].remove(model)

    def static_or_other(self, shard: ShardView, *, ignore_slots: bool = False) -> str | None:
        """Return the shard's static key; only where that is not usable, the least loaded one of its provider.

        None: the key has no room (`ignore_slots` waives that), or the provider has no usable key.
        """
        if shard.static_key in self._keys:
            candidates = [shard.static_key]
        else:
            candidates = self.of_provider(shard.provider)
        return next((key_id for key_id in candidates if ignore_slots or self.has_room(key_id)), None)
