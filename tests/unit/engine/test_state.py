"""RunState in a run that goes well: grants, queues, fair shares, joining, resuming, ending."""

from __future__ import annotations

import pickle

import pytest
from engine_play import Play, ended_trials, only, requeued_trials, shard_changes, words

from benchrunner.engine import events as ev
from benchrunner.engine.key_trouble import DENIED_RETRY_S
from benchrunner.engine.rations import SATURATED_WAIT_S
from benchrunner.errors import InvalidTransition
from benchrunner.planning.shard_time import SHARE_HOLD_S
from benchrunner.policies.base import Choice, KeyView, ShardView
from benchrunner.policies.pool import Pool
from benchrunner.records import Outcome, RunStatus
from benchrunner.testing import StubPolicy, make_key, make_shard


def test_first_tick_starts_a_worker_and_fills_it() -> None:
    """A run begins by leasing a key for its first shard and handing the worker as many trials as it may hold."""
    # Given a run of one shard, two dialogues at once
    play = Play()
    # When it begins
    commands = play.tick()
    # Then one worker starts on the key and holds the first two trials
    assert [ev.StartWorker(worker_id="w000", shard_id="s0", key_id="key0")] == only(commands, ev.StartWorker)
    assert [ev.Assign(worker_id="w000", trial_ids=("s0-t00", "s0-t01"))] == only(commands, ev.Assign)
    assert shard_changes(commands) == [("s0", "running")]
    assert play.pending() == ["s0-t02"]


def test_each_ended_trial_makes_room_for_the_next() -> None:
    """A worker is fed the next trial of its shard as soon as one of its own ends."""
    # Given a full worker
    play = Play()
    play.tick()
    # When one trial is scored
    commands = play.scored("w000", "s0-t00")
    # Then its result is kept once and the next trial is handed out
    assert ended_trials(commands) == [("s0-t00", "scored", "")]
    assert [ev.Assign(worker_id="w000", trial_ids=("s0-t02",))] == only(commands, ev.Assign)


def test_trial_is_accepted_once() -> None:
    """A second result of one trial is told to the user and changes nothing."""
    # Given a trial that was scored
    play = Play()
    play.tick()
    play.scored("w000", "s0-t00")
    # When its worker reports it again, as invalid this time
    commands = play.ended("w000", "s0-t00", invalid="connection")
    # Then nothing is kept, and the user is told
    assert only(commands, ev.Keep) == []
    assert words(commands) == "late result of s0-t00 from w000 not accepted"
    assert (play.state.shards["s0"].scored, play.state.shards["s0"].invalid) == (1, 0)


def test_result_of_a_trial_that_another_worker_holds_is_late() -> None:
    """Only the worker that holds a trial can end it."""
    # Given a trial handed back by the first worker and taken by the second
    play = Play(shards=[make_shard(trials=1)], keys=[make_key("key0"), make_key("key1")])
    play.tick()
    play.key_refused("w000")
    play.handed_back("w000", "s0-t00")
    assert {"s0-t00"} == play.running("w001")
    # When the first worker reports it after all
    commands = play.scored("w000", "s0-t00")
    # Then it is not accepted and stays with the second
    assert ended_trials(commands) == []
    assert {"s0-t00"} == play.running("w001")


def test_worker_with_nothing_left_frees_its_key_before_it_exits() -> None:
    """The key of a worker that ran out of trials serves the next shard while the old process still ends."""
    # Given two shards and one key
    play = Play(shards=[make_shard("s0", trials=1), make_shard("s1", trials=1, position=1)])
    play.tick()
    # When the first shard's only trial ends
    commands = play.scored("w000", "s0-t00")
    # Then its worker is told to end, its key is released, and the shard is called done
    assert [ev.StopWorker(worker_id="w000", now=False)] == only(commands, ev.StopWorker)
    assert [ev.Release(worker_id="w000", reason="done")] == only(commands, ev.Release)
    assert shard_changes(commands) == [("s0", "done"), ("s1", "running")]
    # And the next shard gets that key at once, after its release, with the process still there
    assert [ev.StartWorker(worker_id="w001", shard_id="s1", key_id="key0")] == only(commands, ev.StartWorker)
    of_key = [command for command in commands if isinstance(command, ev.Release | ev.StartWorker)]
    assert [type(command) for command in of_key] == [ev.Release, ev.StartWorker]
    assert "w000" in play.state.workers
    # And the exit releases nothing a second time
    assert only(play.exited("w000"), ev.Release) == []


