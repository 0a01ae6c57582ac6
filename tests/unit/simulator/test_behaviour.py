"""A simulated model, turn by turn."""

from __future__ import annotations

from statistics import median, quantiles

import pytest

from benchrunner.records import ChatReply, Message
from benchrunner.simulator.behaviour import FALLBACK, PROFILES, SimulatedModel, simulated_model
from benchrunner.simulator.conversation import read_conversation
from benchrunner.simulator.skill import Skill, skill_at, skill_of
from benchrunner.suites.workflow.dialogue import play
from benchrunner.suites.workflow.tasks import make_task

PERFECT = Skill(
    finding_tools=1.0,
    keeping_order=1.0,
    recovering=1.0,
    trusting_plans=0.0,
    format_discipline=1.0,
    finishing=1.0,
)


def opening(prompt: str = "optimal", index: int = 0, difficulty: str = "easy") -> tuple[Message, ...]:
    task = make_task(seed=1, phase="5.1", difficulty=difficulty, task_type="data_pipeline", index=index)
    return next(play(task, prompt=prompt, tool_success_rate=0.8, trial_seed=1)).messages


def test_the_reply_is_a_function_of_seed_model_and_conversation() -> None:
    """Two models built alike answer alike; another seed makes another model of it."""
    conversations = [opening("baseline", index) for index in range(40)]
    name = "qwen2.5-7b-instruct"
    replies = [simulated_model(name, seed=1).reply(c) for c in conversations]
    assert replies == [simulated_model(name, seed=1).reply(c) for c in reversed(conversations)][::-1]
    assert replies != [simulated_model(name, seed=2).reply(c) for c in conversations]


def test_a_perfect_model_follows_the_plan_and_says_that_it_is_done() -> None:
    """It calls the shown steps in order, each until it succeeds, then ends the trial."""
    task = make_task(seed=1, phase="5.1", difficulty="easy", task_type="data_pipeline", index=0)
    dialogue = play(task, prompt="optimal", tool_success_rate=1.0, trial_seed=4)
    model = SimulatedModel("perfect", PERFECT, 1)
    request = next(dialogue)
    said: list[str] = []
    try:
        while True:
            reply = model.reply(request.messages)
            said.append(reply.text)
            request = dialogue.send(reply)
    except StopIteration as end:
        level = end.value.level
    assert level == "full"
    assert list(dict.fromkeys(said)) == [*(f"<use_tool>{t}</use_tool>" for t in task.required_tools), "Task completed."]


def test_without_a_plan_it_searches_first() -> None:
    """With the baseline prompt it does not know a tool's name until a search has told it."""
    reply = SimulatedModel("perfect", PERFECT, 1).reply(opening("baseline"))
    assert "<find_tool>" in reply.text
    assert "<use_tool>" not in reply.text


def test_it_reads_only_the_conversation() -> None:
    """The same words from another task's dialogue would get the same reply: no state is kept between calls."""
    model = SimulatedModel("m", PERFECT, 1)
    first, second = opening(index=0), opening(index=1)
    alone = model.reply(second)
    model.reply(first)
    assert alone == model.reply(second)


def test_a_conversation_of_no_known_kind_gets_a_plain_answer() -> None:
    """A bare question, or no message at all, is answered without a tag."""
    model = simulated_model("anything", seed=1)
    for messages in ((), (Message(role="user", content="ping"),), (Message(role="assistant", content="<"),)):
        assert "<" not in model.reply(messages).text


