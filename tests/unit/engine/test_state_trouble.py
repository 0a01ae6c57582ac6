"""RunState when things go wrong: crashes, refused and spent keys, dead providers, stalls, stops."""

from __future__ import annotations

import pytest
from engine_play import Play, ended_trials, only, requeued_trials, shard_changes, words

from benchrunner.engine import events as ev
from benchrunner.engine.books import Rules
from benchrunner.engine.deadlines import FRUITLESS_LEASES
from benchrunner.engine.replies import SILENT_FOR_S, UNREACHABLE_AFTER
from benchrunner.records import Outcome, RunStatus
from benchrunner.testing import StubPolicy, make_key, make_shard

# --- crashes --------------------------------------------------------------------------------------------------------


def test_trials_of_a_crashed_worker_go_to_the_front_of_the_queue() -> None:
    """What a dead worker was running is run next, in order, by a new worker; its key is freed."""
    # Given a worker with two of four trials
    play = Play(shards=[make_shard(trials=4)])
    play.tick()
    # When it dies
    commands = play.crashed("w000")
    # Then its key is released and its trials go back before the others
    assert [ev.Release(worker_id="w000", reason="crash")] == only(commands, ev.Release)
    assert sorted(requeued_trials(commands)) == ["s0-t00", "s0-t01"]
    assert [start.worker_id for start in only(commands, ev.StartWorker)] == ["w001"]
    assert ["s0-t00", *play.pending()] == [*sorted(play.running("w001")), "s0-t01", "s0-t02", "s0-t03"]
    # And the user reads who died, of what, and what becomes of its trials
    for word in ("w000", "m-s0", "key0", "-9", "2 running trials"):
        assert word in words(commands)


def test_worker_that_ends_unasked_is_a_crash_whatever_its_exit_code() -> None:
    """An exit code of 0 does not make up for trials left undone."""
    # Given a running worker
    play = Play()
    play.tick()
    # When it exits with 0 though nobody told it to
    commands = play.exited("w000", 0)
    # Then its trials are run again
    assert {"s0-t00", "s0-t01"} == set(requeued_trials(commands))


def test_one_crash_more_than_the_budget_ends_the_run_incomplete() -> None:
    """Six crashes within a minute are forgiven; the seventh ends the run, everything finished kept."""
    # Given a run on two keys, of which one worker keeps dying
    play = Play(
        shards=[make_shard("s0", trials=40), make_shard("s1", trials=40, position=1)],
        keys=[make_key("key0"), make_key("key1")],
        rules=Rules(restarts=3, crashes_per_trial=99),
    )
    play.tick()
    for _ in range(3):
        commands = play.crashed(play.state.shards["s0"].workers[0])
        assert len(only(commands, ev.StartWorker)) == 1
        play.clock.sleep_s(5.0)
    # When it dies once more
    commands = play.crashed(play.state.shards["s0"].workers[0])
    # Then nobody is started again, the other worker is told to end, and the user is told of `resume`
    assert only(commands, ev.StartWorker) == []
    assert [ev.StopWorker(worker_id="w001", now=True)] == only(commands, ev.StopWorker)
    assert "workers crashed more than 3 times within 60 s" in words(commands)
    assert "benchrunner resume" in words(commands)
    # And the run ends incomplete when the other has gone, its shards not called running any more
    for trial_id in sorted(play.running("w001")):
        play.handed_back("w001", trial_id)
    end = play.exited("w001")
    assert [ev.End(status=RunStatus.INCOMPLETE, no_usable_key=False)] == only(end, ev.End)
    assert shard_changes(end) == [("s0", "failed"), ("s1", "failed")]


def test_crashes_far_apart_are_forgiven_for_ever() -> None:
    """The budget counts crashes within its window only."""
    # Given a budget of one crash a minute
    play = Play(shards=[make_shard(trials=40)], rules=Rules(restarts=1, crashes_per_trial=99))
    play.tick()
    # When a worker dies every 61 seconds
    for _ in range(5):
        play.clock.sleep_s(61.0)
        commands = play.crashed(play.state.shards["s0"].workers[0])
        # Then there is always a next one
        assert len(only(commands, ev.StartWorker)) == 1


def test_trial_that_crashes_its_worker_alone_is_invalid_by_the_harness() -> None:
    """A trial that was alone at its second crash is to blame, and is left so that the rest can run."""
    # Given a worker that runs one trial at a time and dies of the first
    play = Play(shards=[make_shard(trials=2, workers=1)])
    play.tick()
    assert ended_trials(play.crashed("w000")) == []
    # When the next worker dies of it too
    commands = play.crashed("w001")
    # Then the trial is invalid, and the next worker goes on with the other
    assert ended_trials(commands) == [("s0-t00", "invalid", "harness")]
    assert {"s0-t01"} == play.running("w002")


