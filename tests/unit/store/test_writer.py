"""The single writer: what a batch keeps, what it refuses, and what comes too late."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from recorded_run import (
    FAILED_SCORE,
    FULL_SCORE,
    Ask,
    Planned,
    done,
    granted,
    invalid,
    planned,
    released,
    scored,
    second,
    sent,
)

from benchrunner.errors import StoreError
from benchrunner.records import (
    CallWithdrawn,
    KeyEvent,
    Outcome,
    RunEnded,
    RunStatus,
    ShardChanged,
    StoreEvent,
    TrialDone,
    TrialRequeued,
    TrialStarted,
    TrialStatus,
)
from benchrunner.store.queries import RunReader
from benchrunner.store.writer import RunWriter


def test_a_planned_run_reads_back_as_it_was_planned(writer: RunWriter, plan: Planned, database: Path) -> None:
    """Run, shards, trials and tasks survive the database whole and in order: a run can be resumed from it alone."""
    # Given a planned run in the database (fixture)
    # When it is read back
    with RunReader.open(database) as reader:
        read = (reader.run_record("r1"), reader.shards("r1"), reader.trials("r1"), reader.tasks("r1"))
    # Then nothing is lost
    assert read == (plan.run, plan.shards, plan.trials, plan.tasks)


def test_a_run_that_cannot_be_added_whole_is_not_added_at_all(writer: RunWriter, ask: Ask) -> None:
    """A planned run is one transaction: a trial without its task leaves no trace of the run."""
    # Given a plan whose tasks were forgotten
    made = planned("r2")
    # When it is added
    with pytest.raises(StoreError, match="FOREIGN KEY"):
        writer.add_run(made.run, made.shards, made.trials, ())
    # Then there is no run, and the id is free for the corrected plan
    assert ask("SELECT count(*) FROM runs") == [(0,)]
    writer.add_run(made.run, made.shards, made.trials, made.tasks)
    assert ask("SELECT count(*) FROM trials") == [(8,)]


def test_a_call_is_listed_as_sent_until_its_end_is_known(writer: RunWriter, plan: Planned, ask: Ask) -> None:
    """A kill between request and reply leaves a `sent` row: what may have been billed twice can be listed."""
    # Given a request about to leave
    call = sent(writer.next_call_id(), plan.trials[0])
    writer.record([call])
    assert ask("SELECT outcome, latency_s FROM calls") == [("sent", None)]
    # When its reply is in
    writer.record([done(call)])
    # Then the same row holds the end
    assert ask("SELECT id, outcome, latency_s FROM calls") == [(call.call_id, "ok", 0.5)]


def test_a_call_may_begin_and_end_in_one_batch(writer: RunWriter, plan: Planned, ask: Ask) -> None:
    """Batches are cut by time, not by call: whatever order the events stand in, the call is whole."""
    # Given a batch whose calls end as well as begin
    calls = [sent(writer.next_call_id(), plan.trials[0], at_s=n) for n in range(3)]
    # When it is recorded
    late = writer.record([event for call in calls for event in (call, done(call))])
    # Then all three are ended and none was late
    assert late == ()
    assert ask("SELECT outcome, count(*) FROM calls GROUP BY 1") == [("ok", 3)]


def test_only_the_first_end_of_a_call_stands(writer: RunWriter, plan: Planned, ask: Ask) -> None:
    """A second end, from a worker that lost its lease, is handed back and changes nothing."""
    # Given an ended call beside one still in flight
    first, other = (sent(writer.next_call_id(), plan.trials[0]) for _ in range(2))
    writer.record([first, other, done(first)])
    # When another end of the first comes in one batch with the end of the other
    late = writer.record([done(first, Outcome.TRANSIENT), done(other)])
    # Then only the second end is late
    assert late == (done(first, Outcome.TRANSIENT),)
    assert ask("SELECT outcome FROM calls ORDER BY id") == [("ok",), ("ok",)]


def test_there_are_never_two_accepted_results_of_a_trial(writer: RunWriter, plan: Planned, ask: Ask) -> None:
    """What comes for a scored trial, score or not, is ignored, handed back and counted."""
    # Given a scored trial
    trial = plan.trials[0]
    writer.record([scored(trial)])
    # When other ends and a requeue of it arrive
    events: list[StoreEvent] = [scored(trial, FAILED_SCORE), invalid(trial), TrialRequeued(trial_id=trial.trial_id)]
    late = writer.record(events)
    # Then the first result stands
    assert late == tuple(events)
    assert writer.ignored_results == 2
    assert ask("SELECT status, level, final_score FROM trials WHERE id = ?", trial.trial_id) == [
        ("scored", "full", FULL_SCORE.final_score)
    ]


def test_two_results_of_one_trial_in_one_batch_leave_the_first(writer: RunWriter, plan: Planned, ask: Ask) -> None:
    """The order of one trial's events within a batch decides, as it would across batches."""
    # Given two ends of one trial in one batch
    trial = plan.trials[0]
    # When it is recorded
    late = writer.record([scored(trial), scored(trial, FAILED_SCORE)])
    # Then the first stands
    assert late == (scored(trial, FAILED_SCORE),)
    assert ask("SELECT level FROM trials WHERE id = ?", trial.trial_id) == [("full",)]


