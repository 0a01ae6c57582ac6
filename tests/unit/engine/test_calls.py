"""One call of a dialogue: every outcome has exactly its one action (docs/concepts.md, "Failure classes")."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import pytest

from benchrunner.engine.calls import EMPTY_RETRIES, ROOM_FACTOR, Caller, HandBack, TimeBudget, TrialLost
from benchrunner.engine.messages import Begin, CallEnded, KeyRefused, Message, Sending
from benchrunner.limits.backoff import backoff_s
from benchrunner.records import (
    CallResult,
    ChatReply,
    ChatRequest,
    Key,
    Lease,
    ModelEntry,
    Outcome,
    Provider,
)
from benchrunner.records import Message as Said
from benchrunner.testing import FakeClock, StubGate, StubProvider, make_result

MAX_TRIES, PATIENCE_S, CAP = 4, 60.0, 256
REQUEST = ChatRequest(messages=(Said(role="user", content="x" * 400),))


class Bench:
    """One Caller between a scripted provider, a gate and a supervisor's ear."""

    def __init__(
        self, *script: CallResult, departs_after_s: float = 0.0, deployments: tuple[str, ...] = ("m",)
    ) -> None:
        self.clock = FakeClock()
        self.provider = StubProvider(self.clock, script, departs_after_s=departs_after_s)
        self.gate = StubGate(self.clock)
        self.told: list[Message] = []
        self.story: list[str] = []
        self.leaves: list[bool] = []
        self.stop_at_s = float("inf")
        self.records = True
        self.budget = TimeBudget(limit_s=900.0)
        refs = iter(range(1, 1_000))
        self.caller = Caller(
            begin=Begin(
                run_id="r1",
                lease=Lease(key_id="key0", model="m", shard_id="s0", holder="r1/s0/w0", fence=1),
                provider=Provider(name="lab", kind="openai", base_url="http://localhost/v1"),
                key=Key(key_id="key0", provider="lab", account="lab", secret="s", fingerprint="f", limits=()),
                model=ModelEntry(
                    name="m", provider="lab", key_id="key0", deployments=deployments, limits=(), max_tokens=CAP
                ),
                domains=(),
                windows_path="",
                pace_qps=2.0,
                max_tries=MAX_TRIES,
                patience_s=PATIENCE_S,
                trial_timeout_s=900.0,
                suite="workflow",
                tasks_file="",
            ),
            provider=self.provider,
            gate=self.gate,
            clock=self.clock,
            tell=self.tell,
            next_ref=lambda: next(refs),
            recorded=self.recorded,
            stopped=self.stopped,
        )

    def tell(self, messages: Sequence[Message]) -> None:
        self.told.extend(messages)
        self.story.extend(type(message).__name__ for message in messages)

    def recorded(self, ref: int, deadline_s: float) -> bool:
        self.story.append(f"recorded {ref} before {len(self.gate.passed)} passed")
        return self.records

    def stopped(self, seconds: float) -> bool:
        self.clock.sleep_s(seconds)
        return self.clock.now_s() >= self.stop_at_s

    def call(self, *, turn: int = 0, request: ChatRequest = REQUEST, seed: int = 7) -> ChatReply:
        try:
            return self.caller.call(
                request,
                trial_id="t0",
                turn=turn,
                budget=self.budget,
                rng=random.Random(seed),
                leaves=self.leaves.append,
            )
        finally:
            self.tell(self.caller.untold())

    def lost(self) -> TrialLost:
        with pytest.raises(TrialLost) as raised:
            self.call()
        return raised.value

    def outcomes(self) -> list[str]:
        return [message.outcome.value for message in self.told if isinstance(message, CallEnded)]

    def announced(self) -> list[Sending]:
        return [message for message in self.told if isinstance(message, Sending)]

    def waits(self) -> list[float]:
        """Return how long each try waited for the one before it to be over and done with."""
        tries = self.provider.sent
        latencies = [m.latency_s for m in self.told if isinstance(m, CallEnded)]
        pairs = zip(tries, tries[1:], latencies, strict=False)
        return [round(later.at_mono_s - one.at_mono_s - latency, 6) for one, later, latency in pairs]