def test_the_reply_carries_its_usage() -> None:
    """Four characters a token, as the embedded provider counts."""
    messages = (Message(role="user", content="x" * 401),)
    reply = simulated_model("m", seed=1).reply(messages)
    assert isinstance(reply, ChatReply)
    assert (reply.prompt_tokens, reply.finish_reason, reply.served_model) == (101, "stop", "m")
    assert reply.completion_tokens == -(-len(reply.text) // 4)


def test_a_thinking_model_thinks_aloud_without_acting_in_its_thoughts() -> None:
    """Its replies open with a closed reasoning block."""
    reply = simulated_model("DeepSeek-R1-0528", seed=1).reply(opening())
    thought, _, spoken = reply.text.partition("</think>")
    assert thought.startswith("<think>")
    assert "<use_tool>" not in thought
    assert "<use_tool>" in spoken


@pytest.mark.parametrize("name", PROFILES)
def test_latencies_follow_the_profile(name: str) -> None:
    """Median and 95th percentile over many conversations lie within 15 % of the profile's."""
    model = simulated_model(name, seed=3)
    profile = PROFILES[name]
    found = [model.latency_s((Message(role="user", content=str(n)),)) for n in range(2000)]
    assert profile.latency_p50_s == pytest.approx(median(found), rel=0.15)
    assert profile.latency_p95_s == pytest.approx(quantiles(found, n=20)[-1], rel=0.15)
    assert found[0] == simulated_model(name, seed=3).latency_s((Message(role="user", content="0"),))


def test_settings_replace_what_is_built_in() -> None:
    """Competence and latencies can be set per model; a new median keeps the spread."""
    told = simulated_model("qwen2.5-3b-instruct", seed=1, competence=1.0, latency_p50_s=0.1)
    assert told.skill == skill_at(1.0)
    found = [told.latency_s((Message(role="user", content=str(n)),)) for n in range(500)]
    assert median(found) == pytest.approx(0.1, rel=0.15)
    constant = simulated_model("m", seed=1, latency_p50_s=0.5, latency_p95_s=0.5)
    assert constant.latency_s(()) == 0.5
    assert simulated_model("m", seed=1, latency_p50_s=0.0).latency_s(()) == 0.0


def test_an_unknown_name_gets_the_fallback_whatever_it_looks_like() -> None:
    """No behaviour hangs on a piece of a name."""
    assert simulated_model("my-72b-instruct", seed=1).skill == FALLBACK.skill


def test_skill_grows_with_size_and_stays_within_bounds() -> None:
    """Every skill but trust in plans grows; none leaves 0..1."""
    sizes = [0.5, 3, 7, 14, 32, 72, 671]
    for name in Skill.__slots__:
        values = [getattr(skill_of(size), name) for size in sizes]
        assert all(0.0 <= value <= 1.0 for value in values)
        assert values == sorted(values, reverse=name == "trusting_plans")


def test_it_sees_the_plan_the_goal_and_what_came_of_its_calls() -> None:
    """What is read out of the conversation is what the dialogue wrote into it."""
    # Given a trial in which one tool was called
    task = make_task(seed=1, phase="5.1", difficulty="easy", task_type="data_pipeline", index=0)
    dialogue = play(task, prompt="optimal", tool_success_rate=0.8, trial_seed=1)
    next(dialogue)
    first = task.required_tools[0]
    request = dialogue.send(ChatReply(text=f"<use_tool>{first}</use_tool>", finish_reason="stop"))
    # When
    seen = read_conversation(request.messages)
    # Then
    assert seen.task.goal == task.description
    assert tuple(step.label for step in seen.task.steps) == task.required_tools
    assert [tool for tool, _ in seen.outcomes] == [first]
    assert len(seen.clauses()) == len(task.required_tools)
    assert (seen.turns, seen.claims) == (1, 0)


@pytest.mark.parametrize("difficulty", ["medium", "hard", "very_hard"])
def test_it_sees_how_many_operations_a_veiled_goal_asks_for(difficulty: str) -> None:
    """From medium on the goal gives nothing but a number, and the model finds it."""
    for index in range(30):
        task = make_task(seed=1, phase="5.1", difficulty=difficulty, task_type="data_pipeline", index=index)
        seen = read_conversation(opening("baseline", index, difficulty))
        assert seen.counted_steps() == len(task.required_tools)
        assert seen.clauses() == [task.description]
