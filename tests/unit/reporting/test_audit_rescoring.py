"""Suites that can derive their scores anew, and what they say of transcripts that are not theirs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from benchrunner.errors import SuiteError
from benchrunner.records import ChatReply, Condition, Task, ToolCall, Trial, TrialScore
from benchrunner.suites import load_suite
from benchrunner.suites.base import Rescoring, Suite

TRIAL = Trial(
    trial_id="r/0",
    shard_id="r/s",
    condition=Condition(model="m", prompt="baseline", difficulty="easy", tool_success_rate=0.6),
    task_id="t",
    task_type="basic_task",
    instance=0,
    seed=11,
)
QUESTION = Task(
    task_id="q",
    task_type="question",
    difficulty="",
    body='{"id": "q", "prompt": "17 + 25?", "expected": 42, "scorer": "number"}',
)


def _hold(suite: Suite, task: Task, replies: list[ChatReply], protocol: str = "text") -> TrialScore:
    """Return the score of a dialogue in which the model gives these replies over and over."""
    dialogue = suite.dialogue(TRIAL, task, protocol=protocol)
    next(dialogue)
    for turn in range(100):
        try:
            dialogue.send(replies[turn % len(replies)])
        except StopIteration as stop:
            score: TrialScore = stop.value
            return score
    raise AssertionError("the dialogue never ends")


def _workflow_task() -> tuple[Suite, Task]:
    suite = load_suite("workflow")
    (task,) = suite.tasks(seed=1, phase="5.1", difficulty="easy", task_type="basic_task", count=1)
    return suite, task


def _calls(*calls: tuple[str, str]) -> ChatReply:
    made = tuple(ToolCall(call_id=f"c{n}", name=name, arguments=text) for n, (name, text) in enumerate(calls))
    return ChatReply(text="", finish_reason="tool_calls", tool_calls=made)


TEXT_REPLIES = [
    ChatReply(text="<find_tool>read</find_tool>", finish_reason="stop"),
    ChatReply(text="I am not sure \ud800 what to do", finish_reason="stop"),
    ChatReply(
        text="<use_tool>file_operations_reader</use_tool><use_tool>no_such_tool</use_tool>", finish_reason="stop"
    ),
    ChatReply(text="<use_tool>data_processing_parser", finish_reason="length"),
    ChatReply(text="<show_tool>data_processing_filter</show_tool> Task completed.", finish_reason="stop"),
]
NATIVE_REPLIES = [
    _calls(("find_tool", '{"query": "read"}')),
    _calls(("use_tool", '{"name": "file_operations_reader"}'), ("use_tool", '{"name": "data_processing_parser"')),
    _calls(("data_processing_filter", "{}"), ("use_tool", "[]")),
    ChatReply(text="Task completed.", finish_reason="stop"),
]


@pytest.mark.parametrize(("protocol", "replies"), [("text", TEXT_REPLIES), ("native", NATIVE_REPLIES)])
def test_a_workflow_score_follows_from_its_transcript(protocol: str, replies: list[ChatReply]) -> None:
    """Whatever a model says, its transcript is enough to derive the same score, under either protocol."""
    suite, task = _workflow_task()
    assert isinstance(suite, Rescoring)
    for first in range(len(replies)):
        # Given a dialogue with a model that says all kinds of things
        score = _hold(suite, task, replies[first:] + replies[:first], protocol)
        # When the score is derived from the transcript
        derived = suite.rescore(TRIAL, task, score.transcript, protocol=protocol)
        # Then it is the same
        assert derived == score


def test_the_fate_of_every_tool_call_follows_from_the_trials_seed() -> None:
    """The same replies under another seed meet other failures: the transcript is not that trial's."""
    suite, task = _workflow_task()
    assert isinstance(suite, Rescoring)
    score = _hold(suite, task, TEXT_REPLIES)
    others = [replace(TRIAL, seed=seed) for seed in range(20) if seed != TRIAL.seed]
    refused = 0
    for other in others:
        try:
            suite.rescore(other, task, score.transcript)
        except SuiteError as error:
            refused += "results" in str(error) or "sent" in str(error)
    # An output is drawn from the seed too: not one of the other seeds tells the same story.
    assert refused == len(others)


def test_an_answer_to_a_question_is_judged_anew(tmp_path: Path) -> None:
    """The jsonl suite needs the task and the reply, and not the file."""
    # Given a right and a wrong answer, and a task file that is gone
    suite = load_suite("jsonl", tmp_path / "gone.jsonl")
    assert isinstance(suite, Rescoring)
    for text in ("It is 42.", "41", "no idea"):
        score = _hold(suite, QUESTION, [ChatReply(text=text, finish_reason="stop")])
        # When it is judged anew, it is worth the same
        assert suite.rescore(TRIAL, QUESTION, score.transcript) == score


@pytest.mark.parametrize(
    ("field", "value"), [("score", 1.0), ("found", "42"), ("sent", []), ("turn", 2), ("scorer", "exact")]
)
def test_a_changed_answer_of_a_question_is_found(tmp_path: Path, field: str, value: object) -> None:
    """Whatever of the turn was changed."""
    suite = load_suite("jsonl", tmp_path / "gone.jsonl")
    assert isinstance(suite, Rescoring)
    score = _hold(suite, QUESTION, [ChatReply(text="41", finish_reason="stop")])
    (turn,) = orjson.loads(score.transcript)
    with pytest.raises(SuiteError, match=f"turn 1 {field}: replayed"):
        suite.rescore(TRIAL, QUESTION, orjson.dumps([turn | {field: value}]).decode())


@pytest.mark.parametrize("transcript", ["[]", "nothing", '[{"turn": 1}]', "[{}, {}]", "3"])
def test_what_is_no_transcript_of_a_question_is_told(tmp_path: Path, transcript: str) -> None:
    """A damaged row is an error with a sentence."""
    suite = load_suite("jsonl", tmp_path / "gone.jsonl")
    assert isinstance(suite, Rescoring)
    with pytest.raises(SuiteError, match="not one turn with a reply"):
        suite.rescore(TRIAL, QUESTION, transcript)
