"""The time the rest of a run takes: from the work left and what keys and models allow, not from recent speed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from engine_play import Play
from live_play import use, world_of

from benchrunner.engine.time_left import PLAY_AGAIN_S, TimeLeft, limits_now
from benchrunner.planning.forecast import World
from benchrunner.planning.shard_time import SLOWEST
from benchrunner.policies import make_policy
from benchrunner.records import DomainUse, Limit, LimitKind, Shard
from benchrunner.testing import make_key, make_shard

MINUTE = Limit(kind=LimitKind.REQUESTS, amount=72, per_s=60.0)


def left_s(play: Play, world: World, uses: Mapping[str, DomainUse] | None = None) -> float | None:
    """Return what somebody who looks for the first time is told."""
    return TimeLeft(world).seconds(play.state, uses or {}, play.clock.now_s())


def two_shards(trials: int = 30, *, workers: int = 30) -> tuple[Shard, ...]:
    return tuple(make_shard(f"s{n}", position=n, trials=trials, workers=workers) for n in range(2))


def about(seconds: float, share: float = 0.1) -> object:
    return pytest.approx(seconds, rel=share)


def test_work_that_keys_bound_takes_what_their_windows_need() -> None:
    """600 calls at 10 per second are a minute; a second key halves it."""
    # Given two shards of 30 trials with 10 calls each, and 30 dialogues of a second a call: 30 calls/s are asked for
    one, two = Play(shards=two_shards()), Play(shards=two_shards(), keys=(make_key("key0"), make_key("key1")))
    # Then the keys' ten per second decide
    assert left_s(one, world_of(one)) == about(60.0)
    assert left_s(two, world_of(two)) == about(30.0)


def test_work_that_latency_bounds_takes_its_turns_one_after_the_other() -> None:
    """A shard cannot be faster than its calls times their time over its dialogues, whatever the keys would allow."""
    # Given 30 trials of ten calls of 4 s, five at once: six rounds of 40 s, at little more than one call per second
    play = Play(shards=(make_shard(trials=30, workers=5),))
    assert left_s(play, world_of(play, call_s=4.0)) == about(240.0)


def test_the_time_left_falls_as_trials_end_and_is_nothing_at_the_end() -> None:
    """Ended trials are done; of one that runs, the calls it has behind it are done too."""
    # Given four trials of ten seconds, two at once
    play = Play(shards=(make_shard(trials=4, workers=2),))
    clock, rest = play.clock, TimeLeft(world_of(play))
    play.tick()
    (worker_id,) = play.state.workers
    assert rest.seconds(play.state, {}, clock.now_s()) == about(20.0)
    # When the first two are at their sixth call of ten
    for trial_id in play.running(worker_id):
        rest.call_leaves(trial_id, 5)
    clock.sleep_s(PLAY_AGAIN_S)
    # Then half a call and four more are left of them, and ten seconds of the other two
    assert rest.seconds(play.state, {}, clock.now_s()) == about(14.5)
    # And nothing when all have ended
    play.scored(worker_id, "s0-t00", "s0-t01")
    play.scored(worker_id, "s0-t02", "s0-t03")
    assert rest.seconds(play.state, {}, clock.now_s()) == 0.0


def test_between_two_plays_it_counts_down_and_never_below_nothing() -> None:
    """Four looks a second cost one play now and then; the clock does the rest."""
    play = Play(shards=(make_shard(trials=4, workers=2),))
    play.tick()
    rest = TimeLeft(world_of(play))
    first = rest.seconds(play.state, {}, 1000.0)
    assert first is not None
    assert rest.seconds(play.state, {}, 1000.0 + PLAY_AGAIN_S / 2) == pytest.approx(first - PLAY_AGAIN_S / 2)
    assert rest.seconds(play.state, {}, 999.0) == pytest.approx(first + 1.0)


def test_providers_work_side_by_side() -> None:
    """Two providers' keys cannot help each other: the time left is the slower one's, not the sum."""
    shards = (
        make_shard("s0", trials=30, workers=30),
        make_shard("s1", position=1, trials=60, workers=60, provider="azure", key_id="az"),
    )
    play = Play(shards=shards, keys=(make_key("key0"), make_key("az", provider="azure")))
    assert left_s(play, world_of(play)) == about(60.0)


def test_keys_without_a_bound_serve_all_their_shards_at_once() -> None:
    """An unbounded key's quota is per model: its shards do not wait for each other."""
    shards = tuple(
        make_shard(f"s{n}", position=n, trials=30, workers=30, provider="azure", key_id="az") for n in range(3)
    )
    play = Play(shards=shards, keys=(make_key("az", provider="azure", slots=0, rate_per_s=float("inf")),))
    assert left_s(play, world_of(play)) == about(10.0)


