"""What an answer, or the lack of one, means: every HTTP response and exception becomes one Outcome. Pure.

The codes and texts come from what real gateways sent (docs/concepts.md, "Failure classes"): throttling dressed as
HTTP 400, an invalid key dressed as 400, error objects under HTTP 200. What a model wrote is never searched for words:
a simulated tool's TIMEOUT in a reply is content.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from benchrunner.providers.payload import ErrorWords, load_json, read_error, read_reply
from benchrunner.providers.retry_hints import choose_retry_after_s, classify_wait_text
from benchrunner.records import CallResult, ChatReply, Outcome

DETAIL_LIMIT = 500
CODE_LIMIT = 64

# Limits of an upstream account and model, whatever key asked.
_MODEL_THROTTLE = re.compile(r"\bMPE-429\b|\bThrottling(?:\.\w+)*\b|\bRateLimitReached\b")
_KEY_THROTTLE = re.compile(r"\bPL-002\b")
_THROTTLE_CODES = frozenset({"rate_limit_exceeded", "rate_limit_error", "too_many_requests", "toomanyrequests"})
# "Rate limit reached for gpt-4o in organization ...": the window named is the account's for that model.
_NAMES_MODEL = re.compile(r"rate limit reached for \S+ in organi[sz]ation", re.IGNORECASE)
_AUTH = re.compile(r"\bCE-003\b|\binvalid_api_key\b|\bInvalidApiKey\b|\binvalid_authentication\b")
_QUOTA = re.compile(
    r"\binsufficient_quota\b|\bbilling_hard_limit_reached\b|\bArrearage\b|\bFreeTierOnly\b|\binsufficient balance\b"
    r"|\bout of call volume quota\b",
    re.IGNORECASE,
)
_DAILY = re.compile(r"\b(?:daily|per[ -]day|RPD|TPD)\b", re.IGNORECASE)

CUT_SHORT = "cut_short"
"""The `provider_code` of a reply that something on the way cut off, and not the cap we set: more room is no cure."""

FAR_BELOW_CAP = 0.25
"""A reply of less than this share of our cap was cut by somebody else, however tokens are counted. One that was given
more room, and met the service's own cap where ours had been, was not."""

_TRANSIENT_STATUS = frozenset({408, 409, 425})


def classify_response(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    own_max_tokens: int,
    offers_tools: bool = False,
    latency_s: float = 0.0,
    throttle_scope: str = "key",
    secret: str = "",
    now_epoch_s: float | None = None,
) -> CallResult:
    """Return what one complete HTTP response means.

    `own_max_tokens` is the cap we asked for; `offers_tools` says that function calls alone are an answer to what we
    asked; `throttle_scope` is whom a refusal speaks of that does not say ("model"
    where the provider's quota is per model); `secret` is masked wherever the provider echoes it; `now_epoch_s` serves
    dated Retry-After headers only.
    """
    if secret and secret.encode() in body:
        # Before anything is read: a reply that repeats the key must not carry it into a transcript either.
        body = body.replace(secret.encode(), b"***")
    if 200 <= status < 300:
        document = load_json(body)
        reply = read_reply(document)
        if reply is not None:
            outcome, detail = _judge(reply, own_max_tokens, offers_tools)
            return CallResult(
                outcome=outcome,
                latency_s=latency_s,
                reply=reply,
                http_status=status,
                provider_code=CUT_SHORT if outcome is Outcome.TRANSIENT else "",
                detail=mask(detail, secret),
            )
        words = read_error(document, body)
    else:
        words = read_error(load_json(body), body)
    lowered = {name.lower(): value for name, value in headers.items()}
    outcome, scope = _classify_error(status, words, throttle_scope)
    return CallResult(
        outcome=outcome,
        latency_s=latency_s,
        http_status=status,
        provider_code=mask(words.code, secret, limit=CODE_LIMIT),
        detail=mask(_describe(status, lowered, words), secret),
        retry_after_s=choose_retry_after_s(lowered, words.text, now_epoch_s=now_epoch_s),
        scope=scope,
    )


def _judge(reply: ChatReply, own_max_tokens: int, offers_tools: bool) -> tuple[Outcome, str]:
    finish_reason, completion_tokens = reply.finish_reason, reply.completion_tokens
    # Length first: a reasoning model that spent the whole cap thinking has no content either, and needs room.
    if finish_reason == "length":
        whose = f"our own cap of {own_max_tokens} tokens"
        if completion_tokens is not None and completion_tokens < own_max_tokens:
            whose = f"{completion_tokens} tokens by the provider, though {own_max_tokens} were asked for"
        # A count of 0 tells nothing: some services leave out what a model thought.
        if completion_tokens and completion_tokens < own_max_tokens * FAR_BELOW_CAP:
            return Outcome.TRANSIENT, f"reply cut at {whose}"
        return Outcome.TRUNCATED, f"reply cut at {whose}"
    if not reply.text.strip() and not (offers_tools and reply.tool_calls):
        return Outcome.EMPTY, f"no content, finish_reason {finish_reason or 'missing'}"
    if finish_reason == "content_filter":
        return Outcome.TRUNCATED, "reply cut by the provider's content filter"
    return Outcome.OK, ""


