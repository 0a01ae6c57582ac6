"""The native protocol: function calls in, tool messages out, and the same trial as in text."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat
from typing import Any

import orjson
import pytest

from benchrunner.errors import SuiteError
from benchrunner.records import ChatReply, ChatRequest, Level, ToolCall, TrialScore
from benchrunner.simulator.function_calling import check_calls_answered
from benchrunner.suites.workflow.dialogue import play
from benchrunner.suites.workflow.tasks import WorkflowTask

STEPS = ("file_operations_reader", "data_processing_parser", "data_processing_filter")
TASK = WorkflowTask(
    task_id="task_00000001",
    task_type="basic_task",
    difficulty="easy",
    complexity="easy",
    description="Read the daily order records from disk, parse them, then filter them.",
    inputs={"source_path": "/data/in/a.csv"},
    expected_outputs={"format": "json"},
    required_tools=STEPS,
)


def call(name: str, arguments: str, call_id: str = "") -> ToolCall:
    return ToolCall(call_id=call_id, name=name, arguments=arguments)


def use(name: str, call_id: str = "c") -> ToolCall:
    return call("use_tool", orjson.dumps({"name": name, "arguments": {"source": "/x"}}).decode(), call_id)


def said(*calls: ToolCall, text: str = "") -> ChatReply:
    return ChatReply(text=text, finish_reason="tool_calls" if calls else "stop", tool_calls=calls)


def converse(
    replies: Iterable[ChatReply], *, seed: int = 0, prompt: str = "optimal", protocol: str = "native"
) -> tuple[TrialScore, list[ChatRequest]]:
    """Play the replies; return the score and every request. A provider would take each of them."""
    dialogue = play(TASK, prompt=prompt, tool_success_rate=1.0, trial_seed=seed, protocol=protocol)
    requests = [next(dialogue)]
    for reply in replies:
        check_calls_answered(requests[-1].messages)
        try:
            requests.append(dialogue.send(reply))
        except StopIteration as end:
            score: TrialScore = end.value
            return score, requests
    raise AssertionError("the replies ran out before the dialogue ended")


def turns_of(score: TrialScore) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = orjson.loads(score.transcript)
    return turns


def in_text(reply: ChatReply) -> ChatReply:
    """Return the reply as the text protocol has it."""
    words = {"find_tool": "query", "show_tool": "name", "use_tool": "name"}
    tags = [f"<{c.name}>{orjson.loads(c.arguments)[words[c.name]]}</{c.name}>" for c in reply.tool_calls]
    return ChatReply(text="\n".join([reply.text, *tags]), finish_reason="stop")


SEEDS = range(12)
COURSE = [
    said(call("find_tool", '{"query": "read a file"}', "a")),
    said(call("show_tool", '{"name": "data_processing_parser"}', "b")),
    *(said(use(name, name)) for name in STEPS),
    said(call("use_tool", '{"name": "teapot"}', "d")),
    said(text="Task completed."),
    *repeat(said(text="well"), 4),
]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("prompt", ["optimal", "baseline", "cot"])
def test_the_same_actions_are_worth_the_same_in_both_protocols(prompt: str, seed: int) -> None:
    """Tool outcomes, levels, scores and error classes do not depend on how an action is wrapped."""
    # Given the same course of actions as function calls and as tags
    native, _ = converse(COURSE, seed=seed, prompt=prompt)
    text, _ = converse([in_text(reply) for reply in COURSE], seed=seed, prompt=prompt, protocol="text")
    # Then everything but the transcript is equal, and so are the actions and outcomes in it
    fields = ("level", "workflow_score", "phase2_score", "quality_score", "final_score", "error_class", "turns")
    assert [getattr(native, name) for name in fields] == [getattr(text, name) for name in fields]
    assert native.tool_calls == text.tool_calls
    assert [turn["results"] for turn in turns_of(native)] == [turn["results"] for turn in turns_of(text)]
    assert [turn["variant"] for turn in turns_of(native)][:5] == ["native"] * 5
    assert [turn["variant"] for turn in turns_of(text)][:5] == ["strict"] * 5


def test_three_functions_are_offered_in_every_request_and_no_tag_is_spoken_of() -> None:
    """The model learns of find_tool, show_tool and use_tool from the request, with JSON schemas."""
    # When
    score, requests = converse(repeat(said(text="hm")), prompt="cot")
    # Then
    assert [[tool.name for tool in request.tools] for request in requests] == [
        ["find_tool", "show_tool", "use_tool"]
    ] * 10
    schemas = [orjson.loads(tool.parameters) for tool in requests[0].tools]
    assert [(s["type"], list(s["properties"]), s["required"]) for s in schemas] == [
        ("object", ["query"], ["query"]),
        ("object", ["name"], ["name"]),
        ("object", ["name", "arguments"], ["name"]),
    ]
    assert not any("<use_tool>" in message.content for request in requests for message in request.messages)
    assert "step by step" in requests[0].messages[0].content
    # And text without a call is no action: ten turns, a failure of format
    assert (score.turns, score.level, score.error_class) == (10, Level.FAILURE, "tool_call_format")


def test_every_call_of_a_message_gets_a_tool_message_of_its_own() -> None:
    """Answers stand in the calls' order under the calls' ids; what concerns the whole message closes the last one."""
    # Given a message with a search between two tool calls
    first = said(use(STEPS[0], "one"), call("find_tool", '{"query": "read a file"}', "two"), use(STEPS[1], "three"))
    # When
    score, requests = converse([first, *repeat(said(text="x"), 9)])
    # Then the search is answered and the calls are not carried out, as in text
    *_, assistant, one, two, three = requests[1].messages
    assert [c.call_id for c in assistant.tool_calls] == ["one", "two", "three"]
    assert [(m.role, m.tool_call_id) for m in (one, two, three)] == [("tool", i) for i in ("one", "two", "three")]
    assert (one.content, score.tool_calls) == ("Not carried out.", 0)
    assert two.content.startswith('[found for] "read a file"\ntool: ')
    assert three.content == (
        "Not carried out.\nThe tool calls of your message were not carried out: look up first, then call."
    )


@pytest.mark.parametrize(
    ("made", "variant", "subject"),
    [
        (call("use_tool", '{"name": "file_operations_reader"'), "native+torn", STEPS[0]),
        (call("use_tool", "file_operations_reader"), "native+torn", STEPS[0]),
        (call("use_tool", '"file_operations_reader"'), "native+torn", STEPS[0]),
        (call("functions.use_tool", '{"tool_name": "file_operations_reader"}'), "native", STEPS[0]),
        (call("file_operations_reader", '{"source": "/x"}'), "native+direct", STEPS[0]),
        (call("use_tool", '{"name": " file_operations_reader ", "arguments": "{}"}'), "native", STEPS[0]),
    ],
)
def test_a_call_that_strays_from_the_schema_is_read_all_the_same(made: ToolCall, variant: str, subject: str) -> None:
    """How a call was written is kept as its variant and decides nothing."""
    score, requests = converse([said(made), *repeat(said(text="x"), 9)])
    turn = turns_of(score)[0]
    assert (turn["variant"], turn["actions"][0]["subject"]) == (variant, subject)
    assert [result["tool"] for result in turn["results"]] == [subject]
    # And the transcript has the call as it was, the next request one that no service refuses
    assert turn["calls"] == [{"id": "", "name": made.name, "arguments": made.arguments}]
    (kept,) = requests[1].messages[-2].tool_calls
    assert isinstance(orjson.loads(kept.arguments), dict)
    assert kept.call_id
    assert kept.name.replace("_", "").isalnum()


def test_a_call_nobody_can_read_is_told_so_and_counts_as_no_action() -> None:
    """Its tool message says so, and the model is told how to act."""
    score, requests = converse(repeat(said(call("use_tool", '{"nam', "a"), call("", "", "b"))))
    first, second = requests[1].messages[-2:]
    assert first.content == "Not carried out: the arguments of this call could not be read."
    assert "Call one of your functions" in second.content
    assert (score.level, score.error_class, score.tool_calls) == (Level.FAILURE, "tool_call_format", 0)
    assert {turn["variant"] for turn in turns_of(score)} == {"native+direct+torn"}


@pytest.mark.parametrize("ids", [("", ""), ("same", "same")])
def test_calls_without_distinct_ids_get_some(ids: tuple[str, str]) -> None:
    """Answers must name their calls, and some servers number none of them."""
    _, requests = converse([said(*(use("utility_cache", i) for i in ids)), *repeat(said(text="x"), 9)])
    *_, assistant, one, two = requests[1].messages
    assert [c.call_id for c in assistant.tool_calls] == [one.tool_call_id, two.tool_call_id]
    assert one.tool_call_id != two.tool_call_id


def test_words_beside_a_call_may_claim_completion() -> None:
    """The phrase is heard as in text, whether the reply holds calls or not; reasoning claims nothing."""
    seed = next(
        seed for seed in range(500) if converse(COURSE, seed=seed)[0].level is Level.FULL
    )
    steps = [said(use(name)) for name in STEPS]
    claimed = said(use("utility_logger"), text="The task is complete.")
    thought = said(use("utility_logger"), text="<think>the task is complete</think>")
    assert converse([*steps, claimed], seed=seed)[0].turns == 4
    assert converse([*steps, thought, said(text="Task completed.")], seed=seed)[0].turns == 5


def test_a_flood_of_calls_is_cut_off() -> None:
    """No more than forty calls of one message are looked at, or sent back."""
    score, requests = converse([said(*(use("teapot", str(n)) for n in range(500))), *repeat(said(text="x"), 9)])
    assert len(turns_of(score)[0]["calls"]) == 40
    assert len(requests[1].messages[2].tool_calls) == 40


@pytest.mark.parametrize("reply", [said(text="x"), said(use("teapot")), said(call("find_tool", '{"query": "zzz"}'))])
def test_no_answer_gives_the_required_tools_away(reply: ChatReply) -> None:
    """Help and refusals never hold the name of a required tool."""
    _, requests = converse(repeat(reply), prompt="baseline")
    words = " ".join(message.content for request in requests for message in request.messages)
    assert [name for name in STEPS if name in words] == []


def test_an_unknown_protocol_is_refused_by_name() -> None:
    """SuiteError names what there is."""
    with pytest.raises(SuiteError, match="text, native"):
        converse([], protocol="telepathy")
