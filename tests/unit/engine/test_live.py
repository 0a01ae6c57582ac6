"""The figures people watch a run by: counts, rates over ten seconds, refusals, and the time the rest will take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from engine_play import Play

from benchrunner.engine.live import LiveFigures
from benchrunner.engine.messages import CallEnded
from benchrunner.records import (
    DomainUse,
    Key,
    KeyProgress,
    Limit,
    LimitKind,
    Outcome,
    ProgressSnapshot,
)
from benchrunner.testing import make_key, make_shard

TEN_PER_S = (Limit(kind=LimitKind.REQUESTS, amount=10, per_s=1.0),)


def ended(outcome: Outcome = Outcome.OK, *, prompt_tokens: int | None = 100, completion_tokens: int = 20) -> CallEnded:
    return CallEnded(
        ref=1,
        outcome=outcome,
        sent_at="2025-08-26T00:00:00.000000Z",
        wait_window_s=0.0,
        backoff_s=0.0,
        latency_s=0.5,
        http_status=200,
        provider_code="",
        detail="",
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens if prompt_tokens is not None else None,
        finish_reason="stop",
        retry_after_s=None,
        paused_domain="",
        paused_for_s=0.0,
    )


class Watched:
    """A run that is played, and its figures."""

    def __init__(self, play: Play, *, domains: Sequence[DomainUse] = ()) -> None:
        self.play = play
        keys = {
            key_id: Key(
                key_id=key_id,
                provider=state.setup.provider,
                account="lab",
                secret="s",
                fingerprint=key_id,
                limits=TEN_PER_S,
            )
            for key_id, state in play.state.keys.items()
        }
        self.figures = LiveFigures(
            run_id="r1",
            phase="5.2",
            policy="pool",
            backend="simulated",
            keys=keys,
            key_rates=dict.fromkeys(keys, 10.0),
            started_s=play.clock.now_s(),
            lower_bound_s=12.5,
            domains=lambda: domains,
        )

    def send(self, key_id: str = "key0", *, times: int = 1, every_s: float = 0.0) -> None:
        for _ in range(times):
            self.figures.sent(key_id, self.play.clock.now_s())
            self.play.clock.sleep_s(every_s)

    def hear(self, message: CallEnded, key_id: str = "key0") -> None:
        self.figures.ended(key_id, message, self.play.clock.now_s())

    def look(self) -> ProgressSnapshot:
        return self.figures.snapshot(self.play.state, self.play.clock.now_s())

    def key(self, key_id: str = "key0") -> KeyProgress:
        (row,) = (row for row in self.look().keys if row.key_id == key_id)
        return row


def test_a_run_that_has_not_begun_shows_its_work_and_no_speed() -> None:
    """Before the first call: everything waits, nothing was sent, no rate is made up."""
    watched = Watched(Play())
    seen = watched.look()
    assert (seen.scored, seen.invalid, seen.total, seen.calls, seen.refused, seen.tokens) == (0, 0, 3, 0, 0, 0)
    assert [(shard.status, shard.running, shard.keys) for shard in seen.shards] == [("waiting", 0, ())]
    assert (seen.keys[0].requests_per_s, seen.keys[0].limit_per_s, seen.keys[0].health) == (0.0, 10.0, "usable")
    assert (seen.elapsed_s, seen.lower_bound_s, seen.backend) == (0.0, 12.5, "simulated")


def test_a_shard_is_counted_as_its_trials_end() -> None:
    """Scored, invalid and running add up to what the state holds, per shard and for the run."""
    # Given a shard of three trials, two at once
    play = Play()
    watched = Watched(play)
    play.tick()
    (worker_id,) = play.state.workers
    assert [(s.status, s.running, s.keys) for s in watched.look().shards] == [("running", 2, ("key0",))]
    # When one is scored and one is invalid for good
    play.scored(worker_id, "s0-t00")
    play.ended(worker_id, "s0-t01", invalid="bad_request")
    # Then the figures say so
    seen = watched.look()
    assert (seen.scored, seen.invalid, seen.total, seen.shards[0].running) == (1, 1, 3, 1)


def test_a_key_s_rate_is_that_of_the_last_ten_seconds() -> None:
    """Requests per second now, not since the beginning."""
    # Given ten seconds at eight per second
    watched = Watched(Play())
    watched.send(times=80, every_s=0.125)
    assert watched.key().requests_per_s == pytest.approx(8.0)
    # When five seconds pass in silence, Then half of them count; after ten, none
    watched.play.clock.sleep_s(5.0)
    assert watched.key().requests_per_s == pytest.approx(4.0)
    watched.play.clock.sleep_s(5.1)
    assert watched.key().requests_per_s == 0.0
    assert watched.look().calls == 80


def test_a_young_run_s_rate_is_measured_over_its_age_and_at_least_a_second() -> None:
    """Ten calls in the first instant are ten per second, not a hundred and not one."""
    watched = Watched(Play())
    watched.send(times=10)
    assert watched.key().requests_per_s == 10.0
    watched.play.clock.sleep_s(2.0)
    watched.send(times=10)
    assert watched.key().requests_per_s == 10.0


def test_rates_and_refusals_are_counted_per_key() -> None:
    """One key's trouble is not shown on another."""
    # Given two keys, of which one is refused twice
    watched = Watched(Play(keys=(make_key("key0"), make_key("key1"))))
    watched.send("key0", times=3)
    watched.send("key1", times=5)
    for _ in range(2):
        watched.hear(ended(Outcome.RATE_LIMITED, prompt_tokens=None), "key1")
    watched.hear(ended(Outcome.TRANSIENT, prompt_tokens=None), "key0")
    # Then only throttles are refusals, and only its own
    seen = watched.look()
    assert [(key.requests_per_s, key.refused) for key in seen.keys] == [(3.0, 0), (5.0, 2)]
    assert (seen.calls, seen.refused) == (8, 2)


