"""What providers answer, and what it is taken for. Bodies have the shapes that real gateways sent."""

from __future__ import annotations

import orjson
import pytest

from benchrunner.providers.classify import classify_response
from benchrunner.records import CallResult, Outcome

SECRET = "sk-test-0123456789abcdef"


def _classify(
    status: int, body: object, headers: dict[str, str] | None = None, *, throttle_scope: str = "key"
) -> CallResult:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return classify_response(
        status, headers or {}, raw, own_max_tokens=1024, throttle_scope=throttle_scope, secret=SECRET
    )


def _openai(message: str, *, code: str | None = None, kind: str = "invalid_request_error") -> dict[str, object]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _completion(
    content: object = "<tool_call>file_operations_reader</tool_call>",
    *,
    finish_reason: str | None = "stop",
    completion_tokens: object = 12,
    **message: object,
) -> dict[str, object]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1756300000,
        "model": "qwen2.5-72b-instruct-0919",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, **message},
                "finish_reason": finish_reason,
            }
        ],
        "usage": {"prompt_tokens": 1450, "completion_tokens": completion_tokens, "total_tokens": 1462},
    }


ERRORS = [
    # name, status, body, outcome, scope, code
    (
        "gateway throttling dressed as 400",
        400,
        {
            "error": {
                "code": "MPE-429",
                "message": "model provider throttled the call: "
                '{"code":"Throttling.RateQuota","message":"Requests rate limit exceeded, please try again later."}',
            }
        },
        Outcome.RATE_LIMITED,
        "model",
        "MPE-429",
    ),
    (
        "the same with the code at the top level",
        400,
        {"success": False, "code": "MPE-429", "message": "upstream is throttling", "data": None},
        Outcome.RATE_LIMITED,
        "model",
        "MPE-429",
    ),
    (
        "upstream token quota of a minute, though it speaks of a quota",
        429,
        {"code": "Throttling.AllocationQuota", "message": "You exceeded your current quota: insufficient_quota"},
        Outcome.RATE_LIMITED,
        "model",
        "Throttling.AllocationQuota",
    ),
    (
        "throttle code deep inside a wrapper",
        400,
        {"code": 400, "data": {"inner": [{"errorCode": "Throttling", "msg": "slow down"}]}},
        Outcome.RATE_LIMITED,
        "model",
        "400",
    ),
    (
        "platform limit of a key",
        429,
        {"code": "PL-002", "message": "TPM/RPM limit of this key reached"},
        Outcome.RATE_LIMITED,
        "key",
        "PL-002",
    ),
    (
        "azure token window",
        429,
        {
            "error": {
                "code": "RateLimitReached",
                "message": "Rate limit of 400000 per 60s exceeded for UserByModelByMinuteTokens. "
                "Please wait 43 seconds before retrying.",
            }
        },
        Outcome.RATE_LIMITED,
        "model",
        "RateLimitReached",
    ),
    (
        "openai limit of an organization and model",
        429,
        _openai(
            "Rate limit reached for gpt-4o-mini in organization org-1 on tokens per min (TPM). Please try again in 1s.",
            code="rate_limit_exceeded",
            kind="tokens",
        ),
        Outcome.RATE_LIMITED,
        "model",
        "rate_limit_exceeded",
    ),
    ("plain 429 of a proxy", 429, b"Too Many Requests", Outcome.RATE_LIMITED, "key", "not_json"),
    ("429 without a body", 429, b"", Outcome.RATE_LIMITED, "key", "no_body"),
    (
        "400 that only asks to wait",
        400,
        _openai("capacity reached, please wait 5 seconds"),
        Outcome.RATE_LIMITED,
        "key",
        "invalid_request_error",
    ),
    (
        "503 with an explicit throttle code",
        503,
        {"code": "Throttling.BurstRate", "message": "request rate increased too quickly"},
        Outcome.RATE_LIMITED,
        "model",
        "Throttling.BurstRate",
    ),
    (
        "invalid key dressed as 400",
        400,
        {"code": "CE-003", "message": "invalid API key"},
        Outcome.AUTH,
        "key",
        "CE-003",
    ),
    (
        "401 of openai",
        401,
        _openai("Incorrect API key provided", code="invalid_api_key"),
        Outcome.AUTH,
        "key",
        "invalid_api_key",
    ),
    ("401 page of a proxy", 401, b"<html><title>Sign in</title></html>", Outcome.AUTH, "key", "html"),
    ("403", 403, _openai("Project has no access to this model"), Outcome.AUTH, "key", "invalid_request_error"),
    (
        "money is gone",
        429,
        _openai(
            "You exceeded your current quota, check your plan", code="insufficient_quota", kind="insufficient_quota"
        ),
        Outcome.QUOTA,
        "key",
        "insufficient_quota",
    ),
    (
        "requests of the day are gone",
        429,
        _openai("Limit on requests per day (RPD): 200. Please try again in 7m12s", code="rate_limit_exceeded"),
        Outcome.QUOTA,
        "key",
        "rate_limit_exceeded",
    ),
    ("payment required", 402, {"message": "Insufficient Balance"}, Outcome.QUOTA, "key", ""),
    (
        "context too long",
        400,
        _openai("maximum context length is 8192 tokens", code="context_length_exceeded"),
        Outcome.BAD_REQUEST,
        "key",
        "context_length_exceeded",
    ),
    (
        "unknown model",
        404,
        _openai("The model does not exist", code="model_not_found"),
        Outcome.BAD_REQUEST,
        "key",
        "model_not_found",
    ),
    ("body too large", 413, b"<html>413</html>", Outcome.BAD_REQUEST, "key", "html"),
    (
        "validation list",
        422,
        {"detail": [{"loc": ["body", "messages"], "msg": "field required", "type": "missing"}]},
        Outcome.BAD_REQUEST,
        "key",
        "missing",
    ),
    ("request timeout", 408, b"", Outcome.TRANSIENT, "key", "no_body"),
    ("too early", 425, b"", Outcome.TRANSIENT, "key", "no_body"),
    ("server error", 500, _openai("internal error", kind="server_error"), Outcome.TRANSIENT, "key", "server_error"),
    ("bad gateway page", 502, b"<html><title>502 Bad Gateway</title></html>", Outcome.TRANSIENT, "key", "html"),
    ("page under 200", 200, b"<!DOCTYPE html><html><title>Maintenance</title>", Outcome.TRANSIENT, "key", "html"),
    ("nothing under 200", 200, b"", Outcome.TRANSIENT, "key", "no_body"),
    ("torn json", 200, b'{"id":"chatcmpl-1","choices":[{"mess', Outcome.TRANSIENT, "key", "not_json"),
    ("a list", 200, b"[]", Outcome.TRANSIENT, "key", "no_choices"),
    ("no choices", 200, {"id": "x", "choices": []}, Outcome.TRANSIENT, "key", "no_choices"),
    ("choice without a message", 200, {"choices": [{"index": 0}]}, Outcome.TRANSIENT, "key", "no_choices"),
    (
        "throttling under 200",
        200,
        {"error": {"code": "MPE-429", "message": "throttled"}},
        Outcome.RATE_LIMITED,
        "model",
        "MPE-429",
    ),
    ("invalid key under 200", 200, {"code": "CE-003", "message": "invalid key"}, Outcome.AUTH, "key", "CE-003"),
]


