"""Suite `workflow` on a task library: what it draws, and from which file."""

from __future__ import annotations

from pathlib import Path

import pytest
from pilot_bench_samples import entries, library

from benchrunner.errors import SuiteError
from benchrunner.records import ChatReply, Condition, Message, Trial
from benchrunner.suites.workflow import WorkflowSuite, load
from benchrunner.suites.workflow.field_format import FIELD_COUNTS, encode_library, generate_library, task_counts
from benchrunner.suites.workflow.importer import parse_library
from benchrunner.suites.workflow.library import level_of
from benchrunner.suites.workflow.survey import survey
from benchrunner.suites.workflow.tasks import decode_task


@pytest.fixture
def easy(tmp_path: Path) -> Path:
    path = tmp_path / "task_library_easy.json"
    path.write_bytes(library(entries("easy")))
    return path


def ids(
    suite: WorkflowSuite, *, phase: str = "5.1", difficulty: str = "easy", count: int = 20, seed: int = 1
) -> list[str]:
    tasks = suite.tasks(seed=seed, phase=phase, difficulty=difficulty, task_type="api_integration", count=count)
    return [task.task_id for task in tasks]


def test_a_draw_repeats_and_holds_no_task_twice(easy: Path) -> None:
    """The same arguments draw the same tasks, so every model meets the same list; another phase or seed does not."""
    first, again = ids(load(easy)), ids(load(easy))
    assert first == again
    assert len(set(first)) == 20
    assert first not in (ids(load(easy), phase="5.2"), ids(load(easy), seed=2))


def test_fewer_instances_are_the_beginning_of_more(easy: Path) -> None:
    """A trial run with two instances meets two of the tasks of the full one."""
    assert ids(load(easy), count=2) == ids(load(easy), count=20)[:2]


def test_a_single_file_is_its_own_wording_at_every_difficulty(easy: Path) -> None:
    """The task carries the difficulty asked for, its body the wording that the file states."""
    suite = load(easy)
    (asked,) = suite.tasks(seed=1, phase="5.2", difficulty="medium", task_type="basic_task", count=1)
    assert (asked.difficulty, decode_task(asked.body).difficulty) == ("medium", "easy")
    assert ids(suite, difficulty="medium") == ids(suite, difficulty="easy")


def test_a_directory_words_each_difficulty_from_its_own_file(easy: Path) -> None:
    """The same ids come at every difficulty, each in the words of the file that is named for it."""
    # Given the easy file, a very_easy one, and a mixed one that is for no single difficulty
    (easy.parent / "task_library_very_easy.json").write_bytes(library(entries("very_easy")))
    (easy.parent / "task_library_easy_biased.json").write_bytes(b"never read")
    suite = load(easy.parent)
    # When both are asked for
    drawn = {
        level: suite.tasks(seed=1, phase="5.2", difficulty=level, task_type="basic_task", count=5)
        for level in ("very_easy", "easy")
    }
    # Then
    assert [task.task_id for task in drawn["easy"]] == [task.task_id for task in drawn["very_easy"]]
    for level, tasks in drawn.items():
        assert {decode_task(task.body).difficulty for task in tasks} == {level}
        assert all(f"Wording {level} of" in task.body for task in tasks)


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("lib_very_easy", "very_easy"),
        ("lib_easy", "easy"),
        ("hard", "hard"),
        ("lib_easy_biased", None),
        ("uneasy", None),
    ],
)
def test_a_files_difficulty_is_how_its_name_ends(name: str, level: str | None) -> None:
    """very_easy is not taken for easy, and a mixed file for none."""
    assert level_of(Path(f"{name}.json")) == level