def throttles(count: int, **fields: object) -> Iterable[CallResult]:
    return [make_result(Outcome.RATE_LIMITED, http_status=429, **fields)] * count  # type: ignore[arg-type]


def transients(count: int, provider_code: str = "reset", **fields: object) -> Iterable[CallResult]:
    found = make_result(Outcome.TRANSIENT, provider_code=provider_code, detail=provider_code, **fields)  # type: ignore[arg-type]
    return [found] * count


# --- ok -------------------------------------------------------------------------------------------------------------


def test_a_good_reply_comes_back_and_is_told_with_its_usage() -> None:
    """ok: the dialogue goes on with the reply; the supervisor gets tokens, latency and the gate the success."""
    # Given a provider that answers at once
    bench = Bench(make_result(text="fine", latency_s=0.7))
    # When a call is made
    reply = bench.call(turn=3)
    # Then its reply comes back, after one try
    assert (reply.text, len(bench.provider.sent), bench.gate.successes) == ("fine", 1, 1)
    # And what is told of it is what the store keeps
    sending, ended = bench.told
    assert isinstance(sending, Sending)
    assert (sending.trial_id, sending.turn, sending.attempt, sending.ref) == ("t0", 3, 1, 1)
    assert isinstance(ended, CallEnded)
    assert (ended.ref, ended.outcome, ended.latency_s, ended.http_status) == (1, Outcome.OK, 0.7, 200)
    assert (ended.prompt_tokens, ended.completion_tokens, ended.finish_reason) == (100, 20, "stop")
    # And the estimate (400 characters, 200 tokens of answer) was corrected to the 120 tokens used
    assert bench.gate.settled == [120]


def test_the_sent_row_is_committed_before_the_gate_lets_the_call_pass() -> None:
    """What a kill may have billed can be listed: announced, recorded, then sent, then ended."""
    # Given, When
    bench = Bench(make_result())
    bench.call()
    # Then
    assert bench.story == ["Sending", "recorded 1 before 0 passed", "CallEnded"]
    assert bench.provider.warmed == 1


def test_a_call_whose_sent_row_is_not_committed_does_not_leave() -> None:
    """A database that cannot take the row in time costs the trial its turn, never an unlisted request."""
    # Given a supervisor that does not answer
    bench = Bench(make_result())
    bench.records = False
    # When a call is made, Then the trial goes back to the queue and nothing was sent
    with pytest.raises(HandBack):
        bench.call()
    assert bench.provider.sent == []


def test_a_call_is_dated_by_its_departure() -> None:
    """`calls.sent_at` is when the request's last byte left, on the wall clock; announced was when it was to leave."""
    # Given a request that is held up 0.2 s on its way to the network
    bench = Bench(make_result(latency_s=0.5), departs_after_s=0.2)
    # When it is made
    bench.call()
    # Then the planned instant and the true one are told apart
    (sending, ended) = bench.told
    assert isinstance(sending, Sending)
    assert isinstance(ended, CallEnded)
    assert (sending.sent_at, ended.sent_at) == ("2025-08-26T00:00:00.000000Z", "2025-08-26T00:00:00.200000Z")
    assert bench.gate.departures == [1000.2]


def test_deployments_take_turns() -> None:
    """A model served by several deployments is asked at each in turn, failures included."""
    bench = Bench(make_result(), *transients(1), make_result(), make_result(), deployments=("a", "b", "c"))
    for turn in range(3):
        bench.call(turn=turn)
    assert [sent.deployment for sent in bench.provider.sent] == ["a", "b", "c", "a"]


# --- rate_limited ---------------------------------------------------------------------------------------------------


