"""Registry records as rows of plain values, which is all that passes between a Manager and its clients."""

from __future__ import annotations

from benchrunner.records import Lease
from benchrunner.registry.service import Holding, KeyHealth, KeyStatus

LeaseRow = tuple[str, str, str, str, int]
HoldingRow = tuple[LeaseRow, bool, int, float, float]
StatusRow = tuple[str, str, int, str, str, float, tuple[HoldingRow, ...]]


def lease_row(lease: Lease) -> LeaseRow:
    """Return the lease as a row."""
    return (lease.key_id, lease.model, lease.shard_id, lease.holder, lease.fence)


def lease_of(row: LeaseRow) -> Lease:
    """Return the lease that `lease_row` made the row of."""
    key_id, model, shard_id, holder, fence = row
    return Lease(key_id=key_id, model=model, shard_id=shard_id, holder=holder, fence=fence)


def status_row(status: KeyStatus) -> StatusRow:
    """Return the key's status as a row."""
    holders = tuple(
        (lease_row(held.lease), held.counted, held.pid, held.pid_started_s, held.since_mono_s)
        for held in status.holders
    )
    return (
        status.key_id,
        status.provider,
        status.slots,
        status.health.value,
        status.reason,
        status.parked_until_mono_s,
        holders,
    )


def status_of(row: StatusRow) -> KeyStatus:
    """Return the status that `status_row` made the row of."""
    key_id, provider, slots, health, reason, parked_until_mono_s, holders = row
    return KeyStatus(
        key_id=key_id,
        provider=provider,
        slots=slots,
        health=KeyHealth(health),
        reason=reason,
        parked_until_mono_s=parked_until_mono_s,
        holders=tuple(
            Holding(
                lease=lease_of(lease), counted=counted, pid=pid, pid_started_s=pid_started_s, since_mono_s=since_mono_s
            )
            for lease, counted, pid, pid_started_s, since_mono_s in holders
        ),
    )


def plain(answer: object) -> object:
    """Return a registry's answer with every record in it turned into its row."""
    match answer:
        case Lease():
            return lease_row(answer)
        case KeyStatus():
            return status_row(answer)
        case tuple():
            return tuple(plain(part) for part in answer)
        case _:
            return answer