def test_trial_that_crashed_in_company_is_not_blamed() -> None:
    """Of several trials at a crash nobody knows which it was: none is invalid for it."""
    # Given workers that run two trials at once and blame at the first crash
    play = Play(shards=[make_shard(trials=2)], rules=Rules(crashes_per_trial=1))
    play.tick()
    # When one dies
    # Then both are run again
    assert ended_trials(play.crashed("w000")) == []


def test_poison_trial_among_many_is_found_within_the_restart_budget() -> None:
    """One trial that kills every worker it runs in costs itself, not the run: it is given ever less company."""
    # Given a shard of ninety trials, thirty at once, one of which kills its worker
    play = Play(shards=[make_shard(trials=90, workers=30)])
    poison = "s0-t17"
    play.tick()
    # When the run is played to its end within a minute
    while play.state.ended is None:
        play.clock.sleep_s(0.1)
        for worker_id in list(play.state.workers):
            if poison in play.running(worker_id):
                play.crashed(worker_id)
                continue
            for trial_id in sorted(play.running(worker_id)):
                play.scored(worker_id, trial_id)
                if poison in play.running(worker_id):
                    break
            if play.state.workers[worker_id].stopping and not play.running(worker_id):
                play.exited(worker_id)
    # Then all but that one are scored
    assert [(poison, "invalid", "harness")] == [end for end in ended_trials(play.said) if end[1] != "scored"]
    assert play.state.shards["s0"].scored == 89
    assert play.state.ended.status == RunStatus.INCOMPLETE


# --- keys -----------------------------------------------------------------------------------------------------------


def test_refused_key_is_retired_and_its_shard_gets_another() -> None:
    """A 401 takes the key out of the run; its shard goes on with another key and no trial is lost."""
    # Given a shard on the first of two keys
    play = Play(keys=[make_key("key0"), make_key("key1")])
    play.tick()
    # When the key is refused
    commands = play.key_refused("w000")
    # Then it is taken out of service, its worker told to stop at once, and another worker starts on the other
    refusals = [ev.RefuseKey(key_id="key0", kind=Outcome.AUTH, detail="invalid api key", park_s=3e9)]
    assert refusals == only(commands, ev.RefuseKey)
    assert [ev.StopWorker(worker_id="w000", now=True)] == only(commands, ev.StopWorker)
    assert [start.key_id for start in only(commands, ev.StartWorker)] == ["key1"]
    # And its trials come back unharmed, the lease is released once, and the run completes on the other key
    play.handed_back("w000", "s0-t00")
    assert [ev.Release(worker_id="w000", reason="auth")] == only(play.handed_back("w000", "s0-t01"), ev.Release)
    assert only(play.exited("w000"), ev.Release) == []
    play.scored("w001", "s0-t02", "s0-t00", "s0-t01")
    assert [ev.End(status=RunStatus.COMPLETE, no_usable_key=False)] == only(play.exited("w001"), ev.End)


def test_key_is_refused_once_however_many_dialogues_say_so() -> None:
    """Thirty dialogues meet the same 401; the key is retired once."""
    # Given a key that was refused
    play = Play()
    play.tick()
    play.key_refused("w000")
    # When another dialogue of the same worker says so too
    # Then there is nothing more to do
    assert play.key_refused("w000") == []


def test_every_worker_on_a_refused_key_stops() -> None:
    """Where several shards share a key, its refusal stops them all."""
    # Given two shards on one key without bound
    play = Play(
        shards=[make_shard("s0"), make_shard("s1", position=1)], keys=[make_key("key0", slots=0)]
    )
    play.tick()
    # When one of them reports the refusal
    commands = play.key_refused("w001")
    # Then both are told to stop
    stops = [ev.StopWorker(worker_id=worker_id, now=True) for worker_id in ("w000", "w001")]
    assert stops == only(commands, ev.StopWorker)


def test_run_without_a_usable_key_fails() -> None:
    """When every key of the trials that are left is refused, the run ends and says why."""
    # Given a shard that has lost its first key
    play = Play(shards=[make_shard(trials=1)], keys=[make_key("key0"), make_key("key1")])
    play.tick()
    play.key_refused("w000")
    play.handed_back("w000", "s0-t00")
    play.exited("w000")
    # When the second is refused too
    play.key_refused("w001")
    play.handed_back("w001", "s0-t00")
    commands = play.exited("w001")
    # Then the run has failed for want of a key
    assert [ev.End(status=RunStatus.FAILED, no_usable_key=True)] == only(commands, ev.End)