def test_tokens_are_those_the_provider_reported() -> None:
    """Prompt and completion tokens of every reply; a call without a reply adds none."""
    watched = Watched(Play())
    watched.hear(ended())
    watched.hear(ended(Outcome.TRUNCATED, prompt_tokens=50, completion_tokens=7))
    watched.hear(ended(Outcome.TRANSIENT, prompt_tokens=None))
    assert watched.look().tokens == 100 + 20 + 50 + 7


def test_the_first_call_and_the_last_reply_are_kept_for_the_makespan() -> None:
    """What `bench` measures: from the first request to the last reply."""
    watched = Watched(Play())
    assert (watched.figures.first_call_s, watched.figures.last_reply_s) == (None, None)
    watched.send(times=2, every_s=1.0)
    watched.hear(ended())
    watched.play.clock.sleep_s(3.0)
    watched.hear(ended())
    assert (watched.figures.first_call_s, watched.figures.last_reply_s) == (1000.0, 1005.0)


def test_a_key_shows_whom_it_serves_how_long_it_pauses_and_how_it_is() -> None:
    """Leased, paused, parked and retired keys can be told apart at a glance."""
    # Given a paused key that serves a shard, and another
    pausing = DomainUse(
        name="key:f", label="key0", provider="lab", windows=(), waiting=0, paused_for_s=2.5, margin_s=0.01, granted=1
    )
    shards = (make_shard("s0"), make_shard("s1", position=1))
    play = Play(shards=shards, keys=(make_key("key0"), make_key("key1")))
    watched = Watched(play, domains=(pausing, replace(pausing, label="key1", paused_for_s=0.0)))
    play.tick()
    first, second = play.state.workers
    assert [(key.models, key.paused_for_s) for key in watched.look().keys] == [(("m-s0",), 2.5), (("m-s1",), 0.0)]
    # When one is refused and the other spends its quota
    play.key_refused(first)
    play.quota_spent(second, 60.0)
    assert [key.health for key in watched.look().keys] == ["retired", "parked"]
    # Then the parked one comes back with time
    play.clock.sleep_s(60.0)
    assert [key.health for key in watched.look().keys] == ["retired", "usable"]


def test_the_time_left_is_the_work_left_over_what_the_keys_allow() -> None:
    """From capacity, not from recent speed: two keys of 10 per second need half the time of one."""
    # Given two shards of 30 trials with 10 calls each, 30 dialogues of a second each in flight: 30 s on one key
    shards = tuple(make_shard(f"s{n}", position=n, trials=30, workers=30) for n in range(2))
    # Then one key needs a minute for both, two keys half of it
    assert Watched(Play(shards=shards)).look().eta_s == pytest.approx(60.0)
    assert Watched(Play(shards=shards, keys=(make_key("key0"), make_key("key1")))).look().eta_s == pytest.approx(30.0)


def test_the_time_left_falls_as_trials_end_and_is_nothing_at_the_end() -> None:
    """It counts trials that run as work left, and ended ones as done."""
    play = Play(shards=(make_shard(trials=4, workers=2),))
    watched = Watched(play)
    play.tick()
    (worker_id,) = play.state.workers
    before = watched.look().eta_s
    assert before == pytest.approx(20.0)
    play.scored(worker_id, "s0-t00", "s0-t01")
    assert watched.look().eta_s == pytest.approx(10.0)
    play.scored(worker_id, "s0-t02", "s0-t03")
    assert watched.look().eta_s == 0.0


def test_providers_work_side_by_side() -> None:
    """Two providers' keys cannot help each other: the time left is the slower one's, not the sum."""
    shards = (
        make_shard("s0", trials=30, workers=30),
        make_shard("s1", position=1, trials=60, workers=60, provider="azure", key_id="az"),
    )
    keys = (make_key("key0"), make_key("az", provider="azure"))
    assert Watched(Play(shards=shards, keys=keys)).look().eta_s == pytest.approx(60.0)


def test_keys_without_a_bound_serve_all_their_shards_at_once() -> None:
    """An unbounded key's quota is per model: its shards do not wait for each other."""
    shards = tuple(
        make_shard(f"s{n}", position=n, trials=30, workers=30, provider="azure", key_id="az") for n in range(3)
    )
    keys = (make_key("az", provider="azure", slots=0, rate_per_s=float("inf")),)
    assert Watched(Play(shards=shards, keys=keys)).look().eta_s == pytest.approx(10.0)


def test_work_that_no_key_is_left_for_has_no_time() -> None:
    """Nothing is foretold of shards whose keys are all refused."""
    play = Play()
    watched = Watched(play)
    play.tick()
    (worker_id,) = play.state.workers
    play.key_refused(worker_id)
    assert watched.look().eta_s is None
