"""The wire format of both dialects: OpenAI-compatible services and Azure deployments, over one client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from urllib.parse import quote

import orjson

from benchrunner.clock import Clock, SystemClock
from benchrunner.providers.classify import classify_exception, classify_response
from benchrunner.providers.connections import NETWORK_ERRORS, Lines, find_way
from benchrunner.records import CallResult, ChatRequest, Key, Message, ModelEntry, Outcome, Provider


class HttpChatProvider:
    """A ChatProvider over HTTP. One per provider and process, shared by all its threads."""

    def __init__(self, provider: Provider, *, clock: Clock | None = None) -> None:
        self._provider = provider
        self._azure = provider.kind == "azure"
        self._clock: Clock = clock or SystemClock()
        self._lines = Lines(find_way(provider.base_url, provider.connect_timeout_s), self._clock)
        self._urls: dict[str, str] = {}

    def warm(self) -> None:
        """Return with a connection open for this thread's call, or closed if none could be opened: `send` says why."""
        try:
            self._lines.line().warm()
        except NETWORK_ERRORS:
            return  # nothing was asked of the provider yet; the attempt that follows reports it, classified

    def send(
        self,
        request: ChatRequest,
        *,
        model: ModelEntry,
        deployment: str,
        key: Key,
        timeout_s: float,
        departed: Callable[[float], None] | None = None,
    ) -> CallResult:
        """Return how one attempt ended; see ChatProvider.send."""
        max_tokens = request.max_tokens if request.max_tokens is not None else model.max_tokens
        if not (key.secret.isascii() and key.secret.isprintable()):
            # http.client would refuse the header with an error that quotes the secret.
            return CallResult(
                outcome=Outcome.AUTH,
                latency_s=0.0,
                provider_code="unsendable_secret",
                detail=f"the secret of {key.key_id} holds characters no HTTP header can carry; check its variable",
            )
        headers = {"api-key": key.secret} if self._azure else {"Authorization": f"Bearer {key.secret}"}
        body = encode(request, deployment=deployment, model=model, max_tokens=max_tokens)
        started_s = self._clock.now_s()
        try:
            received = self._lines.line().post(self._url(deployment), headers, body, timeout_s, departed)
        except NETWORK_ERRORS as error:
            return classify_exception(error, latency_s=self._clock.now_s() - started_s, secret=key.secret)
        finally:
            self._lines.give_back()
        return classify_response(
            received.status,
            received.headers,
            received.body,
            own_max_tokens=max_tokens,
            offers_tools=bool(request.tools),
            latency_s=self._clock.now_s() - started_s,
            # Azure's quota is the (account, model) pair's: its refusals never speak of one key alone.
            throttle_scope="model" if self._azure else "key",
            secret=key.secret,
            now_epoch_s=_epoch_s(self._clock) if received.status >= 400 else None,
        )

    def close(self) -> None:
        """Drop every idle connection."""
        self._lines.close()

    def _url(self, deployment: str) -> str:
        url = self._urls.get(deployment)
        if url is None:
            url = self._urls[deployment] = chat_url(self._provider, deployment)
        return url


def _epoch_s(clock: Clock) -> float:
    return datetime.fromisoformat(clock.utc()).timestamp()


def chat_url(provider: Provider, deployment: str) -> str:
    """Return where a deployment's chat completions are asked for, in the provider's dialect."""
    base_url = provider.base_url.rstrip("/")
    if provider.kind == "azure":
        version = quote(provider.api_version, safe="")
        return f"{base_url}/openai/deployments/{quote(deployment, safe='')}/chat/completions?api-version={version}"
    return f"{base_url}/chat/completions"


def encode(request: ChatRequest, *, deployment: str, model: ModelEntry, max_tokens: int) -> bytes:
    """Return the request's JSON body. Cap and temperature are always said: gateways cut at 16 tokens otherwise."""
    temperature = request.temperature if request.temperature is not None else model.temperature
    document: dict[str, object] = {
        "model": deployment,
        "messages": [_message(message) for message in request.messages],
        "max_tokens": max_tokens,
        "temperature": temperature,
        "stream": False,
    }
    if request.tools:
        document["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": orjson.Fragment(tool.parameters),
                },
            }
            for tool in request.tools
        ]
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:
        # Half an emoji in a task file is no reason to lose the trial; UTF-8 has no way to say it.
        document["messages"] = [_message(_sendable(message)) for message in request.messages]
        return orjson.dumps(document)


def _message(message: Message) -> dict[str, object]:
    if message.tool_call_id:
        return {"role": message.role, "tool_call_id": message.tool_call_id, "content": message.content}
    if not message.tool_calls:
        return {"role": message.role, "content": message.content}
    calls = [
        {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in message.tool_calls
    ]
    return {"role": message.role, "content": message.content or None, "tool_calls": calls}


def _sendable(message: Message) -> Message:
    calls = tuple(
        replace(call, name=_utf8(call.name), arguments=_utf8(call.arguments)) for call in message.tool_calls
    )
    return replace(message, content=_utf8(message.content), tool_calls=calls)


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
