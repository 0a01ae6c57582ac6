"""How the events of one batch reach their tables: sorted into lanes, one a table, each applied in the order it came."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from benchrunner.errors import StoreError
from benchrunner.records import (
    CallDone,
    CallSent,
    CallWithdrawn,
    KeyEvent,
    LeaseGranted,
    LeaseReleased,
    RunEnded,
    ShardChanged,
    StoreEvent,
    TrialDone,
    TrialRequeued,
    TrialStarted,
)
from benchrunner.store import rows

EventT = TypeVar("EventT")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lane(Generic[EventT]):
    """How the events that change one table's rows are applied. `identity` tells a late event from a wrong one."""

    what: str
    update: str
    values: Callable[[EventT], rows.Values]
    exists: str
    identity: Callable[[EventT], rows.Values]


_CALLS: _Lane[CallDone] = _Lane(
    what="call",
    update=rows.END_CALL,
    values=rows.call_done_values,
    exists="SELECT 1 FROM calls WHERE id = ?",
    identity=lambda event: (event.call_id,),
)
_WITHDRAWN: _Lane[CallWithdrawn] = _Lane(
    what="call",
    update=rows.WITHDRAW_CALL,
    values=lambda event: (event.call_id,),
    exists="SELECT 1 FROM calls WHERE id = ?",
    identity=lambda event: (event.call_id,),
)
_TRIALS: _Lane[TrialStarted | TrialRequeued | TrialDone] = _Lane(
    what="trial",
    update=rows.CHANGE_TRIAL,
    values=rows.trial_change_values,
    exists="SELECT 1 FROM trials WHERE id = ?",
    identity=lambda event: (event.trial_id,),
)
_LEASES: _Lane[LeaseReleased] = _Lane(
    what="lease",
    update=rows.RELEASE_LEASE,
    values=rows.lease_released_values,
    exists="SELECT 1 FROM leases WHERE run_id = ? AND key_id = ? AND fence = ?",
    identity=lambda event: (event.run_id, event.key_id, event.fence),
)
_SHARDS: _Lane[ShardChanged] = _Lane(
    what="shard",
    update=rows.CHANGE_SHARD,
    values=rows.shard_change_values,
    exists="SELECT 1 FROM shards WHERE id = ? AND run_id = ?",
    identity=lambda event: (event.shard_id, event.run_id),
)
_RUNS: _Lane[RunEnded] = _Lane(
    what="run",
    update=rows.END_RUN,
    values=rows.run_ended_values,
    exists="SELECT 1 FROM runs WHERE id = ?",
    identity=lambda event: (event.run_id,),
)


@dataclass(slots=True, kw_only=True)
class _Batch:
    """The events of one batch by the lane they go through."""

    calls_sent: list[CallSent] = field(default_factory=list)
    calls_done: list[CallDone] = field(default_factory=list)
    calls_withdrawn: list[CallWithdrawn] = field(default_factory=list)
    trials: list[TrialStarted | TrialRequeued | TrialDone] = field(default_factory=list)
    granted: list[LeaseGranted] = field(default_factory=list)
    released: list[LeaseReleased] = field(default_factory=list)
    key_events: list[KeyEvent] = field(default_factory=list)
    shards: list[ShardChanged] = field(default_factory=list)
    ended: list[RunEnded] = field(default_factory=list)


def apply_batch(connection: sqlite3.Connection, events: Sequence[StoreEvent]) -> tuple[StoreEvent, ...]:
    """Apply `events` inside the caller's transaction and return those that came too late to change their row.

    Inserts go first: what ends in a batch may have begun in it. Raises StoreError for an event about something the
    database does not hold, sqlite3.Error for what SQLite refuses.
    """
    batch = _sorted_by_lane(events)
    connection.executemany(rows.INSERT_CALL, map(rows.call_sent_values, batch.calls_sent))
    connection.executemany(rows.INSERT_LEASE, map(rows.lease_granted_values, batch.granted))
    connection.executemany(rows.INSERT_KEY_EVENT, map(rows.key_event_values, batch.key_events))
    return (
        *_change(connection, _CALLS, batch.calls_done),
        *_change(connection, _WITHDRAWN, batch.calls_withdrawn),
        *_change(connection, _TRIALS, batch.trials),
        *_change(connection, _LEASES, batch.released),
        *_change(connection, _SHARDS, batch.shards),
        *_change(connection, _RUNS, batch.ended),
    )


def _sorted_by_lane(events: Sequence[StoreEvent]) -> _Batch:
    batch = _Batch()
    for event in events:
        match event:
            case CallSent():
                batch.calls_sent.append(event)
            case CallDone():
                batch.calls_done.append(event)
            case CallWithdrawn():
                batch.calls_withdrawn.append(event)
            case TrialStarted() | TrialRequeued() | TrialDone():
                batch.trials.append(event)
            case LeaseGranted():
                batch.granted.append(event)
            case LeaseReleased():
                batch.released.append(event)
            case KeyEvent():
                batch.key_events.append(event)
            case ShardChanged():
                batch.shards.append(event)
            case RunEnded():
                batch.ended.append(event)
    return batch


def _change(connection: sqlite3.Connection, lane: _Lane[EventT], events: list[EventT]) -> tuple[EventT, ...]:
    """Apply one lane's updates and return the events that found their row past changing."""
    if not events:
        return ()
    values = [lane.values(event) for event in events]
    connection.execute("SAVEPOINT lane")
    changed = connection.executemany(lane.update, values).rowcount
    if changed == len(events):
        connection.execute("RELEASE lane")
        return ()
    # Some event changed nothing, and only row by row can it be told which.
    connection.execute("ROLLBACK TO lane")
    connection.execute("RELEASE lane")
    late = []
    for event, row in zip(events, values, strict=True):
        if connection.execute(lane.update, row).rowcount == 0:
            identity = lane.identity(event)
            if connection.execute(lane.exists, identity).fetchone() is None:
                named = ", ".join(str(part) for part in identity)
                raise StoreError(f"{type(event).__name__} names {lane.what} {named}, which the database does not hold")
            late.append(event)
    return tuple(late)
