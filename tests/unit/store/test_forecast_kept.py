"""A run's forecast in runs.db, and what earlier runs tell the next forecast."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from recorded_run import AT, Planned, done, planned, scored, sent

from benchrunner.store.history import ModelSample, model_samples
from benchrunner.store.queries import RunReader
from benchrunner.store.schema import M001_INITIAL, MIGRATION_SET
from benchrunner.store.writer import RunWriter


def kept(database: Path) -> float | None:
    with RunReader.open(database) as reader:
        return reader.find_run().forecast_s


def test_a_forecast_stays_with_its_run_until_the_run_is_resumed(database: Path, writer: RunWriter) -> None:
    """It is kept with the plan; a run in several sittings has no one time to hold it against."""
    # Given a planned run with a forecast
    made = planned("r9")
    writer.add_run(made.run, made.shards, made.trials, made.tasks, forecast_s=36.5)
    assert kept(database) == 36.5
    # When its process is gone and another takes it up
    writer.close()
    with RunWriter.open(database) as again:
        again.reopen_run("r9", at=AT)
    # Then the forecast is gone with the sitting it was of
    assert kept(database) is None


def test_a_run_nobody_forecast_has_none(database: Path, plan: Planned) -> None:
    """Nothing is made up where nothing was said."""
    assert kept(database) is None


def test_a_database_of_the_first_release_gets_the_column_and_keeps_its_runs(tmp_path: Path) -> None:
    """The migration adds a column and touches no row."""
    # Given a database as the first release made it, with a run in it
    database = tmp_path / "old.db"
    with closing(sqlite3.connect(database)) as connection:
        for statement in M001_INITIAL:
            connection.execute(statement)
        connection.execute(
            "CREATE TABLE _sqlite_migrations (id INTEGER PRIMARY KEY, migration_set TEXT, name TEXT, applied_at TEXT)"
        )
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES (?, 'm001_initial', ?)",
            (MIGRATION_SET, AT),
        )
        connection.execute(
            "INSERT INTO runs (id, batch_id, phase, policy, engine, backend, seed, config_hash, config, version, argv,"
            " started_at) VALUES ('r0', 'b', '5.2', 'pool', 'local', 'simulated', 7, 'h', '{}', '0.1', '', ?)",
            (AT,),
        )
        connection.commit()
    # When this version opens it, Then the run is there, without a forecast
    with RunWriter.open(database):
        pass
    with RunReader.open(database) as reader:
        assert (reader.find_run("r0").phase, reader.find_run("r0").forecast_s) == ("5.2", None)


def test_a_sample_tells_the_calls_by_task_type_and_both_percentiles(
    database: Path, writer: RunWriter, plan: Planned
) -> None:
    """What the next forecast draws from: per model and task type the calls of each scored trial."""
    # Given a scored trial of three calls, another type's of one, and a call of a trial that did not end
    calls = [sent(n, plan.trials[0 if n < 4 else 1]) for n in range(1, 5)]
    unscored = sent(9, plan.trials[2])
    writer.record([*calls, unscored])
    writer.record([done(call, latency_s=0.1 * n) for n, call in enumerate(calls, start=1)])
    writer.record([done(unscored, latency_s=9.0), scored(plan.trials[0]), scored(plan.trials[1])])
    # Then the sample holds those four calls
    found = model_samples(database, ["m-big", "m-small"], backend="simulated")
    assert found == {
        "m-big": ModelSample(
            calls_of={"basic_task": (3,), "simple_task": (1,)},
            latency_p50_s=0.25,
            latency_p95_s=pytest.approx(0.3),
            tokens_per_call=1470.0,
        )
    }
    assert model_samples(database, ["m-big"], backend="live") == {}
