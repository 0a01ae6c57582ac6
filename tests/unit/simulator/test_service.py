"""The embedded provider without a socket: requests in, answers out, time as an argument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest

from benchrunner.errors import SimulatorError
from benchrunner.records import ChatReply, Limit, LimitKind, Message, ToolDefinition
from benchrunner.simulator.plan import SimulatedKey, SimulatedModelPlan, SimulatorPlan, scaled_limits
from benchrunner.simulator.service import SimulatedService
from benchrunner.simulator.wire import Answer, Arrival, Fault, Handler, HttpRequest

PER_SECOND = (Limit(kind=LimitKind.REQUESTS, amount=2, per_s=1.0),)
TOKENS = (Limit(kind=LimitKind.TOKENS, amount=100, per_s=60.0),)
PLAN = SimulatorPlan(
    keys=(
        SimulatedKey(secret="s-0", key_id="key0", provider="lab", account="lab", limits=PER_SECOND),
        SimulatedKey(secret="s-1", key_id="key1", provider="lab", account="lab", limits=PER_SECOND),
        SimulatedKey(secret="s-az", key_id="azure", provider="azure", account="azure", limits=()),
    ),
    models=(
        SimulatedModelPlan(name="small", provider="lab", deployments=("small",), limits=()),
        SimulatedModelPlan(name="big", provider="lab", deployments=("big",), limits=TOKENS),
        SimulatedModelPlan(name="V3", provider="azure", deployments=("V3", "V3-2"), limits=TOKENS),
    ),
    seed=7,
)


class Parrot:
    """Says the same to everybody, in 40 characters (10 tokens), after 2 s."""

    def reply(self, messages: Sequence[Message], tools: Sequence[ToolDefinition] = ()) -> ChatReply:
        return ChatReply(text="x" * 40, finish_reason="stop")

    def latency_s(self, messages: Sequence[Message]) -> float:
        return 2.0


def _service(plan: SimulatorPlan = PLAN, fault: Fault | None = None) -> SimulatedService:
    return SimulatedService(plan, {model.name: Parrot() for model in plan.models}, fault=fault)


def _post(model: str = "small", secret: str = "s-0", *, at_s: float = 0.0, **body: Any) -> HttpRequest:
    messages = [{"role": "user", "content": "y" * 120}]  # 30 tokens
    return HttpRequest(
        at_s=at_s,
        epoch_s=1e9,
        method="POST",
        path="/v1/chat/completions",
        query="",
        headers={"authorization": f"Bearer {secret}"},
        body=orjson.dumps({"model": model, "messages": messages, **body}),
    )


def _azure(deployment: str, *, at_s: float = 0.0) -> HttpRequest:
    return replace(
        _post(at_s=at_s),
        path=f"/openai/deployments/{deployment}/chat/completions",
        query="api-version=2024-12-01-preview",
        headers={"api-key": "s-az"},
    )


def _status(service: SimulatedService, request: HttpRequest) -> int:
    return service.answer(request)[0].status


def test_answer_has_the_shape_of_the_real_ones() -> None:
    """A completion carries text, finish reason, usage, served model, and the room left under the key's limit."""
    # Given / When
    answer, _ = _service().answer(_post())
    document = orjson.loads(answer.body)
    # Then
    assert (
        answer.status,
        answer.delay_s,
        document["object"],
        document["model"],
    ) == (200, 2.0, "chat.completion", "small")
    assert document["choices"][0]["message"] == {"role": "assistant", "content": "x" * 40}
    assert document["usage"] == {"prompt_tokens": 30, "completion_tokens": 10, "total_tokens": 40}
    assert (b"x-ratelimit-remaining-requests", b"1") in answer.headers


