"""Function calling on the wire, in both dialects, on intercepted requests and bodies as servers send them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import responses

from benchrunner.providers.chat import HttpChatProvider
from benchrunner.providers.classify import classify_response
from benchrunner.records import (
    CallResult,
    ChatRequest,
    Key,
    Message,
    ModelEntry,
    Outcome,
    Provider,
    ToolCall,
    ToolDefinition,
)

OPENAI = Provider(name="lab", kind="openai", base_url="https://lab.example.com/v1")
AZURE = Provider(name="azure", kind="azure", base_url="https://res.example.com", api_version="2024-12-01-preview")
URLS = {
    "openai": "https://lab.example.com/v1/chat/completions",
    "azure": "https://res.example.com/openai/deployments/q7/chat/completions?api-version=2024-12-01-preview",
}
MODEL = ModelEntry(name="q", provider="lab", key_id="key0", deployments=("q7",), limits=())
KEY = Key(key_id="key0", provider="lab", account="lab", secret="sk-secret", fingerprint="f0", limits=())
TOOL = ToolDefinition(name="find_tool", description="Look.", parameters='{"type":"object"}')
CALL = ToolCall(call_id="call_1", name="find_tool", arguments='{"query": "grüß"}')
REQUEST = ChatRequest(
    messages=(
        Message(role="user", content="go"),
        Message(role="assistant", content="", tool_calls=(CALL,)),
        Message(role="tool", content="[found for]", tool_call_id="call_1"),
    ),
    tools=(TOOL,),
)


def completion(message: dict[str, Any], finish_reason: str = "tool_calls") -> dict[str, Any]:
    return {"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}]}


def entry(arguments: object, call_id: object = "call_9", name: object = "use_tool") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def judged(message: dict[str, Any], finish_reason: str = "tool_calls", *, offers_tools: bool = True) -> CallResult:
    body = orjson.dumps(completion(message, finish_reason))
    return classify_response(200, {}, body, own_max_tokens=100, offers_tools=offers_tools)


@pytest.fixture
def wire() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


@pytest.mark.parametrize("provider", [OPENAI, AZURE], ids=["openai", "azure"])
def test_tools_calls_and_results_are_written_as_documented(wire: responses.RequestsMock, provider: Provider) -> None:
    """Definitions under `tools`, calls in the assistant's message with null content, results as role tool."""
    # Given a service whose model calls a function and says nothing
    message = {"role": "assistant", "content": None, "tool_calls": [entry('{"name": "x"}')]}
    wire.post(URLS[provider.kind], json=completion(message))
    # When
    result = HttpChatProvider(provider).send(REQUEST, model=MODEL, deployment="q7", key=KEY, timeout_s=5.0)
    # Then the call is the answer
    assert result.outcome is Outcome.OK
    assert result.reply is not None
    assert result.reply.tool_calls == (ToolCall(call_id="call_9", name="use_tool", arguments='{"name": "x"}'),)
    assert (result.reply.text, result.reply.finish_reason) == ("", "tool_calls")
    # And the request held exactly this
    assert orjson.loads(wire.calls[0].request.body or b"") == {
        "model": "q7",
        "messages": [
            {"role": "user", "content": "go"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "find_tool", "arguments": '{"query": "grüß"}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "[found for]"},
        ],
        "max_tokens": 1024,
        "temperature": 0.0,
        "stream": False,
        "tools": [
            {
                "type": "function",
                "function": {"name": "find_tool", "description": "Look.", "parameters": {"type": "object"}},
            }
        ],
    }


def test_half_an_emoji_in_a_call_does_not_lose_the_trial(wire: responses.RequestsMock) -> None:
    """What UTF-8 cannot say is replaced, in arguments as in words."""
    wire.post(URLS["openai"], json=completion({"role": "assistant", "content": "hi"}))
    call = ToolCall(call_id="c", name="f", arguments="\ud83d")
    broken = Message(role="assistant", content="\ud83d", tool_calls=(call,))
    request = ChatRequest(messages=(broken,))
    HttpChatProvider(OPENAI).send(request, model=MODEL, deployment="q7", key=KEY, timeout_s=5.0)
    (message,) = orjson.loads(wire.calls[0].request.body or b"")["messages"]
    assert (message["content"], message["tool_calls"][0]["function"]["arguments"]) == ("?", "?")


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ([entry('{"name": "x')], [("call_9", "use_tool", '{"name": "x')]),
        ([entry({"name": "x"})], [("call_9", "use_tool", '{"name": "x"}')]),
        ([entry("{}", call_id=None)], [("", "use_tool", "{}")]),
        ([entry(None)], [("call_9", "use_tool", "")]),
        ([entry("{}", name=None), {"function": 3}, "x", entry("{}")], [("call_9", "use_tool", "{}")]),
        ([entry("\ud83d")], [("call_9", "use_tool", "?")]),
    ],
    ids=["torn", "an object", "no id", "no arguments", "strangers among them", "half an emoji"],
)
def test_calls_are_read_however_a_server_writes_them(listed: list[Any], expected: list[tuple[str, str, str]]) -> None:
    """Arguments stay as the model wrote them; what is no call is passed over."""
    body = json.dumps(completion({"role": "assistant", "content": "", "tool_calls": listed})).encode()
    result = classify_response(200, {}, body, own_max_tokens=100, offers_tools=True)
    assert result.reply is not None
    assert [(c.call_id, c.name, c.arguments) for c in result.reply.tool_calls] == expected


def test_calls_alone_are_an_answer_only_where_functions_were_offered() -> None:
    """A gateway that makes calls of what nobody asked it to has swallowed the model's words: that is no answer."""
    message = {"role": "assistant", "content": None, "tool_calls": [entry("{}")]}
    assert judged(message).outcome is Outcome.OK
    assert judged(message, offers_tools=False).outcome is Outcome.EMPTY
    assert judged({"role": "assistant", "content": None, "tool_calls": []}).outcome is Outcome.EMPTY
    assert judged(message, "length").outcome is Outcome.TRUNCATED


def test_a_request_counts_all_that_a_model_reads() -> None:
    """Definitions and calls weigh in the estimate as words do."""
    offered = len("find_tool") + len("Look.") + len('{"type":"object"}')
    assert REQUEST.characters == len("go") + len("find_tool") + len(CALL.arguments) + len("[found for]") + offered
