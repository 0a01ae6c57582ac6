"""Who runs where: the policies, by name."""

from __future__ import annotations

import difflib

from benchrunner.errors import UsageError
from benchrunner.policies.base import Policy
from benchrunner.policies.batched import Batched
from benchrunner.policies.native import Native, Order
from benchrunner.policies.pool import Pool
from benchrunner.policies.serial import Serial

POLICIES: dict[str, str] = {
    "native": "the phase's own mode, unmanaged",
    "serial": "one shard at a time, on its static key",
    "batched": "batches of shards with distinct static keys",
    "pool": "any free key to the next shard; idle keys join the longest",
}
"""The policies' names, in the order they are listed to people, and what each does."""

LETTERS = {"a": "serial", "b": "batched", "c": "pool"}
"""The names the three fixes had before they had names."""


def policy_names() -> tuple[str, ...]:
    """Return every policy's name, without the letters."""
    return tuple(POLICIES)


def policy_name(word: str) -> str:
    """Return the policy that a name or letter means, in any case.

    Raises UsageError with the nearest valid word.
    """
    lowered = word.strip().lower()
    name = LETTERS.get(lowered, lowered)
    if name not in POLICIES:
        raise UsageError(_unknown("policy", word, policy_names(), "; letters: A serial, B batched, C pool"))
    return name


def make_policy(name: str, *, order: str, stagger_s: float, batch_size: int = 3) -> Policy:
    """Return the policy called `name` (A, B and C are accepted, in any case).

    `order` and `stagger_s` are the phase's and matter to `native` alone; `batch_size` to `batched` alone.
    Raises UsageError for an unknown name or order, with the nearest valid word, and for a number out of range.
    """
    if order not in tuple(Order):
        raise UsageError(_unknown("order", order, tuple(Order)))
    if not 0 <= stagger_s < float("inf"):
        raise UsageError(f"stagger must be 0 seconds or more, not {stagger_s}")
    if batch_size < 1:
        raise UsageError(f"batch size must be 1 or more, not {batch_size}")
    match policy_name(name):
        case "native":
            return Native(Order(order), stagger_s)
        case "serial":
            return Serial()
        case "batched":
            return Batched(batch_size)
        case _:
            return Pool()


def _unknown(what: str, word: str, valid: tuple[str, ...], more: str = "") -> str:
    near = difflib.get_close_matches(word.strip().lower(), valid, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"no {what} {word!r}{hint} (there are {', '.join(valid)}{more})"