def test_key_limit_holds_over_all_its_models_and_for_itself_only() -> None:
    """A third request in a second is refused whatever its model; another key of the account is not concerned."""
    # Given a key with two per second, spent on two models
    service = _service()
    assert [_status(service, _post("small")), _status(service, _post("big", at_s=0.1))] == [200, 200]
    # When a third comes
    answer, arrival = service.answer(_post(at_s=0.25))
    # Then it is refused, with the time to wait in both headers and the key's code
    assert (answer.status, arrival) == (429, None)
    assert (b"retry-after", b"1") in answer.headers
    assert (b"retry-after-ms", b"751") in answer.headers
    assert orjson.loads(answer.body)["error"]["code"] == "rate_limit_exceeded"
    # And the other key goes on
    assert _status(service, _post(secret="s-1", at_s=0.25)) == 200


def test_model_limit_is_shared_by_keys_of_one_account() -> None:
    """Tokens of an (account, model) pair count over all keys of the account."""
    # Given a model of 100 tokens a minute, and 40 a call
    service = _service()
    assert [_status(service, _post("big")), _status(service, _post("big", "s-1"))] == [200, 200]
    # When a third call comes, on a key with room
    answer, _ = service.answer(_post("big", at_s=10.0))
    # Then the model's window refuses it, and the key's window has not counted it
    assert (answer.status, orjson.loads(answer.body)["error"]["code"]) == (429, "RateLimitReached")
    assert [_status(service, _post(at_s=10.0)), _status(service, _post(at_s=10.0))] == [200, 200]


def test_deployments_of_a_model_share_one_window() -> None:
    """Going to another deployment finds the same spent quota."""
    # Given two calls of 40 tokens on one deployment, of 100 allowed
    service = _service()
    assert [_status(service, _azure("V3")), _status(service, _azure("V3"))] == [200, 200]
    # When the other deployment is asked; Then it refuses too
    assert _status(service, _azure("V3-2", at_s=30.0)) == 429


STRANGERS = [
    (401, "unknown key", _post(secret="nobody")),
    (401, "no key", replace(_post(), headers={})),
    (401, "a key in the other dialect's header", replace(_post(), headers={"api-key": "s-0"})),
    (404, "unknown model", _post("huge")),
    (404, "a model of another provider", _post("V3")),
    (404, "unknown deployment", _azure("V4")),
    (404, "azure without api-version", replace(_azure("V3"), query="")),
    (404, "unknown path", replace(_post(), path="/v2/chat")),
    (405, "wrong method", replace(_post(), method="PUT")),
    (400, "torn body", replace(_post(), body=b'{"model":')),
    (400, "a list", replace(_post(), body=b"[]")),
    (400, "no messages", _post(messages=[])),
    (400, "message without content", _post(messages=[{"role": "user"}])),
    (400, "streaming", _post(stream=True)),
    (400, "nonsense cap", _post(max_tokens=0)),
]


@pytest.mark.parametrize(
    ("status", "request_"), [(case[0], case[2]) for case in STRANGERS], ids=[case[1] for case in STRANGERS]
)
def test_wrong_request_is_told_so_and_weighs_nothing(status: int, request_: HttpRequest) -> None:
    """A request that cannot be served gets the status real services give, and takes no room."""
    # Given
    service = _service()
    # When it comes; Then it is answered with its status and an error text
    answer, arrival = service.answer(request_)
    assert (status, None) == (answer.status, arrival)
    assert orjson.loads(answer.body)["error"]["message"]
    # And both places of the key are still free
    assert [_status(service, _post(at_s=0.01 * n)) for n in range(3)] == [200, 200, 429]
    assert {str(status): 1} == service.stats()["turned_away"]


def test_cap_cuts_the_reply() -> None:
    """A reply longer than max_tokens is cut there and says so."""
    # Given / When
    document = orjson.loads(_service().answer(_post(max_tokens=4))[0].body)
    # Then
    assert (
        document["choices"][0]["message"]["content"],
        document["choices"][0]["finish_reason"],
        document["usage"]["completion_tokens"],
    ) == ("x" * 16, "length", 4)


