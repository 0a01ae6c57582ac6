"""What readers are answered."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from recorded_run import FAILED_SCORE, Planned, done, granted, invalid, planned, released, scored, second, sent

from benchrunner.errors import StoreError
from benchrunner.records import Outcome, RunEnded, RunStatus
from benchrunner.store.answers import CallCount, KeyRow, LeaseRow, LossRow
from benchrunner.store.history import TRIALS_PER_MODEL, ModelHistory, model_history
from benchrunner.store.overlaps import instants_us, most_labels_at_once, peak
from benchrunner.store.queries import RunReader
from benchrunner.store.writer import RunWriter


@pytest.fixture
def reader(writer: RunWriter, plan: Planned, database: Path) -> Iterator[RunReader]:
    """Return a reader beside the open writer."""
    with RunReader.open(database) as opened:
        yield opened


def test_runs_are_listed_newest_first_with_their_counts(writer: RunWriter, plan: Planned, reader: RunReader) -> None:
    """One line tells where a run stands."""
    # Given an older run with results and a newer one without
    newer = planned("r2", started_at="2025-08-27T10:00:00.000000Z", models=("m-big",))
    writer.add_run(newer.run, newer.shards, newer.trials, newer.tasks)
    calls = [sent(n, plan.trials[0]) for n in (1, 2)]
    writer.record([*calls, done(calls[0]), done(calls[1], Outcome.RATE_LIMITED)])
    writer.record([scored(plan.trials[0]), invalid(plan.trials[1])])
    writer.record([RunEnded(run_id="r1", status=RunStatus.INCOMPLETE, ended_at=second(40))])
    # When they are listed
    listed = reader.list_runs()
    # Then the newest is first, and each has its own counts
    assert [(run.run_id, run.status) for run in listed] == [("r2", RunStatus.RUNNING), ("r1", RunStatus.INCOMPLETE)]
    assert [(run.planned, run.scored, run.invalid, run.calls, run.refused) for run in listed] == [
        (4, 0, 0, 0, 0),
        (8, 1, 1, 2, 1),
    ]
    assert reader.list_runs(1) == listed[:1]
    assert reader.newest_unfinished() == "r2"


@pytest.mark.parametrize(("reference", "found"), [(None, "r2-b"), ("newest", "r2-b"), ("r1", "r1"), ("r2-a", "r2-a")])
def test_a_run_is_found_by_id_beginning_or_as_the_newest(
    writer: RunWriter, plan: Planned, reader: RunReader, reference: str | None, found: str
) -> None:
    """People type as little as tells the run from the others."""
    # Given three runs
    for run_id in ("r2-a", "r2-b"):
        made = planned(run_id, started_at="2025-08-27T10:00:00.000000Z")
        writer.add_run(made.run, made.shards, made.trials, made.tasks)
    # Then the reference finds one
    assert reader.find_run(reference).run_id == found


@pytest.mark.parametrize(("reference", "says"), [("r2", "begins 2 runs: r2-b, r2-a"), ("q2-a", "nearest: r2-a")])
def test_a_reference_that_finds_none_or_several_is_helped(
    writer: RunWriter, plan: Planned, reader: RunReader, reference: str | None, says: str
) -> None:
    """The sentence holds what could have been meant."""
    # Given three runs
    for run_id in ("r2-a", "r2-b"):
        made = planned(run_id, started_at="2025-08-27T10:00:00.000000Z")
        writer.add_run(made.run, made.shards, made.trials, made.tasks)
    # When a reference fits none, or several
    with pytest.raises(StoreError, match=says):
        reader.find_run(reference)


def test_a_database_without_runs_says_how_to_make_one(writer: RunWriter, database: Path) -> None:
    """`show` on a fresh file is a sentence."""
    with RunReader.open(database) as reader, pytest.raises(StoreError, match="holds no runs yet"):
        reader.find_run()


def test_conditions_add_up_their_task_types(writer: RunWriter, plan: Planned, reader: RunReader) -> None:
    """One row a condition, in the order of the plan; means over scored trials, not over task types."""
    # Given of m-big three scored: two of one type, one of the other
    writer.record([scored(plan.trials[0]), scored(plan.trials[2]), scored(plan.trials[1], FAILED_SCORE)])
    # When conditions are read
    big, small = reader.condition_rows("r1")
    # Then the mean of turns is (4 + 4 + 10) / 3
    assert (big.model, big.planned, big.scored, big.full, big.failure) == ("m-big", 4, 3, 2, 1)
    assert [big.turns, big.success_rate] == pytest.approx([6.0, 2 / 3])
    assert (small.model, small.scored, small.success_rate) == ("m-small", 0, None)
    assert [row.task_type for row in reader.task_type_rows("r1")] == ["basic_task", "simple_task"] * 2


def test_unfinished_trials_come_back_in_the_order_of_the_plan(
    writer: RunWriter, plan: Planned, reader: RunReader
) -> None:
    """Resume runs what is left as it was planned."""
    # Given one scored and one invalid
    writer.record([scored(plan.trials[1]), invalid(plan.trials[5])])
    # Then all but the scored one are left
    left = [trial for trial in plan.trials if trial != plan.trials[1]]
    assert list(reader.unfinished_trials("r1")) == left


def test_a_key_row_has_its_busiest_second(writer: RunWriter, plan: Planned, reader: RunReader) -> None:
    """The peak is over any one second, not over the clock's; a call without an end may never have left."""
    # Given four calls within one second across a full one, the last of them without an end
    calls = [sent(n, plan.trials[0], at_s=at_s) for n, at_s in enumerate((0.2, 0.7, 1.0, 1.1999), start=1)]
    writer.record([*calls, *map(done, calls[:2]), done(calls[2], Outcome.RATE_LIMITED)])
    # Then the key's row says so
    assert reader.key_rows("r1") == (
        KeyRow(key_id="key0", calls=4, refused=1, unanswered=1, peak_1s=3, mean_wait_window_s=0.25),
    )
    assert reader.call_counts("r1") == (
        CallCount(key_id="key0", model="m-big", outcome="ok", calls=2),
        CallCount(key_id="key0", model="m-big", outcome="rate_limited", calls=1),
        CallCount(key_id="key0", model="m-big", outcome="sent", calls=1),
    )


