"""RunState where a worker runs out of trials while its last replies are out: it goes on with a shard of its model."""

from __future__ import annotations

from engine_play import Play, ended_trials, only, requeued_trials, shard_changes

from benchrunner.engine import events as ev
from benchrunner.engine.books import Rules
from benchrunner.policies.pool import Pool
from benchrunner.records import Outcome, RunStatus, Shard
from benchrunner.testing import make_key, make_shard


def pair(*, trials: int = 3, model: str = "m", workers: int = 2) -> list[Shard]:
    """Return two shards, of one model unless `model` names another for the second."""
    first = make_shard("s0", trials=trials, model="m", workers=workers)
    return [first, make_shard("s1", trials=trials, position=1, model=model, workers=workers)]


def test_worker_with_nothing_left_to_take_goes_on_with_the_next_shard_of_its_model() -> None:
    """The next shard's trials are handed out while the first one's last replies are out, on the same lease."""
    # Given two shards of one model on one key, and a worker that runs two trials at once
    play = Play(shards=pair(), policy=Pool())
    play.tick()
    play.scored("w000", "s0-t00")
    assert play.running("w000") == {"s0-t01", "s0-t02"}
    # When one of the first shard's last two trials ends
    commands = play.scored("w000", "s0-t01")
    # Then the worker has its lease moved and takes a trial of the second shard; nobody is started or let go
    assert only(commands, ev.GoOn) == [ev.GoOn(worker_id="w000", shard_id="s1")]
    assert only(commands, ev.Assign) == [ev.Assign(worker_id="w000", trial_ids=("s1-t00",))]
    assert only(commands, ev.StartWorker) + only(commands, ev.StopWorker) + only(commands, ev.Release) == []
    assert shard_changes(commands) == [("s1", "running")]
    # And the first shard is done when its own last trial is
    assert shard_changes(play.scored("w000", "s0-t02")) == [("s0", "done")]


def test_key_with_replies_of_one_model_out_is_not_given_to_another() -> None:
    """A slot serves one model at a time; where dialogues have several turns, to the last reply."""
    # Given two shards of two models on one key
    play = Play(shards=pair(model="other"), policy=Pool())
    play.tick()
    play.scored("w000", "s0-t00")
    # When only the first one's last reply is out
    commands = play.scored("w000", "s0-t01")
    # Then nothing is started; the second begins as soon as that reply is in
    assert only(commands, ev.GoOn) + only(commands, ev.StartWorker) == []
    commands = play.scored("w000", "s0-t02")
    assert only(commands, ev.Release) == [ev.Release(worker_id="w000", reason="done")]
    assert [start.shard_id for start in only(commands, ev.StartWorker)] == ["s1"]


def test_worker_that_keeps_its_key_busy_does_not_go_on_yet() -> None:
    """While those it runs fill the key's rate, another shard's trials would only wait; a key may come free for them."""
    # Given calls of 1 s and a key of 2/s, which two dialogues keep busy, and a worker that may run eight
    play = Play(shards=pair(trials=8, workers=8), keys=[make_key(rate_per_s=2.0)], policy=Pool())
    play.tick()
    # When three are left
    went = [c for n in range(5) for c in only(play.scored("w000", f"s0-t{n:02d}"), ev.GoOn)]
    # Then it has not gone on; with two left it does
    assert went == []
    assert only(play.scored("w000", "s0-t05"), ev.GoOn) == [ev.GoOn(worker_id="w000", shard_id="s1")]


def test_idle_key_helps_a_shard_of_the_model_whose_replies_it_waits_for() -> None:
    """Where nobody waits for a key, one that only waits for last replies joins another shard of that model."""
    # Given two shards of one model on two keys, the second one longer
    shards = [make_shard("s0", trials=2, model="m"), make_shard("s1", trials=9, position=1, model="m")]
    play = Play(shards=shards, keys=[make_key("key0"), make_key("key1")], policy=Pool())
    play.tick()
    short, long = play.state.shards["s0"].workers[0], play.state.shards["s1"].workers[0]
    # When one of the short one's two trials has ended
    commands = play.scored(short, "s0-t00")
    # Then its worker helps the long one
    assert only(commands, ev.GoOn) == [ev.GoOn(worker_id=short, shard_id="s1")]
    assert sorted(play.state.shards["s1"].workers) == sorted([short, long])