def test_keys_of_one_provider_do_not_serve_another() -> None:
    """A provider whose only key is refused leaves its shards undone; the other provider's run to their end."""
    # Given a shard at each of two providers, one key each
    play = Play(
        shards=[make_shard("s0", trials=1), make_shard("s1", trials=1, position=1, provider="azure")],
        keys=[make_key("key0"), make_key("key1", provider="azure")],
    )
    play.tick()
    # When the first provider refuses its key
    play.key_refused("w000")
    play.handed_back("w000", "s0-t00")
    play.exited("w000")
    # Then the other shard goes on, and only its end is the run's
    assert play.state.ended is None
    play.scored("w001", "s1-t00")
    assert [ev.End(status=RunStatus.FAILED, no_usable_key=True)] == only(play.exited("w001"), ev.End)


def test_run_waits_for_a_key_that_is_parked_for_a_while() -> None:
    """A spent quota that comes back soon is waited for, with no process held open meanwhile."""
    # Given a run whose only key is spent for a minute
    play = Play(shards=[make_shard(trials=1)])
    play.tick()
    commands = play.quota_spent("w000", park_s=60.0)
    assert [refusal.park_s for refusal in only(commands, ev.RefuseKey)] == [60.0]
    play.handed_back("w000", "s0-t00")
    play.exited("w000")
    # When it is asked before and after that minute
    before, after = play.tick(59.0), play.tick(2.0)
    # Then it waits, and starts again
    assert before == []
    assert [start.key_id for start in only(after, ev.StartWorker)] == ["key0"]


def test_run_does_not_wait_for_a_key_that_is_parked_till_tomorrow() -> None:
    """A quota that resets after more than the longest park ends the run as one without a usable key."""
    # Given a run whose only key is spent for two hours
    play = Play(shards=[make_shard(trials=1)], rules=Rules(longest_park_s=900.0))
    play.tick()
    play.quota_spent("w000", park_s=7200.0)
    play.handed_back("w000", "s0-t00")
    # When its worker has gone
    commands = play.exited("w000")
    # Then the run is over
    assert [ev.End(status=RunStatus.FAILED, no_usable_key=True)] == only(commands, ev.End)


def test_key_is_parked_once_however_many_dialogues_say_so() -> None:
    """Thirty dialogues meet the same spent quota; the park is told once and does not grow by it."""
    # Given a key parked for a minute
    play = Play(shards=[make_shard(trials=2)])
    play.tick()
    play.quota_spent("w000", park_s=60.0)
    # When the other dialogue says so too
    # Then there is nothing more to do, and the run goes on after that minute
    assert play.quota_spent("w000", park_s=60.0) == []
    play.handed_back("w000", "s0-t00")
    play.handed_back("w000", "s0-t01")
    play.exited("w000")
    assert len(only(play.tick(60.0), ev.StartWorker)) == 1


def test_key_that_is_refused_while_it_is_parked_is_still_retired() -> None:
    """A park that is already known does not swallow the news that the key is dead."""
    # Given a key spent for a minute
    play = Play()
    play.tick()
    play.quota_spent("w000", park_s=60.0)
    # When another of its calls comes back with 401
    commands = play.key_refused("w000")
    # Then it is retired, and not asked again after that minute
    assert [refusal.kind for refusal in only(commands, ev.RefuseKey)] == [Outcome.AUTH]
    play.handed_back("w000", "s0-t00")
    play.handed_back("w000", "s0-t01")
    assert [end.status for end in only(play.exited("w000"), ev.End)] == [RunStatus.FAILED]


def test_spent_key_that_always_says_soon_ends_the_run_at_last() -> None:
    """Parks in a row with no reply in between double, so that an empty account cannot keep a run alive for ever."""
    # Given a key whose provider says "quota spent, retry at once" every time
    play = Play(shards=[make_shard(trials=1)])
    parks: list[float] = []
    play.tick()
    # When the run is let go on
    while play.state.ended is None and len(parks) < 50:
        worker_id = play.state.shards["s0"].workers[0]
        parks += [refusal.park_s for refusal in only(play.quota_spent(worker_id, 0.0), ev.RefuseKey)]
        play.handed_back(worker_id, "s0-t00")
        play.exited(worker_id)
        play.tick(parks[-1])
    # Then it waits longer each time, and gives up when that passes the longest park
    assert parks[:4] == [1.0, 2.0, 4.0, 8.0]
    assert [ev.End(status=RunStatus.FAILED, no_usable_key=True)] == only(play.said, ev.End)


def test_reply_ends_the_row_of_parks() -> None:
    """A key that answered again starts its parks anew."""
    # Given a key that was parked twice
    play = Play(shards=[make_shard(trials=1)])
    play.tick()
    for number in range(2):
        play.quota_spent(f"w00{number}", 0.0)
        play.handed_back(f"w00{number}", "s0-t00")
        play.exited(f"w00{number}")
        play.tick(10.0)
    # When it answers, and is spent again
    play.reply("w002")
    commands = play.quota_spent("w002", 0.0)
    # Then it rests as long as the first time
    assert [refusal.park_s for refusal in only(commands, ev.RefuseKey)] == [1.0]


