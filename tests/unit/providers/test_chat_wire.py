"""The wire format of both dialects, on intercepted requests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import orjson
import pytest
import responses

from benchrunner.providers.chat import HttpChatProvider
from benchrunner.records import CallResult, ChatRequest, Key, Message, ModelEntry, Outcome, Provider

OPENAI = Provider(name="lab", kind="openai", base_url="https://lab.example.com/api/openai/v1/")
AZURE = Provider(name="azure", kind="azure", base_url="https://res.example.com", api_version="2024-12-01-preview")
MODEL = ModelEntry(name="qwen2.5-7b-instruct", provider="lab", key_id="key0", deployments=("q7",), limits=())
KEY = Key(key_id="key0", provider="lab", account="lab", secret="sk-secret", fingerprint="f0", limits=())
REQUEST = ChatRequest(messages=(Message(role="system", content="be brief"), Message(role="user", content="grüß 🙂")))
COMPLETION = {
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
}


@pytest.fixture
def wire() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def _send(provider: Provider, request: ChatRequest = REQUEST, *, key: Key = KEY, deployment: str = "q7") -> CallResult:
    return HttpChatProvider(provider).send(request, model=MODEL, deployment=deployment, key=key, timeout_s=5.0)


def test_openai_request_is_written_as_documented(wire: responses.RequestsMock) -> None:
    """Bearer key, the deployment as model, explicit cap and temperature, no streaming."""
    # Given an OpenAI-compatible service
    wire.post("https://lab.example.com/api/openai/v1/chat/completions", json=COMPLETION)
    # When a request is sent
    result = _send(OPENAI)
    # Then the answer is read
    assert (result.outcome, result.reply and result.reply.text) == (Outcome.OK, "hi")
    # And the request held exactly this
    sent = wire.calls[0].request
    assert (
        sent.headers["Authorization"],
        sent.headers["Content-Type"],
        sent.headers.get("api-key"),
    ) == ("Bearer sk-secret", "application/json", None)
    body = sent.body
    assert isinstance(body, bytes)
    assert str(len(body)) == sent.headers["Content-Length"]
    assert orjson.loads(body) == {
        "model": "q7",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "grüß 🙂"}],
        "max_tokens": 1024,
        "temperature": 0.0,
        "stream": False,
    }


def test_azure_request_is_written_as_documented(wire: responses.RequestsMock) -> None:
    """api-key header, deployment in the path, api-version in the query; odd names are quoted."""
    # Given an Azure resource
    wire.post(
        "https://res.example.com/openai/deployments/V3%2Fx%202/chat/completions?api-version=2024-12-01-preview",
        json=COMPLETION,
    )
    # When
    result = _send(AZURE, deployment="V3/x 2")
    # Then
    sent = wire.calls[0].request
    assert (
        result.outcome,
        sent.headers["api-key"],
        sent.headers.get("Authorization"),
    ) == (Outcome.OK, "sk-secret", None)


def test_request_overrides_cap_and_temperature_of_its_model(wire: responses.RequestsMock) -> None:
    """What a dialogue asks for goes before what the model entry says; zero is a value."""
    # Given
    wire.post("https://lab.example.com/api/openai/v1/chat/completions", json=COMPLETION)
    # When
    _send(OPENAI, replace(REQUEST, max_tokens=4096, temperature=0.7))
    # Then
    body = orjson.loads(wire.calls[0].request.body or b"")
    assert (body["max_tokens"], body["temperature"]) == (4096, 0.7)


def test_two_keys_on_one_connection_never_mix(wire: responses.RequestsMock) -> None:
    """A thread that changes keys sends each request under its own key, with its own length."""
    # Given
    wire.post("https://lab.example.com/api/openai/v1/chat/completions", json=COMPLETION)
    provider = HttpChatProvider(OPENAI)
    other = replace(KEY, key_id="key1", secret="sk-other")
    # When two requests of different length go out under two keys
    seen: list[tuple[str | None, str | None, int]] = []
    for key, text in ((KEY, "a"), (other, "bbbbbb"), (KEY, "cc")):
        request = ChatRequest(messages=(Message(role="user", content=text),))
        provider.send(request, model=MODEL, deployment="q7", key=key, timeout_s=5.0)
        sent = wire.calls[-1].request
        seen.append((sent.headers["Authorization"], sent.headers["Content-Length"], len(sent.body or b"")))
    # Then
    assert [headers for headers, _, _ in seen] == ["Bearer sk-secret", "Bearer sk-other", "Bearer sk-secret"]
    assert [int(length or 0) for _, length, _ in seen] == [size for _, _, size in seen]


def test_lone_surrogate_in_a_prompt_is_sent_as_a_question_mark(wire: responses.RequestsMock) -> None:
    """A prompt that UTF-8 cannot express still goes out."""
    # Given
    wire.post("https://lab.example.com/api/openai/v1/chat/completions", json=COMPLETION)
    # When
    result = _send(OPENAI, ChatRequest(messages=(Message(role="user", content="half \ud83d"),)))
    # Then
    assert Outcome.OK is result.outcome
    assert orjson.loads(wire.calls[0].request.body or b"")["messages"][0]["content"] == "half ?"


@pytest.mark.parametrize("secret", ["sk-line\nbreak", "sk-ümlaut", "sk-\x00"])
def test_secret_that_no_header_can_carry_is_an_auth_failure(secret: str) -> None:
    """Such a key is told by its name, nothing is sent, and the secret is not quoted."""
    # Given / When
    result = _send(OPENAI, key=replace(KEY, secret=secret))
    # Then
    assert (result.outcome, result.provider_code) == (Outcome.AUTH, "unsendable_secret")
    assert "key0" in result.detail
    assert secret not in result.detail


@pytest.mark.parametrize("base_url", ["lab.example.com/v1", "ftp://lab.example.com/v1", "http://", "http://[::1/v1"])
def test_impossible_base_url_is_a_bad_request(base_url: str) -> None:
    """An address nobody can call is a result like any other, not an exception."""
    # Given / When
    provider = HttpChatProvider(replace(OPENAI, base_url=base_url))
    provider.warm()
    result = provider.send(REQUEST, model=MODEL, deployment="q7", key=KEY, timeout_s=1.0)
    # Then
    assert (result.outcome, result.provider_code) == (Outcome.BAD_REQUEST, "invalid_url")


def test_refusal_of_azure_speaks_of_the_model(wire: responses.RequestsMock) -> None:
    """Azure counts per model: a 429 without a code pauses the model, not the key."""
    # Given
    wire.post(
        "https://res.example.com/openai/deployments/q7/chat/completions?api-version=2024-12-01-preview",
        status=429,
        headers={"Retry-After": "7"},
    )
    # When
    result = _send(AZURE)
    # Then
    assert (result.outcome, result.scope, result.retry_after_s) == (Outcome.RATE_LIMITED, "model", 7.0)