def test_trials_of_both_shards_go_back_to_their_own_queues_when_the_worker_dies() -> None:
    """A crash loses nothing, whichever shard the worker was busy with."""
    # Given a worker busy with the last trial of one shard and the first of the next
    play = Play(shards=pair(), policy=Pool())
    play.tick()
    play.scored("w000", "s0-t00", "s0-t01")
    assert play.running("w000") == {"s0-t02", "s1-t00"}
    # When it is killed
    commands = play.crashed("w000")
    # Then each trial is back at the front of its own queue, and the next worker begins with one of them
    assert sorted(requeued_trials(commands)) == ["s0-t02", "s1-t00"]
    assert only(commands, ev.Release) == [ev.Release(worker_id="w000", reason="crash")]
    assert only(commands, ev.Assign) == [ev.Assign(worker_id="w001", trial_ids=("s1-t00",))]
    assert (play.pending("s0"), play.pending("s1")) == (["s0-t02"], ["s1-t01", "s1-t02"])


def test_trial_handed_back_goes_to_its_own_shard() -> None:
    """A worker told to stop gives back trials of two shards; both are there for resume."""
    play = Play(shards=pair(), policy=Pool())
    play.tick()
    play.scored("w000", "s0-t00", "s0-t01")
    play.stop()
    play.handed_back("w000", "s0-t02")
    play.handed_back("w000", "s1-t00")
    assert (play.pending("s0"), play.pending("s1")) == (["s0-t02"], ["s1-t00", "s1-t01", "s1-t02"])


def test_trial_spoiled_after_its_worker_went_on_is_run_again() -> None:
    """The first shard's second chances are taken once the worker has handed out the second shard."""
    # Given a worker that went on
    play = Play(shards=pair(), policy=Pool())
    play.tick()
    play.scored("w000", "s0-t00", "s0-t01")
    # When infrastructure spoils the first shard's last trial, and everything else ends well
    play.ended("w000", "s0-t02", invalid="connection")
    play.scored("w000", "s1-t00", "s1-t01")
    commands = play.scored("w000", "s1-t02")
    # Then the worker has gone back to it, and the run is complete after it
    assert play.running("w000") == {"s0-t02"}
    commands = play.scored("w000", "s0-t02")
    assert only(commands, ev.Release) == [ev.Release(worker_id="w000", reason="done")]
    assert only(play.exited("w000"), ev.End) == [ev.End(status=RunStatus.COMPLETE, no_usable_key=False)]


def test_worker_on_a_refused_key_does_not_go_on() -> None:
    """A key that is refused gets no further shard, not even through the worker that is on it."""
    play = Play(shards=pair(), policy=Pool())
    play.tick()
    play.scored("w000", "s0-t00")
    commands = play.key_refused("w000") + play.scored("w000", "s0-t01")
    assert only(commands, ev.GoOn) == []


def test_lease_that_goes_on_has_its_own_time() -> None:
    """The time a shard may take is counted from when its lease began, not from when its worker was started."""
    # Given a shard timeout of 100 s and a worker that goes on after 90
    play = Play(shards=pair(), policy=Pool(), rules=Rules(shard_timeout_s=100.0))
    play.tick()
    play.tick(after_s=90.0)
    play.scored("w000", "s0-t00")
    assert only(play.scored("w000", "s0-t01"), ev.GoOn) != []
    # When 90 s more have passed / Then it is not stopped; after another 20 it is
    assert only(play.tick(after_s=90.0), ev.StopWorker) == []
    assert only(play.tick(after_s=20.0), ev.StopWorker) == [ev.StopWorker(worker_id="w000", now=True)]