def test_a_throttle_pauses_and_uses_up_no_try() -> None:
    """rate_limited: the named domain pauses for the provider's hint; far more throttles than tries end well."""
    # Given a provider that throttles three times as often as a call may fail
    bench = Bench(*throttles(3 * MAX_TRIES, retry_after_s=2.0, scope="model", latency_s=0.1), make_result())
    # When a call is made
    reply = bench.call()
    # Then it gets its reply in the end, each try after the hint
    assert reply.text == "OK"
    assert bench.waits() == [2.0] * 12
    assert bench.gate.throttles == [("model", 2.0)] * 12
    # And each told throttle names the domain it paused
    first = next(message for message in bench.told if isinstance(message, CallEnded))
    assert (first.paused_domain, first.paused_for_s, first.retry_after_s) == ("model", 2.0, 2.0)
    # And only the reply counts as a success
    assert bench.gate.successes == 1


def test_being_throttled_for_too_long_in_a_row_ends_the_trial() -> None:
    """The stall watch: after `patience_s` of nothing but throttles the trial is invalid by `rate_limit`."""
    # Given a provider that only ever throttles
    bench = Bench(*throttles(99, retry_after_s=10.0, latency_s=0.0, detail="slow down"))
    # When a call is made
    lost = bench.lost()
    # Then it is given up at the first throttle behind its patience
    assert (lost.cause, lost.detail) == ("rate_limit", "slow down")
    assert bench.clock.now_s() - 1000.0 == 70.0
    assert len(bench.provider.sent) == 8


def test_patience_starts_anew_when_something_else_than_a_throttle_came_between() -> None:
    """Only throttles in a row count: a provider that answers has not stalled."""
    # Given throttles for 50 s, a reply that is cut off, and throttles for 50 s more
    row = throttles(5, retry_after_s=10.0, latency_s=0.0)
    bench = Bench(*row, make_result(Outcome.TRUNCATED, latency_s=0.0), *row, make_result())
    # When a call is made, Then it gets its reply
    assert bench.call().text == "OK"
    assert bench.clock.now_s() - 1000.0 == 100.5  # the last reply took half a second


def test_each_call_has_patience_and_tries_of_its_own() -> None:
    """What the last turn suffered is not held against the next."""
    # Given two calls, each with nearly as many failures and throttles as a call may have
    trouble = [*throttles(5, retry_after_s=10.0, latency_s=0.0), *transients(MAX_TRIES - 1, latency_s=0.0)]
    bench = Bench(*trouble, make_result(), *trouble, make_result())
    # When both are made, Then both get their replies
    assert [bench.call(turn=0).text, bench.call(turn=1).text] == ["OK", "OK"]


# --- transient ------------------------------------------------------------------------------------------------------


def test_a_transient_failure_is_tried_again_after_a_jittered_backoff() -> None:
    """transient: the waits are those of `backoff_s` with the trial's own rng; no permit is held meanwhile."""
    # Given two failures
    bench = Bench(*transients(2), make_result())
    # When a call is made with the trial's rng
    bench.call(seed=11)
    # Then it waited as that rng says, and says so
    rng = random.Random(11)
    expected = [round(backoff_s(1, rng), 6), round(backoff_s(2, rng), 6)]
    assert bench.waits() == expected
    assert [sending.backoff_s for sending in bench.announced()] == [0.0, *expected]
    # And no domain was paused by it
    assert bench.gate.throttles == []


def test_a_hint_of_a_transient_failure_is_waited_for() -> None:
    """A 503 with Retry-After is not asked again earlier, though it pauses nobody else."""
    bench = Bench(*transients(1, provider_code="", http_status=503, retry_after_s=5.0), make_result())
    bench.call()
    assert bench.waits() == [5.0]


@pytest.mark.parametrize(
    ("provider_code", "cause"),
    [
        ("read_timeout", "api_timeout"),
        ("connect_timeout", "connection"),
        ("refused", "connection"),
        ("reset", "connection"),
        ("torn_body", "connection"),
        ("", "connection"),
    ],
)
def test_transient_failures_end_the_trial_after_max_tries(provider_code: str, cause: str) -> None:
    """The cause tells a provider that is too slow from a network that is not there."""
    # Given a provider that fails each time
    bench = Bench(*transients(99, provider_code=provider_code))
    # When a call is made
    lost = bench.lost()
    # Then it is tried so often and no more
    assert (lost.cause, lost.detail) == (cause, provider_code)
    assert bench.outcomes() == ["transient"] * MAX_TRIES


