"""The embedded provider's side of the wire: what it reads from a request, and the bodies real services answer with.

Pure. An Answer says everything about a response, so a fault is a function from one Answer to another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import orjson

from benchrunner.records import ChatReply, ChatRequest, Message, ToolDefinition
from benchrunner.simulator.function_calling import (
    Malformed,
    check_calls_answered,
    read_message,
    read_tools,
    shown_message,
)

CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request off the wire. `headers` has lower-case names."""

    at_s: float  # monotonic instant of its first byte
    epoch_s: float  # the same on the wall clock
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One chat request by a known key for a known model."""

    at_s: float
    epoch_s: float
    dialect: str  # "openai" | "azure"
    key_id: str
    account: str
    model: str
    deployment: str
    messages: tuple[Message, ...]
    max_tokens: int | None
    tools: tuple[ToolDefinition, ...] = ()


class Ending(StrEnum):
    """What comes when an answer's time has come."""

    RESPONSE = "response"  # the whole of it
    RESET = "reset"  # a TCP reset instead
    CLOSE = "close"  # an orderly end of the connection instead, without a byte


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One response. `delay_s` counts from the request's arrival. `faults` names those that had a hand in it."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    delay_s: float = 0.0
    content_type: bytes = b"application/json"
    ending: Ending = Ending.RESPONSE
    faults: tuple[str, ...] = ()


Handler = Callable[[Arrival], Answer]
Fault = Callable[[Arrival, Handler], Answer]
"""Stands before the provider: may answer itself, or let `Handler` answer (which counts the request) and change that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A readable request body."""

    deployment: str
    messages: tuple[Message, ...]
    max_tokens: int | None
    tools: tuple[ToolDefinition, ...] = ()


class Refused(Exception):
    """The request ends here, with this answer. Caught by the service, never seen outside."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.answer = answer


def read_request(body: bytes) -> Asked:
    """Return what a chat request asks for. Raises Refused with HTTP 400 as the real services word it."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Refused(error(400, "the body is not valid JSON", kind="invalid_request_error")) from None
    if not isinstance(document, dict):
        raise Refused(error(400, "the body must be a JSON object", kind="invalid_request_error"))
    if document.get("stream"):
        raise Refused(error(400, "this provider does not stream", kind="invalid_request_error"))
    messages = document.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refused(error(400, "'messages' must be a list with at least one", kind="invalid_request_error"))
    try:
        read = tuple(read_message(message, position) for position, message in enumerate(messages))
        check_calls_answered(read)
        tools = read_tools(document.get("tools"))
    except Malformed as fault:
        raise Refused(error(400, str(fault), kind="invalid_request_error")) from None
    max_tokens = document.get("max_tokens")
    if max_tokens is not None and (isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 1):
        raise Refused(error(400, "'max_tokens' must be a positive integer", kind="invalid_request_error"))
    model = document.get("model")
    return Asked(
        deployment=model if isinstance(model, str) else "",
        messages=read,
        max_tokens=max_tokens,
        tools=tools,
    )


def count_tokens(messages: tuple[Message, ...], tools: tuple[ToolDefinition, ...] = ()) -> int:
    """Return the prompt's estimated tokens: four characters each."""
    return math.ceil(ChatRequest(messages=messages, tools=tools).characters / CHARACTERS_PER_TOKEN)


def capped(reply: ChatReply, prompt_tokens: int, max_tokens: int | None) -> ChatReply:
    """Return the reply with its usage filled in, cut where the caller's cap cuts it."""
    text, finish_reason = reply.text, reply.finish_reason
    completion_tokens = reply.completion_tokens
    if completion_tokens is None:
        written = Message(role="assistant", content=text, tool_calls=reply.tool_calls)
        completion_tokens = math.ceil(written.characters / CHARACTERS_PER_TOKEN)
    calls = reply.tool_calls
    if max_tokens is not None and completion_tokens > max_tokens:
        text, finish_reason = text[: max_tokens * CHARACTERS_PER_TOKEN], "length"
        completion_tokens = max_tokens
        calls = ()  # they come after the text, and a cut one is not given out
    return ChatReply(
        text=text,
        finish_reason=finish_reason,
        prompt_tokens=reply.prompt_tokens if reply.prompt_tokens is not None else prompt_tokens,
        completion_tokens=completion_tokens,
        served_model=reply.served_model,
        tool_calls=calls,
    )


def completion(reply: ChatReply, *, number: int, created_epoch_s: float, delay_s: float) -> Answer:
    """Return a chat completion with one choice."""
    prompt_tokens, completion_tokens = reply.prompt_tokens or 0, reply.completion_tokens or 0
    body = orjson.dumps(
        {
            "id": f"chatcmpl-sim-{number}",
            "object": "chat.completion",
            "created": int(created_epoch_s),
            "model": reply.served_model,
            "choices": [
                {
                    "index": 0,
                    "message": shown_message(reply),
                    "finish_reason": reply.finish_reason,
                }
            ],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": prompt_tokens + completion_tokens,
            },
        }
    )
    return Answer(status=200, body=body, delay_s=delay_s)


def error(status: int, said: str, *, kind: str, code: str | None = None) -> Answer:
    """Return an error body of the common shape."""
    document = {"error": {"message": said, "type": kind, "param": None, "code": code}}
    return Answer(status=status, body=orjson.dumps(document))


def throttled(said: str, *, kind: str, code: str, wait_s: float) -> Answer:
    """Return a 429 that says how long to wait: whole seconds as the standard has it, and milliseconds beside it."""
    document = {"error": {"message": said, "type": kind, "param": None, "code": code}}
    return Answer(
        status=429,
        body=orjson.dumps(document),
        headers=(
            (b"retry-after", str(math.ceil(wait_s)).encode()),
            (b"retry-after-ms", str(math.ceil(wait_s * 1000.0)).encode()),
        ),
    )
