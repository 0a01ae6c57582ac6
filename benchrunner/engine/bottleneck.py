"""What holds a run back right now, in words: a window, a learned cap, a pause, the models' own time, or other runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from benchrunner.engine.rations import waits_for_key
from benchrunner.engine.state import RunState
from benchrunner.planning.lineup import in_words
from benchrunner.records import KeyProgress, Limit, LimitKind, WindowProgress

OVER_S = 5.0
"""What `right now` means: short enough to follow a pause, long enough to see past one burst."""

WAITED_S = 0.02
"""A call that got its permit this soon was held back by nothing; as in engine/rations.py."""

MOSTLY = 0.5
"""Of the calls that must have waited, and of a window that must be used, before it is said to hold them back."""


class Waits:
    """How long the latest calls of one key waited for leave to go."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, bool]] = deque()

    def note(self, wait_s: float, now_s: float) -> None:
        """Count a call that left."""
        self._seen.append((now_s, wait_s > WAITED_S))

    def mostly(self, now_s: float) -> bool | None:
        """Return whether most of the latest calls had to wait; None: there were none."""
        while self._seen and self._seen[0][0] < now_s - OVER_S:
            self._seen.popleft()
        if not self._seen:
            return None
        return sum(waited for _, waited in self._seen) >= MOSTLY * len(self._seen)


def binding_text(
    state: RunState, keys: Sequence[KeyProgress], waits: Mapping[str, Waits], *, managed: bool, now_s: float
) -> str:
    """Return what holds the run back, each cause once with the keys it is true of; "": nothing has happened yet."""
    owners: dict[str, list[str]] = {}
    for key in keys:
        if (cause := _cause(state, key, waits[key.key_id].mostly(now_s), managed=managed)) is not None:
            words, owner = cause
            owners.setdefault(words, []).append(owner)
    ranked = sorted(owners.items(), key=lambda item: -len(item[1]))
    return "; ".join(" ".join(filter(None, (words, ", ".join(filter(None, of))))) for words, of in ranked)


def _cause(state: RunState, key: KeyProgress, waited: bool | None, *, managed: bool) -> tuple[str, str] | None:
    """Return what holds the key's calls back, and whom that is said of ("": the words say it)."""
    if key.health == "held":
        return "other runs hold", key.key_id
    if key.health != "usable":
        return key.health, key.key_id
    if key.paused_for_s > 0:
        return "paused", key.key_id
    if waited is None or not key.models:
        return None
    if managed and key.cap_per_s is not None and (waited or key.waiting) and _is_low(key):
        return f"learned cap {key.cap_per_s:.2g}/s:", key.key_id
    if waited and (held := _window(key) if managed else _pace(state, key)) is not None:
        return held
    on_key = [worker for worker in state.workers.values() if worker.key_id == key.key_id and not worker.released]
    working = [state.shards[shard_id] for worker in on_key for shard_id in worker.shard_ids]
    busiest = max(working, key=lambda one: one.running, default=None)
    if busiest is None or not busiest.running:
        return None
    model = busiest.shard.model
    if not any(one.pending for one in working):
        if not _others_wait(state, key.key_id):
            return f"last trials of {model} on", key.key_id
        # Without the model's name, which stands on the key's own line: three of them would not fit beside each other.
        alone = managed and state.keys[key.key_id].setup.slots == 1
        return f"latency, {'one model per key' if alone else 'all in flight'}:", key.key_id
    # The number that is set, not the one of this instant: a line that changes with every reply cannot be read.
    return f"latency of {model} ({busiest.shard.workers} at once) on", key.key_id


def _others_wait(state: RunState, key_id: str) -> bool:
    """Return whether shards of the key's provider wait: their trials are still to come, whatever this key is at."""
    provider = state.keys[key_id].setup.provider
    return any(one.shard.provider == provider and waits_for_key(one, state.workers) for one in state.shards.values())


def _window(key: KeyProgress) -> tuple[str, str] | None:
    fullest = max(key.windows, key=fullness, default=None)
    if fullest is None or fullness(fullest) < MOSTLY:
        return None  # a machine that wakes late makes calls wait too
    words = in_words([Limit(kind=fullest.use.kind, amount=fullest.use.amount, per_s=fullest.use.per_s)])
    return f"{words} of", fullest.model or key.key_id


def _is_low(key: KeyProgress) -> bool:
    """Return whether the key's learned cap is below what its windows would let through."""
    limits_per_s = [one.use.amount / one.use.per_s for one in key.windows if one.use.kind is LimitKind.REQUESTS]
    return key.cap_per_s is not None and key.cap_per_s < min(limits_per_s, default=float("inf"))


def _pace(state: RunState, key: KeyProgress) -> tuple[str, str]:
    shards = [state.shards[w.shard_id].shard for w in state.workers.values() if w.key_id == key.key_id]
    pace = max((shard.pace_qps for shard in shards), default=0.0)
    return f"own pace of {pace:g}/s per shard on", key.key_id


def fullness(window: WindowProgress) -> float:
    """Return which share of a window is used."""
    return window.use.used / window.use.amount
