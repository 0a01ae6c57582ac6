"""The seeded tasks."""

from __future__ import annotations

import statistics
from collections import Counter

import pytest

from benchrunner.errors import SuiteError
from benchrunner.suites.workflow import WorkflowSuite
from benchrunner.suites.workflow.tasks import (
    LENGTHS,
    TASK_TYPES,
    WorkflowTask,
    decode_task,
    encode_task,
    has_order_conflict,
    make_task,
    missing_prerequisites,
)
from benchrunner.suites.workflow.wording import DIFFICULTIES, SPOKEN

COUNTS = {  # the field's 630-task library
    "simple_task": 40,
    "basic_task": 150,
    "data_pipeline": 190,
    "api_integration": 170,
    "multi_stage_pipeline": 80,
}


def library(difficulty: str, phase: str = "5.1") -> list[WorkflowTask]:
    return [
        make_task(seed=7, phase=phase, difficulty=difficulty, task_type=task_type, index=index)
        for task_type, count in COUNTS.items()
        for index in range(count)
    ]


def test_the_same_arguments_give_the_same_tasks() -> None:
    """A phase's task list is a function of its arguments, and a longer list starts with the shorter one."""
    # Given
    suite = WorkflowSuite()
    # When
    first = suite.tasks(seed=1, phase="5.2", difficulty="medium", task_type="data_pipeline", count=20)
    again = suite.tasks(seed=1, phase="5.2", difficulty="medium", task_type="data_pipeline", count=30)
    # Then
    assert first == again[:20]
    assert len({task.task_id for task in again}) == 30
    assert first != suite.tasks(seed=2, phase="5.2", difficulty="medium", task_type="data_pipeline", count=20)
    assert first != suite.tasks(seed=1, phase="5.3", difficulty="medium", task_type="data_pipeline", count=20)


def test_difficulty_changes_only_the_wording() -> None:
    """Id, tools, inputs and outputs are the same at all five levels; the descriptions all differ."""
    for index in range(20):
        for task_type in TASK_TYPES:
            told = [
                make_task(seed=3, phase="5.2", difficulty=difficulty, task_type=task_type, index=index)
                for difficulty in DIFFICULTIES
            ]
            structures = {(t.task_id, t.required_tools, str(t.inputs), str(t.expected_outputs)) for t in told}
            assert len(structures) == 1
            assert len({task.description for task in told}) == len(DIFFICULTIES)


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_a_library_of_630_holds_630_different_tasks(difficulty: str) -> None:
    """No two tasks of a level are the same to the model, and no two share an id."""
    tasks = library(difficulty)
    assert len({(task.description, tuple(task.inputs.items())) for task in tasks}) == 630
    assert len({task.task_id for task in tasks}) == 630


def test_sequences_respect_the_dependencies_and_repeat_no_tool() -> None:
    """A required tool never stands before one of its own prerequisites."""
    for task in library("easy"):
        assert not has_order_conflict(task.required_tools)
        assert len(set(task.required_tools)) == len(task.required_tools)


def test_lengths_follow_the_fields_distribution() -> None:
    """Within four standard errors, every length is as frequent as in the field's libraries."""
    for task_type, expected in LENGTHS.items():
        total = 1000
        found = Counter(
            len(make_task(seed=5, phase="5.1", difficulty="easy", task_type=task_type, index=i).required_tools)
            for i in range(total)
        )
        assert set(found) <= set(expected)
        for length, weight in expected.items():
            share = weight / sum(expected.values())
            assert abs(found[length] / total - share) <= 4 * (share * (1 - share) / total) ** 0.5


def test_some_tasks_lack_a_prerequisite_but_not_most() -> None:
    """As in the field some tasks need a helper that is not required: the planner has something to gain."""
    lacking = sum(bool(missing_prerequisites(task.required_tools)) for task in library("easy"))
    assert 0.1 <= lacking / 630 <= 0.5


def test_descriptions_get_longer_and_hide_the_tools_as_they_get_harder() -> None:
    """Mean lengths stay within 15 % of the field's, and only at easy are tools named."""
    expected = {"very_easy": 14, "easy": 20, "medium": 23, "hard": 28, "very_hard": 33}
    for difficulty, words in expected.items():
        texts = [task.description for task in library(difficulty)]
        assert statistics.mean(len(text.split()) for text in texts) == pytest.approx(words, rel=0.15)
        named = any(f"with the {spoken}" in text for text in texts for _, spoken in SPOKEN.values())
        assert named == (difficulty == "easy")


def test_a_task_survives_its_json_text() -> None:
    """Decoding what was encoded gives the task back."""
    for task in library("hard")[::40]:
        assert task == decode_task(encode_task(task))


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"task_id": 3}'])
def test_a_body_that_is_no_task_is_refused(body: str) -> None:
    """A foreign body raises SuiteError, not whatever its content happens to break."""
    with pytest.raises(SuiteError):
        decode_task(body)


def test_a_task_with_an_unknown_tool_is_refused() -> None:
    """The error names the tool."""
    body = encode_task(library("easy")[0]).replace(library("easy")[0].required_tools[0], "teapot_boiler")
    with pytest.raises(SuiteError, match="teapot_boiler"):
        decode_task(body)


def test_unknown_words_are_refused() -> None:
    """An unknown type or difficulty names the known ones."""
    with pytest.raises(SuiteError, match="simple_task"):
        make_task(seed=1, phase="p", difficulty="easy", task_type="simple", index=0)
    with pytest.raises(SuiteError, match="very_easy"):
        make_task(seed=1, phase="p", difficulty="trivial", task_type="simple_task", index=0)
