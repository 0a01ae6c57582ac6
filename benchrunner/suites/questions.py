"""Files of questions: one JSON object a line becomes a Question, or a fault with its line (docs/task-files.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import orjson

from benchrunner.errors import SuiteError
from benchrunner.records import Message
from benchrunner.suites.scorers import EXACT, NAMES, Criterion, expected_fault, load_function, scorer_fault
from benchrunner.suites.task_faults import TaskFaults, kind_of, shown

ROLES: Final = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One line of the file. `row` is the line as it stands, for scorers of the user's own."""

    question_id: str
    messages: tuple[Message, ...]
    criterion: Criterion
    row: Mapping[str, object]


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


def read_question(row: Any, where: str) -> Question:
    """Return the question of one row that was read before. Raises SuiteError, prefixed with `where`, if it is none."""
    faults = TaskFaults(where)
    question = _question(row, "", faults)
    faults.raise_any()
    assert question is not None, "a row without faults is a question"
    return question


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
