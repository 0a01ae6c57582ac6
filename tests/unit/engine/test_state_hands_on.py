"""RunState where dialogues have one turn: a key goes to the next model once the last model's last request has left."""

from __future__ import annotations

from engine_play import Play, only, requeued_trials

from benchrunner.engine import events as ev
from benchrunner.engine.books import Rules
from benchrunner.policies.pool import Pool
from benchrunner.policies.serial import Serial
from benchrunner.records import Outcome, RunStatus, Shard
from benchrunner.testing import make_key, make_shard


def two_models(*, trials: int = 2) -> list[Shard]:
    """Return two shards of two models; a worker runs two trials at once."""
    return [
        make_shard("s0", trials=trials, model="m", workers=2),
        make_shard("s1", trials=trials, position=1, model="other", workers=2),
    ]


def asked(commands: list[ev.Command]) -> list[tuple[str, int]]:
    return [(command.worker_id, command.nth) for command in only(commands, ev.TellWhenSent)]


def handed_on(play: Play) -> list[ev.Command]:
    """Play until the first shard's two trials are out and the worker has said so."""
    play.tick()
    return play.all_sent("w000")


def test_key_is_handed_on_when_the_last_request_has_left() -> None:
    """The next model's worker starts while the last replies are out; the old one may send nothing more."""
    # Given two models and one key, and a worker with all that is left of the first in its hands
    play = Play(shards=two_models(), policy=Pool(), one_turn=True)
    # When / Then it is asked to say when everything has left, once
    assert asked(play.tick()) == [("w000", 1)]
    assert asked(play.tick()) == []
    # And when it says so, Then its key is released at once and leased for the other model
    commands = play.all_sent("w000")
    assert only(commands, ev.StopWorker) == [ev.StopWorker(worker_id="w000", now=True)]
    assert only(commands, ev.Release) == [ev.Release(worker_id="w000", reason="sent")]
    assert [start.shard_id for start in only(commands, ev.StartWorker)] == ["s1"]
    # And its replies count as ever, and its end releases nothing more
    commands = play.scored("w000", "s0-t00", "s0-t01") + play.exited("w000")
    assert only(commands, ev.Release) == []
    play.scored("w001", "s1-t00", "s1-t01")
    assert only(play.exited("w001"), ev.End) == [ev.End(status=RunStatus.COMPLETE, no_usable_key=False)]


def test_key_stays_to_the_last_reply_where_dialogues_have_several_turns() -> None:
    """Nobody knows which request of such a trial is its last."""
    play = Play(shards=two_models(), policy=Pool())
    assert asked(play.tick()) == []


def test_key_stays_under_other_policies() -> None:
    """Serial and batched show what waiting costs."""
    play = Play(shards=two_models(), policy=Serial(), one_turn=True)
    assert asked(play.tick()) == []


def test_key_stays_while_nobody_else_needs_it() -> None:
    """At the end of a run a call that must be tried again finds its key still there."""
    play = Play(shards=two_models()[:1], policy=Pool(), one_turn=True)
    play.tick()
    assert only(play.all_sent("w000"), ev.Release) == []


def test_worker_goes_on_with_its_own_model_rather_than_hand_its_key_on() -> None:
    """What is left of the model needs no new worker and no wait."""
    # Given calls of 1 s, a key of 2/s and a worker with four of its model's trials out, more than that rate needs
    shards = [
        make_shard("s0", trials=4, model="m", workers=4),
        make_shard("s1", trials=4, position=1, model="m", workers=4),
        make_shard("s2", trials=4, position=2, model="other", workers=4),
    ]
    play = Play(shards=shards, keys=[make_key(rate_per_s=2.0)], policy=Pool(), one_turn=True)
    # When all of them have left / Then the key is kept, and once two are left the worker goes on
    assert only(handed_on(play), ev.Release) == []
    assert only(play.scored("w000", "s0-t00", "s0-t01"), ev.GoOn) == [ev.GoOn(worker_id="w000", shard_id="s1")]


