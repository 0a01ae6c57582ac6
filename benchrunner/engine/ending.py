"""Whether a run with no workers is over, and how it is said to have ended. Pure.

    trials left that a key may yet serve             -> it is not over
    no trial left, none invalid                      -> COMPLETE
    somebody asked it to stop                        -> INTERRUPTED
    trials left whose provider has no usable key     -> FAILED
    anything else: invalid trials, shards given up   -> INCOMPLETE
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet

from benchrunner.engine.books import KeyState, Rules, ShardState
from benchrunner.engine.events import End
from benchrunner.engine.stopping import Stopping
from benchrunner.records import RunStatus


def choose_end(
    shards: Collection[ShardState],
    keys: Iterable[KeyState],
    rules: Rules,
    *,
    unreachable: AbstractSet[str],
    held_up_since_s: float | None,
    stop: Stopping,
    now_s: float,
) -> End | None:
    """Return how the run has ended; None: it has not.

    `unreachable`: providers given up; `held_up_since_s`: since when keys of other runs are all that could go on.
    """
    left = [one for one in shards if one.pending]
    wanted: set[str] = set()  # providers that trials wait for
    held_elsewhere = False
    if left and not stop:
        wanted = {one.shard.provider for one in left if one.status != "failed"} - unreachable
        held_elsewhere = held_up_since_s is not None and now_s - held_up_since_s >= rules.wait_s
        served = {key.setup.provider for key in keys if _serves_again(key, rules, now_s)}
        if wanted & served and not held_elsewhere:
            return None  # a key is parked or denied for a while, or the policy staggers
    no_usable_key = bool(wanted) and not held_elsewhere
    if not left and not any(one.invalid for one in shards):
        status = RunStatus.COMPLETE  # also when a stop came: it found nothing to interrupt
    elif stop.asked_for:
        status = RunStatus.INTERRUPTED
    elif no_usable_key:
        status = RunStatus.FAILED
    else:
        status = RunStatus.INCOMPLETE
    return End(status=status, no_usable_key=no_usable_key, held_elsewhere=held_elsewhere)


def _serves_again(key: KeyState, rules: Rules, now_s: float) -> bool:
    """Return whether the key is worth waiting for: a quota that resets tomorrow is not."""
    return not key.retired and key.parked_until_s <= now_s + rules.longest_park_s