def test_model_that_is_parked_stops_the_worker_that_went_on() -> None:
    """A model that only gets refusals is parked with all its shards, the one a worker was busy with before included."""
    play = Play(shards=pair(), policy=Pool(), rules=Rules(stall_s=60.0))
    play.tick()
    play.scored("w000", "s0-t00", "s0-t01")
    play.reply("w000", Outcome.RATE_LIMITED)
    commands = play.tick(after_s=61.0)
    assert only(commands, ev.StopWorker) == [ev.StopWorker(worker_id="w000", now=True)]
    assert sorted(shard_changes(commands)) == [("s0", "failed"), ("s1", "failed")]


def test_parked_model_is_left_alone_also_by_a_worker_whose_present_shard_is_done() -> None:
    """Its worker may have only trials of the shard before in its hands; those end, and nobody is told twice."""
    # Given a worker that went on, and has all of the second shard behind it but not the last trial of the first
    play = Play(shards=pair(), policy=Pool(), rules=Rules(stall_s=60.0))
    play.tick()
    play.scored("w000", "s0-t00", "s0-t01", "s1-t00", "s1-t01", "s1-t02")
    assert play.running("w000") == {"s0-t02"}
    # When its model has got nothing but refusals for a minute
    play.reply("w000", Outcome.RATE_LIMITED)
    commands = play.tick(after_s=61.0)
    # Then it is stopped, and what it hands back is left for resume
    assert only(commands, ev.StopWorker) == [ev.StopWorker(worker_id="w000", now=True)]
    assert shard_changes(commands) == [("s0", "failed")]
    play.handed_back("w000", "s0-t02")
    assert only(play.exited("w000"), ev.End) == [ev.End(status=RunStatus.INCOMPLETE, no_usable_key=False)]


def test_worker_that_is_stopped_does_not_go_on() -> None:
    """One that overran its time gets no further shard, though its key serves on."""
    # Given a worker with the last two trials of its shard, which is past its time
    play = Play(shards=pair(), policy=Pool(), rules=Rules(shard_timeout_s=60.0))
    play.tick()
    play.scored("w000", "s0-t00")
    assert only(play.tick(after_s=60.0), ev.StopWorker) == [ev.StopWorker(worker_id="w000", now=True)]
    # When one of the two ends before it hears of that / Then it is given nothing
    assert only(play.scored("w000", "s0-t01"), ev.GoOn) == []


def test_trials_of_the_shard_before_do_not_count_for_the_present_lease() -> None:
    """A shard that ends no trial in two leases is given up, whatever its worker still ended of another."""
    # Given a worker that went on, and ends the first shard's last trial under its second lease
    play = Play(shards=pair(), policy=Pool(), rules=Rules(shard_timeout_s=60.0))
    play.tick()
    play.scored("w000", "s0-t00", "s0-t01", "s0-t02")
    # When neither this lease nor the next ends a trial of the second shard
    play.tick(after_s=60.0)
    for trial_id in sorted(play.running("w000")):
        play.handed_back("w000", trial_id)
    commands = play.tick(after_s=60.0)
    # Then that shard is given up
    assert ("s1", "failed") in shard_changes(commands)


def test_trial_of_the_shard_before_that_crashes_its_worker_is_that_shard_s_loss() -> None:
    """It is found out like any other, and counted where it belongs."""
    # Given the last trial of the first shard, alone in its worker's hands, and nothing left of the second
    play = Play(shards=pair(), policy=Pool())
    play.tick()
    play.scored("w000", "s0-t00", "s0-t01", "s1-t00", "s1-t01", "s1-t02")
    # When its worker dies of it twice
    play.crashed("w000")
    commands = play.crashed("w001")
    # Then it is invalid, in the first shard
    assert ended_trials(commands) == [("s0-t02", "invalid", "harness")]
    assert [play.state.shards[name].invalid for name in ("s0", "s1")] == [1, 0]