def test_a_directory_says_what_it_lacks(easy: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A difficulty without a file, a difficulty with two, and a directory without any are each a sentence."""
    with pytest.raises(SuiteError, match=r"no file \.\.\._medium\.json; it words easy"):
        ids(load(easy.parent), difficulty="medium")
    with pytest.raises(SuiteError, match="holds no task library"):
        ids(load(tmp_path_factory.mktemp("empty")))
    (easy.parent / "other_easy.json").write_bytes(easy.read_bytes())
    with pytest.raises(SuiteError, match=r"words easy twice: other_easy\.json and task_library_easy\.json"):
        ids(load(easy.parent))


def test_more_tasks_than_there_are_is_a_sentence(easy: Path) -> None:
    """The message says how many there are."""
    with pytest.raises(SuiteError, match=r"holds 170 tasks of api_integration, 171 were asked for; ask for 170"):
        ids(load(easy), count=171)


def test_a_type_the_library_lacks_is_a_sentence(tmp_path: Path) -> None:
    """The message says what to leave out."""
    path = tmp_path / "basic.json"
    path.write_bytes(library([one for one in entries() if one["task_type"] == "basic_task"]))
    with pytest.raises(SuiteError, match="holds no task of api_integration; leave it out"):
        ids(load(path))


def test_a_file_of_questions_is_sent_to_its_own_suite(tmp_path: Path) -> None:
    """Handing the wrong suite a .jsonl file is met with the option that was meant."""
    with pytest.raises(SuiteError, match="--suite jsonl"):
        ids(load(tmp_path / "questions.jsonl"))


def test_a_dialogue_needs_no_file(easy: Path) -> None:
    """A worker plays a task whose library is not there, on the prompt with the library's own inputs."""
    # Given a task drawn where the file is
    (task,) = load(easy).tasks(seed=1, phase="5.1", difficulty="easy", task_type="multi_stage_pipeline", count=1)
    # When a worker without the file plays it
    condition = Condition(model="m", prompt="optimal", difficulty="easy", tool_success_rate=1.0)
    trial = Trial(
        trial_id="t", shard_id="s", condition=condition, task_id=task.task_id, task_type=task.task_type,
        instance=0, seed=5,
    )  # fmt: skip
    dialogue = load(Path("gone.json")).dialogue(trial, task)
    opening = next(dialogue).messages
    # Then the model is told the task, and can be answered
    assert isinstance(opening[-1], Message)
    assert '{"header":true,"columns":["a","b"]}' in opening[-1].content
    assert dialogue.send(ChatReply(text="I see.", finish_reason="stop")).messages[-1].role == "user"
    dialogue.close()


def test_expected_calls_follow_the_librarys_own_lengths(tmp_path: Path) -> None:
    """A library of short tasks is planned as short."""
    path = tmp_path / "short.json"
    path.write_bytes(library([one for one in entries() if one["task_type"] == "simple_task"][:1]))
    short = load(path).expected_calls(prompt="optimal", task_type="simple_task")
    assert short == pytest.approx(WorkflowSuite().expected_calls(prompt="optimal", task_type="simple_task"), rel=0.1)
    assert load(path).expected_calls(prompt="optimal", task_type="basic_task") == (
        WorkflowSuite().expected_calls(prompt="optimal", task_type="basic_task")
    )


# --- our own tasks in the field's form -------------------------------------------------------------------------------


def test_a_generated_library_is_accepted_and_has_the_fields_shares() -> None:
    """630 generated tasks are 40/150/190/170/80, all different, and never in conflict with the registry."""
    data = encode_library(generate_library(seed=3, difficulty="easy", count=630), {"seed": 3})
    found = survey(parse_library(data, "own.json"))
    assert {name: tally.tasks for name, tally in found.by_type.items()} == FIELD_COUNTS
    assert (found.tasks, found.order_conflict, found.difficulties) == (630, 0, {"easy": 630})


def test_a_generated_library_keeps_its_ids_and_tools_at_every_difficulty() -> None:
    """Only the wording differs, as between the field's five files."""
    plain, dense = (generate_library(seed=3, difficulty=level, count=100) for level in ("very_easy", "very_hard"))
    assert [(one.task_id, one.required_tools, one.inputs) for one in plain] == [
        (one.task_id, one.required_tools, one.inputs) for one in dense
    ]
    assert not {one.description for one in plain} & {one.description for one in dense}


@pytest.mark.parametrize("count", [1, 2, 7, 63, 629, 630, 1260])
def test_shares_add_up_to_the_count(count: int) -> None:
    """However few tasks are asked for, so many there are."""
    assert sum(task_counts(count).values()) == count


def test_the_version_changes_with_what_the_library_holds(easy: Path) -> None:
    """A run goes on only with the tasks it began with, whatever the file is called."""
    # Given a library as a file and as a directory
    own, file, directory = WorkflowSuite().version, load(easy).version, load(easy.parent).version
    assert file.startswith(f"{own}+")
    assert load(easy).version == file
    # When one wording changes
    easy.write_bytes(easy.read_bytes().replace(b"item 7.", b"item seven."))
    # Then
    assert load(easy).version != file
    assert load(easy.parent).version != directory