@pytest.mark.parametrize(
    ("status", "body", "outcome", "scope", "code"), [case[1:] for case in ERRORS], ids=[case[0] for case in ERRORS]
)
def test_error_answer_becomes_its_outcome(status: int, body: object, outcome: Outcome, scope: str, code: str) -> None:
    """Every error body seen in the field has exactly one outcome, a scope, and the provider's own code."""
    # Given an error answer
    # When it is classified
    result = _classify(status, body)
    # Then outcome, scope and code are the expected ones, and there is no reply
    assert (outcome, scope, code, status, None) == (
        result.outcome,
        result.scope,
        result.provider_code,
        result.http_status,
        result.reply,
    )


def test_refusal_of_a_provider_with_quota_per_model_speaks_of_the_model() -> None:
    """A 429 that names nobody is the domain's whose quota the provider counts; a key's own code still names the key."""
    # Given / When two refusals of a provider whose quota is per model
    plain = _classify(429, b"", throttle_scope="model")
    of_key = _classify(429, {"code": "PL-002"}, throttle_scope="model")
    # Then
    assert (plain.scope, of_key.scope) == ("model", "key")


def test_good_reply_carries_text_usage_and_served_model() -> None:
    """An ok result holds what the model said and what it cost."""
    # Given / When
    result = _classify(200, _completion())
    # Then
    assert result.outcome is Outcome.OK
    assert result.reply is not None
    assert (
        result.reply.text,
        result.reply.finish_reason,
        result.reply.prompt_tokens,
        result.reply.completion_tokens,
        result.reply.served_model,
    ) == ("<tool_call>file_operations_reader</tool_call>", "stop", 1450, 12, "qwen2.5-72b-instruct-0919")


