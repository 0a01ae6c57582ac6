"""Every record survives its row: what the supervisor hands the writer can be read back as it was."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchrunner.records import (
    CallDone,
    CallSent,
    Condition,
    KeyEvent,
    Level,
    Outcome,
    RunRecord,
    Shard,
    Task,
    Trial,
    TrialDone,
    TrialScore,
    TrialStatus,
)
from benchrunner.store import rows
from benchrunner.store.from_rows import key_event_from_row, trial_from_row
from benchrunner.store.queries import RunReader
from benchrunner.store.schema import M001_INITIAL
from benchrunner.store.writer import RunWriter

# Any text a provider or a task may hold, but for lone surrogates, which no UTF-8 file can.
texts = st.text(st.characters(codec="utf-8"), max_size=20)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=12)
ints = st.integers(-(2**63), 2**63 - 1)
counts = st.integers(0, 10**9)
durations = st.floats(0, 1e9)
rates = st.floats(0, 1)
instants = st.datetimes().map(lambda at: at.isoformat(timespec="microseconds") + "Z")

Plan = tuple[RunRecord, tuple[Shard, ...], tuple[Trial, ...], tuple[Task, ...]]

runs = st.builds(
    RunRecord,
    run_id=names,
    batch_id=texts,
    phase=texts,
    policy=texts,
    engine=texts,
    backend=st.sampled_from(["simulated", "live"]),
    seed=ints,
    config_hash=texts,
    config=texts,
    version=texts,
    argv=texts,
    started_at=instants,
)
scores = st.builds(
    TrialScore,
    level=st.sampled_from(Level),
    workflow_score=rates,
    phase2_score=rates,
    quality_score=rates,
    final_score=rates,
    error_class=texts,
    turns=counts,
    tool_calls=counts,
    transcript=texts,
)
ends = st.builds(
    CallDone,
    call_id=st.just(1),
    outcome=st.sampled_from(Outcome),
    sent_at=instants,
    wait_window_s=durations,
    backoff_s=durations,
    latency_s=durations,
    http_status=st.none() | st.integers(100, 599),
    provider_code=texts,
    prompt_tokens=st.none() | counts,
    completion_tokens=st.none() | counts,
    finish_reason=texts,
    retry_after_s=st.none() | durations,
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A run of up to three shards with up to three trials each, on tasks of its own."""
    run = draw(runs)
    shards, trials, tasks = [], [], []
    for position in range(draw(st.integers(1, 3))):
        ids = [f"{position}-{n}-{draw(texts)}" for n in range(draw(st.integers(0, 3)))]
        model = draw(names)
        for trial_id in ids:
            task = Task(
                task_id=trial_id,
                task_type=draw(texts),
                difficulty=draw(st.sampled_from(["easy", "hard"])),
                body=draw(texts),
            )
            condition = Condition(
                model=model, prompt=draw(texts), difficulty=task.difficulty, tool_success_rate=draw(rates)
            )
            trial = Trial(
                trial_id=trial_id,
                shard_id=f"s{position}",
                condition=condition,
                task_id=task.task_id,
                task_type=task.task_type,
                instance=draw(counts),
                seed=draw(ints),
            )
            tasks.append(task)
            trials.append(trial)
        shard = Shard(
            shard_id=f"s{position}",
            position=position,
            model=model,
            provider=draw(texts),
            key_id=draw(texts),
            label=draw(texts),
            group=draw(counts),
            trial_ids=tuple(ids),
            expected_calls=draw(durations),
            expected_call_s=draw(durations),
            workers=draw(st.integers(0, 100)),
            pace_qps=draw(durations),
        )
        shards.append(shard)
    return run, tuple(shards), tuple(trials), tuple(tasks)


@given(plans())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_plan_survives_the_database(plan: Plan) -> None:
    """Run, shards, trials and tasks come back equal, through a real file, an opening and a migration."""
    run, shards, trials, tasks = plan
    # Given any plan
    with TemporaryDirectory() as directory, RunWriter.open(f"{directory}/runs.db") as writer:
        # When it is added and read back
        writer.add_run(run, shards, trials, tasks)
        with RunReader.open(writer.path) as reader:
            read = (
                reader.run_record(run.run_id),
                reader.shards(run.run_id),
                reader.trials(run.run_id),
                reader.tasks(run.run_id),
            )
    # Then it is as it was
    assert read == (run, shards, trials, tasks)


