"""What every ChatProvider promises, in both dialects, against the embedded provider over real connections."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from benchrunner.providers.base import ChatProvider
from benchrunner.providers.chat import HttpChatProvider
from benchrunner.records import CallResult, ChatRequest, Key, Limit, LimitKind, Message, ModelEntry, Outcome, Provider
from benchrunner.simulator.plan import SimulatedKey, SimulatedModelPlan, SimulatorPlan
from benchrunner.simulator.start import RunningSimulator, start_simulator

pytestmark = pytest.mark.slow

SECRET = "sk-contract-0123456789"
REQUEST = ChatRequest(messages=(Message(role="user", content="Say something."),))
FAST = SimulatedModelPlan(name="fast", provider="lab", deployments=("fast-a", "fast-b"), limits=(), latency_p50_s=0.0)
SLOW = SimulatedModelPlan(
    name="slow", provider="lab", deployments=("slow",), limits=(), latency_p50_s=60.0, latency_p95_s=60.0
)
MINUTE = (Limit(kind=LimitKind.REQUESTS, amount=1, per_s=60.0),)
NARROW = replace(FAST, name="narrow", deployments=("narrow",), limits=MINUTE)
HOUR = (Limit(kind=LimitKind.REQUESTS, amount=3, per_s=3600.0),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A provider under test, with what it takes to call it."""

    provider: ChatProvider
    simulator: RunningSimulator
    key: Key

    def send(
        self,
        deployment: str = "fast-a",
        *,
        request: ChatRequest = REQUEST,
        key: Key | None = None,
        timeout_s: float = 10.0,
    ) -> CallResult:
        model = ModelEntry(name="fast", provider="lab", key_id="key0", deployments=(deployment,), limits=())
        return self.provider.send(request, model=model, deployment=deployment, key=key or self.key, timeout_s=timeout_s)

    def other_key(self, secret: str) -> Key:
        return replace(self.key, key_id="other", secret=secret)


def _openai(simulator: RunningSimulator) -> ChatProvider:
    return HttpChatProvider(Provider(name="lab", kind="openai", base_url=simulator.base_url))


def _azure(simulator: RunningSimulator) -> ChatProvider:
    return HttpChatProvider(Provider(name="lab", kind="azure", base_url=simulator.origin, api_version="2024-12-01"))


PLAN = SimulatorPlan(
    keys=(
        SimulatedKey(secret=SECRET, key_id="key0", provider="lab", account="lab", limits=()),
        SimulatedKey(secret="sk-hourly", key_id="hourly", provider="lab", account="lab", limits=HOUR),
    ),
    models=(FAST, SLOW, NARROW),
    seed=3,
)