def test_attempts_are_numbered_from_one_across_all_outcomes() -> None:
    """`calls.attempt` counts every request that left for one turn, throttled ones too; each has its own ref."""
    bench = Bench(*transients(1), *throttles(1), make_result(Outcome.EMPTY), make_result())
    bench.call()
    assert [(sending.attempt, sending.ref) for sending in bench.announced()] == [(1, 1), (2, 2), (3, 3), (4, 4)]
    assert bench.outcomes() == ["transient", "rate_limited", "empty", "ok"]


# --- truncated, empty -----------------------------------------------------------------------------------------------


def test_a_reply_cut_at_our_cap_is_asked_for_once_more_with_room() -> None:
    """truncated: the second try has four times the room; everything else of the request is the same."""
    bench = Bench(make_result(Outcome.TRUNCATED), make_result(text="whole"))
    assert bench.call().text == "whole"
    first, second = (sent.request for sent in bench.provider.sent)
    assert (first.max_tokens, second.max_tokens) == (None, CAP * ROOM_FACTOR)
    assert first.messages == second.messages


def test_the_room_is_measured_by_the_request_s_own_cap_where_it_has_one() -> None:
    """A suite that asked for 50 tokens gets 200 the second time."""
    bench = Bench(make_result(Outcome.TRUNCATED), make_result())
    bench.call(request=ChatRequest(messages=REQUEST.messages, max_tokens=50))
    assert [sent.request.max_tokens for sent in bench.provider.sent] == [50, 50 * ROOM_FACTOR]


@pytest.mark.parametrize(
    ("outcome", "cause", "sent"),
    [(Outcome.TRUNCATED, "truncated_reply", 2), (Outcome.EMPTY, "empty_reply", 1 + EMPTY_RETRIES)],
)
def test_a_reply_that_stays_no_good_makes_the_trial_invalid(outcome: Outcome, cause: str, sent: int) -> None:
    """truncated: one more try; empty: three; then invalid by that cause, and never another request."""
    bench = Bench(*[make_result(outcome)] * 9)
    assert bench.lost().cause == cause
    assert len(bench.provider.sent) == sent


def test_a_reply_cut_by_somebody_else_is_tried_like_any_transient_failure() -> None:
    """cut_short: more room would be no cure; whoever cuts each time has spoilt the replies, not the connection."""
    # Given a gateway that cuts twice and then does not
    bench = Bench(*transients(2, provider_code="cut_short"), make_result(text="whole"))
    # When a call is made; Then the same was asked for each time
    assert bench.call().text == "whole"
    assert [sent.request.max_tokens for sent in bench.provider.sent] == [None] * 3
    # And given one that always does; Then the trial is lost by a cause that says nothing of the network
    always = Bench(*transients(99, provider_code="cut_short"))
    assert always.lost().cause == "truncated_reply"
    assert len(always.provider.sent) == MAX_TRIES


def test_an_empty_and_a_truncated_reply_have_tries_of_their_own() -> None:
    """The two are counted apart, and the room once given stays."""
    bench = Bench(make_result(Outcome.TRUNCATED), make_result(Outcome.EMPTY), make_result(text="at last"))
    assert bench.call().text == "at last"
    assert [sent.request.max_tokens for sent in bench.provider.sent] == [None, CAP * ROOM_FACTOR, CAP * ROOM_FACTOR]


# --- auth, quota, bad_request ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "hint_s", "park_s"),
    [(Outcome.AUTH, None, 3e9), (Outcome.QUOTA, 3_600.0, 3_600.0), (Outcome.QUOTA, None, 3e9)],
)
def test_a_refused_key_is_told_and_the_trial_handed_back(outcome: Outcome, hint_s: float | None, park_s: float) -> None:
    """auth, quota: one request, then it is the supervisor's: the trial is not the key's to lose."""
    bench = Bench(make_result(outcome, http_status=401, detail="no such key", retry_after_s=hint_s))
    with pytest.raises(HandBack):
        bench.call()
    # The end of the call comes first, so that the row is closed when the key is taken away
    assert bench.story[-2:] == ["CallEnded", "KeyRefused"]
    assert bench.told[-1] == KeyRefused(kind=outcome, detail="no such key", park_s=park_s)
    assert len(bench.provider.sent) == 1