def _classify_error(status: int, words: ErrorWords, throttle_scope: str) -> tuple[Outcome, str]:
    said = words.searchable
    model_throttle = _MODEL_THROTTLE.search(said) is not None
    # DashScope says "exceeded your current quota" of a per-minute window: a throttle code outranks the words.
    if not model_throttle and status < 500:
        if status == 402 or _QUOTA.search(said) or (status in (403, 429) and _DAILY.search(said)):
            return Outcome.QUOTA, "key"
        if status in (401, 403) or _AUTH.search(said):
            return Outcome.AUTH, "key"
    named = _THROTTLE_CODES.intersection(code.lower() for code in words.codes)
    if model_throttle or status == 429 or _KEY_THROTTLE.search(said) or named:
        if model_throttle or _NAMES_MODEL.search(said):
            return Outcome.RATE_LIMITED, "model"
        return Outcome.RATE_LIMITED, "key" if _KEY_THROTTLE.search(said) else throttle_scope
    if 400 <= status < 500 and status not in _TRANSIENT_STATUS:
        if classify_wait_text(words.text) is not None:
            return Outcome.RATE_LIMITED, throttle_scope
        return Outcome.BAD_REQUEST, "key"
    if 300 <= status < 400:
        return Outcome.BAD_REQUEST, "key"
    return Outcome.TRANSIENT, "key"


def _describe(status: int, headers: Mapping[str, str], words: ErrorWords) -> str:
    said = f"HTTP {status}"
    if 300 <= status < 400:
        # The host only: a Location may carry signed queries. Not followed, since it would take the key elsewhere.
        said += f" redirects to {_host(headers.get('location', ''))}; redirects are not followed: correct base_url"
    if words.text:
        said += f": {words.text}"
    request_id = headers.get("x-request-id") or headers.get("apim-request-id") or ""
    return f"[request {request_id[:64]}] {said}" if request_id else said


def _host(location: str) -> str:
    try:
        return urlsplit(location).netloc.rpartition("@")[2] or "a place on the same host"
    except ValueError:
        return "an unreadable place"


def mask(text: str, secret: str, *, limit: int = DETAIL_LIMIT) -> str:
    """Return `text` on one line without `secret`, at most `limit` characters. Masked first, so no cut bares a part."""
    if secret:
        text = text.replace(secret, "***")
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


# --- no complete response ---------------------------------------------------------------------------------------------


def classify_exception(error: BaseException, *, latency_s: float = 0.0, secret: str = "") -> CallResult:
    """Return what an exception of the HTTP stack means: transient, or bad_request where no second try can help.

    `provider_code` is a word of ours for the kind of failure: refused, dns, reset, disconnected, read_timeout, ...
    Classes are told by name, so that this file needs no HTTP library; the whole chain of causes is looked at.
    """
    names: set[str] = set()
    for cause in _causes(error):
        names.update(base.__name__ for base in type(cause).__mro__)
    kinds = ((code, outcome) for code, outcome, marks in _EXCEPTION_KINDS if names & marks)
    code, outcome = next(kinds, ("connection", Outcome.TRANSIENT))
    return CallResult(outcome=outcome, latency_s=latency_s, provider_code=code, detail=mask(f"{code}: {error}", secret))


# In order: the first kind with a mark among the names wins, so the particular stands before the general.
_EXCEPTION_KINDS: tuple[tuple[str, Outcome, frozenset[str]], ...] = (
    ("tls_certificate", Outcome.BAD_REQUEST, frozenset({"SSLCertVerificationError", "CertificateError"})),
    (
        "invalid_url",
        Outcome.BAD_REQUEST,
        frozenset({"InvalidURL", "MissingSchema", "InvalidSchema", "LocationValueError", "URLSchemeUnknown"}),
    ),
    ("body_too_large", Outcome.TRANSIENT, frozenset({"OversizedBodyError"})),
    ("proxy", Outcome.TRANSIENT, frozenset({"ProxyError"})),
    ("dns", Outcome.TRANSIENT, frozenset({"NameResolutionError", "gaierror"})),
    ("refused", Outcome.TRANSIENT, frozenset({"ConnectionRefusedError"})),
    ("tunnel_timeout", Outcome.TRANSIENT, frozenset({"TunnelTimeoutError"})),
    ("handshake_timeout", Outcome.TRANSIENT, frozenset({"HandshakeTimeoutError"})),
    ("connect_timeout", Outcome.TRANSIENT, frozenset({"ConnectTimeout", "ConnectTimeoutError"})),
    # The server hung up on an idle connection, or died, before the first byte of an answer.
    ("disconnected", Outcome.TRANSIENT, frozenset({"RemoteDisconnected"})),
    ("reset", Outcome.TRANSIENT, frozenset({"ConnectionResetError", "BrokenPipeError", "ConnectionAbortedError"})),
    ("read_timeout", Outcome.TRANSIENT, frozenset({"ReadTimeout", "ReadTimeoutError", "TimeoutError"})),
    ("tls", Outcome.TRANSIENT, frozenset({"SSLError"})),
    (
        "torn_body",
        Outcome.TRANSIENT,
        frozenset({"IncompleteRead", "ProtocolError", "DecodeError", "HTTPException", "ChunkedEncodingError"}),
    ),
)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and all it wraps: requests keeps causes in `args`, urllib3 in `reason`, Python in `__cause__`."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        cause = waiting.pop(0)
        if not isinstance(cause, BaseException) or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        waiting += [*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__]
