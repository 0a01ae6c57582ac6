"""The dialogue: who is answered what, and when it ends."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat
from typing import Any

import orjson
import pytest

from benchrunner.errors import SuiteError
from benchrunner.records import ChatReply, ChatRequest, Condition, Level, Task, Trial, TrialScore
from benchrunner.suites.workflow import WorkflowSuite
from benchrunner.suites.workflow.dialogue import play
from benchrunner.suites.workflow.tasks import WorkflowTask
from benchrunner.suites.workflow.tools import catalogue

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


def use(name: str) -> str:
    return f"<use_tool>{name}</use_tool>"


def converse(
    replies: Iterable[str], *, seed: int = 0, rate: float = 1.0, task: WorkflowTask = TASK, prompt: str = "optimal"
) -> tuple[TrialScore, list[ChatRequest]]:
    """Play the replies; return the score and every request."""
    dialogue = play(task, prompt=prompt, tool_success_rate=rate, trial_seed=seed)
    requests = [next(dialogue)]
    for text in replies:
        try:
            requests.append(dialogue.send(ChatReply(text=text, finish_reason="stop")))
        except StopIteration as end:
            score: TrialScore = end.value
            return score, requests
    raise AssertionError("the replies ran out before the dialogue ended")


def seed_where(outcomes: dict[str, bool], rate: float = 1.0) -> int:
    """Return a trial seed under which the first call of each tool ends as told."""

    def fits(seed: int) -> bool:
        score, _ = converse([" ".join(map(use, outcomes)), *repeat("x", 9)], seed=seed, rate=rate)
        results = orjson.loads(score.transcript)[0]["results"]
        return {result["tool"]: not result["error"] for result in results} == outcomes

    return next(seed for seed in range(5000) if fits(seed))


GOOD_SEED = seed_where(dict.fromkeys(STEPS, True))


def last_words(request: ChatRequest) -> str:
    assert request.messages[-1].role == "user"
    return request.messages[-1].content


@pytest.mark.parametrize("text", ["hello", "OK", "", "x" * 5000, "I would say that the weather is fine today, thanks."])
@pytest.mark.parametrize("prompt", ["optimal", "baseline"])
def test_a_fixed_plain_answer_runs_all_turns_and_fails(text: str, prompt: str) -> None:
    """A server that only ever says one thing gets ten requests per trial, and the trial is a failure of format."""
    # When
    score, requests = converse(repeat(text), prompt=prompt)
    # Then
    assert len(requests) == score.turns == 10
    assert score.level is Level.FAILURE
    assert score.error_class == "tool_call_format"
    assert (score.final_score, score.tool_calls) == (0.0, 0)


def test_a_fixed_claim_of_completion_runs_all_turns_and_fails() -> None:
    """Saying that it is done ends nothing while a required tool has not succeeded."""
    score, _ = converse(repeat("Task completed."))
    assert (score.turns, score.level) == (10, Level.FAILURE)


def test_doing_every_step_in_order_and_saying_so_is_a_full_success() -> None:
    """The trial ends with the claim, one turn after the last step."""
    score, requests = converse([*map(use, STEPS), "Task completed."], seed=GOOD_SEED)
    assert (score.level, score.error_class) == (Level.FULL, "")
    assert (score.turns, score.tool_calls, len(requests)) == (4, 3, 4)


def test_without_the_claim_a_success_goes_on_to_the_last_turn() -> None:
    """All required tools alone do not end a trial; the level is full all the same."""
    score, _ = converse([*map(use, STEPS), *repeat("well", 7)], seed=GOOD_SEED)
    assert (score.turns, score.level) == (10, Level.FULL)


def test_steps_out_of_order_are_a_partial_success() -> None:
    """The order of first successes decides between full and partial."""
    seed = seed_where(dict.fromkeys(reversed(STEPS), True))
    score, _ = converse([*map(use, reversed(STEPS)), "Task completed."], seed=seed)
    assert (score.level, score.error_class) == (Level.PARTIAL, "sequence_order")


def test_five_failures_in_a_row_end_the_trial() -> None:
    """Nothing more is to be expected after them."""
    name = "file_operations_writer"
    fits = (converse(repeat(use(name), 10), seed=seed, rate=0.1)[0] for seed in range(100))
    score = next(score for score in fits if score.turns == 5)
    results = orjson.loads(score.transcript)
    assert all(turn["results"][0]["error"] for turn in results)
    assert score.error_class == "tool_selection"


def test_five_successes_of_one_tool_end_the_trial() -> None:
    """A model that goes in circles is stopped; a message full of calls is cut off at the same place."""
    score, _ = converse([" ".join([use("utility_cache")] * 30)], seed=GOOD_SEED)
    results = orjson.loads(score.transcript)[0]["results"]
    assert score.turns == 1
    assert [result["error"] for result in results[-5:]] == [""] * 5
    assert sum(not result["error"] for result in results) == 5


def test_more_than_fifteen_successes_end_the_trial() -> None:
    """However many calls a message holds, no more than sixteen succeed."""
    names = [tool.name for tool in catalogue().tools if not tool.dependencies]
    score, _ = converse([" ".join(map(use, names * 3)), *repeat("x", 9)], seed=GOOD_SEED)
    results = orjson.loads(score.transcript)[0]["results"]
    assert sum(not result["error"] for result in results) == 16
    assert score.turns == 1


def test_a_search_is_answered_with_schemas_and_ends_the_turn() -> None:
    """At most five tools per search; calls in the same message are not carried out, and the model is told so."""
    score, requests = converse(["<find_tool>read a file</find_tool>" + use(STEPS[0]), *repeat("x", 9)])
    answer = last_words(requests[1])
    assert "tool: file_operations_reader - " in answer
    assert 1 <= answer.count("tool: ") <= 5
    assert "source: string" in answer
    assert "not carried out" in answer
    assert score.tool_calls == 0


def test_a_tool_is_shown_on_request() -> None:
    """Its parameters, results, errors and prerequisites; an unknown one is said to be unknown."""
    _, requests = converse(["<show_tool>network_poster</show_tool>", "<show_tool>teapot</show_tool>", *repeat("x", 8)])
    shown = last_words(requests[1])
    assert all(part in shown for part in ("destination: string", "NETWORK_ERROR", "integration_authenticator"))
    assert "[unknown] teapot" in last_words(requests[2])


def test_an_unknown_tool_is_no_execution_but_no_format_error_either() -> None:
    """The model wrote a proper call of something that does not exist: it chose wrongly."""
    score, requests = converse(repeat(use("teapot_boiler")))
    assert "[unknown] teapot_boiler" in last_words(requests[1])
    assert (score.tool_calls, score.turns) == (0, 10)
    assert score.error_class == "max_turns"


@pytest.mark.parametrize("reply", ["x", "x" * 300, "Task completed.", use("teapot"), "<find_tool>zzz</find_tool>"])
def test_no_answer_gives_the_required_tools_away(reply: str) -> None:
    """Format help, notes on a claim and refusals never hold the name of a required tool."""
    _, requests = converse(repeat(reply), prompt="baseline")
    for request in requests:
        for message in request.messages:
            assert not any(name in message.content for name in STEPS)


def test_every_reply_gets_an_answer_that_changes_the_conversation() -> None:
    """The identical request is never sent twice, however short and useless the replies."""
    _, requests = converse(repeat("hm"))
    assert len({request.messages for request in requests}) == len(requests)
    roles = [message.role for message in requests[-1].messages]
    assert roles == ["system", "user", *["assistant", "user"] * 9]


def test_the_transcript_tells_the_whole_trial() -> None:
    """One entry per turn: what was newly sent, the reply, how it was spelled, the actions and what came of them."""
    replies = ["<use_tool>file_operations_reader", use(STEPS[1]), use(STEPS[2]), "Task completed."]
    score, requests = converse(replies, seed=GOOD_SEED)
    turns: list[dict[str, Any]] = orjson.loads(score.transcript)
    assert [turn["reply"] for turn in turns] == replies
    assert [turn["variant"] for turn in turns] == ["unclosed", "strict", "strict", "none"]
    assert [turn["claims_completion"] for turn in turns] == [False, False, False, True]
    assert [result["tool"] for turn in turns for result in turn["results"]] == list(STEPS)
    sent = [message for turn in turns for message in turn["sent"]]
    assert [m["content"] for m in sent] == [m.content for m in requests[-1].messages if m.role != "assistant"]


def test_the_same_trial_replayed_alone_is_the_same() -> None:
    """Prompts, tool outcomes and score follow from the trial's seed and the replies."""
    replies = [*map(use, STEPS), "Task completed.", *repeat("x", 6)]
    assert converse(replies, seed=77, rate=0.5) == converse(replies, seed=77, rate=0.5)


def test_a_reply_with_a_lone_surrogate_is_survived() -> None:
    """Such text fits neither a request nor the database; it is replaced, not raised."""
    score, requests = converse(repeat("\ud800 hello"))
    assert score.turns == 10
    requests[-1].messages[-1].content.encode()
    orjson.loads(score.transcript)


def test_the_suite_plays_its_own_tasks_and_refuses_others() -> None:
    """A trial's condition and seed reach the dialogue; a foreign body raises SuiteError."""
    # Given
    suite = WorkflowSuite()
    (task,) = suite.tasks(seed=1, phase="5.1", difficulty="easy", task_type="simple_task", count=1)
    trial = Trial(
        trial_id="t",
        shard_id="s",
        condition=Condition(model="m", prompt="cot", difficulty="easy", tool_success_rate=0.8),
        task_id=task.task_id,
        task_type=task.task_type,
        instance=0,
        seed=3,
    )
    # When / Then
    assert "step by step" in next(suite.dialogue(trial, task)).messages[0].content
    foreign = Task(task_id="x", task_type="simple_task", difficulty="easy", body="{}")
    with pytest.raises(SuiteError):
        suite.dialogue(trial, foreign)
