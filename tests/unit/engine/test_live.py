"""The figures people watch a run by: counts, rates over ten seconds, refusals, and the time the rest will take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from engine_play import Play
from live_play import TEN_PER_S, use, world_of

from benchrunner.engine.books import Rules
from benchrunner.engine.live import LiveFigures
from benchrunner.engine.messages import CallEnded
from benchrunner.policies.pool import Pool
from benchrunner.records import (
    DomainUse,
    Key,
    KeyEvent,
    KeyProgress,
    LimitKind,
    Outcome,
    ProgressSnapshot,
    TrialDone,
    TrialStatus,
    WindowProgress,
)
from benchrunner.testing import StubPolicy, make_key, make_shard


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

    def __init__(self, play: Play, *, domains: Sequence[DomainUse] = (), managed: bool = True) -> None:
        self.play, self.domains = play, domains
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
            domains=lambda: self.domains,
            world=world_of(play, policy=StubPolicy(managed=managed)),
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


def test_a_shard_whose_worker_went_on_still_shows_its_key() -> None:
    """Its last trials are on that key, whatever the worker is given meanwhile."""
    # Given two shards of one model on one key, and a worker that went on to the second
    shards = [make_shard("s0", model="m"), make_shard("s1", position=1, model="m")]
    play = Play(shards=shards, policy=Pool())
    watched = Watched(play)
    play.tick()
    play.scored("w000", "s0-t00", "s0-t01")
    # When it is looked at / Then both are on the key, with a trial each
    assert [(s.status, s.running, s.keys) for s in watched.look().shards] == [("running", 1, ("key0",))] * 2
    # And the time left is that of all four trials there are yet, ten calls of a second each, two at a time
    left_s = watched.look().eta_s
    assert left_s is not None
    assert 20.0 < left_s < 32.0


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


def key_event(subject: str, kind: str, detail: str) -> KeyEvent:
    return KeyEvent(run_id="r1", subject=subject, is_domain=False, at="", kind=kind, detail=detail)


def test_the_time_left_is_there_before_the_first_call() -> None:
    """It comes from the work and the keys: 30 calls, two dialogues of a second a call at once."""
    assert Watched(Play()).look().eta_s == pytest.approx(20.0, rel=0.1)


def test_the_causes_of_lost_trials_are_counted_and_the_most_frequent_is_named() -> None:
    """Only trials that are invalid for good; one that is tried again is not lost."""
    watched = Watched(Play())
    assert watched.look().top_cause == ""
    for number, cause in enumerate(("connection", "api_timeout", "api_timeout")):
        watched.figures.note(
            TrialDone(trial_id=f"t{number}", status=TrialStatus.INVALID, ended_at="", error_class=cause)
        )
    watched.figures.note(TrialDone(trial_id="t9", status=TrialStatus.SCORED, ended_at="", error_class="wrong_order"))
    assert watched.look().top_cause == "api_timeout"


def test_a_key_shows_its_window_and_those_of_the_models_it_serves() -> None:
    """Its own first, then (account, model) windows, the fullest first; other models' windows are not its."""
    # Given a key that serves m-s0, whose account has a token window for it and for another model
    play = Play()
    own, served, other = use(used=7.0), use("lab/m-s0", used=30.0, kind=LimitKind.TOKENS, amount=100), use("lab/m-x")
    watched = Watched(play, domains=(own, served, other))
    assert watched.key().windows == (WindowProgress(model="", use=own.windows[0]),)
    play.tick()
    assert watched.key().windows == (
        WindowProgress(model="", use=own.windows[0]),
        WindowProgress(model="m-s0", use=served.windows[0]),
    )


def test_under_native_a_window_shows_what_this_run_sent() -> None:
    """No shared window counts there."""
    watched = Watched(Play(), domains=(use(used=0.0),), managed=False)
    watched.send(times=5, every_s=0.4)
    assert [one.use.used for one in watched.key().windows] == [2.0]


def test_a_paused_key_says_which_refusal_it_was() -> None:
    """The provider's words, of the key's own pause or of the only model it serves."""
    # Given a refusal of the key
    play = Play()
    watched = Watched(play, domains=(use(paused_for_s=3.0),))
    play.tick()
    refusal = replace(ended(Outcome.RATE_LIMITED, prompt_tokens=None), http_status=400, paused_domain="key0")
    watched.hear(replace(refusal, provider_code="MPE-429", detail="HTTP 400: wait 3 s"))
    assert (watched.key().paused_for_s, watched.key().reason) == (3.0, "MPE-429 wait 3 s")
    # Given a refusal of the model instead, of which only the status is known
    watched.hear(replace(refusal, http_status=429, paused_domain="lab/m-s0"))
    watched.domains = (use(), use("lab/m-s0", paused_for_s=2.0))
    assert (watched.key().paused_for_s, watched.key().reason) == (2.0, "HTTP 429")


def test_a_learned_cap_is_shown_on_the_key_whose_calls_it_spaces() -> None:
    """Of the key or of a model it serves, the lower one."""
    play = Play()
    play.tick()
    watched = Watched(play, domains=(use(cap_per_s=5.0, waiting=2), use("lab/m-s0", cap_per_s=1.5)))
    assert (watched.key().cap_per_s, watched.key().waiting) == (1.5, 2)