def _bare_tables() -> sqlite3.Connection:
    """Return the schema in memory, foreign keys off: one row can stand alone."""
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    for statement in M001_INITIAL:
        connection.execute(statement)
    return connection


@pytest.fixture(scope="module")
def tables() -> Iterator[sqlite3.Connection]:
    """Return the schema in memory, for tests that clear what they write."""
    with closing(_bare_tables()) as connection:
        yield connection


@given(end=ends, turn=counts, attempt=counts, words=st.tuples(names, names, texts, texts, texts), sent_at=instants)
@settings(deadline=None)
def test_a_call_survives_its_row(
    tables: sqlite3.Connection,
    end: CallDone,
    turn: int,
    attempt: int,
    words: tuple[str, str, str, str, str],
    sent_at: str,
) -> None:
    """Every field of CallSent and CallDone stands in `calls` under its own name."""
    # Given any call and any end of it
    run_id, trial_id, key_id, model, deployment = words
    call = CallSent(
        call_id=end.call_id,
        run_id=run_id,
        trial_id=trial_id,
        turn=turn,
        attempt=attempt,
        key_id=key_id,
        model=model,
        deployment=deployment,
        sent_at=sent_at,
        wait_window_s=0.0,
        backoff_s=0.0,
    )
    tables.execute("DELETE FROM calls")
    # When both are written
    tables.execute(rows.INSERT_CALL, rows.call_sent_values(call))
    tables.execute(rows.END_CALL, rows.call_done_values(end))
    # Then the row holds what was sent, corrected by the end
    row = dict(tables.execute("SELECT * FROM calls").fetchone())
    expected = {field.name: getattr(call, field.name) for field in fields(call)}
    expected |= {field.name: getattr(end, field.name) for field in fields(end)}
    expected["id"] = expected.pop("call_id")
    assert row == expected


@given(score=scores, ended_at=instants)
@settings(deadline=None)
def test_a_score_survives_its_row(tables: sqlite3.Connection, score: TrialScore, ended_at: str) -> None:
    """Every field of a TrialScore stands in `trials` under its own name."""
    # Given a trial and any score
    trial = Trial(
        trial_id="t",
        shard_id="s",
        condition=Condition(model="m", prompt="p", difficulty="d", tool_success_rate=0.8),
        task_id="k",
        task_type="y",
        instance=0,
        seed=0,
    )
    tables.execute("DELETE FROM trials")
    tables.execute(rows.INSERT_TRIAL, rows.trial_values("r", trial))
    # When it ends with it
    end = TrialDone(trial_id="t", status=TrialStatus.SCORED, ended_at=ended_at, score=score)
    tables.execute(rows.CHANGE_TRIAL, rows.trial_change_values(end))
    # Then the row has the score, the end, and still the trial
    row = tables.execute("SELECT * FROM trials").fetchone()
    read = {field.name: row[field.name] for field in fields(score)}
    assert read == {field.name: getattr(score, field.name) for field in fields(score)}
    assert (row["status"], row["ended_at"]) == ("scored", ended_at)
    assert trial_from_row(row) == trial


@given(
    event=st.builds(
        KeyEvent, run_id=names, subject=texts, is_domain=st.booleans(), at=instants, kind=texts, detail=texts
    )
)
@settings(deadline=None)
def test_a_key_event_survives_its_row(tables: sqlite3.Connection, event: KeyEvent) -> None:
    """A key's event and a domain's are told apart, even by an empty name."""
    # Given any event
    tables.execute("DELETE FROM key_events")
    # When it is written and read
    tables.execute(rows.INSERT_KEY_EVENT, rows.key_event_values(event))
    # Then it is as it was
    assert key_event_from_row(tables.execute("SELECT * FROM key_events").fetchone()) == event