def test_a_key_that_is_gone_is_not_counted_on() -> None:
    """With one of two keys refused, the rest takes twice as long; with both refused, nobody knows."""
    play = Play(shards=two_shards(), keys=(make_key("key0"), make_key("key1")))
    rest, clock = TimeLeft(world_of(play)), play.clock
    play.tick()
    first, second = play.state.workers
    assert rest.seconds(play.state, {}, clock.now_s()) == about(30.0)
    # When one key is refused: known at once, not at the next regular play
    play.key_refused(first)
    clock.sleep_s(PLAY_AGAIN_S)
    assert rest.seconds(play.state, {}, clock.now_s()) == about(60.0)
    play.key_refused(second)
    clock.sleep_s(PLAY_AGAIN_S)
    assert rest.seconds(play.state, {}, clock.now_s()) is None


def test_a_key_that_another_run_holds_is_not_counted_on() -> None:
    """Nobody knows when another run gives a key back."""
    play = Play(shards=two_shards(), keys=(make_key("key0"), make_key("key1")))
    play.tick()
    first, _ = play.state.workers
    play.denied(first)
    play.state.keys["key0"].denied_by = "run other (process 7)"
    # Then one key has all the work
    assert left_s(play, world_of(play)) == about(60.0)


def test_serial_shards_wait_for_each_other() -> None:
    """Under serial the run's own policy plays: two shards of ten seconds take twenty."""
    shards = tuple(make_shard(f"s{n}", position=n, trials=2, workers=2, key_id=f"key{n}") for n in range(2))
    policy = make_policy("serial", order="serial", stagger_s=0.0)
    play = Play(shards=shards, keys=(make_key("key0"), make_key("key1")), policy=policy)
    play.tick()
    assert left_s(play, world_of(play, policy=policy)) == about(20.0)


def test_what_was_launched_already_keeps_its_place_among_launches_apart() -> None:
    """Under native with a stagger the third shard starts when it would have, not anew from the look."""
    # Given three shards of ten seconds, launched 15 s apart, at 20 s: one done, one running, one to start at 30 s
    shards = tuple(
        replace(make_shard(f"s{n}", position=n, trials=2, key_id=f"key{n}"), pace_qps=100.0) for n in range(3)
    )
    policy = make_policy("native", order="concurrent", stagger_s=15.0)
    play = Play(shards=shards, keys=tuple(make_key(f"key{n}") for n in range(3)), policy=policy)
    play.tick()
    (first,) = play.state.workers
    play.scored(first, "s0-t00", "s0-t01")
    play.exited(first)
    play.tick(after_s=15.0)
    play.clock.sleep_s(5.0)
    # Then the rest ends ten seconds after that start
    assert left_s(play, world_of(play, policy=policy)) == about(10.0 + 10.0)


def test_call_times_that_differ_from_what_was_expected_are_learned() -> None:
    """An expectation of one second a call is left behind when hundreds of calls took three."""
    play = Play(shards=(make_shard(trials=30, workers=5),))
    rest = TimeLeft(world_of(play))
    assert rest.seconds(play.state, {}, 1000.0) == about(60.0)
    for _ in range(400):
        rest.call_took("m-s0", 3.0, ("key0",), 1000.0)
    assert rest.seconds(play.state, {}, 1010.0) == about(180.0)


def test_a_few_slow_calls_change_nothing() -> None:
    """One slow reply is no news about a model."""
    play = Play(shards=(make_shard(trials=30, workers=5),))
    rest = TimeLeft(world_of(play))
    rest.call_took("m-s0", 1.8, ("key0",), 1000.0)
    assert rest.seconds(play.state, {}, 1000.0) == about(60.0)


