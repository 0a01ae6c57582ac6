"""Whether somebody drives a run: told by a kernel lock, so that a killed run is not taken for a running one."""

from __future__ import annotations

import os
from pathlib import Path

from recorded_run import Planned

from benchrunner.records import RunEnded, RunStatus
from benchrunner.store.ownership import FileLock, is_driven, run_lock_path
from benchrunner.store.queries import RunReader
from benchrunner.store.writer import RunWriter


def test_a_run_is_driven_while_its_lock_is_held(tmp_path: Path) -> None:
    """Looking takes nothing away: the holder keeps its lock, and the next one can take it."""
    database = tmp_path / "runs.db"
    assert is_driven(database, "r1") is False
    lock = FileLock.take(run_lock_path(database, "r1"), wait=False)
    assert lock is not None
    assert is_driven(database, "r1") is True
    assert FileLock.take(run_lock_path(database, "r1"), wait=False) is None
    lock.release()
    assert is_driven(database, "r1") is False


def test_a_lock_file_that_a_killed_run_left_says_nothing(tmp_path: Path) -> None:
    """Neither with the number of a process that is gone, nor with one that somebody else has by now."""
    path = run_lock_path(tmp_path / "runs.db", "r1")
    for left in ("2147483646", str(os.getpid()), "", "rubbish"):
        path.write_text(left)
        assert is_driven(tmp_path / "runs.db", "r1") is False


def test_a_killed_run_is_told_from_one_that_runs(writer: RunWriter, plan: Planned, database: Path) -> None:
    """The status in the database stays what it was; the reader says that nobody drives the run."""
    # Given a run that is under way, Then it is no killed one
    with RunReader.open(database) as reader:
        assert [(run.status, run.killed) for run in reader.list_runs()] == [(RunStatus.RUNNING, False)]
    # When its lock goes without a word, as it does with SIGKILL
    lock_path = run_lock_path(database, plan.run.run_id)
    kept = lock_path.read_text()
    writer.close()
    lock_path.write_text(kept)
    # Then it is killed; and once it has ended, it is not
    with RunReader.open(database) as reader:
        assert [(run.status, run.killed) for run in reader.list_runs()] == [(RunStatus.RUNNING, True)]
        assert reader.find_run(plan.run.run_id).killed is True
    lock_path.unlink()
    with RunWriter.open(database) as again:
        again.reopen_run(plan.run.run_id, at="2026-01-01T00:00:00.000000Z", shards=plan.shards)
        again.record(
            [RunEnded(run_id=plan.run.run_id, status=RunStatus.INTERRUPTED, ended_at="2026-01-01T00:00:01.000000Z")]
        )
    with RunReader.open(database) as reader:
        assert reader.find_run(plan.run.run_id).killed is False