def test_run_ends_when_the_last_worker_is_gone_and_not_before() -> None:
    """End comes after every process has ended, so that nobody is orphaned by it."""
    # Given a run whose only trial is scored
    play = Play(shards=[make_shard(trials=1)])
    play.tick()
    assert only(play.scored("w000", "s0-t00"), ev.End) == []
    assert only(play.tick(5.0), ev.End) == []
    # When its worker exits
    commands = play.exited("w000")
    # Then the run is complete, and no event after that says anything
    assert [ev.End(status=RunStatus.COMPLETE, no_usable_key=False)] == only(commands, ev.End)
    assert play.tick(100.0) == []


def test_invalid_trial_leaves_the_run_incomplete() -> None:
    """A run with a trial that infrastructure ended is not complete, though nothing is left to run."""
    # Given a run of one trial
    play = Play(shards=[make_shard(trials=1)])
    play.tick()
    # When the provider refuses its request as wrong, which no second try would mend
    commands = play.ended("w000", "s0-t00", invalid="bad_request")
    # Then it is invalid by that cause at once
    assert ended_trials(commands) == [("s0-t00", "invalid", "bad_request")]
    # And the run ends incomplete, the shard done
    assert shard_changes(commands) == [("s0", "done")]
    assert [ev.End(status=RunStatus.INCOMPLETE, no_usable_key=False)] == only(play.exited("w000"), ev.End)


def test_spoiled_trial_has_a_second_chance_at_the_end_of_the_queue() -> None:
    """What infrastructure spoiled is run once more, after the rest, and only then left invalid."""
    # Given a running trial
    play = Play(shards=[make_shard(trials=3, workers=1)])
    play.tick()
    # When its reply is empty twice
    first = play.ended("w000", "s0-t00", invalid="empty_reply")
    # Then it waits behind the others
    assert (requeued_trials(first), ended_trials(first)) == (["s0-t00"], [])
    assert play.pending() == ["s0-t02", "s0-t00"]
    # And when it is spoiled again, it is invalid
    play.scored("w000", "s0-t01", "s0-t02")
    again = play.ended("w000", "s0-t00", invalid="empty_reply")
    assert (requeued_trials(again), ended_trials(again)) == ([], [("s0-t00", "invalid", "empty_reply")])


def test_denied_lease_is_asked_for_again_later() -> None:
    """A key that another run holds is left alone for a while, then asked for again; its trials wait."""
    # Given a worker that was to start
    play = Play()
    play.tick()
    # When the registry denies its lease
    commands = play.denied("w000")
    # Then its trials are queued in their order, nothing is released (nothing was leased), nothing is started
    assert play.pending() == ["s0-t00", "s0-t01", "s0-t02"]
    assert (only(commands, ev.Release), only(commands, ev.StartWorker)) == ([], [])
    # And the run does not end, but asks again when the time has passed
    assert play.tick(DENIED_RETRY_S - 0.1) == []
    assert [start.worker_id for start in only(play.tick(0.2), ev.StartWorker)] == ["w001"]


def test_resumed_run_skips_what_was_scored() -> None:
    """A resumed run hands out only trials with no result, and counts the old ones as scored."""
    # Given a run of which an earlier sitting scored two trials
    play = Play(done=["s0-t00", "s0-t02", "a trial of another run"])
    # When it goes on
    commands = play.tick()
    # Then only the third is run
    assert [ev.Assign(worker_id="w000", trial_ids=("s0-t01",))] == only(commands, ev.Assign)
    play.scored("w000", "s0-t01")
    assert [ev.End(status=RunStatus.COMPLETE, no_usable_key=False)] == only(play.exited("w000"), ev.End)
    assert play.state.shards["s0"].scored == 3


def test_run_with_nothing_left_ends_at_once() -> None:
    """Resuming a finished run starts nobody."""
    # Given a run whose every trial was scored before
    play = Play(done=["s0-t00", "s0-t01", "s0-t02"])
    # When it begins
    # Then it is complete
    assert [ev.End(status=RunStatus.COMPLETE, no_usable_key=False)] == play.tick()