def test_a_learned_cap_holds_the_rest_back() -> None:
    """A key that refusals taught to send two per second needs five times as long as its limit says."""
    play = Play(shards=(make_shard(trials=30, workers=30),))
    world = world_of(play)
    assert left_s(play, world) == about(30.0)
    assert left_s(play, world, {"key0": use(cap_per_s=2.0)}) == about(150.0)


def test_a_cap_counts_with_what_got_through_under_it() -> None:
    """Caps leap, and pauses come on top of them: a minute of calls tells what the rest will meet."""
    # Given a key that has a cap for a minute, under which one call per second was answered
    play = Play(shards=(make_shard(trials=30, workers=30),))
    rest = TimeLeft(world_of(play))
    assert rest.seconds(play.state, {"key0": use(cap_per_s=4.0)}, 1000.0) == about(75.0)
    for second in range(60):
        rest.call_took("m-s0", 1.0, ("key0",), 1001.0 + second)
    # Then that is what counts, whether the cap is high or low at the moment
    for at_s, cap_per_s in ((1061.0, 4.0), (1064.0, 0.7)):
        assert rest.seconds(play.state, {"key0": use(cap_per_s=cap_per_s)}, at_s) == about(300.0)


def test_a_cap_under_which_nobody_asked_is_not_taken_for_a_closed_door() -> None:
    """No call in a minute, and a fifth of the cap is counted on all the same; a cap that went is forgotten."""
    play = Play(shards=(make_shard(trials=30, workers=30),))
    rest = TimeLeft(world_of(play))
    rest.seconds(play.state, {"key0": use(cap_per_s=5.0)}, 1000.0)
    assert rest.seconds(play.state, {"key0": use(cap_per_s=5.0)}, 1060.0) == about(300.0)
    assert rest.seconds(play.state, {"key0": use()}, 1070.0) == about(30.0)


def test_the_first_burst_of_a_long_window_is_not_promised_twice() -> None:
    """A minute's window that is used up lets through its rate from here on; an empty one its burst as well."""
    fresh = use("lab/m", used=0.0, amount=72, per_s=60.0)
    spent = use("lab/m", used=60.0, amount=72, per_s=60.0)
    assert limits_now((MINUTE,), fresh) == (MINUTE,)
    (rate,) = limits_now((MINUTE,), spent)
    assert rate.per_s <= 5.0
    assert rate.amount / rate.per_s == pytest.approx(72 / 60)


def test_a_model_s_own_window_counts_whatever_the_key() -> None:
    """144 calls under 72 a minute take two windows, though the key would let them through in 15 s."""
    play = Play(shards=(make_shard(trials=14, workers=14),))
    world = world_of(play, model_limits=(MINUTE,))
    assert left_s(play, world, {"lab/m-s0": use("lab/m-s0", used=72.0, amount=72, per_s=60.0)}) == about(140 / 1.2)


def test_replies_that_are_waited_for_without_a_key_take_their_time_and_no_key() -> None:
    """A one-turn trial whose request has left is not played again behind the others."""
    # Given two models of a minute a reply on one key, the first one's two requests out, and its key handed on
    shards = [make_shard(f"s{n}", trials=2, position=n, model=f"m{n}", workers=2) for n in range(2)]
    play = Play(shards=shards, policy=make_policy("pool", order="serial", stagger_s=0.0), one_turn=True)
    play.tick()
    play.all_sent("w000")
    world = world_of(play, calls=1, call_s=60.0, one_turn=True)
    # When the second one's are handed out / Then a minute is left, or what the slowest of a few takes; not two
    assert play.running("w000")
    assert play.running("w001")
    assert left_s(play, world) == pytest.approx(SLOWEST * 60.0)
    # And once only the replies of the first are awaited it is no more
    play.scored("w001", "s1-t00", "s1-t01")
    assert left_s(play, world) == pytest.approx(SLOWEST * 60.0)
    play.scored("w000", "s0-t00", "s0-t01")
    assert left_s(play, world) == 0.0