# --- providers ------------------------------------------------------------------------------------------------------


def lose(play: Play, worker_id: str, trials: list[str]) -> list[ev.Command]:
    return [c for trial_id in trials for c in play.ended(worker_id, trial_id, invalid="connection", detail="refused")]


def test_provider_that_never_answers_is_given_up() -> None:
    """Trials lost to the connection with no reply in between mark the provider; its shards are left for resume."""
    # Given a worker with more trials in flight than it takes
    play = Play(shards=[make_shard(trials=6, workers=6)])
    play.tick()
    # When as many as it takes are lost
    lost = [f"s0-t{n:02d}" for n in range(UNREACHABLE_AFTER)]
    assert words(lose(play, "w000", lost[:-1])) == ""
    commands = lose(play, "w000", lost[-1:])
    # Then its workers stop at once and the user is told why and what to do
    assert [ev.StopWorker(worker_id="w000", now=True)] == only(commands, ev.StopWorker)
    for word in ("ideallab", "refused", "benchrunner resume"):
        assert word in words(commands)
    # And the run ends incomplete, with no infrastructure failure counted as a result
    for trial_id in sorted(play.running("w000")):
        play.handed_back("w000", trial_id)
    assert [ev.End(status=RunStatus.INCOMPLETE, no_usable_key=False)] == only(play.exited("w000"), ev.End)
    assert (len(play.pending()), play.state.shards["s0"].scored, play.state.shards["s0"].invalid) == (6, 0, 0)


def test_provider_that_answers_in_between_is_kept() -> None:
    """Lost trials with replies in between are the trials' affair, not the provider's."""
    # Given a shard with many trials
    play = Play(shards=[make_shard(trials=30, workers=1)])
    play.tick()
    # When every trial is lost after a reply
    for number in range(2 * UNREACHABLE_AFTER):
        play.reply("w000")
        lose(play, "w000", [f"s0-t{number:02d}"])
    # Then nobody is stopped
    assert only(play.said, ev.StopWorker) == []


def test_model_whose_server_is_down_is_given_up_alone() -> None:
    """A provider that answers 503 for one model serves the others: only the one is left for resume, after a minute."""
    # Given two models of one provider on two keys, and one of them answered with failures only
    shards = [
        make_shard("s0", trials=8, model="down", workers=8),
        make_shard("s1", trials=2, position=1, model="up", workers=2),
    ]
    play = Play(shards=shards, keys=[make_key("key0"), make_key("key1")])
    play.tick()

    def fail(number: int) -> list[ev.Command]:
        play.reply("w000", Outcome.TRANSIENT)
        return lose(play, "w000", [f"s0-t{number:02d}"])

    # When its trials are lost one after another / Then for a minute nobody is given up: it may come back
    for number in range(2 * UNREACHABLE_AFTER):
        fail(number)
    assert only(play.said, ev.StopWorker) == []
    play.tick(after_s=0.6 * SILENT_FOR_S)
    assert only(fail(2 * UNREACHABLE_AFTER), ev.StopWorker) == []
    play.tick(after_s=0.6 * SILENT_FOR_S)
    commands = fail(2 * UNREACHABLE_AFTER + 1)
    # And then that model is, and no other
    assert [stop.worker_id for stop in only(commands, ev.StopWorker)] == ["w000"]
    assert shard_changes(commands) == [("s0", "failed")]
    assert "model down gives no reply" in words(commands)
    play.scored("w001", "s1-t00", "s1-t01")
    assert play.state.shards["s1"].status == "done"


def test_model_that_replies_now_and_then_is_kept() -> None:
    """A reply in between ends the count, however long trials have been lost."""
    play = Play(shards=[make_shard(trials=30, workers=30)])
    play.tick()
    for number in range(3 * UNREACHABLE_AFTER):
        play.tick(after_s=SILENT_FOR_S / 4)
        play.reply("w000", Outcome.TRANSIENT)
        lose(play, "w000", [f"s0-t{number:02d}"])
        if number % 3 == 2:
            play.reply("w000")
    assert only(play.said, ev.StopWorker) == []