def test_shards_come_in_the_order_of_their_positions() -> None:
    """The policy sees the shards in the phase's order, however they were handed in."""
    # Given shards handed in backwards
    play = Play(shards=[make_shard("s1", position=1), make_shard("s0", position=0)])
    # When the run begins with one key
    # Then the first by position gets it
    assert [start.shard_id for start in only(play.tick(), ev.StartWorker)] == ["s0"]


def test_joining_key_takes_a_share_of_the_queue() -> None:
    """A key with nothing to do joins a running shard and takes trials that nobody has begun."""
    # Given a policy that joins, one shard with more trials than one worker holds, and two keys
    play = Play(
        shards=[make_shard(trials=10, workers=4)],
        keys=[make_key("key0"), make_key("key1")],
        policy=StubPolicy(joins=True),
    )
    # When the run begins and is asked again
    play.tick()
    commands = play.tick(0.05)
    # Then a second worker serves the same shard on the other key, and both hold trials of their own
    assert [(start.shard_id, start.key_id) for start in only(commands, ev.StartWorker)] == [("s0", "key1")]
    assert (len(play.running("w000")), len(play.running("w001"))) == (4, 4)


def test_worker_keeps_to_its_fair_share_while_keys_will_join() -> None:
    """At the end of a run a worker takes no more than its share, so that the keys that join find trials to take."""
    # Given the last shard: six trials, room for thirty, two keys of a policy that joins
    play = Play(
        shards=[make_shard(trials=6, workers=30)],
        keys=[make_key("key0"), make_key("key1")],
        policy=StubPolicy(joins=True),
    )
    # When it begins
    play.tick()
    # Then the first worker takes half
    assert len(play.running("w000")) == 3


def test_policy_that_does_not_join_leaves_no_trial_for_joiners() -> None:
    """Where no key will ever join, a worker takes all the room its model entry gives."""
    # Given the last shard, two keys, and a policy that does not join
    play = Play(shards=[make_shard(trials=6, workers=30)], keys=[make_key("key0"), make_key("key1")])
    # When the run begins
    play.tick()
    # Then the one worker takes everything
    assert len(play.running("w000")) == 6


@pytest.mark.parametrize(
    ("waits_s", "share"),
    [([], 4), ([SATURATED_WAIT_S / 2], 8), ([SATURATED_WAIT_S * 2], 4), ([0.0] * 5, 4), ([0.0] * 4, 8)],
    ids=["no call yet", "no wait", "calls wait", "half the key used without a wait", "less of it used"],
)
def test_fair_share_gives_way_where_the_key_has_room(waits_s: list[float], share: int) -> None:
    """A worker may take more than its share once a call waited for no permit, unless they use half its key's rate."""
    # Given a worker on its share of eight trials, with another key that may yet join
    play = Play(
        shards=[make_shard(trials=8, workers=30)],
        keys=[make_key("key0"), make_key("key1")],
        policy=OneGrant(),
    )
    play.tick()
    assert len(play.running("w000")) == 4
    # When its calls (ten a second is what the key takes) have shown how long they wait, and the first moments are over
    for wait_s in waits_s:
        play.call_waited("w000", wait_s)
    play.tick(SHARE_HOLD_S + 0.1)
    # Then it holds that many
    assert share == len(play.running("w000"))


@pytest.mark.parametrize(("burst", "held"), [(4, 4), (1, 3), (30, 10)], ids=["a window", "those out", "a share"])
def test_at_the_end_a_worker_takes_no_more_than_its_key_can_use(burst: int, held: int) -> None:
    """What one window lets go, or what is out meanwhile: the rest is left for keys that may be free for it sooner."""
    # Given twenty trials for two keys of two calls of a second each per second
    play = Play(
        shards=[make_shard(trials=20, workers=30)],
        keys=[make_key(key_id, rate_per_s=2.0, burst=burst) for key_id in ("key0", "key1")],
        policy=OneGrant(),
    )
    # When the run begins / Then the worker holds its share, or less
    play.tick()
    assert len(play.running("w000")) == held


def test_fair_share_is_forgotten_while_another_shard_waits() -> None:
    """While shards still wait for keys nobody will join, so a worker takes all the room its model entry gives."""
    # Given two shards, of which only one has a key yet
    play = Play(
        shards=[make_shard("s0", trials=6, workers=30), make_shard("s1", trials=6, position=1)],
        keys=[make_key("key0"), make_key("key1")],
        policy=OneGrant(),
    )
    # When the run begins with one shard
    play.tick()
    # Then its worker holds everything
    assert len(play.running("w000")) == 6


