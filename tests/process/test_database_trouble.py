"""runs.db in trouble: what was committed stays, the sentence says what to do, and the run goes on once it can."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from process_kit import StrictProvider, Workspace, family, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

Provide = Callable[..., StrictProvider]
SMALL = ("phase", "5.2", "--live", "--instances", "1", "--models", "qwen2.5-3b-instruct", "--policy", "pool")
TRIALS, CALLS = 10, 100
OK_CALLS = "select count(*) from calls where outcome = 'ok'"
SCORED = "select count(*) from trials where status = 'scored'"
TAKES_WRITES_AGAIN = "runs.db takes writes again"


@pytest.fixture
def ready(workspace: Workspace, strict_provider: Provide) -> Workspace:
    """Return a workspace whose run takes some seconds on a provider of its own."""
    provider = strict_provider("--limit", "20", "--latency", "0.1")
    workspace.env["IDEALLAB_BASE_URL"] = provider.base_url
    workspace.edit_config("limits = [{ requests = 10, per_s = 1 }]", "limits = [{ requests = 20, per_s = 1 }]")
    return workspace


def assert_complete(workspace: Workspace) -> None:
    """Every trial was scored once, and the rows prove it."""
    assert workspace.rows("select status, count(*) n from trials group by 1") == [{"status": "scored", "n": TRIALS}]
    checked = workspace.run("audit")
    assert checked.code == 0, checked.out


@contextlib.contextmanager
def locked(database: Path) -> Iterator[None]:
    """Hold the database's write lock."""
    with contextlib.closing(sqlite3.connect(database, timeout=20, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


def test_a_run_waits_for_another_writer_and_goes_on(ready: Workspace) -> None:
    """A lock longer than a moment and shorter than the run's patience costs time, and nothing else."""
    # Given a run in the middle of its dialogues
    process = ready.start(*SMALL)
    wait_until(lambda: ready.count(OK_CALLS) > 10, "10 replies")
    # When another program holds the database for a while
    with locked(ready.db):
        before = ready.count("select count(*) from calls")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2.0)
        # Then no call leaves whose row could not be kept, and the run does not give up
        assert process.poll() is None
        assert ready.count("select count(*) from calls") == before
    # And it ends complete once the lock is gone
    ended = ready.finish(process)
    assert ended.code == 0, ended.err
    assert_complete(ready)


def limit_file_size(pid: int, size_bytes: int) -> None:
    """Let the process write no file beyond this size: what a full disk is to it, and no mount is needed."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_bytes, hard))


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="prlimit is Linux's")
def test_a_disk_that_takes_no_more_holds_the_run_until_it_does(ready: Workspace) -> None:
    """Writes fail: the run says so and sends nothing it could not keep; space comes back, and it ends complete."""
    # Given a run in the middle of its dialogues
    process = ready.start(*SMALL)
    wait_until(lambda: ready.count(SCORED) >= 1, "a trial scored")
    # When the file can grow no more
    kept = ready.rows("select id, final_score, transcript from trials where status = 'scored' order by id")
    limit_file_size(process.pid, 4096)
    assert process.stderr is not None
    said = next((line for line in process.stderr if "cannot record results" in line), "")
    # Then it says which file, why, and what it does about it
    assert str(ready.db.name) in said
    assert "no call leaves until it can be kept" in said
    # And what was committed is there, readable by anybody
    now = ready.rows("select id, final_score, transcript from trials where status = 'scored' order by id")
    assert [row for row in now if row["id"] in {one["id"] for one in kept}] == kept
    # And when there is room again the run goes on to its end
    limit_file_size(process.pid, resource.RLIM_INFINITY)
    ended = ready.finish(process)
    assert ended.code == 0, ended.err
    assert TAKES_WRITES_AGAIN in ended.err
    assert_complete(ready)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="prlimit is Linux's")
def test_a_run_stopped_while_its_disk_is_full_ends_and_can_be_resumed(ready: Workspace) -> None:
    """Two signals end the run as soon as there is room: nothing committed is lost, resume runs the rest."""
    process = ready.start(*SMALL)
    wait_until(lambda: ready.count(SCORED) >= 1, "a trial scored")
    limit_file_size(process.pid, 4096)
    assert process.stderr is not None
    assert any("cannot record results" in line for line in process.stderr)
    members = family(process.pid)
    # When it is told to stop, and at once
    process.send_signal(signal.SIGTERM)
    assert any("stopping: " in line for line in process.stderr)
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(2.0)
    limit_file_size_if_alive(process)
    ended = ready.finish(process, 30.0)
    # Then it ends by the signal's code, once it could say so in the database, and leaves no process
    assert ended.code == 143, ended.err
    wait_until(lambda: not any(map(psutil.Process.is_running, members)), "every process of the run gone", 10.0)
    # And what was committed is kept
    kept = ready.count(SCORED)
    assert 1 <= kept < TRIALS
    resumed = ready.run("resume")
    assert resumed.code == 0, resumed.err
    assert f"kept {kept}, run {TRIALS - kept}" in resumed.err
    assert_complete(ready)


def limit_file_size_if_alive(process: subprocess.Popen[str]) -> None:
    """Give the process room again, if it still waits for some."""
    if process.poll() is None:
        limit_file_size(process.pid, resource.RLIM_INFINITY)


def test_a_read_only_database_is_refused_before_anything_starts(ready: Workspace) -> None:
    """Exit 2 with the file's name; no call was sent and not a byte changed; reading it still works."""
    # Given a database with a run that nobody may write, root included
    ready.edit_config("speed = 1 ", "speed = 20 ")
    made = ready.run("phase", "5.2", "--simulated", "--instances", "1", "--models", "qwen2.5-3b-instruct")
    assert made.code == 0, made.err
    before = ready.db.read_bytes()
    ready.db.chmod(0o444)
    # When a run would write it
    process = subprocess.Popen(
        [sys.executable, "-m", "benchrunner", *SMALL],
        cwd=ready.path,
        env=ready.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_without_rights_over_files,
    )
    ready.running.append(process)
    refused = ready.finish(process)
    # Then it is refused, and the file is as it was
    assert (refused.code, refused.out) == (2, "")
    assert "runs.db" in refused.err
    assert "may not be written" in refused.err
    assert ready.db.read_bytes() == before
    # And it can be read
    assert ready.run("show").code == 0
    assert ready.run("audit").code == 0


def _without_rights_over_files() -> None:
    """Give up root's right to write what is read-only, for the program that is started next."""
    if os.geteuid() == 0:
        drop_from_bounding_set, dac_override = 24, 1  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE
        if ctypes.CDLL(None, use_errno=True).prctl(drop_from_bounding_set, dac_override, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "cannot give up CAP_DAC_OVERRIDE")


@pytest.mark.parametrize("command", [SMALL, ("resume",), ("show",), ("audit",)], ids=lambda command: command[0])
def test_a_database_of_a_newer_version_is_refused_by_every_command(ready: Workspace, command: tuple[str, ...]) -> None:
    """Exit 2, a sentence that says what to do, and the file byte for byte as it was."""
    # Given a database that a later version has been at
    assert ready.run("phase", "5.2", "--live", "--models", "none").code == 2
    from benchrunner.store.writer import RunWriter

    RunWriter.open(ready.db).close()
    with contextlib.closing(sqlite3.connect(ready.db)) as connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('benchrunner', 'm900_later', '')"
        )
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = ready.db.read_bytes()
    # When this version is to use it
    refused = ready.run(*command)
    # Then it does not
    assert (refused.code, refused.out) == (2, "")
    assert "newer benchrunner" in refused.err
    assert "m900_later" in refused.err
    assert ready.db.read_bytes() == before


