"""The embedded provider's function calling: what it refuses, as the real ones do, and what its models make of it."""

from __future__ import annotations

from functools import cache
from typing import Any

import orjson
import pytest

from benchrunner.records import ChatReply, Condition, Level, Message, ToolCall, Trial
from benchrunner.simulator.behaviour import SimulatedModel, simulated_model
from benchrunner.simulator.skill import skill_at
from benchrunner.simulator.wire import Refused, capped, completion, count_tokens, read_request
from benchrunner.suites.workflow import WorkflowSuite
from benchrunner.suites.workflow.dialogue import play
from benchrunner.suites.workflow.native import FUNCTIONS
from benchrunner.suites.workflow.simulation import call_rng
from benchrunner.suites.workflow.tasks import make_task

USER = {"role": "user", "content": "go"}
MADE = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ASSISTANT = {"role": "assistant", "content": None, "tool_calls": [MADE]}
RESULT = {"role": "tool", "tool_call_id": "a", "content": "fine"}
OFFERED = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
SUITE = WorkflowSuite()


def body(*messages: object, tools: object = None) -> bytes:
    return orjson.dumps({"model": "m", "messages": messages, "tools": tools if tools is not None else [OFFERED]})


def said_by_refusal(content: bytes) -> str:
    with pytest.raises(Refused) as refused:
        read_request(content)
    answer = refused.value.answer
    assert answer.status == 400
    said: str = orjson.loads(answer.body)["error"]["message"]
    return said


def test_calls_results_and_functions_are_read() -> None:
    """What the request holds reaches the model as records."""
    asked = read_request(body(USER, ASSISTANT, RESULT))
    assert asked.messages == (
        Message(role="user", content="go"),
        Message(role="assistant", content="", tool_calls=(ToolCall(call_id="a", name="f", arguments="{}"),)),
        Message(role="tool", content="fine", tool_call_id="a"),
    )
    assert [(tool.name, tool.parameters) for tool in asked.tools] == [("f", '{"type":"object"}')]


def torn(**changes: Any) -> dict[str, Any]:
    return {**ASSISTANT, "tool_calls": [{**MADE, **changes}]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (body(USER, ASSISTANT), "do not answer a"),
        (body(USER, ASSISTANT, USER), "messages[2] comes before the answers to a"),
        (body(USER, RESULT), "messages[1] answers no open tool call"),
        (body(USER, ASSISTANT, RESULT, RESULT), "messages[3] answers no open tool call"),
        (body(USER, {**ASSISTANT, "tool_calls": [MADE, MADE]}, RESULT, RESULT), "holds one id twice"),
        (body(USER, torn(id=""), RESULT), "needs an id"),
        (body(USER, torn(function={"name": "f", "arguments": '{"a'}), RESULT), "is not the JSON text of an object"),
        (body(USER, torn(function={"name": "f", "arguments": "3"}), RESULT), "is not the JSON text of an object"),
        (body(USER, {"role": "tool", "content": "x"}), "needs the tool_call_id"),
        (body({"role": "assistant", "content": None}), "needs a role and a content"),
        (body(USER, {**ASSISTANT, "tool_calls": []}), "must be a list with at least one"),
        (body(USER, tools=[]), "'tools' must be a list"),
        (body(USER, tools=[{"type": "function"}]), "tools[0] must be a function"),
        (body(USER, tools=[{**OFFERED, "function": {"name": "f", "parameters": 3}}]), "must be a JSON schema"),
    ],
)
def test_a_history_that_real_services_refuse_is_refused(content: bytes, said: str) -> None:
    """HTTP 400, with the place; so that a dialogue which builds such a history is found out here."""
    assert said in said_by_refusal(content)


