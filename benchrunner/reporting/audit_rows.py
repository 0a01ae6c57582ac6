"""Whether a run's rows agree with each other and with its plan: counts, accepted results, leases, references."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import product

from benchrunner.records import RunStatus
from benchrunner.reporting.audit_findings import Check, Tally
from benchrunner.reporting.stored_config import StoredConfig
from benchrunner.store.answers import LeaseRow, RunRow
from benchrunner.store.audit_queries import CellCount, OrphanRow, ShardCount

_FOR_EVER = "~"  # after every instant


def check_plan(
    run: RunRow,
    config: StoredConfig,
    cells: Sequence[CellCount],
    shards: Sequence[ShardCount],
    task_types: Sequence[str],
) -> Check:
    """Return whether the run has the trials its grid asks for, no more and no fewer, and its status fits them.

    `task_types`: the suite's, for a grid that means them all; () where the suite is not at hand: those there are.
    """
    tally = Tally(name="plan")
    grid = config.grid
    if grid is not None:
        types: Sequence[str] = grid.task_types or task_types or sorted({cell.task_type for cell in cells})
        found: defaultdict[tuple[str, str, str, float, str], int] = defaultdict(int)
        for cell in cells:
            found[cell.model, cell.prompt, cell.difficulty, cell.tool_success_rate, cell.task_type] += cell.trials
        planned = set(product(grid.models, grid.prompts, grid.difficulties, grid.tool_success_rates, types))
        for place in sorted(planned | set(found)):
            expected = grid.instances if place in planned else 0
            if found[place] != expected:
                where = " / ".join(f"{part:g}" if isinstance(part, float) else part for part in place)
                tally.add(where, expected=f"{expected} trials", found=f"{found[place]}")
    for shard in shards:
        if shard.stated != shard.trials:
            tally.add(shard.shard_id, expected=f"{shard.stated} trials, as it says", found=f"{shard.trials}")
    trials, scored = sum(cell.trials for cell in cells), sum(cell.scored for cell in cells)
    if (run.status is RunStatus.COMPLETE) != (trials == scored) and run.status is not RunStatus.RUNNING:
        tally.add(
            run.run_id,
            expected="complete if every trial is scored, and only then",
            found=f"{run.status}, {scored} of {trials} scored",
        )
    against = "the grid" if grid is not None else "each other (no grid is stored)"
    return tally.done(f"{trials} trials in {len(cells)} cells and {len(shards)} shards against {against}")


def check_results(repeated: Iterable[tuple[str, int]], scored: int) -> Check:
    """Return whether every trial has at most one accepted result."""
    tally = Tally(name="results")
    for trial_id, times in repeated:
        tally.add(trial_id, expected="one accepted result", found=f"{times}")
    return tally.done(f"{scored} accepted results, one a trial identity")


def check_leases(run: RunRow, config: StoredConfig, leases: Sequence[LeaseRow], *, managed: bool) -> Check:
    """Return whether fences only rise, no lease outlives its run, and no key was leased beyond its slots.

    Slots bind under managed policies alone.
    """
    tally = Tally(name="leases")
    highest = 0
    for lease in leases:
        where = f"{lease.key_id}, {lease.shard_id}"
        if lease.fence <= highest:
            tally.add(where, expected=f"a fence above {highest}", found=f"{lease.fence}")
        highest = max(highest, lease.fence)
        if lease.released_at is None and run.status is not RunStatus.RUNNING:
            tally.add(where, expected="released when the run ended", found=f"fence {lease.fence} is still open")
        elif lease.released_at is not None and lease.released_at < lease.granted_at:
            tally.add(where, expected=f"released after {lease.granted_at}", found=lease.released_at)
    slots = {key.key_id: key.slots for key in config.keys}
    by_key: defaultdict[str, list[LeaseRow]] = defaultdict(list)
    for lease in leases:
        by_key[lease.key_id].append(lease)
    for key_id in sorted(by_key) if managed else ():
        bound = slots.get(key_id, 0)
        most, at = _most_at_once(by_key[key_id])
        if 0 < bound < most:
            tally.add(key_id, expected=f"at most {bound} leases at once", found=f"{most} at {at}")
    what = "fences and slots" if managed else f"fences ({run.policy} binds no slots)"
    return tally.done(f"{len(leases)} leases of {len(by_key)} keys: {what}")


def _most_at_once(leases: Iterable[LeaseRow]) -> tuple[int, str]:
    """Return the most leases open at one instant, and the first such instant. One may end as another begins."""
    edges = [(lease.granted_at, 1) for lease in leases] + [(lease.released_at or _FOR_EVER, -1) for lease in leases]
    held = most = 0
    first = ""
    for at, change in sorted(edges):
        held += change
        if held > most:
            most, first = held, at
    return most, first


def check_references(orphans: Iterable[OrphanRow]) -> Check:
    """Return whether every reference in the database, whatever run it is of, points to a row that is there."""
    tally = Tally(name="references")
    for orphan in orphans:
        tally.add(f"{orphan.table} row {orphan.rowid}", expected=f"a row in {orphan.parent}", found="none")
    return tally.done("every foreign key of the database")
