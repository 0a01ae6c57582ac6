"""Finding a suite by name."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

import benchrunner.suites as suites
from benchrunner.errors import SuiteError
from benchrunner.suites import load_suite
from benchrunner.suites.workflow import WorkflowSuite


def install(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    entry = EntryPoint(name=name, value=value, group=suites.ENTRY_POINT_GROUP)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: EntryPoints([entry]).select(group=group))


def test_the_built_in_suite_is_found() -> None:
    """`workflow` needs no installation; its words are those the phases use."""
    suite = load_suite("workflow")
    assert isinstance(suite, WorkflowSuite)
    assert suite.prompts[:3] == ("baseline", "cot", "optimal")
    assert len([prompt for prompt in suite.prompts if prompt.startswith("flawed_")]) == 7
    assert (len(suite.task_types), len(suite.difficulties), suite.max_turns) == (5, 5, 10)


def test_an_unknown_suite_names_the_nearest() -> None:
    """A typing mistake is met with the word that was probably meant."""
    with pytest.raises(SuiteError, match="did you mean 'workflow'"):
        load_suite("workflows")


def test_a_task_file_is_read_when_tasks_are_asked_for() -> None:
    """Workers load the suite too, and may be without the file; whoever asks for tasks hears that it is missing."""
    # Given
    suite = load_suite("workflow", "mine.json")
    # When / Then
    with pytest.raises(SuiteError, match=r"task file mine\.json cannot be read: No such file"):
        suite.tasks(seed=1, phase="5.1", difficulty="easy", task_type="basic_task", count=1)


def test_a_suite_that_needs_a_task_file_says_so() -> None:
    """`jsonl` has no questions of its own."""
    with pytest.raises(SuiteError, match="--tasks FILE"):
        load_suite("jsonl")


def test_an_installed_suite_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third party's factory is called with the task file's path."""
    # Given an installed package that offers a suite
    install(monkeypatch, "theirs", "pathlib:Path")
    # When / Then
    made: object = load_suite("theirs", "tasks.jsonl")
    assert made == Path("tasks.jsonl")


def test_a_broken_installed_suite_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point that cannot be imported is an error that says which."""
    install(monkeypatch, "theirs", "no_such_module:suite")
    with pytest.raises(SuiteError, match="no_such_module"):
        load_suite("theirs")
