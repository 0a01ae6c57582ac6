"""`pool` (C): any free key goes to the next shard, longest first; keys nobody waits for join the longest one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchrunner.policies.base import Choice, Grant, KeyView, ShardView
from benchrunner.policies.keybook import KeyBook, needs_key

ABOUT_EQUAL = 0.1
"""Shards that differ by less than about this share count as equally long: no expectation is better than that."""


class Pool:
    """Keys belong to no model: whatever is free serves whoever needs it most, one model at a time on each slot."""

    name = "pool"
    managed = True
    joins = True
    hands_on = True

    def choose(self, *, now_s: float, shards: tuple[ShardView, ...], keys: tuple[KeyView, ...]) -> Choice:
        """Return a grant for each waiting shard that a key is there for, then a join for each key left that can help.

        The longest shard goes first: what starts last should be short, or it alone decides when the run ends. Among
        those about equally long the phase's own order decides.

        A key whose worker runs out of trials goes on with a shard of the same model: its last replies are still out,
        and no other model has it before the last one is in, or in one-turn suites before the last request has left.
        """
        book = KeyBook(keys)
        grants: list[Grant] = []
        left_waiting: set[str] = set()  # providers
        for shard in _longest_first([shard for shard in shards if needs_key(shard)]):
            grant = _going_on(book, shard) or _free_key(book, shard)
            if grant is None:
                left_waiting.add(shard.provider)
            else:
                grants.append(grant)
        for provider in sorted({shard.provider for shard in shards} - left_waiting):
            running = [s for s in shards if s.provider == provider and s.keys and not s.done]
            grants.extend(_joins(book, provider, running))
        return Choice(grants=tuple(grants))


def _longest_first(shards: list[ShardView]) -> Iterator[ShardView]:
    """Yield the shards: each time the first in the phase's order of those about as long as the longest left."""
    left = sorted(shards, key=lambda shard: shard.position)
    while left:
        enough_s = max(shard.expected_s for shard in left) / (1.0 + ABOUT_EQUAL)
        chosen = next(at for at, shard in enumerate(left) if shard.expected_s >= enough_s)
        yield left.pop(chosen)


def _going_on(book: KeyBook, shard: ShardView) -> Grant | None:
    """Return the shard's grant on a key whose worker for this model runs out of trials; None: there is none."""
    for key_id in book.of_provider(shard.provider):
        if book.can_go_on(key_id, shard.model):
            book.go_on(key_id, shard.model)
            return Grant(shard_id=shard.shard_id, key_id=key_id, goes_on=True)
    return None


def _free_key(book: KeyBook, shard: ShardView) -> Grant | None:
    """Return the shard's grant on the emptiest key with room, among equals its static one; None: every key is full."""
    free = [key_id for key_id in book.of_provider(shard.provider) if book.has_room(key_id)]
    if not free:
        return None
    is_static = shard.static_key in free and book.load(shard.static_key) == book.load(free[0])
    key_id = shard.static_key if is_static else free[0]
    book.take(key_id)
    return Grant(shard_id=shard.shard_id, key_id=key_id)


@dataclass(slots=True)
class _Helped:
    """A running shard and the keys on it, those that join in this choice included."""

    shard: ShardView
    keys: set[str]
    joined: int = 0

    @property
    def left_per_key_s(self) -> float:
        return self.shard.expected_s / len(self.keys)


def _joins(book: KeyBook, provider: str, running: list[ShardView]) -> list[Grant]:
    """Return one join for each free key: to the shard with most work left per key, earlier joins counted in.

    A key whose worker runs out of trials can join the shards of that worker's model.
    """
    helped = [_Helped(shard, set(shard.keys)) for shard in running]
    grants: list[Grant] = []
    for key_id in book.of_provider(provider):
        # A key without bound always has room: it joins only while it serves nothing, or it would join every shard.
        is_free = book.has_room(key_id) if book.is_bounded(key_id) else book.load(key_id) == 0
        # Every joiner needs a trial of its own to take; a worker that finds none was started for nothing.
        open_to_it = [
            one
            for one in helped
            if one.shard.pending > one.joined
            and key_id not in one.keys
            and (is_free or book.can_go_on(key_id, one.shard.model))
        ]
        if not open_to_it:
            continue
        most = max(open_to_it, key=lambda one: (one.left_per_key_s, -one.shard.position))
        most.keys.add(key_id)
        most.joined += 1
        goes_on = book.can_go_on(key_id, most.shard.model)
        if goes_on:
            book.go_on(key_id, most.shard.model)
        else:
            book.take(key_id)
        grants.append(Grant(shard_id=most.shard.shard_id, key_id=key_id, joining=True, goes_on=goes_on))
    return grants
