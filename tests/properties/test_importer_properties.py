"""Whatever stands in a task file, it is read or refused; what is read survives being written again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from benchrunner.errors import SuiteError
from benchrunner.suites.questions import parse_questions
from benchrunner.suites.scorers import NAMES, Criterion, judge
from benchrunner.suites.workflow.field_format import encode_library
from benchrunner.suites.workflow.importer import ImportedTask, parse_library
from benchrunner.suites.workflow.library import draw
from benchrunner.suites.workflow.registry_file import parse_registry
from benchrunner.suites.workflow.tasks import TASK_TYPES, decode_task, encode_task
from benchrunner.suites.workflow.tools import catalogue

TOOLS = [tool.name for tool in catalogue().tools]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
FIELDS = (
    "id", "instance_id", "task_type", "description", "inputs", "test_input", "expected_outputs", "required_tools",
    "complexity", "difficulty_level", "metadata", "prompt", "messages", "expected", "scorer", "tolerance",
)  # fmt: skip
ODD_ROWS = st.lists(
    JSON | st.dictionaries(st.sampled_from(FIELDS), JSON | st.sampled_from([*TOOLS, *TASK_TYPES, *NAMES])), max_size=3
)


@st.composite
def good_tasks(draw_from: st.DrawFn) -> list[dict[str, Any]]:
    """Return tasks that are right, with odd inputs and tools in any order."""
    ids = draw_from(st.lists(TEXT.filter(str.strip), min_size=1, max_size=6, unique=True))
    old = draw_from(st.booleans())
    return [
        {
            "id" if old else "instance_id": task_id,
            "task_type": draw_from(st.sampled_from(TASK_TYPES)),
            "description": draw_from(TEXT.filter(str.strip)),
            "test_input" if old else "inputs": draw_from(st.dictionaries(TEXT, JSON, max_size=3)),
            "expected_output" if old else "expected_outputs": draw_from(st.dictionaries(TEXT, JSON, max_size=3)),
            "required_tools": draw_from(st.lists(st.sampled_from(TOOLS), min_size=1, max_size=6)),
        }
        for task_id in ids
    ]


NO_COMPLAINT = "read"


def complaint(read: Callable[[bytes, str], object], data: bytes) -> str:
    """Return what a reader says of `data`: its SuiteError, or NO_COMPLAINT when something came of it."""
    try:
        made = read(data, "some.file")
    except SuiteError as fault:
        return str(fault)
    return NO_COMPLAINT if made else "read to nothing"


@given(good_tasks())
def test_what_is_read_survives_being_written_and_played(raw: list[dict[str, Any]]) -> None:
    """A library written back in our form reads as the same tasks, and each task survives its body."""

    def tools_of(one: ImportedTask) -> tuple[object, ...]:
        return (one.task, one.missing)

    read = parse_library(orjson.dumps({"tasks": raw}), "lib.json")
    again = parse_library(encode_library([one.task for one in read], {}), "again.json")
    assert [tools_of(one) for one in again] == [tools_of(one) for one in read]
    assert [decode_task(encode_task(one.task)) for one in read] == [one.task for one in read]
    assert [one.task.required_tools for one in read] == [tuple(dict.fromkeys(one["required_tools"])) for one in raw]
    for one in read:
        shown = (*one.task.inputs.values(), one.task.description)
        assert all(len(text.splitlines()) <= 1 for text in shown), "prompts are read line by line"


@given(ODD_ROWS)
def test_an_odd_file_is_refused_in_words_or_read(rows: list[Any]) -> None:
    """No shape of JSON makes a reader fail in any other way, and what is not refused is complete."""
    for read, data in (
        (parse_library, orjson.dumps({"tasks": rows})),
        (parse_library, orjson.dumps(rows)),
        (parse_registry, orjson.dumps({f"t{place}": one for place, one in enumerate(rows)})),
        (parse_questions, b"\n".join(orjson.dumps(one) for one in rows)),
    ):
        assert complaint(read, data).startswith(("some.file", NO_COMPLAINT))


@given(st.binary(max_size=60))
def test_torn_bytes_are_refused_in_words(data: bytes) -> None:
    """What is no JSON is a SuiteError that names the file, wherever it is torn."""
    for read in (parse_library, parse_registry, parse_questions):
        assert complaint(read, data).startswith(("some.file", NO_COMPLAINT))


@given(good_tasks(), st.integers(0, 9), st.sampled_from(["5.1", "5.2"]), st.data())
def test_a_draw_is_a_prefix_of_a_permutation(
    raw: list[dict[str, Any]], seed: int, phase: str, data: st.DataObject
) -> None:
    """Nothing is drawn twice, more instances only add, and the order of the file does not matter."""
    tasks = [one.task for one in parse_library(orjson.dumps(raw), "lib.json")]
    count = data.draw(st.integers(0, len(tasks)))
    whole = draw(tasks, seed=seed, phase=phase, count=len(tasks))
    assert sorted(one.task_id for one in whole) == sorted(one.task_id for one in tasks)
    assert draw(tasks[::-1], seed=seed, phase=phase, count=count) == whole[:count]


@given(
    st.text(max_size=80) | st.text("0123456789.,-+eE ABI()answer:is\n", max_size=40),
    st.sampled_from(["exact", "choice", "number", "regex", "contains"]),
)
@example("1e99999999999999999999", "number")
@example("-" * 50 + "9" * 400, "number")
@example("answer is " * 50, "choice")
def test_no_reply_makes_a_built_in_scorer_fail(reply: str, scorer: str) -> None:
    """Every reply is right or wrong, and what was not found is not right."""
    expected = "A" if scorer in ("choice", "regex") else 1 if scorer == "number" else "a"
    verdict = judge(reply, Criterion(scorer=scorer, expected=expected))
    assert verdict.score in (0.0, 1.0)
    assert verdict.found is not None or verdict.score == 0.0


@given(st.integers(-(10**30), 10**30), st.sampled_from(["{}", "It is {}.", "about {} of them", "= **{:,}**", "${:,}$"]))
def test_a_number_is_read_out_of_whatever_stands_around_it(number: int, frame: str) -> None:
    """Digits are not lost, with thousands' commas or without."""
    assert judge(frame.format(number), Criterion(scorer="number", expected=str(number))).score == 1.0
