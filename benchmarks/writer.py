"""Rows per second through the single writer, beside a bare executemany: `python benchmarks/writer.py`.

A call is one row inserted (`sent`) and updated (its end), in batches as a supervisor flushes them, foreign keys and
indices on, committed batch by batch. `--million` then fills the file to 1,000,000 calls and times what `runs` and
`show` ask of it.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from benchrunner.clock import SystemClock
from benchrunner.records import (
    CallDone,
    CallSent,
    Condition,
    Outcome,
    RunRecord,
    Shard,
    StoreEvent,
    Task,
    Trial,
    TrialDone,
    TrialStatus,
)
from benchrunner.reporting.summary import summarise
from benchrunner.store import rows
from benchrunner.store.history import model_history
from benchrunner.store.queries import RunReader
from benchrunner.store.writer import RunWriter

CALLS_PER_TRIAL = 10
MODELS = 8
RATE_PER_S = 30.0
AT = "2025-08-26T00:00:00.000000Z"


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=200, help="events a transaction")
    parser.add_argument("--million", action="store_true")
    options = parser.parse_args()
    with TemporaryDirectory() as directory:
        path = Path(directory) / "runs.db"
        total = 1_000_000 if options.million else options.calls
        trials = _plan(path, total // CALLS_PER_TRIAL)
        _time_writer(path, trials, options.calls, options.batch)
        _time_bare(Path(directory) / "bare.db", trials, options.calls)
        if options.million:
            _fill(path, trials, options.calls, total)
            _time_queries(path)
    return 0


def _plan(path: Path, count: int) -> tuple[Trial, ...]:
    tasks = tuple(
        Task(task_id=f"task_{n}", task_type="basic_task", difficulty="easy", body="{}")
        for n in range(-(-count // MODELS))
    )
    trials = tuple(
        Trial(
            trial_id=f"bench/{n}",
            shard_id=f"bench/s{n % MODELS}",
            condition=Condition(
                model=f"model-{n % MODELS}", prompt="optimal", difficulty="easy", tool_success_rate=0.8
            ),
            task_id=tasks[n // MODELS].task_id,
            task_type="basic_task",
            instance=0,
            seed=n,
        )
        for n in range(count)
    )
    shards = tuple(
        Shard(
            shard_id=f"bench/s{n}",
            position=n,
            model=f"model-{n}",
            provider="p",
            key_id=f"key{n % 3}",
            label="easy",
            group=1,
            trial_ids=(),
            expected_calls=1.0,
            expected_call_s=1.0,
            workers=30,
            pace_qps=2.0,
        )
        for n in range(MODELS)
    )
    run = RunRecord(
        run_id="bench",
        batch_id="bench",
        phase="5.2",
        policy="pool",
        engine="local",
        backend="simulated",
        seed=1,
        config_hash="",
        config="{}",
        version="0",
        argv="",
        started_at=AT,
    )
    with RunWriter.open(path) as writer:
        writer.add_run(run, shards, trials, tasks)
    return trials


def _calls(writer: RunWriter, trials: tuple[Trial, ...], first: int, last: int) -> list[StoreEvent]:
    events: list[StoreEvent] = []
    for n in range(first, last):
        trial = trials[n // CALLS_PER_TRIAL]
        sent_at = _at(n / RATE_PER_S)
        call = CallSent(
            call_id=writer.next_call_id(),
            run_id="bench",
            trial_id=trial.trial_id,
            turn=n % CALLS_PER_TRIAL,
            attempt=1,
            key_id=f"key{n % 3}",
            model=trial.condition.model,
            deployment=trial.condition.model,
            sent_at=sent_at,
            wait_window_s=0.1,
            backoff_s=0.0,
        )
        done = CallDone(
            call_id=call.call_id,
            outcome=Outcome.OK,
            sent_at=sent_at,
            wait_window_s=0.1,
            backoff_s=0.0,
            latency_s=1.2,
            http_status=200,
            prompt_tokens=1500,
            completion_tokens=50,
            finish_reason="stop",
        )
        events += (call, done)
        if n % CALLS_PER_TRIAL == CALLS_PER_TRIAL - 1:
            events.append(
                TrialDone(trial_id=trial.trial_id, status=TrialStatus.INVALID, ended_at=sent_at, error_class="bench")
            )
    return events


def _at(second: float) -> str:
    day, rest = divmod(second, 86400)
    hour, rest = divmod(rest, 3600)
    minute, rest = divmod(rest, 60)
    return f"2025-08-{1 + int(day):02d}T{int(hour):02d}:{int(minute):02d}:{rest:09.6f}Z"


def _time_writer(path: Path, trials: tuple[Trial, ...], calls: int, batch: int) -> None:
    clock = SystemClock()
    with RunWriter.open(path) as writer:
        events = _calls(writer, trials, 0, calls)
        started_s = clock.now_s()
        for first in range(0, len(events), batch):
            writer.record(events[first : first + batch])
        elapsed_s = clock.now_s() - started_s
    changes = len(events)
    print(f"writer, batches of {batch}: {calls / elapsed_s:,.0f} calls/s, {changes / elapsed_s:,.0f} rows written/s")


def _time_bare(path: Path, trials: tuple[Trial, ...], calls: int) -> None:
    clock = SystemClock()
    RunWriter.open(path).close()
    with RunWriter.open(path) as writer:
        sent = [event for event in _calls(writer, trials, 0, calls) if isinstance(event, CallSent)]
    with closing(sqlite3.connect(path)) as connection:
        started_s = clock.now_s()
        connection.executemany(rows.INSERT_CALL, map(rows.call_sent_values, sent))
        connection.commit()
        elapsed_s = clock.now_s() - started_s
    print(f"bare executemany, one transaction, no foreign keys: {calls / elapsed_s:,.0f} rows/s")


def _fill(path: Path, trials: tuple[Trial, ...], first: int, total: int) -> None:
    with RunWriter.open(path) as writer:
        for start in range(first, total, 20_000):
            writer.record(_calls(writer, trials, start, min(total, start + 20_000)))


def _time_queries(path: Path) -> None:
    clock = SystemClock()
    print(f"{path.stat().st_size / 2**20:,.0f} MiB")
    with RunReader.open(path) as reader:
        started_s = clock.now_s()
        (run,) = reader.list_runs()
        print(f"runs, {run.calls:,} calls: {clock.now_s() - started_s:.2f} s")
        started_s = clock.now_s()
        summary = summarise(reader)
        print(f"show, peak {summary.keys[0].peak_1s}: {clock.now_s() - started_s:.2f} s")
    started_s = clock.now_s()
    model_history(path, [f"model-{n}" for n in range(MODELS)], backend="simulated")
    print(f"history: {clock.now_s() - started_s:.2f} s")
    started_s = clock.now_s()
    RunWriter.open(path).close()
    print(f"open and close a writer: {clock.now_s() - started_s:.2f} s")


if __name__ == "__main__":
    sys.exit(main())
