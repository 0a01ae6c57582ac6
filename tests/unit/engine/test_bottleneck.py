"""What holds a run back right now, in words that name the limit and the key."""

from __future__ import annotations

from dataclasses import replace

import pytest
from engine_play import Play
from live_play import use

from benchrunner.engine.bottleneck import OVER_S, Waits, binding_text
from benchrunner.policies.pool import Pool
from benchrunner.records import KeyProgress, LimitKind, WindowProgress
from benchrunner.testing import make_key, make_shard

NOW_S = 1000.0


def row(key_id: str = "key0", *, used: float = 0.0, models: tuple[str, ...] = ("m-s0",)) -> KeyProgress:
    return KeyProgress(
        key_id=key_id,
        requests_per_s=1.0,
        limit_per_s=10.0,
        models=models,
        paused_for_s=0.0,
        refused=0,
        health="usable",
        windows=(WindowProgress(model="", use=use(used=used).windows[0]),),
    )


def waits(*seconds: float, at_s: float = NOW_S) -> Waits:
    made = Waits()
    for wait_s in seconds:
        made.note(wait_s, at_s)
    return made


def playing(*, trials: int = 5, keys: int = 1) -> Play:
    shards = tuple(make_shard(f"s{n}", position=n, trials=trials) for n in range(keys))
    play = Play(shards=shards, keys=tuple(make_key(f"key{n}") for n in range(keys)))
    play.tick()
    return play


def bound_by(
    play: Play, *rows: KeyProgress, waited: Waits, managed: bool = True, now_s: float = NOW_S
) -> str:
    held = {one.key_id: waited for one in rows}
    return binding_text(play.state, rows, held, managed=managed, now_s=now_s)


def test_a_run_without_a_call_is_held_back_by_nothing() -> None:
    """Nothing is said before anything happened, nor once the last calls are long past."""
    play = playing()
    assert bound_by(play, row(), waited=Waits()) == ""
    assert bound_by(play, row(used=10.0), waited=waits(0.5), now_s=NOW_S + OVER_S + 1) == ""


def test_a_full_window_that_calls_wait_for_is_named_with_its_keys() -> None:
    """Two keys with the same limit are one cause."""
    play = playing(keys=2)
    said = bound_by(play, row(used=10.0), row("key1", used=9.0, models=("m-s1",)), waited=waits(0.5, 0.5, 0.0))
    assert said == "10 requests per 1 s of key0, key1"


def test_of_several_windows_the_fullest_is_named_and_a_model_s_by_its_model() -> None:
    """A token window of (account, model) stands beside the key's own."""
    tokens = use(kind=LimitKind.TOKENS, amount=400_000, per_s=60.0, used=399_000.0).windows[0]
    full = row(used=6.0)
    full = replace(full, windows=(*full.windows, WindowProgress(model="big", use=tokens)))
    assert bound_by(playing(), full, waited=waits(0.5)) == "400,000 tokens per 60 s of big"


def test_where_calls_do_not_wait_the_models_own_time_decides() -> None:
    """More dialogues at once would help, more keys would not."""
    assert bound_by(playing(), row(used=9.0), waited=waits(0.0, 0.0)) == "latency of m-s0 (2 at once) on key0"


def test_waits_without_a_window_that_is_half_full_are_the_machine_s() -> None:
    """A machine that wakes late makes calls wait; no limit is blamed for it."""
    assert bound_by(playing(), row(used=1.0), waited=waits(0.5)) == "latency of m-s0 (2 at once) on key0"


def test_the_tail_of_a_shard_is_called_so() -> None:
    """Once nothing is left to hand out, neither keys nor dialogues can make it faster."""
    assert bound_by(playing(trials=2), row(), waited=waits(0.0)) == "last trials of m-s0 on key0"