def test_a_key_whose_calls_were_never_answered_has_its_row(
    writer: RunWriter, plan: Planned, reader: RunReader
) -> None:
    """As in a run that has just begun, or was killed in its first second."""
    writer.record([sent(1, plan.trials[0])])
    (key,) = reader.traffic("r1").keys
    assert (key.row.calls, key.row.unanswered, key.row.peak_1s, list(key.sent_us)) == (1, 1, 0, [])


def test_the_makespan_runs_from_the_first_request_to_the_last_reply(
    writer: RunWriter, plan: Planned, reader: RunReader
) -> None:
    """The longest call counts, not the last sent; before any reply there is none."""
    # Given no reply yet
    calls = [sent(1, plan.trials[0], at_s=1.0), sent(2, plan.trials[0], at_s=2.0), sent(3, plan.trials[0], at_s=9.0)]
    writer.record(calls)
    assert reader.makespan_s("r1") is None
    # When the first call takes longest
    writer.record([done(calls[0], latency_s=19.5), done(calls[1], latency_s=1.0)])
    # Then it ends the run
    assert reader.makespan_s("r1") == pytest.approx(19.5, abs=1e-3)


def test_leases_and_losses_are_told_with_their_model(writer: RunWriter, plan: Planned, reader: RunReader) -> None:
    """Who held what, and what was lost, can be read without knowing the ids."""
    # Given a lease, open, and one lost trial
    writer.record([granted(plan.shards[0], 1), invalid(plan.trials[0], "api_timeout")])
    # Then both name the model
    assert reader.lease_rows("r1") == (
        LeaseRow(
            shard_id="r1/s00",
            model="m-big",
            key_id="key0",
            worker_pid=101,
            fence=1,
            granted_at=second(0),
            released_at=None,
            reason=None,
        ),
    )
    assert reader.losses("r1") == (LossRow(model="m-big", cause="api_timeout", trials=1),)
    writer.record([released(1)])
    assert reader.lease_rows("r1")[0].reason == "done"
    assert [shard.status for shard in reader.shard_rows("r1")] == ["waiting", "waiting"]


def test_models_in_flight_at_once_on_one_key_are_counted(writer: RunWriter, plan: Planned, reader: RunReader) -> None:
    """Under `pool` the answer is one per key; two models that overlap on a key are two."""
    # Given both models in flight on key0 at second 2, and one after the other on key1
    calls = [
        sent(1, plan.trials[0], at_s=1.0),
        sent(2, plan.trials[4], at_s=2.0),
        sent(3, plan.trials[0], at_s=1.0, key_id="key1"),
        sent(4, plan.trials[4], at_s=8.0, key_id="key1"),
    ]
    writer.record([*calls, *(done(call, latency_s=1.5) for call in calls)])
    # Then key0 served two at once
    assert reader.most_models_at_once("r1") == {"key0": 2, "key1": 1}