@pytest.mark.parametrize("slots", [0, 1], ids=["other key unbounded", "other key another provider's"])
def test_fair_share_counts_only_keys_that_can_join(slots: int) -> None:
    """Keys without bound, and keys of other providers, never take a share."""
    # Given a second key that will not join
    other = make_key("key1", slots=0) if slots == 0 else make_key("key1", provider="azure")
    play = Play(
        shards=[make_shard(trials=6, workers=30)], keys=[make_key("key0"), other], policy=OneGrant()
    )
    # When the run begins
    play.tick()
    # Then the worker holds everything
    assert len(play.running("w000")) == 6


def test_expected_time_is_bound_by_the_limit_or_by_the_latency() -> None:
    """A shard's expected time is its calls over the key's rate, or over what its dialogues can send if that is less."""
    # Given 100 trials of ten calls, one second a call, on a key of ten requests a second
    many = Play(shards=[make_shard(trials=100, workers=30)]).state
    few = Play(shards=[make_shard(trials=100, workers=2)]).state
    # Then thirty dialogues are bound by the key, two by their own latency
    assert many.expected_s(many.shards["s0"]) == 100.0
    assert few.expected_s(few.shards["s0"]) == 500.0
    assert many.expected_s(many.shards["s0"], keys=2) == 50.0


def test_expected_time_learns_from_the_run_s_own_calls() -> None:
    """Of two models with equally many calls the one that turns out slower is the longer, whatever was expected."""
    # Given two shards of two models, of which as much is expected
    play = Play(
        shards=[make_shard("s0", model="slow", trials=10), make_shard("s1", model="fast", trials=10, position=1)],
        keys=[make_key("key0"), make_key("key1")],
    )
    play.tick()
    state = play.state
    before = [state.expected_s(state.shards[shard_id]) for shard_id in ("s0", "s1")]
    # When the calls of one take three seconds, those of the other a tenth
    for worker_id, latency_s in (("w000", 3.0), ("w001", 0.1)):
        for _ in range(20):
            play.feed(ev.CallFinished(worker_id=worker_id, outcome=Outcome.OK, latency_s=latency_s, answered=True))
    # Then so does what is expected of them
    after = [state.expected_s(state.shards[shard_id]) for shard_id in ("s0", "s1")]
    assert before[0] == before[1]
    assert after[0] > before[0] > after[1]


def test_expected_time_of_the_last_trials_is_at_least_one_dialogue() -> None:
    """However many keys help, one trial takes its calls one after the other; a finished shard takes nothing."""
    # Given one trial of ten one-second calls left, and none
    last = Play(shards=[make_shard(trials=1, workers=30)]).state
    none = Play(shards=[make_shard(trials=1)], done=["s0-t00"]).state
    # Then it takes ten seconds on any number of keys
    assert last.expected_s(last.shards["s0"], keys=3) == 10.0
    assert none.expected_s(none.shards["s0"]) == 0.0


def test_event_about_an_unknown_worker_tells_the_story_so_far() -> None:
    """An event that cannot be is refused with what led to it, and the refusal survives a pickle."""
    # Given a run in which something has happened
    play = Play()
    play.tick()
    play.scored("w000", "s0-t00")
    # When a worker that was never started speaks
    with pytest.raises(InvalidTransition) as caught:
        play.crashed("w777")
    # Then the text names the event, the worker and what came before, on both sides of a pipe
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(caught.value) == str(copy)
    for word in ("WorkerExited", "w777", "TrialFinished", "s0-t00"):
        assert word in str(copy)


@pytest.mark.parametrize("say", ["reply", "leaves", "finished", "handed back", "trouble", "denied"])
def test_no_event_of_an_unknown_worker_passes(say: str) -> None:
    """Whatever an unknown worker says is refused, and nothing of the run changes."""
    # Given a running run
    play = Play()
    play.tick()
    acts = {
        "reply": lambda: play.reply("w9"),
        "leaves": lambda: play.call_waited("w9", 0.1),
        "finished": lambda: play.scored("w9", "s0-t00"),
        "handed back": lambda: play.handed_back("w9", "s0-t00"),
        "trouble": lambda: play.key_refused("w9"),
        "denied": lambda: play.denied("w9"),
    }
    # When worker w9, never started, speaks
    with pytest.raises(InvalidTransition):
        acts[say]()
    # Then the one worker holds what it held
    assert {"s0-t00", "s0-t01"} == play.running("w000")
    assert (play.state.keys["key0"].usable(play.clock.now_s()), play.state.keys["key0"].retired) == (True, "")


