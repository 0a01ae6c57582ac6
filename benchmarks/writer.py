"""Rows per second through the single writer, beside a bare executemany of the same rows.

A call is one row inserted (`sent`) and updated (its end), in batches as a supervisor flushes them, foreign keys and
indices on, committed batch by batch.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figures import Figure
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
from benchrunner.store import rows
from benchrunner.store.writer import RunWriter

CALLS, BATCH = 100_000, 200
CHUNK = 20_000  # calls made ready at a time
CALLS_PER_TRIAL = 10
MODELS = 8
RATE_PER_S = 30.0
AT = "2025-08-26T00:00:00.000000Z"


def measure(*, tiny: bool) -> Iterator[Figure]:
    """Measure the writer, then a bare executemany of the same rows."""
    calls = 1_000 if tiny else CALLS
    with TemporaryDirectory(prefix="benchrunner-bench-") as directory:
        path = Path(directory) / "runs.db"
        trials = plan(path, calls // CALLS_PER_TRIAL)
        elapsed_s = fill(path, trials, 0, calls, batch=BATCH)
        bare_s = _bare_s(Path(directory) / "bare.db", trials, calls)
    changes = calls * 2 + calls // CALLS_PER_TRIAL
    yield Figure(
        name="rows_per_s",
        what=f"through the writer, batches of {BATCH} facts: rows inserted or updated",
        value=changes / elapsed_s,
        unit="rows/s",
        at_least=20_000,
        beside=f"{bare_s / calls / (elapsed_s / changes):.2f} of a bare executemany's {calls / bare_s:,.0f} rows/s",
    )
    yield Figure(name="calls_per_s", what="the same, in calls", value=calls / elapsed_s, unit="calls/s")


def plan(path: Path, count: int) -> tuple[Trial, ...]:
    """Record a run of `count` trials over MODELS models, and return them."""
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


def fill(path: Path, trials: tuple[Trial, ...], first: int, last: int, *, batch: int) -> float:
    """Write the calls from `first` up to `last` in batches of so many facts, and return the seconds it took."""
    clock = SystemClock()
    with RunWriter.open(path) as writer:
        spent_s = 0.0
        for start in range(first, last, CHUNK):
            events = _calls(writer, trials, start, min(last, start + CHUNK))  # made outside the time taken
            started_s = clock.now_s()
            for at in range(0, len(events), batch):
                writer.record(events[at : at + batch])
            spent_s += clock.now_s() - started_s
    return spent_s


def _bare_s(path: Path, trials: tuple[Trial, ...], calls: int) -> float:
    clock = SystemClock()
    with RunWriter.open(path) as writer:
        sent = [event for event in _calls(writer, trials, 0, calls) if isinstance(event, CallSent)]
    with closing(sqlite3.connect(path)) as connection:
        started_s = clock.now_s()
        connection.executemany(rows.INSERT_CALL, map(rows.call_sent_values, sent))
        connection.commit()
        return clock.now_s() - started_s
