"""The `jsonl` suite: any file of questions with expected answers, one JSON object a line, one turn each.

    {"id": "q1", "prompt": "What is 17 + 25?", "expected": 42, "scorer": "number"}

Every condition takes the file's first `instances` questions in file order; prompts and difficulties are mere labels.
A task's body is its line, so a worker plays it without the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import orjson

from benchrunner.errors import SuiteError
from benchrunner.records import ChatRequest, Level, Message, Task, Trial, TrialScore
from benchrunner.suites.base import Dialogue
from benchrunner.suites.scorers import (
    EXACT,
    NAMES,
    Criterion,
    UserScorer,
    Verdict,
    expected_fault,
    judge,
    judge_by,
    load_function,
    scorer_fault,
)
from benchrunner.suites.task_faults import TaskFaults, kind_of, read_task_file, shown

QUESTION: Final = "question"  # the one task type
ROLES: Final = ("system", "user", "assistant")
WRONG_ANSWER, UNPARSABLE_ANSWER = "wrong_answer", "unparsable_answer"
PARTIAL_FROM: Final = 0.5  # the least score that is a partial success


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One line of the file. `row` is the line as it stands, for scorers of the user's own."""

    question_id: str
    messages: tuple[Message, ...]
    criterion: Criterion
    row: Mapping[str, object]


class JsonlSuite:
    """Asks the questions of one file. The file is read by the process that asks for tasks, and only there."""

    name = "jsonl"
    version = "1"
    task_types: tuple[str, ...] = (QUESTION,)
    prompts: tuple[str, ...] = ()
    difficulties: tuple[str, ...] = ()
    max_turns = 1

    def __init__(self, path: Path) -> None:
        """Remember where the questions stand; nothing is read yet."""
        self._path = path
        self._questions: tuple[Question, ...] | None = None

    def tasks(self, *, seed: int, phase: str, difficulty: str, task_type: str, count: int) -> tuple[Task, ...]:
        """Return the file's first `count` questions. Seed, phase and difficulty make no difference to them."""
        if task_type != QUESTION:
            raise SuiteError(f"the jsonl suite has one task type, {QUESTION}, not {task_type}")
        if self._questions is None:
            self._questions = parse_questions(read_task_file(self._path), str(self._path), self._folders())
        if len(self._questions) < count:
            held = len(self._questions)
            raise SuiteError(
                f"{self._path} holds {held} questions, {count} were asked for; ask for {held} instances or fewer"
            )
        return tuple(
            Task(
                task_id=question.question_id,
                task_type=QUESTION,
                difficulty=difficulty,
                body=orjson.dumps(question.row).decode(),
            )
            for question in self._questions[:count]
        )

    def expected_calls(self, *, prompt: str, task_type: str) -> float:
        """Return 1.0: a question is asked once."""
        return 1.0

    def dialogue(self, trial: Trial, task: Task, *, protocol: str = "text") -> Dialogue:
        """Return the dialogue of one trial, not yet started.

        Raises SuiteError when `task` is not of this suite, or its scorer is not to be found here.
        """
        faults = TaskFaults(f"task {task.task_id}")
        question = _question(orjson.loads(task.body), "", faults)
        faults.raise_any()
        assert question is not None, "a row without faults is a question"
        scorer = question.criterion.scorer
        return _ask(question, None if scorer in NAMES else load_function(scorer, self._folders()))

    def _folders(self) -> tuple[Path, ...]:
        """Return where the modules of users' scorers may stand: beside the task file, and here."""
        return (self._path.absolute().parent, Path.cwd())


def load(tasks_file: Path | None) -> JsonlSuite:
    """Return the suite of one file. Raises SuiteError where none is given."""
    if tasks_file is None:
        raise SuiteError('the jsonl suite needs a task file: --tasks FILE, or tasks = "FILE" under [run]')
    return JsonlSuite(tasks_file)


def parse_questions(data: bytes, where: str, folders: tuple[Path, ...] = ()) -> tuple[Question, ...]:
    """Return the questions in `data`, in file order; empty lines are passed over.

    Scorers of the form `module:function` are imported, `folders` included in the search. Raises SuiteError, prefixed
    with `where`, that locates every fault by its line.
    """
    faults = TaskFaults(where)
    questions: list[Question] = []
    first_at: dict[str, int] = {}
    unusable: dict[str, str] = {}  # scorer -> why
    # By line feed alone: a JSON text may hold the other line ends that `splitlines` knows.
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as fault:
            faults.add(place, f"this is not JSON: {fault.msg} (column {fault.colno})")
            continue
        question = _question(row, place, faults)
        question_id = _id_of(row)
        if question_id is not None and first_at.setdefault(question_id, number) != number:
            faults.add(f"{place} id = {shown(question_id)}", f"stands already in line {first_at[question_id]}")
        if question is None:
            continue
        scorer = question.criterion.scorer
        if scorer not in NAMES:
            if scorer not in unusable:
                unusable[scorer] = _import_fault(scorer, folders)
            if unusable[scorer]:
                faults.add(place, unusable[scorer])
        questions.append(question)
    if not questions and not faults.sentences:
        faults.add("", "there is no question in it")
    faults.raise_any()
    return tuple(questions)