@pytest.fixture(scope="module", params=[_openai, _azure], ids=["openai", "azure"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    make: Callable[[RunningSimulator], ChatProvider] = request.param
    with start_simulator(PLAN) as simulator:
        provider = make(simulator)
        key = Key(key_id="key0", provider="lab", account="lab", secret=SECRET, fingerprint="f", limits=())
        yield Bench(provider=provider, simulator=simulator, key=key)
        provider.close()


def test_good_call_brings_text_usage_and_latency(bench: Bench) -> None:
    """An ok result has a reply with its cost, the served model, and the time it took."""
    # Given / When
    bench.provider.warm()
    result = bench.send()
    # Then
    assert (result.outcome, result.http_status) == (Outcome.OK, 200)
    assert result.reply is not None
    assert result.reply.text
    assert (result.reply.finish_reason, result.reply.prompt_tokens, result.reply.served_model) == ("stop", 4, "fast")
    assert 0.0 < result.latency_s < 10.0


def test_unknown_key_is_auth(bench: Bench) -> None:
    """A key the provider does not know is auth, and is not quoted."""
    # Given / When
    result = bench.send(key=bench.other_key("sk-stranger"))
    # Then
    assert (result.outcome, result.http_status, result.provider_code) == (Outcome.AUTH, 401, "invalid_api_key")
    assert "sk-stranger" not in result.detail


def test_unknown_deployment_is_a_bad_request(bench: Bench) -> None:
    """A deployment that is not there is bad_request: no second try can help."""
    # Given / When
    result = bench.send("nowhere")
    # Then
    assert (result.outcome, result.http_status) == (Outcome.BAD_REQUEST, 404)
    assert "nowhere" in result.detail


def test_spent_window_of_a_model_is_rate_limited_and_says_how_long(bench: Bench) -> None:
    """A refusal names its scope and its wait."""
    # Given a model of one request a minute, spent
    assert Outcome.OK is bench.send("narrow").outcome
    # When asked again
    result = bench.send("narrow")
    # Then
    assert (result.outcome, result.scope, result.http_status) == (Outcome.RATE_LIMITED, "model", 429)
    assert result.retry_after_s is not None
    assert 50.0 < result.retry_after_s <= 60.01


def test_spent_window_of_a_key_is_rate_limited(bench: Bench) -> None:
    """A key's own window refuses every model."""
    # Given a key of three requests an hour, spent
    hourly = bench.other_key("sk-hourly")
    assert [bench.send(key=hourly).outcome for _ in range(3)] == [Outcome.OK] * 3
    # When another deployment is asked
    result = bench.send("fast-b", key=hourly)
    # Then
    assert Outcome.RATE_LIMITED is result.outcome
    assert result.retry_after_s is not None
    assert 3500.0 < result.retry_after_s <= 3600.01


def test_cut_reply_is_truncated_and_keeps_its_text(bench: Bench) -> None:
    """A reply that hits our cap is told from a whole one."""
    # Given / When a request with room for two tokens
    result = bench.send(request=replace(REQUEST, max_tokens=2))
    # Then
    assert Outcome.TRUNCATED is result.outcome
    assert result.reply is not None
    assert (len(result.reply.text), result.reply.completion_tokens) == (8, 2)


def test_slow_call_ends_at_its_deadline(bench: Bench) -> None:
    """A call that outlives its time is transient; the next one is not disturbed by it."""
    # Given a model of a minute; When given 0.3 s
    result = bench.send("slow", timeout_s=0.3)
    # Then
    assert (result.outcome, result.provider_code) == (Outcome.TRANSIENT, "read_timeout")
    assert 0.3 <= result.latency_s < 10.0
    assert Outcome.OK is bench.send().outcome


@pytest.mark.parametrize("make", [_openai, _azure])
def test_provider_that_goes_away_is_transient(make: Callable[[RunningSimulator], ChatProvider]) -> None:
    """A dead provider is a result of each call, and no exception, warm or not."""
    # Given a warm connection to a provider that has gone
    with start_simulator(PLAN) as simulator:
        provider = make(simulator)
        key = Key(key_id="key0", provider="lab", account="lab", secret=SECRET, fingerprint="f", limits=())
        bench = Bench(provider=provider, simulator=simulator, key=key)
        provider.warm()
    # When called on it, warmed again, and called anew
    first = bench.send()
    provider.warm()
    second = bench.send()
    provider.close()
    # Then
    assert (first.outcome, second.outcome) == (Outcome.TRANSIENT, Outcome.TRANSIENT)
    assert second.provider_code == "refused"


def test_many_threads_share_one_provider(bench: Bench) -> None:
    """Thirty dialogues at once, each on its own connection, all get their own answers."""
    # Given thirty threads with five calls each, over both deployments
    outcomes: list[Outcome] = []

    def dialogue(number: int) -> None:
        for turn in range(5):
            bench.provider.warm()
            outcomes.append(bench.send(("fast-a", "fast-b")[(number + turn) % 2]).outcome)

    threads = [threading.Thread(target=dialogue, args=(number,)) for number in range(30)]
    # When they run
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
    # Then
    assert outcomes == [Outcome.OK] * 150