def test_the_changes_of_one_trial_keep_their_order_within_a_batch(writer: RunWriter, plan: Planned, ask: Ask) -> None:
    """Taken, handed back, taken again, lost, taken, scored: the row ends as the last of them says."""
    # Given one trial with a story
    trial = plan.trials[0]
    story: list[StoreEvent] = [
        TrialStarted(trial_id=trial.trial_id, started_at=second(1)),
        TrialRequeued(trial_id=trial.trial_id),
        TrialStarted(trial_id=trial.trial_id, started_at=second(2)),
        invalid(trial),
        TrialStarted(trial_id=trial.trial_id, started_at=second(3)),
        scored(trial),
    ]
    # When the story is one batch
    assert writer.record(story) == ()
    # Then it was started last at second 3 and is scored
    row = ask("SELECT status, started_at, ended_at, error_class FROM trials WHERE id = ?", trial.trial_id)
    assert row == [("scored", second(3), second(30), "")]


def test_an_invalid_trial_has_a_cause_and_no_score(writer: RunWriter, plan: Planned, ask: Ask) -> None:
    """What infrastructure decided carries its cause and enters no score."""
    # Given a trial that throttling ended
    writer.record([invalid(plan.trials[0], "rate_limit")])
    # Then the row has the cause and nothing a score could be made of
    row = ask("SELECT status, level, final_score, error_class FROM trials WHERE id = ?", plan.trials[0].trial_id)
    assert row == [("invalid", None, None, "rate_limit")]


def test_an_end_that_is_neither_scored_nor_invalid_is_a_mistake(writer: RunWriter, plan: Planned, ask: Ask) -> None:
    """A scored end without a score is refused before anything of its batch is kept."""
    # Given such an end behind a good one
    wrong = TrialDone(trial_id=plan.trials[1].trial_id, status=TrialStatus.SCORED, ended_at=second(1))
    # When the batch is recorded
    with pytest.raises(ValueError, match="with one or invalid without"):
        writer.record([scored(plan.trials[0]), wrong])
    # Then the good one is not kept either, and the writer still works
    assert ask("SELECT count(*) FROM trials WHERE status <> 'pending'") == [(0,)]
    assert writer.record([scored(plan.trials[0])]) == ()


def test_a_full_disk_keeps_nothing_of_the_batch_and_the_batch_can_be_given_again(
    writer: RunWriter, plan: Planned, ask: Ask
) -> None:
    """Nothing half written: after the StoreError the same batch goes in as if nothing had happened."""
    # Given a database that may not grow
    writer._connection.execute("PRAGMA max_page_count = 1")  # SQLite takes the present size for it
    big = replace(FULL_SCORE, transcript="x" * 200_000)
    call = sent(writer.next_call_id(), plan.trials[0])
    batch: list[StoreEvent] = [call, done(call), scored(plan.trials[0], big)]
    # When a batch does not fit
    with pytest.raises(StoreError, match="the disk is full"):
        writer.record(batch)
    # Then nothing of it is there
    assert ask("SELECT (SELECT count(*) FROM calls), (SELECT count(*) FROM trials WHERE status = 'scored')") == [(0, 0)]
    # And when there is room again, the same batch goes in whole
    writer._connection.execute("PRAGMA max_page_count = 1000000")
    assert writer.record(batch) == ()
    assert ask("SELECT (SELECT count(*) FROM calls), (SELECT count(*) FROM trials WHERE status = 'scored')") == [(1, 1)]


