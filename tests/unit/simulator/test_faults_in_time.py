"""Faults that depend on when a request comes: a bucket shared with strangers, a token window, a key that is dead."""

from __future__ import annotations

import heapq
import random
from collections import Counter

import orjson

from benchrunner.providers.classify import classify_response
from benchrunner.records import ChatReply, InjectedFaults, KeyOutage, Message, Outcome
from benchrunner.simulator.faults import FaultyFront
from benchrunner.simulator.outages import BURST, ThrottleBucket, TokenWindow, is_dead
from benchrunner.simulator.wire import Answer, Arrival, completion


def arrival(at_s: float, *, key_id: str = "key0", model: str = "m", deployment: str = "m") -> Arrival:
    return Arrival(
        at_s=at_s,
        epoch_s=1e9,
        dialect="azure",
        key_id=key_id,
        account="lab",
        model=model,
        deployment=deployment,
        messages=(Message(role="user", content="hello"),),
        max_tokens=1024,
    )


def serve(_: Arrival) -> Answer:
    reply = ChatReply(text="fine", finish_reason="stop", prompt_tokens=90, completion_tokens=10, served_model="m")
    return completion(reply, number=1, created_epoch_s=1e9, delay_s=0.0)


def paced(bucket: ThrottleBucket, *, every_s: float, requests: int, from_s: float = 0.0) -> list[bool]:
    """Return whether each of `requests` at an even pace was refused."""
    refused = []
    for number in range(requests):
        refused.append(bucket.refuses(from_s + number * every_s))
        if not refused[-1]:
            bucket.take()
    return refused


# --- bucket ---------------------------------------------------------------------------------------------------------


def test_a_bucket_leaves_its_rate_to_those_who_press() -> None:
    """Strangers take their part: over an hour of pressing, 1.2 requests/s get through, within 5 %."""
    refused = paced(ThrottleBucket(1.2, seed="7"), every_s=0.05, requests=20 * 3600)
    assert abs(refused.count(False) / 3600 - 1.2) < 0.06


def test_who_keeps_below_the_rate_is_seldom_refused() -> None:
    """At 80 % of it less than 5 % of an hour's requests are refused: there is a pace worth finding."""
    refused = paced(ThrottleBucket(1.2, seed="7"), every_s=1 / 0.96, requests=3456)
    assert refused.count(True) / len(refused) < 0.05


def test_a_refused_request_is_refused_again_a_second_later_more_often_than_not() -> None:
    """Refusals cluster as they did in the field: .64 to .73 for another try after a second, tokens or none."""
    again = 0
    for number in range(2_000):
        # Given a bucket that was emptied, refused one, and rested until it holds tokens again
        bucket = ThrottleBucket(3.0, seed=str(number))
        burst = paced(bucket, every_s=0.0, requests=int(BURST) + 1)
        assert burst == [False] * int(BURST) + [True]
        # When the refused one comes again after a second
        again += bucket.refuses(1.0)
    assert 0.64 < again / 2_000 < 0.73


def test_plain_retrying_fares_as_it_did_in_the_field() -> None:
    """Five tries each, 1.5-fold backoff: 48 % refused at first, then .64-.73, 55-65 % in all, 11 % of calls lost."""
    # Given calls as often as the 72B runs made them, for an hour, each tried up to five times
    rng, bucket = random.Random(1), ThrottleBucket(1.2, seed="7")
    due = [(rng.uniform(0.0, 3600.0), 0) for _ in range(round(1.33 * 3600))]
    heapq.heapify(due)
    asked, refused = Counter[int](), Counter[int]()
    # When they come when they come
    while due:
        at_s, tries = heapq.heappop(due)
        asked[tries] += 1
        if not bucket.refuses(at_s):
            bucket.take()
            continue
        refused[tries] += 1
        if tries < 4:
            heapq.heappush(due, (at_s + rng.uniform(0.5, 1.5) * 1.5**tries, tries + 1))
    # Then
    assert abs(refused[0] / asked[0] - 0.48) < 0.08
    assert all(0.62 < refused[tries] / asked[tries] < 0.78 for tries in range(1, 5))
    assert 0.55 < refused.total() / asked.total() < 0.65
    assert abs(refused[4] / asked[0] - 0.11) < 0.04