def test_speed_multiplies_limits_and_divides_latency() -> None:
    """At speed 5 a key takes five times as much, and answers come in a fifth of the time."""
    # Given
    service = _service(replace(PLAN, speed=5.0))
    # When eleven come at once
    answers = [service.answer(_post(at_s=0.001 * n))[0] for n in range(11)]
    # Then ten pass, in 0.4 s each
    assert [answer.status for answer in answers] == [200] * 10 + [429]
    assert answers[0].delay_s == 0.4


def test_latency_can_be_switched_off() -> None:
    """Without latency every reply is immediate."""
    # Given / When / Then
    assert _service(replace(PLAN, latency=False)).answer(_post())[0].delay_s == 0.0


def test_stats_count_what_each_key_did() -> None:
    """Accepted, refused, fullest window, and how many models were in flight on a key at once."""
    # Given two models at once on one key, a refusal, then the calls' end
    service = _service()
    _, first = service.answer(_post("small"))
    _, second = service.answer(_post("big"))
    service.answer(_post("small"))
    assert first is not None
    assert second is not None
    service.leave(first)
    # When asked
    answer, _ = service.answer(replace(_post(), method="GET", path="/stats"))
    stats = orjson.loads(answer.body)
    # Then
    assert stats["keys"]["key0"] == {
        "accepted": 2,
        "refused": 1,
        "failed": 0,
        "in_flight": {"big": 1},
        "peak_models_in_flight": 2,
    }
    assert {"domain": "key/key0", "kind": "requests", "amount": 2, "per_s": 1.0, "fullest": 2} in stats["windows"]
    assert "s-0" not in answer.body.decode()


def test_models_of_a_key_are_listed() -> None:
    """GET /v1/models names what the key may ask for."""
    # Given / When
    answer, _ = _service().answer(replace(_post(), method="GET", path="/v1/models"))
    # Then
    assert [model["id"] for model in orjson.loads(answer.body)["data"]] == ["small", "big"]


def test_fault_stands_before_the_provider() -> None:
    """A fault may answer itself, so that nothing is counted, or change what the provider answered."""

    # Given a fault that breaks every second call
    calls = iter(range(10))

    def flaky(arrival: Arrival, serve: Handler) -> Answer:
        if next(calls) % 2:
            return Answer(status=502, body=b"<html>", content_type=b"text/html")
        return replace(serve(arrival), delay_s=9.0)

    service = _service(fault=flaky)
    # When four calls come at once
    answers = [service.answer(_post())[0] for _ in range(4)]
    # Then two were served, slowly, and two broken without using up room
    assert [(answer.status, answer.delay_s) for answer in answers] == [(200, 9.0), (502, 0.0)] * 2
    assert tuple(service.stats()["keys"]["key0"][name] for name in ("accepted", "refused", "failed")) == (2, 0, 2)


def test_plan_survives_its_way_to_the_process() -> None:
    """A plan is read back as it was written, and shows no secret when printed."""
    # Given / When
    text = replace(PLAN, speed=2.5).to_json()
    # Then
    assert replace(PLAN, speed=2.5) == SimulatorPlan.from_json(text)
    assert b"\n" not in text
    assert "s-0" not in repr(PLAN)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"keys":[{"secret":"s-0"}],"models":[],"seed":1}', b"\xff"])
def test_unreadable_plan_is_refused_without_quoting_it(text: bytes) -> None:
    """A broken plan is one sentence, without the secrets that may stand in it."""
    # Given a broken plan; When read; Then
    with pytest.raises(SimulatorError, match="no readable plan") as caught:
        SimulatorPlan.from_json(text)
    assert "s-0" not in str(caught.value)


def test_scaled_limit_never_falls_to_nothing() -> None:
    """A speed below one slows a limit down, but leaves at least one."""
    # Given / When
    amounts = [scaled_limits(PER_SECOND, speed)[0].amount for speed in (0.1, 1.0, 1.5, 5.0)]
    # Then
    assert amounts == [1, 2, 3, 10]