@pytest.mark.parametrize(
    "stranger",
    [
        pytest.param(lambda: TrialStarted(trial_id="nobody", started_at=second(1)), id="trial"),
        pytest.param(lambda: released(99), id="lease"),
        pytest.param(lambda: ShardChanged(run_id="r1", shard_id="nowhere", status="done", at=second(1)), id="shard"),
        pytest.param(lambda: RunEnded(run_id="r9", status=RunStatus.COMPLETE, ended_at=second(1)), id="run"),
        pytest.param(lambda: done(sent(99, planned().trials[0])), id="call"),
    ],
)
def test_an_event_about_something_unknown_is_refused_with_its_name(
    writer: RunWriter, plan: Planned, ask: Ask, stranger: Callable[[], StoreEvent]
) -> None:
    """Late is forgiven, wrong is not: the whole batch is refused and the sentence says what it named."""
    # Given a batch with one event about something the database does not hold
    # When it is recorded
    with pytest.raises(StoreError, match="which the database does not hold"):
        writer.record([scored(plan.trials[0]), stranger()])
    # Then nothing of it is kept
    assert ask("SELECT count(*) FROM trials WHERE status = 'scored'") == [(0,)]


def test_a_number_the_database_cannot_hold_is_a_sentence(writer: RunWriter) -> None:
    """A seed beyond 64 bits is told, not a traceback."""
    # Given a run with such a seed
    made = planned("r2")
    # When it is added
    with pytest.raises(StoreError, match="cannot add a run"):
        writer.add_run(replace(made.run, seed=2**64), made.shards, made.trials, made.tasks)


def test_leases_shards_and_key_events_are_written_as_they_happen(writer: RunWriter, plan: Planned, ask: Ask) -> None:
    """Who held which key when, and what happened to it, can be read afterwards."""
    # Given a shard that runs under a lease on a key that is throttled
    shard = plan.shards[0]
    pause = KeyEvent(run_id="r1", subject="key0", is_domain=False, at=second(3), kind="pause", detail="2 s")
    cap = KeyEvent(run_id="r1", subject="ideallab/m-big", is_domain=True, at=second(4), kind="cap", detail="72")
    # When the events are one batch
    late = writer.record(
        [
            granted(shard, 1),
            ShardChanged(run_id="r1", shard_id=shard.shard_id, status="running", at=second(0)),
            pause,
            cap,
            ShardChanged(run_id="r1", shard_id=shard.shard_id, status="done", at=second(9)),
            released(1),
        ]
    )
    # Then each is in its table
    assert late == ()
    assert ask("SELECT key_id, fence, released_at, reason FROM leases") == [("key0", 1, second(9), "done")]
    assert ask("SELECT key_id, domain, kind FROM key_events") == [
        ("key0", None, "pause"),
        (None, "ideallab/m-big", "cap"),
    ]
    row = ask("SELECT status, started_at, ended_at FROM shards WHERE id = ?", shard.shard_id)
    assert row == [("done", second(0), second(9))]


def test_releasing_a_lease_twice_is_late_and_harmless(writer: RunWriter, plan: Planned, ask: Ask) -> None:
    """The first reason stands: a crash is not overwritten by the drain that was on its way."""
    # Given a lease released on a crash
    writer.record([granted(plan.shards[0], 1), released(1, reason="crash")])
    # When its release comes again
    assert writer.record([released(1, reason="drained")]) == (released(1, reason="drained"),)
    # Then the first stands
    assert ask("SELECT reason FROM leases") == [("crash",)]


def test_a_resumed_run_takes_its_unfinished_trials_up_again(writer: RunWriter, plan: Planned, ask: Ask) -> None:
    """Running trials are pending again, scored ones stay, open leases are closed, fences may start anew."""
    # Given a run that was killed with one trial scored, one running, one invalid
    first, second_, third = plan.trials[:3]
    writer.record([granted(plan.shards[0], 1), scored(first), invalid(third)])
    writer.record([TrialStarted(trial_id=second_.trial_id, started_at=second(1))])
    writer.record([RunEnded(run_id="r1", status=RunStatus.INTERRUPTED, ended_at=second(5))])
    # When it is resumed
    left = writer.reopen_run("r1", at=second(20))
    # Then seven of eight trials are left to do
    assert left == 7
    assert ask("SELECT status, count(*) FROM trials GROUP BY 1 ORDER BY 1") == [
        ("invalid", 1),
        ("pending", 6),
        ("scored", 1),
    ]
    assert ask("SELECT status, ended_at FROM runs") == [("running", None)]
    # And the lease the kill left open is closed, so that the new fence 1 is another lease
    writer.record([granted(plan.shards[0], 1), released(1)])
    assert ask("SELECT fence, released_at, reason FROM leases ORDER BY id") == [
        (1, second(20), "crash"),
        (1, second(9), "done"),
    ]


