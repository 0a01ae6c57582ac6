"""What the embedded provider does wrong, attempt by attempt: which ones it spoils, how, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchrunner.providers.classify import classify_response
from benchrunner.records import ChatReply, InjectedFaults, KeyOutage, Message, Outcome, ToolCall
from benchrunner.simulator.faults import CUT_TOKENS, HANG_S, FaultyFront, make_fault
from benchrunner.simulator.plan import SimulatedKey, SimulatedModelPlan, SimulatorPlan
from benchrunner.simulator.profiles import FIELD, SLOWNESS, faults_of
from benchrunner.simulator.wire import Answer, Arrival, Ending, completion, error
from benchrunner.suites.workflow.parsing import parse_reply

LONG = "First I look at what there is, then at what is missing. " * 4
TAGGED = "<use_tool>file_operations_reader</use_tool>"
SHARES = ("reset", "hang", "bad_gateway", "unavailable", "html_200", "torn_json", "empty", "cut_16")


def front(
    faults: Mapping[str, Any], *, seed: int = 7, model: str = "m", speed: float = 1.0, latency: bool = True
) -> FaultyFront:
    return FaultyFront({model: InjectedFaults(**faults)}, seed=str(seed), speed=speed, latency=latency)


def arrival(text: str = "hello", *, at_s: float = 0.0, key_id: str = "key0", model: str = "m") -> Arrival:
    return Arrival(
        at_s=at_s,
        epoch_s=1e9,
        dialect="openai",
        key_id=key_id,
        account="lab",
        model=model,
        deployment=model,
        messages=(Message(role="user", content=text),),
        max_tokens=1024,
    )


def served(text: str = LONG, *, calls: tuple[ToolCall, ...] = ()) -> Answer:
    reply = ChatReply(
        text=text,
        finish_reason="tool_calls" if calls else "stop",
        prompt_tokens=100,
        completion_tokens=max(1, len(text) // 4),
        served_model="m",
        tool_calls=calls,
    )
    return completion(reply, number=1, created_epoch_s=1e9, delay_s=2.0)


def outcome_of(answer: Answer) -> Outcome:
    return classify_response(answer.status, {}, answer.body, own_max_tokens=1024, offers_tools=True).outcome


def spoilt(faulty: FaultyFront, attempts: int, *, conversations: int) -> list[tuple[str, ...]]:
    """Return which faults each attempt of each conversation met."""
    return [
        faulty(arrival(f"conversation {number}"), lambda _: served()).faults
        for number in range(conversations)
        for _ in range(attempts)
    ]


# --- which attempts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHARES)
def test_a_fault_hits_its_share_of_the_attempts(name: str) -> None:
    """Over many conversations a share is kept within three standard deviations, for first and for second attempts."""
    # Given a fault at 31 %; When 2,000 conversations make two attempts each
    found = spoilt(front({name: 0.31}), 2, conversations=2_000)
    # Then each row of attempts has its share, and nothing else happened
    for attempts in (found[0::2], found[1::2]):
        assert 0.279 < sum(faults == (name,) for faults in attempts) / 2_000 < 0.341
    assert set(found) == {(), (name,)}


def test_a_retry_of_the_same_conversation_is_another_draw() -> None:
    """At one half, who is hit first is hit again half of the time: never the same attempt for ever."""
    found = spoilt(front({"reset": 0.5}), 2, conversations=2_000)
    hit_again = [second for first, second in zip(found[0::2], found[1::2], strict=True) if first]
    assert 0.45 < sum(faults != () for faults in hit_again) / len(hit_again) < 0.55


def test_the_fate_of_an_attempt_does_not_hang_on_time_or_on_others() -> None:
    """The same conversations in another order, at other times, under another key and beside others: the same faults."""
    # Given the fates of twenty conversations
    names = [f"conversation {number}" for number in range(20)]
    shares = dict.fromkeys(SHARES, 0.1)
    one = front(shares)
    alone = {name: one(arrival(name), lambda _: served()).faults for name in names}
    # When they come backwards, late, elsewhere, with strangers in between
    other = front(shares)
    mixed = {}
    for place, name in enumerate(reversed(names)):
        other(arrival(f"stranger {place}"), lambda _: served())
        mixed[name] = other(arrival(name, at_s=9.0 * place, key_id="key1"), lambda _: served()).faults
    # Then nothing has changed; under another seed it has
    assert mixed == alone
    assert len(set(alone.values())) > 3
    apart = front(shares, seed=8)
    assert alone != {name: apart(arrival(name), lambda _: served()).faults for name in names}


def test_a_refusal_of_the_provider_itself_is_passed_on_and_is_no_attempt() -> None:
    """A call over its limit says nothing of faults, so how often one waited does not change what comes of the rest."""
    refusal = error(429, "slow down", kind="requests")
    shares = dict.fromkeys(SHARES, 0.2)
    for number in range(50):
        text = f"conversation {number}"
        patient, hasty = front(shares), front(shares)
        # Given a caller that was refused three times
        assert [hasty(arrival(text), lambda _: refusal) for _ in range(3)] == [refusal] * 3
        # When it is let through; Then it fares like one that waited
        assert hasty(arrival(text), lambda _: served()) == patient(arrival(text), lambda _: served())


@given(
    shares=st.fixed_dictionaries({name: st.floats(0, 1) for name in (*SHARES, "slow")}),
    text=st.text(max_size=40),
    seed=st.integers(0, 2**32),
)
def test_an_attempt_that_no_fault_spoils_brings_the_very_reply(shares: dict[str, float], text: str, seed: int) -> None:
    """Whatever the shares: an answer comes back as it was served, or it is no good reply, and says by which fault."""
    faulty = front(shares, seed=seed)
    whole = served()
    for _ in range(5):
        answer = faulty(arrival(text), lambda _: whole)
        if set(answer.faults) <= {"slow"}:
            assert (answer.status, answer.body, answer.ending) == (200, whole.body, Ending.RESPONSE)
        else:
            assert answer.ending is not Ending.RESPONSE or outcome_of(answer) is not Outcome.OK


# --- how they look --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "status", "outcome"),
    [
        ("bad_gateway", 502, Outcome.TRANSIENT),
        ("unavailable", 503, Outcome.TRANSIENT),
        ("html_200", 200, Outcome.TRANSIENT),
        ("torn_json", 200, Outcome.TRANSIENT),
        ("cut_16", 200, Outcome.TRANSIENT),
        ("empty", 200, Outcome.EMPTY),
    ],
)
def test_a_spoilt_answer_is_what_the_client_takes_it_for(name: str, status: int, outcome: Outcome) -> None:
    """Each fault looks on the wire as it did in the field: none of them passes for a reply."""
    answer = front({name: 1.0})(arrival(), lambda _: served())
    assert (answer.status, outcome_of(answer), answer.faults) == (status, outcome, (name,))


@pytest.mark.parametrize(
    ("name", "ending", "delay_s"), [("reset", Ending.RESET, 2.0), ("hang", Ending.CLOSE, HANG_S)]
)
def test_a_broken_connection_has_no_response(name: str, ending: Ending, delay_s: float) -> None:
    """A reset comes when the reply would have; a hang lasts longer than clients wait, and ends all the same."""
    answer = front({name: 1.0})(arrival(), lambda _: served())
    assert (answer.ending, answer.delay_s) == (ending, delay_s)
    # And at speed 10 a hang is ten times shorter
    assert front({"hang": 1.0}, speed=10.0)(arrival(), lambda _: served()).delay_s == HANG_S / 10.0


def test_a_cut_reply_ends_at_sixteen_tokens_and_says_so() -> None:
    """finish_reason and usage tell of the cut; a reply that is hardly longer is cut in its middle."""
    faulty = front({"cut_16": 1.0})
    document = orjson.loads(faulty(arrival(), lambda _: served()).body)
    choice, usage = document["choices"][0], document["usage"]
    assert choice["message"]["content"] == LONG[: CUT_TOKENS * 4]
    assert choice["finish_reason"] == "length"
    assert usage == {"prompt_tokens": 100, "completion_tokens": 16, "total_tokens": 116}
    short = orjson.loads(faulty(arrival(), lambda _: served(TAGGED)).body)
    assert (short["choices"][0]["message"]["content"], short["usage"]["completion_tokens"]) == (TAGGED[:20], 5)


@pytest.mark.parametrize("name", ["empty", "cut_16"])
def test_function_calls_are_lost_with_the_rest_of_the_reply(name: str) -> None:
    """They come after the text, and half a call is not given out."""
    calls = (ToolCall(call_id="c1", name="use_tool", arguments='{"name": "x"}'),)
    answer = front({name: 1.0})(arrival(), lambda _: served("", calls=calls))
    assert "tool_calls" not in orjson.loads(answer.body)["choices"][0]["message"]
    assert outcome_of(answer) is not Outcome.OK


def test_a_lost_closing_tag_costs_no_action() -> None:
    """The tag is gone from the wire; what the reply asks for is read all the same."""
    answer = front({"strip_closing_tag": 1.0})(arrival(), lambda _: served(f"Next step.\n{TAGGED}"))
    text = orjson.loads(answer.body)["choices"][0]["message"]["content"]
    assert (text, answer.faults) == ("Next step.\n<use_tool>file_operations_reader", ("strip_closing_tag",))
    assert parse_reply(text).actions == parse_reply(TAGGED).actions
    # And a reply without one is as it was
    assert front({"strip_closing_tag": 1.0})(arrival(), lambda _: served()) == served()


def test_slow_replies_have_the_measured_spread() -> None:
    """Median and 95th percentile lie within 15 % of the field's, and none is slower than clients wait."""
    for model, slowness in SLOWNESS.items():
        faulty = front({"slow": 1.0}, model=model)
        delays = sorted(faulty(arrival(f"{n}", model=model), lambda _: served()).delay_s for n in range(4_000))
        assert abs(delays[2_000] / slowness.p50_s - 1.0) < 0.15
        assert abs(delays[3_800] / slowness.p95_s - 1.0) < 0.15
        assert delays[-1] <= 140.0
    # And not where latency is off
    assert front({"slow": 1.0}, latency=False)(arrival(), lambda _: served()) == served()