def test_unreachable_provider_leaves_the_others_running() -> None:
    """Only shards of the provider that is gone stop; the run ends incomplete when the others are done."""
    # Given a shard at each of two providers
    play = Play(
        shards=[make_shard("s0", workers=3), make_shard("s1", trials=1, position=1, provider="azure")],
        keys=[make_key("key0"), make_key("key1", provider="azure")],
    )
    play.tick()
    # When the first never answers
    commands = lose(play, "w000", ["s0-t00", "s0-t01", "s0-t02"])
    # Then the second's worker goes on to its end, and so does the run
    assert [stop.worker_id for stop in only(commands, ev.StopWorker)] == ["w000"]
    play.exited("w000")
    assert play.tick(10.0) == []
    play.scored("w001", "s1-t00")
    assert [ev.End(status=RunStatus.INCOMPLETE, no_usable_key=False)] == only(play.exited("w001"), ev.End)


def test_trial_lost_after_its_provider_was_given_up_waits_for_resume() -> None:
    """A trial still in flight when the provider is given up is left to be run, not left invalid, at its first loss."""
    # Given a provider just given up with one more trial in flight
    play = Play(shards=[make_shard(trials=4, workers=4)])
    play.tick()
    lose(play, "w000", ["s0-t00", "s0-t01", "s0-t02"])
    # When that trial is lost too
    commands = lose(play, "w000", ["s0-t03"])
    # Then it goes back to the queue, which nobody will serve, and nobody is told twice
    assert (requeued_trials(commands), ended_trials(commands), words(commands)) == (["s0-t03"], [], "")
    assert [ev.End(status=RunStatus.INCOMPLETE, no_usable_key=False)] == only(play.exited("w000"), ev.End)


# --- stalls ---------------------------------------------------------------------------------------------------------


def test_lease_that_lasts_too_long_is_ended_and_the_shard_leased_again() -> None:
    """A shard past its time is stopped at its next call and goes on under a new lease."""
    # Given a shard whose lease may last a minute, with one trial done
    play = Play(rules=Rules(shard_timeout_s=60.0))
    play.tick()
    play.scored("w000", "s0-t00")
    assert play.tick(59.0) == []
    # When the minute is over
    commands = play.tick(1.0)
    # Then the worker is told to stop at once, and the user is told
    assert [ev.StopWorker(worker_id="w000", now=True)] == only(commands, ev.StopWorker)
    assert "w000 overran its shard's time" in words(commands)
    # And what it hands back is run under a new lease, at once
    play.handed_back("w000", "s0-t01")
    released = play.handed_back("w000", "s0-t02")
    assert [ev.Release(worker_id="w000", reason="stall")] == only(released, ev.Release)
    assert [start.key_id for start in only(released, ev.StartWorker)] == ["key0"]


def test_worker_that_will_not_stop_is_killed_and_killed_again() -> None:
    """A worker told to end at once has a few seconds; then its process is ended, however often that takes."""
    # Given a stalled worker
    play = Play(rules=Rules(shard_timeout_s=60.0, kill_after_s=10.0))
    play.tick()
    play.tick(60.0)
    play.tick()
    # When it stays
    kills = [len(only(play.tick(after_s), ev.KillWorker)) for after_s in (9.9, 0.2, 5.0, 5.1)]
    # Then it is killed after ten seconds, and after ten more
    assert kills == [0, 1, 0, 1]


def test_long_shard_is_not_stopped_before_ten_times_its_expectation() -> None:
    """With no timeout set, a lease may last ten times what the shard is expected to take, and at least an hour."""
    # Given a shard expected to take 1000 s
    play = Play(shards=[make_shard(trials=1000, workers=30)])
    play.tick()
    # When an hour, and when ten times that have passed
    stops = [len(only(play.tick(after_s), ev.StopWorker)) for after_s in (3600.0, 6399.0, 1.0)]
    # Then only the latter is too long
    assert stops == [0, 0, 1]


def test_shard_that_only_ever_stalls_is_given_up() -> None:
    """A shard that ends no trial in two leases is left for resume; the rest of the run goes on."""
    # Given a shard whose dialogues hang, and another that waits for the key
    play = Play(
        shards=[make_shard("s0", trials=1), make_shard("s1", trials=1, position=1)],
        rules=Rules(shard_timeout_s=60.0),
    )
    play.tick()
    # When it stalls as often as it may
    for number in range(FRUITLESS_LEASES):
        commands = play.tick(60.0)
        play.handed_back(f"w00{number}", "s0-t00")
        play.exited(f"w00{number}")
    # Then it has failed, the user is told, the other shard runs, and the run ends incomplete
    assert [change for change in shard_changes(commands) if change[0] == "s0"] == [("s0", "failed")]
    assert "benchrunner resume" in words(commands)
    last = play.state.shards["s1"].workers[0]
    play.scored(last, "s1-t00")
    assert [ev.End(status=RunStatus.INCOMPLETE, no_usable_key=False)] == only(play.exited(last), ev.End)