def test_answer_to_a_question_from_before_the_last_trials_counts_for_nothing() -> None:
    """Trials that were handed out meanwhile have not left because the ones before them had."""
    # Given a worker that was asked, and got a trial back after that
    play = Play(shards=two_models(), policy=Pool(), one_turn=True)
    play.tick()
    commands = play.ended("w000", "s0-t00", invalid="connection")
    assert only(commands, ev.Assign) == [ev.Assign(worker_id="w000", trial_ids=("s0-t00",))]
    assert asked(commands) == [("w000", 2)]
    # When its first answer arrives / Then nothing follows from it; the second one counts
    assert only(play.all_sent("w000", 1), ev.Release) == []
    assert len(only(play.all_sent("w000", 2), ev.Release)) == 1


def test_answer_is_void_when_a_request_is_needed_again() -> None:
    """A refused call may be sent once more: its key stays until the worker has said anew that all have left."""
    # Given a worker that has sent everything while nobody waited for its key
    keys = [make_key("key0"), make_key("key1")]
    play = Play(shards=two_models(trials=1), keys=keys, policy=Pool(), one_turn=True)
    play.tick()
    play.all_sent("w000")
    # When one of its calls is refused, and the other key is lost with all it ran
    assert asked(play.reply("w000", Outcome.RATE_LIMITED) + play.tick()) == [("w000", 2)]
    play.key_refused("w001")
    commands = play.handed_back("w001", "s1-t00")
    # Then the first key is not given away on the old answer, but on the next one
    assert only(commands, ev.Release) == [ev.Release(worker_id="w001", reason="auth")]
    assert only(play.all_sent("w000", 2), ev.Release) == [ev.Release(worker_id="w000", reason="sent")]


def test_key_is_not_handed_on_to_a_model_it_serves_already() -> None:
    """With two slots both models are on it: a slot that came free would stay free."""
    play = Play(shards=two_models(trials=4), keys=[make_key(slots=2)], policy=Pool(), one_turn=True)
    play.tick()
    play.scored("w000", "s0-t00", "s0-t01")
    assert asked(play.tick()) == []
    assert only(play.all_sent("w000"), ev.Release) == []
    assert play.pending("s1") != []


def test_trial_that_needs_its_key_again_is_run_again_and_keeps_the_next_one() -> None:
    """A refused straggler goes back to the queue once; it cannot be handed back for ever."""
    # Given a key that was handed on with two trials out
    play = Play(shards=two_models(), policy=Pool(), one_turn=True)
    handed_on(play)
    # When one of them is refused and handed back
    assert requeued_trials(play.handed_back("w000", "s0-t01")) == ["s0-t01"]
    play.scored("w000", "s0-t00")
    play.exited("w000")
    # Then the next key that comes free runs it, and it is not handed on a second time though others wait
    commands = play.all_sent("w001")
    assert [start.shard_id for start in only(commands, ev.StartWorker)] == ["s0"]
    play.ended("w001", "s1-t00", invalid="connection")
    play.exited("w001", -9)
    assert play.pending("s1") != []
    assert only(play.all_sent("w002"), ev.Release) == []


def test_worker_killed_after_its_key_was_handed_on_is_a_crash() -> None:
    """Its trials go back to the queue and the crash is counted: one that kills its workers is found."""
    play = Play(shards=two_models(trials=1), policy=Pool(), rules=Rules(crashes_per_trial=1), one_turn=True)
    handed_on(play)
    commands = play.crashed("w000")
    assert only(commands, ev.Release) == []
    assert play.state.shards["s0"].invalid == 1


def test_worker_that_waits_for_replies_alone_is_given_the_time_they_take() -> None:
    """It was told to send nothing more, not to end at once: what is out is paid for."""
    # Given a key that was handed on, and a worker with ten seconds to end once told to at once
    rules = Rules(kill_after_s=10.0, shard_timeout_s=100.0)
    play = Play(shards=two_models(), policy=Pool(), rules=rules, one_turn=True)
    handed_on(play)
    # When a minute passes / Then nobody kills it; past its lease's time it hangs, and somebody does
    play.tick()
    assert only(play.tick(after_s=60.0), ev.KillWorker) == []
    play.scored("w001", "s1-t00", "s1-t01")
    play.exited("w001")
    play.tick(after_s=60.0)
    assert only(play.tick(after_s=10.0), ev.KillWorker) == [ev.KillWorker(worker_id="w000")]


def test_key_that_is_not_counted_is_not_handed_on() -> None:
    """A key without slots always has room for the next model."""
    play = Play(shards=two_models(), keys=[make_key(slots=0)], policy=Pool(), one_turn=True)
    assert asked(play.tick()) == []