def test_a_bucket_counts_an_account_s_model_over_all_its_keys() -> None:
    """Another key gets nothing more, another model its own; the refusal is a throttle dressed as 400."""
    # Given a bucket emptied by one key
    faulty = FaultyFront(dict.fromkeys(("m", "n"), InjectedFaults(throttle_bucket=1.2)), seed="7")
    assert [faulty(arrival(0.0), serve).status for _ in range(10)] == [200] * 10
    # When another key asks, and another model is asked
    refused = faulty(arrival(0.0, key_id="key1"), serve)
    other = faulty(arrival(0.0, model="n"), serve)
    # Then
    result = classify_response(refused.status, {}, refused.body, own_max_tokens=1024)
    assert (result.outcome, result.scope, result.provider_code) == (Outcome.RATE_LIMITED, "model", "MPE-429")
    assert (refused.status, result.retry_after_s, other.status) == (400, None, 200)


def test_at_speed_ten_a_bucket_fills_ten_times_as_fast() -> None:
    """Durations are divided and rates multiplied: what happens in an hour happens in six minutes."""
    slow, quick = (
        FaultyFront({"m": InjectedFaults(throttle_bucket=1.2)}, seed="7", speed=speed) for speed in (1.0, 10.0)
    )
    at_one = [slow(arrival(number / 2), serve).status for number in range(2_000)]
    assert at_one == [quick(arrival(number / 20), serve).status for number in range(2_000)]
    assert set(at_one) == {200, 400}


# --- window ---------------------------------------------------------------------------------------------------------


def test_a_spent_window_says_how_long_the_rest_of_it_is() -> None:
    """All deployments count together; the refusal names the rest of the minute in words only."""
    # Given 1,000 tokens a minute, spent in ten seconds by ten calls on two deployments
    faulty = FaultyFront({"m": InjectedFaults(azure_window=1_000)}, seed="7")
    for number in range(10):
        assert faulty(arrival(float(number), deployment=f"m-{number % 2}"), serve).status == 200
    # When the next comes at 17.5 s
    refused = faulty(arrival(17.5, deployment="m-3"), serve)
    # Then it is to wait for the other 42.5 s, rounded up, and then may go
    result = classify_response(refused.status, {}, refused.body, own_max_tokens=1024)
    assert (result.outcome, result.scope, result.retry_after_s) == (Outcome.RATE_LIMITED, "model", 43.0)
    assert orjson.loads(refused.body)["error"]["code"] == "RateLimitReached"
    assert faulty(arrival(60.0), serve).status == 200


def test_a_window_begins_with_its_first_request() -> None:
    """Minutes are not the clock's."""
    window = TokenWindow(10)
    window.add(100.0, 10)
    assert (window.wait_s(100.0), window.wait_s(159.0), window.wait_s(160.0)) == (60.0, 1.0, 0.0)


def test_a_window_at_speed_is_the_configured_limit_at_speed() -> None:
    """Amounts are multiplied and the minute stays one, as for limits that the run knows of: those must fit under it."""
    faulty = FaultyFront({"m": InjectedFaults(azure_window=1_000)}, seed="7", speed=10.0)
    assert [faulty(arrival(0.0), serve).status for _ in range(101)] == [200] * 100 + [429]


# --- key ------------------------------------------------------------------------------------------------------------


def test_a_key_is_dead_between_its_minutes_and_no_other_is() -> None:
    """From M up to N minutes after the first request; without N for ever."""
    two_minutes = KeyOutage(key_id="key1", from_min=1.0, to_min=3.0)
    assert [is_dead(two_minutes, "key1", at_s) for at_s in (0.0, 59.9, 60.0, 179.9, 180.0)] == [
        False, False, True, True, False,
    ]  # fmt: skip
    assert not is_dead(two_minutes, "key0", 100.0)
    assert is_dead(KeyOutage(key_id="key1", from_min=1.0, to_min=None), "key1", 1e9)


def test_a_dead_key_is_refused_as_a_bad_request_and_counts_nowhere() -> None:
    """HTTP 400 with the gateway's code for an invalid key, and nobody is asked; at speed 60 minutes are seconds."""
    outage = KeyOutage(key_id="key1", from_min=1.0, to_min=3.0)
    faulty = FaultyFront({"m": InjectedFaults(key_dies=outage)}, seed="7", speed=60.0)
    asked: list[Arrival] = []

    def counting(one: Arrival) -> Answer:
        asked.append(one)
        return serve(one)

    # Given a provider in use since 100 s; When the key calls before, in and after its dead minutes
    answers = [faulty(arrival(100.0 + at_s, key_id="key1"), counting) for at_s in (0.0, 0.9, 1.0, 2.9, 3.0)]
    # Then
    assert [answer.status for answer in answers] == [200, 200, 400, 400, 200]
    result = classify_response(400, {}, answers[2].body, own_max_tokens=1024)
    assert (result.outcome, result.provider_code, len(asked)) == (Outcome.AUTH, "CE-003", 3)
