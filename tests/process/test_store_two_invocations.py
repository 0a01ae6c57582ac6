"""Several processes on one runs.db: nothing is lost, nothing collides, a killed owner lets go."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

pytestmark = pytest.mark.slow

DEADLINE_S = 60

# Plans a run of its own, then records batches of calls, each begun and ended, as fast as it can.
WRITE = """
import sys
from benchrunner.records import *
from benchrunner.store.writer import RunWriter

path, run_id, batches = sys.argv[1], sys.argv[2], int(sys.argv[3])
at = "2025-08-26T10:00:00.000000Z"
run = RunRecord(run_id=run_id, batch_id="b", phase="5.2", policy="pool", engine="local", backend="simulated", seed=1,
                config_hash="", config="{}", version="0", argv="", started_at=at)
task = Task(task_id="t", task_type="basic_task", difficulty="easy", body="{}")
condition = Condition(model="m", prompt="optimal", difficulty="easy", tool_success_rate=0.8)
trial = Trial(trial_id=run_id + "/0", shard_id=run_id + "/s", condition=condition, task_id="t",
              task_type="basic_task", instance=0, seed=1)
shard = Shard(shard_id=run_id + "/s", position=0, model="m", provider="p", key_id="k", label="", group=1,
              trial_ids=(trial.trial_id,), expected_calls=1, expected_call_s=1, workers=1, pace_qps=2)
writer = RunWriter.open(path)
writer.add_run(run, [shard], [trial], [task])
for batch in range(batches):
    events = []
    for n in range(20):
        call_id = writer.next_call_id()
        events.append(CallSent(call_id=call_id, run_id=run_id, trial_id=trial.trial_id, turn=n, attempt=1, key_id="k",
                               model="m", deployment="m", sent_at=at, wait_window_s=0.0, backoff_s=0.0))
        events.append(CallDone(call_id=call_id, outcome=Outcome.OK, sent_at=at, wait_window_s=0.0, backoff_s=0.0,
                               latency_s=0.1))
    writer.record(events)
    print(batch, flush=True)
"""
END = """
writer.close()
"""
HANG = """
sys.stdin.read()
"""


def _start(code: str, *argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def test_invocations_that_meet_on_a_new_file_both_write_all_they_have(tmp_path: Path) -> None:
    """Schema built once, ids from different blocks, every batch of both kept: three runs share one file."""
    # Given three processes that start at once on a file that does not exist
    path = tmp_path / "runs.db"
    batches = 40
    processes = [_start(WRITE + END, str(path), f"r{n}", str(batches)) for n in range(3)]
    # When all have written what they have
    results = [process.communicate(timeout=DEADLINE_S) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], [err for _, err in results]
    # Then nothing is missing and nothing is left beside the file
    assert _rows(path, "SELECT run_id, outcome, count(*), count(DISTINCT id) FROM calls GROUP BY 1, 2") == [
        (f"r{n}", "ok", batches * 20, batches * 20) for n in range(3)
    ]
    assert [file.name for file in tmp_path.iterdir()] == ["runs.db"]
    assert _rows(path, "PRAGMA integrity_check") == [("ok",)]


def test_what_was_recorded_survives_the_kill_of_its_writer_and_the_run_can_be_resumed(tmp_path: Path) -> None:
    """A batch that `record` returned from is there after SIGKILL, and the dead owner's lock bars nobody."""
    # Given a writer that has told of ten batches and holds its run
    path = tmp_path / "runs.db"
    process = _start(WRITE + HANG, str(path), "r0", "10")
    assert process.stdout is not None
    told = [process.stdout.readline().strip() for _ in range(10)]
    assert told == [str(n) for n in range(10)]
    # And while it lives nobody else may drive the run
    resume = (
        "import sys\nfrom benchrunner.errors import StoreError\nfrom benchrunner.store.writer import RunWriter\n"
        "with RunWriter.open(sys.argv[1]) as writer:\n"
        "    try: print(writer.reopen_run('r0', at='2025-08-26T11:00:00Z'))\n"
        "    except StoreError as error: print(error)\n"
    )
    refused, _ = _start(resume, str(path)).communicate(timeout=DEADLINE_S)
    assert f"is being driven by process {process.pid}" in refused
    # When it is killed
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=DEADLINE_S)
    # Then all it told of is there, and the run goes on
    assert _rows(path, "SELECT count(*) FROM calls WHERE outcome = 'ok'") == [(200,)]
    left, _ = _start(resume, str(path)).communicate(timeout=DEADLINE_S)
    assert left.strip() == "1"
    assert [file.name for file in tmp_path.iterdir()] == ["runs.db"]


UNPRIVILEGED = """
import json, os, sys
from benchrunner.errors import StoreError
from benchrunner.store.queries import RunReader
from benchrunner.store.writer import RunWriter
import benchrunner.store.migrations

os.setgid(65534)
os.setuid(65534)
said = []
for opener in (RunWriter.open, RunReader.open):
    try:
        with opener(sys.argv[1]) as opened:
            said.append(type(opened).__name__)
    except StoreError as error:
        said.append(str(error))
print(json.dumps(said))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without rights")
def test_what_we_may_not_write_is_refused_before_a_run_and_can_still_be_read() -> None:
    """Without the right to write, the sentence comes when opening; an archive in a read-only directory is readable."""
    # Given a database of somebody else, in a directory of theirs that others may enter (tmp_path is private)
    with TemporaryDirectory() as name:
        directory = Path(name)
        path = directory / "runs.db"
        first = _start(WRITE + END, str(path), "r0", "1")
        _, errors = first.communicate(timeout=DEADLINE_S)
        assert first.returncode == 0, errors
        before = path.read_bytes()
        # When somebody without rights opens it, first in a read-only directory, then in one open to all
        said = []
        for mode in (0o755, 0o777):
            directory.chmod(mode)
            output, errors = _start(UNPRIVILEGED, str(path)).communicate(timeout=DEADLINE_S)
            assert output, errors
            said.append(json.loads(output))
        after = path.read_bytes()
    # Then writing is refused both times, reading works both times, and the file is as it was
    assert "is not writable" in said[0][0]
    assert "may not be written" in said[1][0]
    assert [reading for _, reading in said] == ["RunReader", "RunReader"]
    assert after == before