def test_a_completion_with_calls_has_the_shape_of_the_real_ones() -> None:
    """Null content, calls with ids, usage that counts them; a cap cuts them off."""
    made = ToolCall(call_id="a", name="f", arguments="{}")
    reply = ChatReply(text="", finish_reason="tool_calls", tool_calls=(made,))
    counted = capped(reply, 7, 100)
    answer = orjson.loads(completion(counted, number=1, created_epoch_s=0.0, delay_s=0.0).body)
    assert answer["choices"][0]["message"] == ASSISTANT
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert answer["usage"] == {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}
    many = ChatReply(text="x" * 80, finish_reason="tool_calls", tool_calls=counted.tool_calls)
    cut = capped(many, 7, 5)
    assert (cut.text, cut.finish_reason, cut.tool_calls) == ("x" * 20, "length", ())


def test_offered_functions_weigh_in_the_prompt() -> None:
    """They cost tokens on every request."""
    messages = (Message(role="user", content="x" * 40),)
    assert count_tokens(messages) == 10
    assert count_tokens(messages, FUNCTIONS) > 100


def opening(protocol: str) -> tuple[Message, ...]:
    task = make_task(seed=1, phase="5.1", difficulty="easy", task_type="data_pipeline", index=0)
    return next(play(task, prompt="optimal", tool_success_rate=0.8, trial_seed=1, protocol=protocol)).messages


def test_a_model_calls_functions_when_they_are_offered_and_writes_tags_otherwise() -> None:
    """The request decides; functions it does not know are left alone."""
    model = SimulatedModel("m", skill_at(1.0), seed=1)
    called, written = model.reply(opening("native"), FUNCTIONS), model.reply(opening("native"))
    assert [call.name for call in called.tool_calls] == ["use_tool"]
    assert (called.text, called.finish_reason) == ("", "tool_calls")
    assert written.tool_calls == model.reply(opening("native"), FUNCTIONS[:1]).tool_calls == ()
    assert written.text.startswith("<use_tool>")
    assert model.reply(opening("native"), FUNCTIONS) == called


def test_a_careless_model_tears_its_arguments_or_talks_instead() -> None:
    """What a slip of format looks like in function calling."""
    model = SimulatedModel("m", skill_at(0.0), seed=1)
    replies = []
    for index in range(60):
        task = make_task(seed=1, phase="5.1", difficulty="easy", task_type="data_pipeline", index=index)
        request = next(play(task, prompt="optimal", tool_success_rate=0.8, trial_seed=1, protocol="native"))
        replies.append(model.reply(request.messages, request.tools))
    kinds = {
        "sound": sum(bool(r.tool_calls) and r.tool_calls[0].arguments.endswith("}") for r in replies),
        "torn": sum(bool(r.tool_calls) and not r.tool_calls[0].arguments.endswith("}") for r in replies),
        "talk": sum(not r.tool_calls for r in replies),
    }
    assert sum(kinds.values()) == 60
    assert min(kinds.values()) >= 5, kinds


@cache
def full_share(size: str, prompt: str) -> float:
    """Return the share of full successes of 75 native trials."""
    name = f"qwen2.5-{size}-instruct"
    model = simulated_model(name, seed=20250826)
    condition = Condition(model=name, prompt=prompt, difficulty="easy", tool_success_rate=0.8)
    levels = []
    for task_type in SUITE.task_types:
        tasks = SUITE.tasks(seed=20250826, phase="5.2", difficulty="easy", task_type=task_type, count=15)
        for instance, task in enumerate(tasks):
            trial = Trial(
                trial_id=task.task_id, shard_id="s", condition=condition, task_id=task.task_id, task_type=task_type,
                instance=instance, seed=call_rng(1, f"{name}/{prompt}/{task.task_id}", instance).getrandbits(62),
            )  # fmt: skip
            dialogue = SUITE.dialogue(trial, task, protocol="native")
            request = next(dialogue)
            try:
                while True:
                    request = dialogue.send(model.reply(request.messages, request.tools))
            except StopIteration as end:
                levels.append(end.value.level)
    return levels.count(Level.FULL) / len(levels)


def test_native_shows_the_shapes_that_text_shows() -> None:
    """Bigger is better, and a plan beats no plan."""
    assert full_share("72b", "optimal") > 1.3 * full_share("3b", "optimal")
    assert full_share("72b", "optimal") > full_share("72b", "baseline")