def test_calls_move_no_queue() -> None:
    """Calls come by the hundred: they are noted and answered with nothing."""
    # Given a running worker
    play = Play()
    play.tick()
    # When its calls leave and end
    # Then nothing is to be done
    assert play.call_waited("w000", 0.3) == []
    assert play.reply("w000") == []
    assert {"s0-t00", "s0-t01"} == play.running("w000")


def test_joiner_that_would_find_no_trial_is_not_started_for_nothing() -> None:
    """Every started worker is handed at least one trial: a process costs more than the glance that saves it."""
    # Given one shard with three trials, two at once, and a second key that may join
    play = Play(keys=[make_key("key0"), make_key("key1")], policy=StubPolicy(joins=True))
    # When it is played to its end
    play.tick()
    while play.state.ended is None:
        for worker_id in list(play.state.workers):
            for trial_id in sorted(play.running(worker_id)):
                play.scored(worker_id, trial_id)
            if play.state.workers[worker_id].stopping:
                play.exited(worker_id)
        play.tick(0.05)
    # Then everybody who was started was given something
    started = [start.worker_id for start in only(play.said, ev.StartWorker)]
    assigned = {assign.worker_id for assign in only(play.said, ev.Assign)}
    assert started == [worker_id for worker_id in started if worker_id in assigned]


def test_keys_that_join_at_once_share_the_last_trials() -> None:
    """Two keys that join one shard in the same moment both get a trial, even if one could take them all."""
    # Given five trials, two at once, on one of three keys; the other two join at the next event
    play = Play(
        shards=[make_shard(trials=5, workers=2)],
        keys=[make_key("key0"), make_key("key1"), make_key("key2")],
        policy=Pool(),
    )
    play.tick()
    # When they do, with two trials left in the queue
    commands = play.scored("w000", "s0-t00")
    # Then each has one
    assert [start.worker_id for start in only(commands, ev.StartWorker)] == ["w001", "w002"]
    assert (len(play.running("w001")), len(play.running("w002"))) == (1, 1)


def test_trial_handed_back_by_a_worker_that_does_not_hold_it_stays_where_it_is() -> None:
    """A worker can give back only what it holds; anything else is past and changes nothing."""
    # Given a trial that was scored, and one that waits
    play = Play()
    play.tick()
    play.scored("w000", "s0-t00")
    # When its worker hands both back
    commands = play.handed_back("w000", "s0-t00") + play.handed_back("w000", "a trial of another run")
    # Then nothing is queued anew
    assert requeued_trials(commands) == []
    assert (1, {"s0-t01", "s0-t02"}) == (play.state.shards["s0"].scored, play.running("w000"))


def test_finished_call_of_a_throttled_key_is_a_reply() -> None:
    """A provider that throttles is reached: its refusals end the count of trials lost to the connection."""
    # Given two trials lost to the connection, one fewer than make a provider unreachable
    play = Play(shards=[make_shard(trials=4, workers=4)])
    play.tick()
    play.ended("w000", "s0-t00", invalid="connection")
    play.ended("w000", "s0-t01", invalid="connection")
    # When a call is throttled, and a third trial is lost
    play.reply("w000", Outcome.RATE_LIMITED)
    commands = play.ended("w000", "s0-t02", invalid="connection")
    # Then the provider still counts as there
    assert (only(commands, ev.StopWorker), words(commands)) == ([], "")


class OneGrant(StubPolicy):
    """Joins by its own word, but only ever starts one worker."""

    def __init__(self) -> None:
        super().__init__(joins=True)

    def choose(self, *, now_s: float, shards: tuple[ShardView, ...], keys: tuple[KeyView, ...]) -> Choice:
        if any(shard.keys for shard in shards):
            return Choice()
        return Choice(grants=super().choose(now_s=now_s, shards=shards, keys=keys).grants[:1])
