"""Suite `jsonl`: files of questions, asked in one turn and scored."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from benchrunner.errors import SuiteError
from benchrunner.planning.grid import plan_grid
from benchrunner.records import (
    ChatReply,
    Condition,
    Level,
    ModelEntry,
    Phase,
    PhaseOrder,
    ShardOrder,
    Task,
    Trial,
    TrialScore,
)
from benchrunner.suites import load_suite
from benchrunner.suites.jsonl import QUESTION, JsonlSuite
from benchrunner.suites.questions import parse_questions, scorer_counts


def lines(*rows: Any) -> bytes:
    return b"\n".join(row if isinstance(row, bytes) else orjson.dumps(row) for row in rows)


def row(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"q{number}", "prompt": f"question {number}?", "expected": f"answer {number}", **more}


def refusal(*rows: Any) -> list[str]:
    with pytest.raises(SuiteError) as caught:
        parse_questions(lines(*rows), "q.jsonl")
    return str(caught.value).splitlines()


def one_task(tmp_path: Path, question: dict[str, Any]) -> tuple[JsonlSuite, Task]:
    path = tmp_path / "q.jsonl"
    path.write_bytes(lines(question))
    suite = JsonlSuite(path)
    (task,) = suite.tasks(seed=1, phase="5.1", difficulty="easy", task_type=QUESTION, count=1)
    return suite, task


def trial(task: Task) -> Trial:
    condition = Condition(model="m", prompt="optimal", difficulty=task.difficulty, tool_success_rate=0.8)
    return Trial(
        trial_id="t", shard_id="s", condition=condition, task_id=task.task_id, task_type=task.task_type,
        instance=0, seed=1,
    )  # fmt: skip


def played(suite: JsonlSuite, task: Task, reply: str) -> TrialScore:
    dialogue = suite.dialogue(trial(task), task)
    next(dialogue)
    with pytest.raises(StopIteration) as end:
        dialogue.send(ChatReply(text=reply, finish_reason="stop"))
    score: TrialScore = end.value.value
    return score


def test_a_file_of_every_kind_of_row_is_read() -> None:
    """Prompts and messages, numbered and named ids, all scorers; empty lines and Windows line ends do not matter."""
    # Given
    data = lines(
        {"id": 1, "prompt": "?", "expected": 42, "scorer": "number", "tolerance": 0.5, "source": "kept"},
        b"",
        row(2, scorer="choice", expected=["A", "b"]),
        {"id": "m", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "?"}],
         "expected": "x"},
        row(4, scorer="contains", ignore_case=True),
    ).replace(b"\n", b"\r\n")  # fmt: skip
    # When
    questions = parse_questions(data, "q.jsonl")
    # Then
    assert [question.question_id for question in questions] == ["1", "q2", "m", "q4"]
    assert [message.role for message in questions[2].messages] == ["system", "user"]
    assert questions[0].row["source"] == "kept"
    assert scorer_counts(questions) == {"number": 1, "choice": 1, "exact": 1, "contains": 1}


def test_all_faults_are_told_at_once_each_with_its_line() -> None:
    """Line, field and value of everything that is wrong."""
    assert refusal(
        row(1),
        b'{"id": "q2", "prompt": "cut of',
        [1, 2],
        {"prompt": "?", "expected": "x"},
        row(1),
        row(6, messages=[]),
        {"id": "q7", "expected": "x"},
        {"id": "q8", "prompt": "?"},
        row(9, scorer="exat"),
        row(10, scorer="choice", expected="AB"),
        row(11, scorer="no_such_module_here:score"),
        {"id": "q12", "messages": [{"role": "robot", "content": "x"}], "expected": "x"},
        {"id": "q13", "messages": [{"role": "assistant", "content": "x"}], "expected": "x"},
        row(14, tolerance=-1, ignore_case="yes", prompt=" "),
        {"id": True, "prompt": "?", "expected": "x"},
    ) == [
        "q.jsonl has 16 faults:",
        "  - line 2: this is not JSON: unexpected end of data (column 31)",
        "  - line 3: a question is an object, not a list",
        "  - line 4 id: is missing",
        '  - line 5 id = "q1": stands already in line 1',
        "  - line 6 prompt or messages: one of them is needed, and only one",
        "  - line 7 prompt or messages: one of them is needed, and only one",
        "  - line 8 expected: is missing",
        '  - line 9 scorer = "exat": no such scorer; did you mean "exact"? '
        "A function of your own is written module:function",
        '  - line 10 expected = "AB": must be one letter for scorer choice, not "AB"',
        "  - line 11: scorer no_such_module_here:score cannot be imported: No module named 'no_such_module_here'",
        '  - line 12 messages = [{"role":"robot","content":"x"}]: [0] role must be one of system, user, assistant',
        '  - line 13 messages = [{"role":"assistant","content":"x"}]: the last one must be the user\'s',
        '  - line 14 prompt = " ": must be text and not empty',
        "  - line 14 tolerance = -1: must be a number, 0 or more",
        '  - line 14 ignore_case = "yes": must be true or false',
        "  - line 15 id = true: must be text or a whole number",
    ]


def test_an_empty_file_is_refused() -> None:
    """No question is no benchmark."""
    assert refusal(b"") == ["q.jsonl: there is no question in it"]


def test_a_file_that_is_not_utf_8_is_located(tmp_path: Path) -> None:
    """The line of the first wrong byte is told."""
    path = tmp_path / "q.jsonl"
    path.write_bytes(lines(row(1), b"\xff"))
    with pytest.raises(SuiteError, match="line 2 is not UTF-8"):
        JsonlSuite(path).tasks(seed=1, phase="p", difficulty="d", task_type=QUESTION, count=1)


def test_every_condition_takes_the_first_questions_in_file_order(tmp_path: Path) -> None:
    """A phase written for the tools runs on a file of questions: its prompts and difficulties are labels."""
    # Given a phase with the shipped words, and a file of five questions
    path = tmp_path / "q.jsonl"
    path.write_bytes(lines(*(row(number) for number in range(5))))
    phase = Phase(
        name="5.2", title="t", models=("m",), prompts=("optimal",), difficulties=("very_easy", "medium"),
        task_types=None, instances=3, tool_success_rates=(0.8,), order=PhaseOrder.SERIAL, groups=(), stagger_s=0.0,
        shard_order=ShardOrder.MODELS, policy="pool",
    )  # fmt: skip
    model = ModelEntry(name="m", provider="p", key_id="k", deployments=("m",), limits=())
    # When
    grid = plan_grid(phase, [model], load_suite("jsonl", path), run_id="r", seed=1)
    # Then
    assert [(trial.condition.difficulty, trial.task_id, trial.instance) for trial in grid.trials] == [
        (difficulty, f"q{number}", number) for difficulty in ("very_easy", "medium") for number in range(3)
    ]


def test_more_questions_than_there_are_is_a_sentence(tmp_path: Path) -> None:
    """The message says how many there are."""
    suite, _ = one_task(tmp_path, row(1))
    with pytest.raises(SuiteError, match="holds 1 questions, 20 were asked for"):
        suite.tasks(seed=1, phase="5.1", difficulty="easy", task_type=QUESTION, count=20)


def test_another_task_type_is_refused(tmp_path: Path) -> None:
    """There is one."""
    suite, _ = one_task(tmp_path, row(1))
    with pytest.raises(SuiteError, match="one task type, question"):
        suite.tasks(seed=1, phase="5.1", difficulty="easy", task_type="basic_task", count=1)


@pytest.mark.parametrize(
    ("reply", "level", "share", "error_class"),
    [
        ("B", Level.FULL, 1.0, ""),
        ("C", Level.FAILURE, 0.0, "wrong_answer"),
        ("who knows", Level.FAILURE, 0.0, "unparsable_answer"),
    ],
)
def test_a_reply_becomes_a_score(tmp_path: Path, reply: str, level: Level, share: float, error_class: str) -> None:
    """All scores are the verdict; a wrong answer and none at all are told apart."""
    suite, task = one_task(tmp_path, row(1, scorer="choice", expected="B"))
    score = played(suite, task, reply)
    assert (score.level, score.error_class, score.turns, score.tool_calls) == (level, error_class, 1, 0)
    assert {score.workflow_score, score.phase2_score, score.quality_score, score.final_score} == {share}
    (turn,) = orjson.loads(score.transcript)
    assert (turn["sent"], turn["reply"]) == ([{"role": "user", "content": "question 1?"}], reply)


def test_a_worker_needs_the_body_alone(tmp_path: Path) -> None:
    """The question is played where the file is not."""
    _, task = one_task(tmp_path, row(1))
    assert played(JsonlSuite(Path("/nowhere/q.jsonl")), task, "answer 1").level is Level.FULL


def test_a_lone_surrogate_in_a_reply_is_survived(tmp_path: Path) -> None:
    """A provider's JSON may hold half a character; the transcript is still text."""
    suite, task = one_task(tmp_path, row(1))
    assert played(suite, task, "answer \ud83d").error_class == "wrong_answer"