REPLIES = [
    ("simulated tool timeout is content", _completion("TIMEOUT: tool timed out, 429, please wait 5 seconds"), "ok"),
    ("missing finish reason", _completion(finish_reason=None), "ok"),
    ("typed parts", _completion([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), "ok"),
    ("cut by our cap", _completion("long", finish_reason="length", completion_tokens=1024), "truncated"),
    ("cut a little before our cap", _completion("long", finish_reason="length", completion_tokens=1000), "truncated"),
    ("cut by the provider", _completion("short", finish_reason="length", completion_tokens=16), "transient"),
    ("cut before a function call", _completion(None, finish_reason="length", completion_tokens=16), "transient"),
    (
        "all room spent on thinking",
        _completion("", finish_reason="length", completion_tokens=1024, reasoning_content="hm"),
        "truncated",
    ),
    (
        "all room spent on thinking nobody counted",
        _completion("", finish_reason="length", completion_tokens=0, reasoning_content="hm"),
        "truncated",
    ),
    ("cut, tokens unknown", _completion("x", finish_reason="length", completion_tokens=None), "truncated"),
    ("cut by a content filter", _completion("half a", finish_reason="content_filter"), "truncated"),
    ("no content at all", _completion("", completion_tokens=0), "empty"),
    ("null content", _completion(None), "empty"),
    ("blank content", _completion(" \n"), "empty"),
    ("thought aloud only", _completion("", reasoning_content="I should search first"), "empty"),
    ("native tool call only", _completion(None, finish_reason="tool_calls", tool_calls=[{"id": "1"}]), "empty"),
]


@pytest.mark.parametrize(("body", "outcome"), [case[1:] for case in REPLIES], ids=[case[0] for case in REPLIES])
def test_reply_becomes_its_outcome(body: object, outcome: str) -> None:
    """Cut and empty replies are told from good ones, and keep what was said and billed."""
    # Given / When
    result = _classify(200, body)
    # Then
    assert outcome == result.outcome
    assert result.reply is not None
    assert result.reply.prompt_tokens == 1450


def test_detail_says_who_cut_a_reply() -> None:
    """A provider's cap below ours is told from our own: only the second is cured by asking for more."""
    # Given / When
    theirs = _classify(200, _completion("x", finish_reason="length", completion_tokens=16))
    ours = _classify(200, _completion("x", finish_reason="length", completion_tokens=1024))
    # Then
    assert theirs.detail == "reply cut at 16 tokens by the provider, though 1024 were asked for"
    assert (theirs.provider_code, ours.provider_code) == ("cut_short", "")
    assert ours.detail == "reply cut at our own cap of 1024 tokens"


def test_reply_that_strict_json_refuses_is_still_read() -> None:
    """Half an emoji or a NaN in a body loses neither the reply nor its usage."""
    # Given a reply with a lone surrogate, and a usage block with NaN
    raw = orjson.dumps(_completion("cut PLACE")).replace(b"PLACE", b"\\ud83d").replace(b"1450", b"NaN")
    # When
    result = _classify(200, raw)
    # Then the text can be sent on and stored
    assert result.outcome is Outcome.OK
    assert result.reply is not None
    assert (result.reply.text, result.reply.prompt_tokens, result.reply.completion_tokens) == ("cut ?", None, 12)


@pytest.mark.parametrize("bad", [True, -1, "12", None, [], {}])
def test_nonsense_usage_counts_as_unknown(bad: object) -> None:
    """Usage that is no count is None, never a number the windows would be settled with."""
    # Given / When
    result = _classify(200, _completion(completion_tokens=bad))
    # Then
    assert result.reply is not None
    assert result.reply.completion_tokens is None


@pytest.mark.parametrize(
    "body", [b"null", b"3", b'"x"', b"\xff\xfe", b'{"choices":{"a":1}}', b'{"error":null}', b"[" * 9999]
)
@pytest.mark.parametrize("status", [200, 204, 400, 429, 500, 599])
def test_no_body_breaks_the_classifier(status: int, body: bytes) -> None:
    """Whatever bytes arrive, something is returned, and it is not a reply."""
    # Given / When
    result = _classify(status, body)
    # Then
    assert result.reply is None
    assert result.outcome is not Outcome.OK


def test_secret_is_masked_wherever_it_is_echoed() -> None:
    """No detail or code holds the secret, not even a part of it at the cut."""
    # Given a provider that echoes the key, right where a detail is cut
    padding = "x" * 480
    body = _openai(f"{padding} {SECRET} is not a key {SECRET}", code=SECRET)
    # When
    result = _classify(400, body)
    # Then
    assert len(result.detail) <= 500
    assert result.provider_code == "***"
    for length in range(6, len(SECRET) + 1):
        assert SECRET[:length] not in result.detail


def test_redirect_is_refused_by_name() -> None:
    """A redirect is a configuration fault that names where it points, without the query or credentials in it."""
    # Given / When
    result = _classify(307, b"", {"Location": "https://user:pw@login.example.com/x?token=abc"})
    # Then
    assert result.outcome is Outcome.BAD_REQUEST
    assert "redirects to login.example.com" in result.detail
    assert "abc" not in result.detail
    assert "pw" not in result.detail


def test_request_id_stands_in_the_detail() -> None:
    """What a provider's support asks for first is kept."""
    # Given / When
    result = _classify(500, b"oops", {"X-Request-Id": "req-42"})
    # Then
    assert result.detail == "[request req-42] HTTP 500: oops"


def test_a_reply_that_repeats_the_key_never_shows_it() -> None:
    """A provider that echoes the credential in a good reply does not get it into a transcript."""
    # Given a complete reply whose text, model name and function arguments hold the secret
    body = (
        b'{"model": "m-sk-secret-1", "choices": [{"finish_reason": "tool_calls", "message": {"content": '
        b'"your key is sk-secret-1", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{\\"k\\": '
        b'\\"sk-secret-1\\"}"}}]}}]}'
    )
    # When it is read
    result = classify_response(200, {}, body, own_max_tokens=100, offers_tools=True, secret="sk-secret-1")
    # Then nothing of what comes back holds it
    assert result.reply is not None
    assert "sk-secret-1" not in repr(result)
    assert "your key is ***" == result.reply.text