def test_last_trials_of_a_shard_its_worker_went_on_from_are_called_so_too() -> None:
    """The worker's present shard is done; what it is still busy with decides when the run ends."""
    # Given a worker that went on to a second shard of its model and is done with it before the first
    shards = (make_shard("s0", model="m"), make_shard("s1", position=1, model="m"))
    play = Play(shards=shards, policy=Pool())
    play.tick()
    play.scored("w000", "s0-t00", "s0-t01", "s1-t00", "s1-t01", "s1-t02")
    # Then its last trial is told of
    assert bound_by(play, row(models=("m",)), waited=waits(0.0)) == "last trials of m on key0"


def test_with_shards_waiting_for_the_key_no_trial_is_called_the_last() -> None:
    """All of a small shard is in flight at once: it is the key's one model whose time decides, and much is to come."""
    # Given two shards of two trials, two at once, and one key
    play = Play(shards=(make_shard("s0", trials=2), make_shard("s1", position=1, trials=2)))
    play.tick()
    # Then the first is not at its end: the second waits
    assert bound_by(play, row(), waited=waits(0.0)) == "latency, one model per key: key0"
    # When the first is done and the second has the key, Then those are the last trials
    (first,) = play.state.workers
    play.scored(first, "s0-t00", "s0-t01")
    play.exited(first)
    play.tick()
    assert bound_by(play, row(models=("m-s1",)), waited=waits(0.0)) == "last trials of m-s1 on key0"


def test_keys_that_each_serve_their_one_model_are_one_cause() -> None:
    """The models stand on the keys' own lines; three names would be cut off here."""
    shards = tuple(make_shard(f"s{n}", position=n, trials=2) for n in range(3))
    play = Play(shards=shards, keys=(make_key("key0"), make_key("key1")))
    play.tick()
    said = bound_by(play, row(), row("key1", models=("m-s1",)), waited=waits(0.0))
    assert said == "latency, one model per key: key0, key1"


def test_a_shard_that_waits_for_another_provider_s_key_does_not_count() -> None:
    """This provider's keys have nothing left to hand out."""
    shards = (make_shard("s0", trials=2), make_shard("s1", position=1, provider="elsewhere"))
    play = Play(shards=shards)
    play.tick()
    assert bound_by(play, row(), waited=waits(0.0)) == "last trials of m-s0 on key0"


def test_a_shard_whose_key_was_taken_away_waits_like_one_that_never_had_one() -> None:
    """Its trials are still to come, so those of the other key are not the last."""
    play = playing(trials=2, keys=2)
    refused, other = play.state.workers
    play.key_refused(refused)
    for trial_id in sorted(play.running(refused)):
        play.handed_back(refused, trial_id)
    key_id = play.state.workers[other].key_id
    assert bound_by(play, row(key_id), waited=waits(0.0)) == f"latency, one model per key: {key_id}"


def test_a_learned_cap_below_the_limit_is_what_binds() -> None:
    """It is named in place of a window that could not be used anyway."""
    capped = replace(row(used=1.0), cap_per_s=1.234, waiting=3)
    assert bound_by(playing(), capped, waited=waits(0.0)) == "learned cap 1.2/s: key0"
    # But one that has grown back to the limit is no news
    grown = replace(row(used=10.0), cap_per_s=10.0, waiting=3)
    assert bound_by(playing(), grown, waited=waits(0.5)) == "10 requests per 1 s of key0"


def test_under_native_it_is_the_shard_s_own_pace() -> None:
    """Nobody counts for all there, so no window can hold a call back."""
    said = bound_by(playing(), row(used=10.0), waited=waits(0.5), managed=False)
    assert said == "own pace of 2/s per shard on key0"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"paused_for_s": 3.0}, "paused key0"),
        ({"health": "parked"}, "parked key0"),
        ({"health": "retired"}, "retired key0"),
        ({"health": "held", "reason": "by run x"}, "other runs hold key0"),
    ],
)
def test_a_key_that_may_not_serve_is_named(changes: dict[str, object], said: str) -> None:
    """Whatever its calls did before."""
    stopped = replace(row(used=10.0), **changes)  # type: ignore[arg-type]
    assert bound_by(playing(), stopped, waited=waits(0.5)) == said