def test_shard_given_up_is_done_if_its_last_trial_ends_after_all() -> None:
    """What a stalled worker still brings to an end counts, and a shard with nothing left is done, not failed."""
    # Given a shard of one trial in its last lease
    play = Play(shards=[make_shard(trials=1)], rules=Rules(shard_timeout_s=60.0))
    play.tick()
    play.tick(60.0)
    play.handed_back("w000", "s0-t00")
    play.exited("w000")
    assert shard_changes(play.tick(60.0)) == [("s0", "failed")]
    # When its worker scores the trial instead of handing it back
    commands = play.scored("w001", "s0-t00")
    # Then the shard is done and the run complete
    assert shard_changes(commands) == [("s0", "done")]
    assert [ev.End(status=RunStatus.COMPLETE, no_usable_key=False)] == only(play.exited("w001"), ev.End)


def test_worker_that_hung_until_it_was_killed_is_a_crash() -> None:
    """A stalled worker that hands back is forgiven; one that has to be killed counts against the budget."""
    # Given a run that forgives no crash
    play = Play(rules=Rules(restarts=0, shard_timeout_s=60.0))
    play.tick()
    # When a worker stalls, hangs, and dies of the kill
    play.tick(60.0)
    play.tick()
    assert [ev.KillWorker(worker_id="w000")] == play.tick(10.1)
    commands = play.crashed("w000")
    # Then the budget is spent and the run ends, its trials left for resume
    assert "crashed more than 0 times" in words(commands)
    assert [ev.End(status=RunStatus.INCOMPLETE, no_usable_key=False)] == only(commands, ev.End)
    assert len(play.pending()) == 3


def test_slow_shard_that_gets_on_is_never_given_up() -> None:
    """A shard that ends a trial in every lease keeps being leased, however many it takes."""
    # Given a shard that ends one trial a lease and then stalls
    play = Play(shards=[make_shard(trials=6, workers=1)], rules=Rules(shard_timeout_s=60.0))
    play.tick()
    # When it goes on like that
    for number in range(5):
        worker_id = play.state.shards["s0"].workers[0]
        play.scored(worker_id, f"s0-t{number:02d}")
        play.tick(60.0)
        play.handed_back(worker_id, f"s0-t{number + 1:02d}")
        play.exited(worker_id)
        play.tick()
    # Then the last trial is running in the sixth lease
    assert (play.state.shards["s0"].status, play.state.shards["s0"].workers) == ("running", ["w005"])


# --- stops ----------------------------------------------------------------------------------------------------------


def test_stop_lets_running_trials_end_and_starts_no_other() -> None:
    """The first Ctrl-C drains: what runs may end and is kept, what waits stays for resume."""
    # Given two of three trials running
    play = Play()
    play.tick()
    # When somebody asks to stop
    commands = play.stop()
    # Then the worker may finish what it has, and gets no more
    assert [ev.StopWorker(worker_id="w000", now=False)] == only(commands, ev.StopWorker)
    assert only(play.scored("w000", "s0-t00"), ev.Assign) == []
    assert [ev.Release(worker_id="w000", reason="drained")] == only(play.scored("w000", "s0-t01"), ev.Release)
    # And the run ends interrupted, the shard waiting for resume
    end = play.exited("w000")
    assert [ev.End(status=RunStatus.INTERRUPTED, no_usable_key=False)] == only(end, ev.End)
    assert shard_changes(end) == [("s0", "waiting")]


def test_stop_after_the_last_trial_leaves_the_run_complete() -> None:
    """A stop that finds every trial scored interrupts nothing."""
    # Given a run whose trials are all running
    play = Play(shards=[make_shard(trials=2)])
    play.tick()
    # When it is stopped, and they are scored while it drains
    play.stop()
    play.scored("w000", "s0-t00", "s0-t01")
    # Then it is complete
    assert [ev.End(status=RunStatus.COMPLETE, no_usable_key=False)] == only(play.exited("w000"), ev.End)


def test_stop_before_anything_runs_ends_the_run_at_once() -> None:
    """With no process there is nothing to drain."""
    # Given a run that has not begun
    play = Play()
    # When it is stopped
    # Then it is over
    assert [ev.End(status=RunStatus.INTERRUPTED, no_usable_key=False)] == play.stop()


def test_drain_ends_at_once_after_its_grace_and_by_force_after_that() -> None:
    """Running trials have `drain_s`, then hand back at their next call, then `kill_after_s`, then the process ends."""
    # Given a draining worker with two trials
    play = Play(rules=Rules(drain_s=20.0, kill_after_s=10.0))
    play.tick()
    play.stop()
    # When time passes and it goes on
    # Then nothing happens for twenty seconds, then Stop now, then a kill
    assert play.tick(19.9) == []
    assert [ev.StopWorker(worker_id="w000", now=True)] == play.tick(0.2)
    assert play.tick(9.9) == []
    assert [ev.KillWorker(worker_id="w000")] == play.tick(0.2)
    # And its trials are nobody's fault, and wait for resume
    commands = play.crashed("w000")
    assert (ended_trials(commands), words(commands)) == ([], "")
    assert play.pending() == ["s0-t00", "s0-t01", "s0-t02"]
    assert [end.status for end in only(commands, ev.End)] == [RunStatus.INTERRUPTED]