def test_a_resumed_run_may_divide_what_is_left_anew(writer: RunWriter, plan: Planned, ask: Ask) -> None:
    """New shards take the trials that are not scored; what is scored stays where it ran."""
    # Given a run with the first trial of its first shard scored
    writer.record([scored(plan.trials[0]), RunEnded(run_id="r1", status=RunStatus.INCOMPLETE, ended_at=second(5))])
    # When all that is left goes to one new shard
    rest = tuple(trial.trial_id for trial in plan.trials)
    writer.reopen_run("r1", at=second(20), shards=[replace(plan.shards[0], shard_id="r1/s07", trial_ids=rest)])
    # Then it waits with seven, and the old ones are done
    assert ask("SELECT id, trials, status FROM shards ORDER BY id") == [
        ("r1/s00", 1, "done"),
        ("r1/s01", 0, "done"),
        ("r1/s07", 7, "waiting"),
    ]


@pytest.mark.parametrize(("run_id", "says"), [("r1", "is complete"), ("r9", "no run r9")])
def test_what_cannot_be_resumed_says_why(writer: RunWriter, plan: Planned, run_id: str, says: str) -> None:
    """A complete run and an unknown one are refused with a sentence."""
    # Given a complete run
    writer.record([RunEnded(run_id="r1", status=RunStatus.COMPLETE, ended_at=second(5))])
    # When it, or one that is not there, is resumed
    with pytest.raises(StoreError, match=says):
        writer.reopen_run(run_id, at=second(20))


def test_a_run_being_driven_cannot_be_resumed_beside_it(writer: RunWriter, plan: Planned, database: Path) -> None:
    """Two supervisors on one run would send its trials twice; the second is told who drives it."""
    # Given a run in progress under one writer, and another writer on the same file
    with RunWriter.open(database) as other:
        # When the other resumes it
        with pytest.raises(StoreError, match="is being driven by process"):
            other.reopen_run("r1", at=second(20))
        # Then it may do so once the first has ended it
        writer.record([RunEnded(run_id="r1", status=RunStatus.INTERRUPTED, ended_at=second(5))])
        assert other.reopen_run("r1", at=second(20)) == 8


def test_call_ids_of_two_writers_never_meet(writer: RunWriter, database: Path) -> None:
    """Two invocations on one file draw from blocks of their own, and later calls have higher ids within each."""
    # Given two writers on one file
    with RunWriter.open(database) as other:
        # When both draw ids in turn
        mine = [writer.next_call_id() for _ in range(3)] + list(writer.take_call_ids(5))
        theirs = [other.next_call_id() for _ in range(3)]
        mine.append(writer.next_call_id())
    # Then none is drawn twice
    assert len(set(mine + theirs)) == len(mine + theirs) == 12
    assert sorted(mine) == mine


def test_a_block_of_call_ids_that_runs_out_is_followed_by_another(writer: RunWriter) -> None:
    """Ids asked for together are consecutive, even where a block ends."""
    # Given a block with one id left
    most = 1 << 20
    writer.take_call_ids(most - 1)
    # When two are taken
    pair = writer.take_call_ids(2)
    # Then they are consecutive and in the next block
    assert len(pair) == 2
    assert pair[0] % most == 0
    # And more than a block holds is refused
    with pytest.raises(ValueError, match="call ids at a time"):
        writer.take_call_ids(most + 1)


def test_an_empty_batch_writes_nothing(writer: RunWriter, plan: Planned, ask: Ask) -> None:
    """A supervisor may flush when nothing happened."""
    assert writer.record([]) == ()
    assert ask("SELECT count(*) FROM calls") == [(0,)]


def test_a_withdrawn_call_leaves_no_row_and_an_ended_one_stays(writer: RunWriter, plan: Planned, ask: Ask) -> None:
    """A call that was announced but never left is no attempt; one that has ended cannot be withdrawn."""
    # Given two announced calls, one of which has ended
    gone, ended = (sent(writer.next_call_id(), plan.trials[0], at_s=n) for n in range(2))
    writer.record([gone, ended, done(ended)])
    # When both are withdrawn
    late = writer.record([CallWithdrawn(call_id=gone.call_id), CallWithdrawn(call_id=ended.call_id)])
    # Then only the one that never ended goes
    assert late == (CallWithdrawn(call_id=ended.call_id),)
    assert ask("SELECT id FROM calls") == [(ended.call_id,)]