def test_what_was_committed_before_a_torn_log_stays(ready: Workspace) -> None:
    """SIGKILL, then the log cut in the middle of a page: commits before the tear are kept, the next command works."""
    # Given a run that was killed, its last commits in the log alone
    process = ready.start(*SMALL)
    wait_until(lambda: ready.count(SCORED) >= 2, "2 trials scored")
    members = family(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    ready.finish(process)
    wait_until(lambda: not any(map(psutil.Process.is_running, members)), "every process of the run gone", 10.0)
    log = ready.path / "runs.db-wal"
    whole = log.read_bytes()
    # A reader that is the only one would fold the log in as it closes, so the rows are read from a copy.
    copy = ready.path / "copy"
    copy.mkdir()
    (copy / "runs.db").write_bytes(ready.db.read_bytes())
    (copy / "runs.db-wal").write_bytes(whole)
    kept = scored_in(copy / "runs.db")
    # When its last third is torn off in the middle of a frame
    frame = 24 + int.from_bytes(whole[8:12], "big")
    frames = (len(whole) - 32) // frame
    assert frames > 6
    log.write_bytes(whole[: 32 + frame * (2 * frames // 3) + frame // 2])
    # Then the next command reads what was committed before the tear: nothing else, nothing changed
    shown = ready.run("show", "--json")
    assert shown.code == 0, shown.err
    left = scored_in(ready.db)
    assert left.items() <= kept.items()
    # And resume runs what is not there any more
    resumed = ready.run("resume")
    assert resumed.code == 0, resumed.err
    assert f"kept {len(left)}, run {TRIALS - len(left)}" in resumed.err
    assert ready.rows("pragma integrity_check") == [{"integrity_check": "ok"}]
    assert ready.rows("select status, count(*) n from trials group by 1") == [{"status": "scored", "n": TRIALS}]
    after = scored_in(ready.db)
    assert left.items() <= after.items()


def scored_in(database: Path) -> dict[str, str]:
    """Return the transcripts of the scored trials a database holds."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return dict(connection.execute("SELECT id, transcript FROM trials WHERE status = 'scored'").fetchall())