@pytest.mark.parametrize("drained_first", [True, False], ids=["second Ctrl-C", "at once"])
def test_second_stop_kills(drained_first: bool) -> None:
    """A stop that will not wait ends every process, again and again if it must."""
    # Given two running workers
    play = Play(
        shards=[make_shard("s0"), make_shard("s1", position=1)], keys=[make_key("key0"), make_key("key1")]
    )
    play.tick()
    if drained_first:
        play.stop()
    # When the run is to end now
    kills = [ev.KillWorker(worker_id="w000"), ev.KillWorker(worker_id="w001")]
    # Then both are killed, and killed again should they live
    assert kills == only(play.stop(kill=True), ev.KillWorker)
    assert kills == only(play.tick(10.1), ev.KillWorker)
    # And each exit frees its key once
    assert [release.worker_id for release in only(play.crashed("w000"), ev.Release)] == ["w000"]
    end = play.crashed("w001")
    assert [ev.End(status=RunStatus.INTERRUPTED, no_usable_key=False)] == only(end, ev.End)


def test_kill_by_the_user_blames_no_trial() -> None:
    """A trial that crashed once and then is killed by hand is not invalid for it."""
    # Given a trial that was alone at one crash
    play = Play(shards=[make_shard(trials=1)])
    play.tick()
    play.crashed("w000")
    # When its next worker is killed because the user wants the run to end
    play.stop(kill=True)
    commands = play.crashed("w001")
    # Then the trial is still to be run
    assert (ended_trials(commands), play.pending()) == ([], ["s0-t00"])


def test_worker_killed_on_a_refused_key_blames_no_trial() -> None:
    """A worker that sat in a slow request when its key was refused, and was killed for it, is no crash."""
    # Given a budget of no crash at all, and a worker whose key is refused while a request hangs
    play = Play(
        shards=[make_shard(trials=1)], keys=[make_key("key0"), make_key("key1")], rules=Rules(restarts=0)
    )
    play.tick()
    play.key_refused("w000")
    play.tick()
    assert [ev.KillWorker(worker_id="w000")] == play.tick(10.1)
    # When it dies of the kill
    commands = play.crashed("w000")
    # Then the run goes on with the other key
    assert [ev.Assign(worker_id="w001", trial_ids=("s0-t00",))] == only(commands, ev.Assign)


def test_key_refused_while_draining_stops_the_worker_at_once() -> None:
    """Dialogues that were let finish would only be refused, call after call."""
    # Given a draining worker
    play = Play(keys=[make_key("key0"), make_key("key1")])
    play.tick()
    play.stop()
    # When its key is refused
    commands = play.key_refused("w000")
    # Then it is told to stop at once, and no other is started
    assert [ev.StopWorker(worker_id="w000", now=True)] == only(commands, ev.StopWorker)
    assert only(commands, ev.StartWorker) == []


def test_trial_spoiled_while_draining_is_left_invalid_for_resume() -> None:
    """There is no second chance in a run that ends: the trial is closed with its cause, and resume runs it again."""
    # Given a draining worker
    play = Play()
    play.tick()
    play.stop()
    # When one of its trials is lost
    commands = play.ended("w000", "s0-t00", invalid="connection")
    # Then its end is kept
    assert ended_trials(commands) == [("s0-t00", "invalid", "connection")]


def test_lease_denied_while_stopping_ends_the_run() -> None:
    """A worker that never started is not waited for."""
    # Given a stop that comes before the registry's answer
    play = Play()
    play.tick()
    play.stop()
    # When the lease is denied
    commands = play.denied("w000")
    # Then the run is over
    assert [ev.End(status=RunStatus.INTERRUPTED, no_usable_key=False)] == only(commands, ev.End)


def test_unbounded_keys_serve_several_shards_at_once() -> None:
    """A key with no bound on its slots is on every shard that asks for it."""
    # Given three shards and one key without bound
    shards = [make_shard(f"s{n}", position=n) for n in range(3)]
    play = Play(shards=shards, keys=[make_key("key0", slots=0)], policy=StubPolicy())
    # When the run begins
    # Then all three run
    assert [start.shard_id for start in only(play.tick(), ev.StartWorker)] == ["s0", "s1", "s2"]


# --- throttled for long, and held by others ---------------------------------------------------------------------------