def test_a_bad_request_makes_the_trial_invalid_with_the_provider_s_words() -> None:
    """bad_request: never retried blindly."""
    bench = Bench(make_result(Outcome.BAD_REQUEST, http_status=400, detail="context length exceeded"))
    lost = bench.lost()
    assert (lost.cause, lost.detail) == ("bad_request", "context length exceeded")
    assert len(bench.provider.sent) == 1


# --- time and stopping ----------------------------------------------------------------------------------------------


def test_a_trial_has_so_much_provider_time_whatever_it_was_spent_on() -> None:
    """Latency and backoff count, also of good replies; the call after them is not sent any more."""
    # Given a trial of ten seconds and a provider that takes six for each good reply
    bench = Bench(*[make_result(latency_s=6.0)] * 3)
    bench.budget = TimeBudget(limit_s=10.0)
    # When its turns are asked for, Then the reply that ends beyond its time still counts, and no further one is asked
    bench.call(turn=0)
    bench.call(turn=1)
    with pytest.raises(TrialLost) as raised:
        bench.call(turn=2)
    assert (raised.value.cause, raised.value.detail) == ("api_timeout", "used 12 s of provider time")
    assert len(bench.provider.sent) == 2


def test_waiting_for_limits_costs_a_trial_none_of_its_time() -> None:
    """A throttled minute is the provider's business, not the trial's."""
    bench = Bench(*throttles(5, retry_after_s=10.0, latency_s=0.2), make_result(latency_s=0.5))
    bench.budget = TimeBudget(limit_s=2.0)
    bench.call()
    assert bench.budget.spent_s == pytest.approx(1.5)


def test_a_hint_longer_than_the_trial_s_time_is_not_slept_through() -> None:
    """A 503 that says "in a day" ends the trial now."""
    bench = Bench(*transients(1, retry_after_s=86_400.0))
    assert bench.lost().cause == "api_timeout"
    assert bench.clock.now_s() == 1000.5


def test_a_worker_told_to_stop_sends_nothing_more() -> None:
    """Stopping is minded in a backoff as well as at the gate: the trial goes back, its last call accounted for."""
    # Given a call that failed once, and a stop that comes while it backs off
    bench = Bench(*transients(1, retry_after_s=5.0), make_result())
    bench.stop_at_s = 1003.0
    # When it would be tried again, Then it is handed back
    with pytest.raises(HandBack):
        bench.call()
    assert (len(bench.provider.sent), bench.outcomes()) == (1, ["transient"])


def test_a_stopped_worker_asks_for_no_permit_for_another_try() -> None:
    """Its key may be another's by then: a try that need not wait is not made either."""
    # Given a throttled call, and a stop while it was out
    bench = Bench(*throttles(1, latency_s=2.0), make_result())
    bench.stop_at_s = 1001.0
    # When it would be tried again at once, Then it is handed back without a look at the windows
    with pytest.raises(HandBack):
        bench.call()
    assert len(bench.gate.asked) == 1


def test_whoever_waits_for_the_last_request_hears_when_one_leaves_and_when_it_is_needed_again() -> None:
    """A request is out from its departure until its reply asks for another try."""
    bench = Bench(*throttles(1), make_result())
    bench.call()
    assert bench.leaves == [False, True, False, True]


def test_the_estimate_of_a_call_follows_what_the_model_answers() -> None:
    """Tokens reserved are prompt characters / 4 and a running mean of the model's replies, from 200 down to its 20."""
    # Given a model that answers with 20 tokens
    bench = Bench(*[make_result()] * 60)
    # When it is called again and again
    for turn in range(60):
        bench.call(turn=turn)
    asked = bench.gate.asked
    # Then the estimates come down to what it uses, and a call that uses what was estimated needs no correction
    assert (asked[0], asked[-1]) == (300, 120)
    assert asked == sorted(asked, reverse=True)
    assert len(bench.gate.settled) < 60