def scorer_counts(questions: tuple[Question, ...]) -> dict[str, int]:
    """Return how many questions each scorer judges, most first."""
    return dict(Counter(question.criterion.scorer for question in questions).most_common())


def _import_fault(scorer: str, folders: tuple[Path, ...]) -> str:
    try:
        load_function(scorer, folders)
    except SuiteError as fault:
        return str(fault)
    return ""


def _id_of(row: Any) -> str | None:
    value = row.get("id") if isinstance(row, dict) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value.strip() else None


def _question(row: Any, place: str, faults: TaskFaults) -> Question | None:
    """Return the question a row asks, or None after noting what is wrong with it."""
    if not isinstance(row, dict):
        faults.add(place, f"a question is an object, not {kind_of(row)}")
        return None
    before = len(faults.sentences)

    def wrong(key: str, sentence: str) -> None:
        value = f" = {shown(row[key])}" if key in row else ""
        faults.add(f"{place} {key}{value}".lstrip(), sentence)

    question_id = _id_of(row)
    if question_id is None:
        wrong("id", "must be text or a whole number" if "id" in row else "is missing")
    messages = _messages(row, wrong)
    scorer = row.get("scorer", EXACT)
    if fault := scorer_fault(scorer):
        wrong("scorer", fault)
    elif "expected" not in row:
        wrong("expected", "is missing")
    elif fault := expected_fault(scorer, row["expected"]):
        wrong("expected", fault)
    tolerance, ignore_case = row.get("tolerance", 0), row.get("ignore_case", False)
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or tolerance < 0:
        wrong("tolerance", "must be a number, 0 or more")
    if not isinstance(ignore_case, bool):
        wrong("ignore_case", "must be true or false")
    if len(faults.sentences) > before or question_id is None:
        return None
    criterion = Criterion(
        scorer=scorer, expected=row["expected"], tolerance=Decimal(str(tolerance)), ignore_case=ignore_case
    )
    return Question(question_id=question_id, messages=messages, criterion=criterion, row=row)


def _messages(row: dict[str, Any], wrong: Callable[[str, str], None]) -> tuple[Message, ...]:
    if ("prompt" in row) == ("messages" in row):
        wrong("prompt or messages", "one of them is needed, and only one")
        return ()
    if "prompt" in row:
        prompt = row["prompt"]
        if not isinstance(prompt, str) or not prompt.strip():
            wrong("prompt", "must be text and not empty")
            return ()
        return (Message(role="user", content=prompt),)
    listed = row["messages"]
    if not isinstance(listed, list) or not listed:
        wrong("messages", "must be a list of messages and not empty")
        return ()
    for number, message in enumerate(listed):
        if not isinstance(message, dict):
            wrong("messages", f"[{number}] must be an object, not {kind_of(message)}")
        elif message.get("role") not in ROLES:
            wrong("messages", f"[{number}] role must be one of {', '.join(ROLES)}")
        elif not isinstance(message.get("content"), str) or not message["content"].strip():
            wrong("messages", f"[{number}] content must be text and not empty")
        elif number == len(listed) - 1 and message["role"] != "user":
            wrong("messages", "the last one must be the user's")
        else:
            continue
        return ()
    return tuple(Message(role=message["role"], content=message["content"]) for message in listed)


def _ask(question: Question, function: UserScorer | None) -> Dialogue:
    reply = yield ChatRequest(messages=question.messages)
    # A lone surrogate, which JSON may smuggle in, does not fit the transcript.
    text = reply.text.encode("utf-8", "replace").decode()
    if function is None:
        verdict = judge(text, question.criterion)
    else:
        verdict = judge_by(function, text, question.criterion, question.row)
    return _worth(question, verdict, text, reply.finish_reason)


def _worth(question: Question, verdict: Verdict, reply: str, finish_reason: str) -> TrialScore:
    if verdict.score == 1.0:
        level, error_class = Level.FULL, ""
    else:
        level = Level.PARTIAL if verdict.score >= PARTIAL_FROM else Level.FAILURE
        error_class = UNPARSABLE_ANSWER if verdict.found is None else WRONG_ANSWER
    turn = {
        "turn": 1,
        "sent": [{"role": message.role, "content": message.content} for message in question.messages],
        "reply": reply,
        "finish_reason": finish_reason,
        "scorer": question.criterion.scorer,
        "found": verdict.found,
        "score": verdict.score,
    }
    return TrialScore(
        level=level,
        workflow_score=verdict.score,
        phase2_score=verdict.score,
        quality_score=verdict.score,
        final_score=verdict.score,
        error_class=error_class,
        turns=1,
        tool_calls=0,
        transcript=orjson.dumps([turn]).decode(),
    )