def test_a_model_that_only_gets_refusals_is_parked_and_the_others_go_on() -> None:
    """No good reply for `stall_s`, only refusals: the model's shards are left for resume, the run goes on."""
    # Given two models at work, of which one is refused since some time
    play = Play(
        shards=[make_shard("s0", model="big"), make_shard("s1", model="small", position=1)],
        keys=[make_key("key0"), make_key("key1")],
        rules=Rules(stall_s=60.0),
    )
    play.tick()
    play.reply("w000", Outcome.RATE_LIMITED)
    play.reply("w001", Outcome.RATE_LIMITED)
    play.tick(59.0)
    play.reply("w001", Outcome.OK)
    # When the time is up
    commands = play.tick(1.0)
    # Then its worker is stopped and its shard left, and the other's is not
    assert [ev.StopWorker(worker_id="w000", now=True)] == only(commands, ev.StopWorker)
    assert shard_changes(commands) == [("s0", "failed")]
    assert "model big had no reply for 60 s" in words(commands)
    # And the run ends incomplete with the other's trials scored
    for trial_id in sorted(play.running("w000")):
        play.handed_back("w000", trial_id)
    play.exited("w000")
    while play.running("w001"):
        play.scored("w001", *sorted(play.running("w001")))
    assert [ev.End(status=RunStatus.INCOMPLETE, no_usable_key=False)] == only(play.exited("w001"), ev.End)


def test_a_run_waits_for_keys_held_elsewhere_as_long_as_it_was_told() -> None:
    """It says once who holds the key, asks again, and ends resumable when the wait runs out."""
    # Given a run whose only key another run holds
    play = Play(rules=Rules(wait_s=30.0))
    play.tick()
    first = play.feed(ev.LeaseDenied(worker_id="w000", by="run r0 (process 7)"))
    assert "key key0 is held by run r0 (process 7); waiting for it" in words(first)
    # When it asks again and is told the same
    play.tick(2.0)
    again = play.feed(ev.LeaseDenied(worker_id="w001", by="run r0 (process 7)"))
    assert words(again) == ""
    # Then it ends when the wait is over, and says that keys were held, not refused
    play.tick(27.0)
    play.feed(ev.LeaseDenied(worker_id="w002", by="run r0 (process 7)"))
    play.tick(1.0)
    commands = play.feed(ev.LeaseDenied(worker_id="w003", by="run r0 (process 7)"))
    end = ev.End(status=RunStatus.INCOMPLETE, no_usable_key=False, held_elsewhere=True)
    assert [end] == only(commands, ev.End)


def test_two_models_that_are_only_answered_with_failures_are_their_provider() -> None:
    """Something that speaks HTTP stands before a service that is down: not every model burns its own minute."""
    # Given three models of one provider, each on a key of its own
    shards = [make_shard(f"s{n}", trials=9, position=n, model=f"m{n}", workers=9) for n in range(3)]
    play = Play(shards=shards, keys=[make_key(f"key{n}") for n in range(3)])
    play.tick()

    def silence(number: int) -> list[ev.Command]:
        said: list[ev.Command] = []
        for trial in range(UNREACHABLE_AFTER):
            play.tick(after_s=0.9 * SILENT_FOR_S if trial else 0.0)
            play.reply(f"w{number:03d}", Outcome.TRANSIENT)
            said += lose(play, f"w{number:03d}", [f"s{number}-t{trial:02d}"])
        return said

    # When two of them are lost for a minute / Then the first is given up alone, with the second all that is left
    assert [stop.worker_id for stop in only(silence(0), ev.StopWorker)] == ["w000"]
    stopped = only(silence(1), ev.StopWorker)
    assert sorted(stop.worker_id for stop in stopped) == ["w001", "w002"]


def test_losses_long_apart_are_no_silence() -> None:
    """What was not asked in between tells nothing: its shard may have waited for a key."""
    play = Play(shards=[make_shard(trials=9, workers=9)])
    play.tick()
    for trial in range(2 * UNREACHABLE_AFTER):
        play.tick(after_s=2 * SILENT_FOR_S)
        play.reply("w000", Outcome.TRANSIENT)
        lose(play, "w000", [f"s0-t{trial:02d}"])
    assert only(play.said, ev.StopWorker) == []


def test_model_is_not_given_up_in_a_run_that_stops() -> None:
    """What is left of it waits for resume like everything else."""
    play = Play(shards=[make_shard(trials=9, workers=9)])
    play.tick()
    play.stop()
    for trial in range(2 * UNREACHABLE_AFTER):
        play.tick(after_s=0.4 * SILENT_FOR_S)
        play.reply("w000", Outcome.TRANSIENT)
        lose(play, "w000", [f"s0-t{trial:02d}"])
    assert ("s0", "failed") not in shard_changes(play.said)