def test_a_parked_or_refused_key_says_why_and_for_how_long() -> None:
    """What the provider said is on the screen, not only in the log that scrolled away."""
    play = Play(shards=(make_shard("s0"), make_shard("s1", position=1)), keys=(make_key("key0"), make_key("key1")))
    watched = Watched(play)
    play.tick()
    first, second = play.state.workers
    play.key_refused(first, detail="invalid api key")
    play.quota_spent(second, 60.0)
    watched.figures.note(key_event("key1", "park", "daily limit reached"))
    play.clock.sleep_s(10.0)
    rows = watched.look().keys
    assert [(row.health, row.reason, row.parked_for_s) for row in rows] == [
        ("retired", "invalid api key", 0.0),
        ("parked", "daily limit reached", 50.0),
    ]


def test_a_key_of_another_run_says_whose_it_is_until_it_is_had_again() -> None:
    """Also between two tries for it: it is no more ours in that instant."""
    play = Play()
    play.tick()
    (worker_id,) = play.state.workers
    play.denied(worker_id)
    play.state.keys["key0"].denied_by = "run other (process 7)"
    play.clock.sleep_s(5.0)
    row = Watched(play).key()
    assert (row.health, row.reason) == ("held", "by run other (process 7)")


def test_what_binds_is_told() -> None:
    """Calls that wait while the key's window is full: the window."""
    play = Play(shards=(make_shard(trials=5),))
    play.tick()
    watched = Watched(play, domains=(use(used=10.0),))
    assert watched.look().binding == ""
    watched.hear(replace(ended(), wait_window_s=0.4))
    assert watched.look().binding == "10 requests per 1 s of key0"


def two_shards_on_one_key() -> Play:
    """Return a run whose first shard has three trials, two in flight; the second waits."""
    play = Play(shards=(make_shard("s0"), make_shard("s1", position=1)), rules=Rules(drain_s=20.0, kill_after_s=5.0))
    play.tick()
    return play


def standings(seen: ProgressSnapshot) -> list[tuple[str, int, tuple[str, ...]]]:
    return [(shard.status, shard.running, shard.keys) for shard in seen.shards]


def test_a_run_that_drains_tells_what_is_left_of_the_drain_and_nothing_it_expected_before() -> None:
    """No time left, nothing that binds, and no shard `waiting` for a key it will not get."""
    # Given a run under way, bound by its key's window
    play = two_shards_on_one_key()
    watched = Watched(play, domains=(use(used=10.0),))
    watched.hear(replace(ended(), wait_window_s=0.4))
    before = watched.look()
    assert (before.stopping_s, before.binding) == (None, "10 requests per 1 s of key0")
    assert before.eta_s is not None
    assert standings(before) == [("running", 2, ("key0",)), ("waiting", 0, ())]
    # When it is told to stop, and three seconds pass
    play.stop()
    play.clock.sleep_s(3.0)
    # Then that is what it says
    seen = watched.look()
    assert (seen.eta_s, seen.stopping_s, seen.binding) == (None, 17.0, "")
    assert standings(seen) == [("running", 2, ("key0",)), ("left", 0, ())]
    # And once the time is over, trials are ended
    play.tick(17.0)
    assert (watched.look().eta_s, watched.look().stopping_s) == (None, 0.0)


def test_a_run_that_is_told_twice_stops_now() -> None:
    """The rest of the drain is none of its business any more."""
    play = two_shards_on_one_key()
    play.stop()
    play.stop(kill=True)
    seen = Watched(play).look()
    assert (seen.eta_s, seen.stopping_s) == (None, 0.0)


def test_a_run_that_was_stopped_and_has_ended_tells_no_time_left() -> None:
    """Its last picture stays on the screen: nothing runs, stops or waits any more."""
    # Given a stopped run whose trials in flight came to their end
    play = two_shards_on_one_key()
    (worker_id,) = play.state.workers
    play.stop()
    play.scored(worker_id, *sorted(play.running(worker_id)))
    play.exited(worker_id)
    # Then its shards are left for another sitting
    seen = Watched(play).look()
    assert play.state.ended is not None
    assert (seen.eta_s, seen.stopping_s, seen.binding) == (None, None, "")
    assert standings(seen) == [("left", 0, ()), ("left", 0, ())]


def test_a_run_that_is_complete_tells_no_time_left() -> None:
    """Not even that it is none."""
    play = Play()
    play.tick()
    (worker_id,) = play.state.workers
    play.scored(worker_id, "s0-t00", "s0-t01", "s0-t02")
    play.exited(worker_id)
    seen = Watched(play).look()
    assert (seen.eta_s, seen.stopping_s, standings(seen)) == (None, None, [("done", 0, ())])


def test_a_shard_whose_key_was_retired_waits_for_another() -> None:
    """It reads `running` only while trials of it run."""
    # Given two shards on a key each, of which one key is refused
    shards = (make_shard("s0"), make_shard("s1", position=1))
    play = Play(shards=shards, keys=(make_key("key0"), make_key("key1")))
    watched = Watched(play)
    play.tick()
    first, second = play.state.workers
    play.key_refused(first)
    assert standings(watched.look())[0] == ("running", 2, ("key0",))
    # When its trials came back, Then it waits, also once the worker is gone
    for trial_id in sorted(play.running(first)):
        play.handed_back(first, trial_id)
    assert standings(watched.look()) == [("waiting", 0, ()), ("running", 2, ("key1",))]
    play.exited(first)
    assert standings(watched.look())[0] == ("waiting", 0, ())
    # And once the other key is free, it runs again
    play.scored(second, *(f"s1-t{n:02d}" for n in range(3)))
    play.exited(second)
    play.tick()
    assert standings(watched.look()) == [("running", 2, ("key1",)), ("done", 0, ())]