def test_history_is_the_median_of_scored_trials_on_the_same_backend(
    writer: RunWriter, plan: Planned, database: Path
) -> None:
    """Latency and calls per trial of a model, from ok calls of trials that ended; simulated never plans live."""
    # Given two scored trials with one and three ok calls, a refused one, and an unscored trial's
    latencies = iter((0.2, 0.4, 0.6, 1.0))
    calls = [sent(n, plan.trials[0 if n == 1 else 1]) for n in range(1, 5)]
    refused, unscored = sent(8, plan.trials[0]), sent(9, plan.trials[2])
    writer.record([*calls, refused, unscored])
    writer.record([done(call, latency_s=next(latencies)) for call in calls])
    writer.record([done(refused, Outcome.RATE_LIMITED, latency_s=9.0), done(unscored, latency_s=9.0)])
    writer.record([scored(plan.trials[0]), scored(plan.trials[1])])
    # Then the medians are over those four calls and two trials
    assert model_history(database, ["m-big", "m-small"], backend="simulated") == {
        "m-big": ModelHistory(
            model="m-big",
            trials=2,
            calls=4,
            latency_s=0.5,
            calls_per_trial=2.0,
            prompt_tokens=1450,
            completion_tokens=20,
        )
    }
    assert model_history(database, ["m-big"], backend="live") == {}


def test_history_reads_no_more_than_it_needs(writer: RunWriter, database: Path) -> None:
    """However many trials a model has, TRIALS_PER_MODEL of them are looked at."""
    # Given a run with more scored trials than that
    made = planned("r3", models=("m-big",), per_model=TRIALS_PER_MODEL + 10)
    writer.add_run(made.run, made.shards, made.trials, made.tasks)
    calls = [sent(n, trial, run_id="r3") for n, trial in enumerate(made.trials, start=1)]
    writer.record([*calls, *map(done, calls), *map(scored, made.trials)])
    # Then the newest are enough
    assert model_history(database, ["m-big"], backend="simulated")["m-big"].trials == TRIALS_PER_MODEL


@pytest.mark.parametrize(
    ("at_s", "expected"),
    [((), 0), ((5.0,), 1), ((0.0, 1.0), 1), ((0.0, 0.5, 0.999999, 1.0), 3), ((3.0, 0.0, 0.5), 2), ((1.0, 1.0), 2)],
)
def test_the_peak_is_the_fullest_half_open_window(at_s: tuple[float, ...], expected: int) -> None:
    """Two requests exactly one second apart share no one-second window, to the microsecond, in whatever order told."""
    ordered = instants_us(" ".join(second(at) for at in at_s))
    assert peak(ordered, 1_000_000) == expected


@pytest.mark.parametrize(
    "texts",
    [
        ("2025-12-31T23:59:59.999999Z", "2026-01-01T00:00:00.000000Z", "2024-02-29T12:00:00.500000Z"),
        ("2025-12-31T23:59:59Z", "2026-01-01T00:00:00.250000Z"),
    ],
)
def test_instants_are_exact_across_minutes_and_years(texts: tuple[str, ...]) -> None:
    """To the microsecond, whichever way they were written."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    expected = sorted((datetime.fromisoformat(text) - epoch) // timedelta(microseconds=1) for text in texts)
    assert instants_us(" ".join(texts)) == expected


def test_a_key_that_no_shard_or_lease_names_has_its_row_too(
    writer: RunWriter, plan: Planned, reader: RunReader
) -> None:
    """Keys are looked for among shards and leases first; a call with another key is not lost for that."""
    # Given calls with a shard's key and with one nobody leased
    calls = [sent(1, plan.trials[0]), sent(2, plan.trials[0], key_id="key9", at_s=2.0)]
    writer.record([*calls, *map(done, calls)])
    # Then both have rows, and both their instants
    assert [(row.key_id, row.calls) for row in reader.key_rows("r1")] == [("key0", 1), ("key9", 1)]
    assert [len(key.sent_us) for key in reader.traffic("r1").keys] == [1, 1]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [((), 0), (((0, 1, "a"), (0, 1, "a")), 1), (((0, 1, "a"), (1, 2, "b")), 2), (((0, 1, "a"), (1.1, 2, "b")), 1)],
)
def test_labels_at_once_count_each_label_once(spans: tuple[tuple[float, float, str], ...], expected: int) -> None:
    """Two spans of one label are one; spans that touch share an instant."""
    assert most_labels_at_once(spans) == expected