# --- profiles -------------------------------------------------------------------------------------------------------


def test_the_field_profile_is_that_of_exact_model_names() -> None:
    """No behaviour hangs on a part of a name; a single fault stands over the profile, and 0 takes one away."""
    nothing = InjectedFaults()
    assert faults_of("qwen2.5-72b-instruct", profile="field", over=nothing).throttle_bucket == 1.2
    assert faults_of("qwen2.5-72b", profile="field", over=nothing) == nothing
    assert faults_of("qwen2.5-72b-instruct", profile="clean", over=nothing) == nothing
    llama = faults_of("Llama-3.3-70B-Instruct", profile="field", over=InjectedFaults(cut_16=0.0, reset=0.5))
    assert llama == replace(FIELD["Llama-3.3-70B-Instruct"], cut_16=0.0, reset=0.5)


def test_a_clean_plan_has_nothing_before_its_provider() -> None:
    """No fault, no cost; a plan with faults survives its way to the process."""
    key = SimulatedKey(secret="s", key_id="key0", provider="lab", account="lab", limits=())
    model = SimulatedModelPlan(name="qwen2.5-3b-instruct", provider="lab", deployments=("q",), limits=())
    clean = SimulatorPlan(keys=(key,), models=(model,), seed=1)
    assert make_fault(clean) is None
    for plan in (
        replace(clean, profile="field"),
        replace(clean, faults=InjectedFaults(reset=0.1, key_dies=KeyOutage(key_id="key0", from_min=1.0, to_min=None))),
    ):
        assert make_fault(plan) is not None
        assert SimulatorPlan.from_json(plan.to_json()) == plan
