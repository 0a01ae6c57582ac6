"""`batched` (B): batches of shards with distinct static keys; the next starts when all of the last are done."""

from __future__ import annotations

from benchrunner.policies.base import Choice, Grant, KeyView, ShardView
from benchrunner.policies.keybook import KeyBook, is_active, needs_key


class Batched:
    """At most `batch_size` shards at once, at most one for each static key."""

    name = "batched"
    managed = True
    joins = False
    hands_on = False

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size

    def choose(self, *, now_s: float, shards: tuple[ShardView, ...], keys: tuple[KeyView, ...]) -> Choice:
        """Return the next batch, or new keys for members of the present one that lost theirs.

        The present batch is what was started and is not done. A member whose provider has no usable key left does
        not hold the others back; it goes on, within the same bounds, when a key comes back.
        """
        book = KeyBook(keys)
        in_order = sorted(shards, key=lambda shard: shard.position)
        active = [shard for shard in in_order if is_active(shard)]
        stopped = [s for s in in_order if s.started_s is not None and needs_key(s) and book.serves(s)]
        if active or stopped:
            candidates = stopped
        else:
            candidates = [shard for shard in in_order if needs_key(shard)]
        return Choice(grants=self._fill(book, active, candidates))

    def _fill(self, book: KeyBook, active: list[ShardView], candidates: list[ShardView]) -> tuple[Grant, ...]:
        in_use = {key_id for shard in active for key_id in shard.keys}
        grants: list[Grant] = []
        for shard in candidates:
            # A member that lost its key may still wind down: it must not count against itself.
            others = [other for other in active if other.shard_id != shard.shard_id]
            if len(others) >= self.batch_size or shard.static_key in {other.static_key for other in others}:
                continue
            key_id = book.static_or_other(shard)
            # Two shards sent to one stand-in key would share it, however distinct their static keys are.
            if key_id is None or key_id in in_use:
                continue
            book.take(key_id)
            in_use.add(key_id)
            active = [*others, shard]
            grants.append(Grant(shard_id=shard.shard_id, key_id=key_id))
        return tuple(grants)