@pytest.mark.parametrize(
    ("given", "level", "share"),
    [
        ("0.75", Level.PARTIAL, 0.75),
        ("0.5", Level.PARTIAL, 0.5),
        ("0.49", Level.FAILURE, 0.49),
        ("True", Level.FULL, 1.0),
    ],
)
def test_a_function_of_ones_own_gives_the_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, level: Level, share: float
) -> None:
    """From one half on it is a partial success."""
    # Given a module beside the file
    monkeypatch.setattr("sys.path", [*sys.path])
    name = f"my_scorer_{level}_{given.replace('.', '_')}"
    (tmp_path / f"{name}.py").write_text(f"def judge(reply, expected, row):\n    return {given}\n")
    # When
    suite, task = one_task(tmp_path, row(1, scorer=f"{name}:judge"))
    score = played(suite, task, "whatever")
    # Then
    assert (score.level, score.final_score) == (level, share)
    assert score.error_class == ("" if level is Level.FULL else "wrong_answer")


def test_a_body_of_another_suite_is_refused() -> None:
    """A task that is no question is told as one."""
    task = Task(task_id="t", task_type=QUESTION, difficulty="d", body='{"description": "x"}')
    with pytest.raises(SuiteError, match="task t has 3 faults"):
        JsonlSuite(Path("q.jsonl")).dialogue(trial(task), task)


def test_the_version_changes_with_the_file(tmp_path: Path) -> None:
    """A run goes on only with the questions it began with."""
    suite, _ = one_task(tmp_path, row(1))
    before = suite.version
    assert JsonlSuite(tmp_path / "q.jsonl").version == before
    (tmp_path / "q.jsonl").write_bytes(lines(row(2)))
    assert suite.version != before
