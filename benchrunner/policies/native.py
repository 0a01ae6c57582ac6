"""`native`: the phase's own mode as written in phases.toml, unmanaged on purpose.

Each shard runs on its model's static key whether or not others do, and paces itself; what the provider then
refuses can be seen and counted.
"""

from __future__ import annotations

from enum import StrEnum

from benchrunner.policies.base import Choice, Grant, KeyView, ShardView
from benchrunner.policies.keybook import KeyBook, is_active, needs_key


class Order(StrEnum):
    """In which order a phase launches its shards under `native`."""

    SERIAL = "serial"
    CONCURRENT = "concurrent"
    GROUPED = "grouped"


class Native:
    """Static keys, no slots, the phase's order. Another key of the provider only where the static one is refused."""

    name = "native"
    managed = False
    joins = False
    hands_on = False

    def __init__(self, order: Order, stagger_s: float) -> None:
        self.order = order
        self.stagger_s = stagger_s

    def choose(self, *, now_s: float, shards: tuple[ShardView, ...], keys: tuple[KeyView, ...]) -> Choice:
        """Return the launches due at `now_s`; `ask_again_s` is the instant of the next, on the clock of `now_s`."""
        book = KeyBook(keys)
        in_order = sorted(shards, key=lambda shard: shard.position)
        next_s: float | None = None
        match self.order:
            case Order.SERIAL:
                due = _next_in_line(book, in_order)
            case Order.GROUPED:
                due = _next_of_first_model(book, in_order)
            case Order.CONCURRENT:
                due, next_s = self._due(now_s, book, in_order)
        grants = []
        for shard in due:
            key_id = book.static_or_other(shard, ignore_slots=True)
            if key_id is not None:
                book.take(key_id)
                grants.append(Grant(shard_id=shard.shard_id, key_id=key_id))
        return Choice(grants=tuple(grants), ask_again_s=next_s)

    def _due(self, now_s: float, book: KeyBook, shards: list[ShardView]) -> tuple[list[ShardView], float | None]:
        """Return the shards to launch now, and the instant of the next launch (None: nothing is left to launch).

        The rank-th launch is due `rank * stagger_s` after the first, whose instant is rebuilt from the shards that
        have started: a question that comes late shifts nothing.
        """
        # What an earlier invocation finished is never launched in this one, so it takes no place in the sequence.
        launched = [shard for shard in shards if shard.started_s is not None or not shard.done]
        offset_s = {shard.shard_id: rank * self.stagger_s for rank, shard in enumerate(launched)}
        waiting = [shard for shard in launched if needs_key(shard) and book.serves(shard)]
        if not waiting:
            return [], None
        begun_s = [s.started_s - offset_s[s.shard_id] for s in launched if s.started_s is not None]
        first_s = min(begun_s) if begun_s else now_s - offset_s[waiting[0].shard_id]
        due: list[ShardView] = []
        later_s: list[float] = []
        for shard in waiting:
            due_s = first_s + offset_s[shard.shard_id]
            # One that lost its worker is due as well: `first_s` is no later than what its own start says.
            if due_s <= now_s:
                due.append(shard)
            else:
                later_s.append(due_s)
        return due, min(later_s, default=None)


def _next_in_line(book: KeyBook, line: list[ShardView]) -> list[ShardView]:
    """Return the one shard that a line of shards may start now; none while one of them has a key.

    A shard that lost its key goes on before the next begins; one whose provider has no usable key left does not
    stand in the way of the rest.
    """
    if any(shard.keys for shard in line):
        return []
    line = [shard for shard in line if is_active(shard)] or line
    return [shard for shard in line if needs_key(shard) and book.serves(shard)][:1]


def _next_of_first_model(book: KeyBook, shards: list[ShardView]) -> list[ShardView]:
    """Return what the current model may start: its groups side by side, the shards of one group in line."""
    current = next((shard.model for shard in shards if is_active(shard)), None)
    if current is None:
        current = next((s.model for s in shards if needs_key(s) and book.serves(s)), None)
    mine = [shard for shard in shards if shard.model == current]
    groups = sorted({shard.group for shard in mine})
    return [s for group in groups for s in _next_in_line(book, [s for s in mine if s.group == group])]
