"""`serial` (A): one shard at a time, in order, on its model's static key."""

from __future__ import annotations

from benchrunner.policies.base import Choice, Grant, KeyView, ShardView
from benchrunner.policies.keybook import KeyBook, is_active, needs_key


class Serial:
    """The safest and slowest: whoever holds a key is alone."""

    name = "serial"
    managed = True
    joins = False
    hands_on = False

    def choose(self, *, now_s: float, shards: tuple[ShardView, ...], keys: tuple[KeyView, ...]) -> Choice:
        """Return at most one grant: the first shard in order that can run, if nobody holds a key.

        A shard that lost its key goes on before the next begins. One whose provider has no usable key is passed
        over and has its turn when one comes back.
        """
        if any(shard.keys for shard in shards):
            return Choice()
        book = KeyBook(keys)
        line = [shard for shard in shards if is_active(shard)] or list(shards)
        for shard in sorted(line, key=lambda shard: shard.position):
            if needs_key(shard) and (key_id := book.static_or_other(shard)) is not None:
                return Choice(grants=(Grant(shard_id=shard.shard_id, key_id=key_id),))
        return Choice()
