"""Whatever function calls a model makes, the dialogue goes on and every service would take its next request."""

from __future__ import annotations

import json

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from benchrunner.providers.chat import encode
from benchrunner.records import ChatReply, ModelEntry, ToolCall, TrialScore
from benchrunner.simulator.wire import read_request
from benchrunner.suites.workflow.dialogue import play
from benchrunner.suites.workflow.tasks import make_task

MODEL = ModelEntry(name="m", provider="p", key_id="k", deployments=("m",), limits=())
TASK = make_task(seed=1, phase="5.1", difficulty="easy", task_type="data_pipeline", index=0)

names = st.sampled_from(["find_tool", "show_tool", "use_tool", "utility_cache", "functions.use_tool"])
any_text = st.text(st.characters(), max_size=60)  # lone surrogates too
jsons = st.recursive(
    st.none() | st.booleans() | st.floats() | any_text, lambda x: st.lists(x) | st.dictionaries(any_text, x)
)
arguments = (
    any_text
    | st.builds(lambda v: f'{{"name": "utility_cache", "arguments": {v}', any_text)
    | jsons.map(json.dumps)
    | st.sampled_from(['{"name": "utility_cache"}', '{"query": "read"}', '{"name": 3}', "[" * 5000, "{}", "null", ""])
)
ids = st.sampled_from(["", "a", "b"]) | any_text
calls = st.builds(ToolCall, call_id=ids, name=names | any_text, arguments=arguments)
replies = st.builds(
    ChatReply,
    text=any_text | st.just("Task completed."),
    finish_reason=st.just("tool_calls"),
    tool_calls=st.lists(calls, max_size=4).map(tuple),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(replies, min_size=10, max_size=10))
def test_any_calls_leave_a_history_that_services_accept(said: list[ChatReply]) -> None:
    """No reply raises, and what the model got wrong never makes the next request a bad one."""
    dialogue = play(TASK, prompt="optimal", tool_success_rate=0.8, trial_seed=1, protocol="native")
    request = next(dialogue)
    score: TrialScore | None = None
    for reply in said:
        try:
            request = dialogue.send(reply)
        except StopIteration as end:
            score = end.value
            break
        asked = read_request(encode(request, deployment="m", model=MODEL, max_tokens=10))
        assert asked.messages == request.messages
        assert [tool.name for tool in asked.tools] == [tool.name for tool in request.tools]
    assert score is not None, "ten replies did not end the dialogue"
    assert len(orjson.loads(score.transcript)) == score.turns
