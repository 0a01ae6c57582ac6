"""What a reply is worth: the built-in scorers and functions of the user's own."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path

import pytest

from benchrunner.errors import SuiteError
from benchrunner.suites.scorers import (
    Criterion,
    Verdict,
    expected_fault,
    judge,
    judge_by,
    load_function,
    scorer_fault,
    spoken,
)


def found(scorer: str, expected: object, reply: str) -> tuple[str | None, float]:
    verdict = judge(reply, Criterion(scorer=scorer, expected=expected))
    return verdict.found, verdict.score


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(b)", "B"),
        ("**B**", "B"),
        ("B) Paris", "B"),
        ("B. Paris is the capital.", "B"),
        ("The answer is B.", "B"),
        ("A good question. I think the answer is: **(B)**", "B"),
        ("Answer: B", "B"),
        ("answer: b", "B"),
        ("Answer: option B", "B"),
        ("The final answer is $\\boxed{B}$.", "B"),
        ("Both A and C are wrong, so the correct answer is B", "B"),
        ("At first: the answer is A. No, the answer is B.", "B"),
        ("I would say C, since A is too small", "C"),
        ("The answer is a bit hard to see. D fits best.", "D"),
        ("Option C", "C"),
        ("A", "A"),
        ("A, as it is the capital", "A"),
        ("I", "I"),
        ("It's a matter of taste", None),
        ("I do not know", None),
        ("no idea", None),
        ("DNA", None),
    ],
)
def test_choice_finds_the_letter(reply: str, letter: str | None) -> None:
    """A stated answer comes first, the last one stated; else the first letter that stands alone."""
    assert found("choice", "B", reply) == (letter, float(letter == "B"))


@pytest.mark.parametrize(
    ("reply", "number"),
    [
        ("42", "42"),
        ("It is 42.", "42"),
        ("17 + 25 = 42", "42"),
        ("between 40 and 42 kg", "42"),
        ("$1,234.50", "1,234.50"),
        ("-5", "-5"),
        ("\u22125 degrees", "\u22125"),
        ("10-3", "3"),
        ("x = -.5", "-.5"),
        ("6.02e23", "6.02e23"),
        ("1, 2", "2"),
        ("version qwen2 says 7", "7"),
        ("it is H2O", None),
        ("forty-two", None),
    ],
)
def test_number_finds_the_last_number(reply: str, number: str | None) -> None:
    """Signs, thousands and exponents are read; digits inside a word are none."""
    assert found("number", 42, reply) == (number, float(number == "42"))


@pytest.mark.parametrize(
    ("reply", "expected", "tolerance", "score"),
    [
        ("0.10", 0.1, "0", 1.0),
        ("1,234.5", "1234.5", "0", 1.0),
        ("3.14", 3.14159, "0", 0.0),
        ("3.14", 3.14159, "0.01", 1.0),
        ("99", 100, "1", 1.0),
        ("98.9", 100, "1", 0.0),
        ("12345678901234567890", "12345678901234567891", "0", 0.0),
        ("7", [5, 7], "0", 1.0),
        ("-0", 0, "0", 1.0),
    ],
)
def test_number_compares_exactly_within_the_tolerance(
    reply: str, expected: object, tolerance: str, score: float
) -> None:
    """Numbers are decimal, as people write them: 0.1 is 0.1, and the twentieth digit counts."""
    criterion = Criterion(scorer="number", expected=expected, tolerance=Decimal(tolerance))
    assert judge(reply, criterion).score == score


@pytest.mark.parametrize(
    ("scorer", "expected", "reply", "score"),
    [
        ("exact", "Paris", " Paris\n", 1.0),
        ("exact", "Paris", "paris", 0.0),
        ("exact", "Paris", "Paris.", 0.0),
        ("exact", ["Paris", "Paname"], "Paname", 1.0),
        ("exact", 42, "42", 1.0),
        ("exact", True, "true", 1.0),
        ("contains", "Paris", "It is Paris, of course", 1.0),
        ("contains", ["Lyon", "Paris"], "It is Paris", 1.0),
        ("contains", "Paris", "It is paris", 0.0),
        ("regex", r"^\d{4}$", "1789", 1.0),
        ("regex", r"(?i)paris", "PARIS!", 1.0),
        ("regex", r"\bfoo\b", "food", 0.0),
    ],
)
def test_text_scorers(scorer: str, expected: object, reply: str, score: float) -> None:
    """Exact compares the whole reply, contains a part of it, regex searches it; a list means any of."""
    assert judge(reply, Criterion(scorer=scorer, expected=expected)).score == score


def test_case_is_ignored_on_request() -> None:
    """`ignore_case` is for exact and contains; a regex says it itself."""
    for scorer, reply in (("exact", "STRASSE"), ("contains", "in der STRASSE")):
        assert judge(reply, Criterion(scorer=scorer, expected="straße", ignore_case=True)).score == 1.0


def test_reasoning_is_not_the_answer() -> None:
    """What stands in a reasoning block is not scored; a reply cut within it has no answer."""
    assert spoken("<think>Is it A? Answer: A</think>\nB") == "\nB"
    assert found("choice", "B", "<think>Answer: A</think>\nB") == ("B", 1.0)
    assert found("choice", "A", "<think>Answer: A") == (None, 0.0)
    assert found("exact", "B", "template opened it</think>B") == ("B", 1.0)


@pytest.mark.parametrize(
    ("scorer", "expected", "said"),
    [
        ("choice", "AB", "must be one letter"),
        ("choice", 3, "must be one letter"),
        ("number", "many", "must be a number"),
        ("number", "nan", "must be a number"),
        ("number", True, "not true or false"),
        ("regex", "(", "is no regular expression"),
        ("contains", "", "must not be empty"),
        ("exact", None, "not null"),
        ("exact", [], "must not be an empty list"),
        ("exact", ["a", {}], "not an object"),
    ],
)
def test_an_answer_its_scorer_cannot_look_for_is_a_fault(scorer: str, expected: object, said: str) -> None:
    """A file whose answers could never be met is refused before anything is asked."""
    assert said in (expected_fault(scorer, expected) or "")


def test_a_function_takes_any_expected_answer() -> None:
    """What it looks for is its own affair."""
    assert expected_fault("mine:score", {"a": None}) is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("exakt", 'did you mean "exact"?'),
        ("mine:", "module:function"),
        ("os.system('x'):y", "module:function"),
        (3, "must be text, not a number"),
        (None, "must be text, not null"),
    ],
)
def test_an_unknown_scorer_is_a_fault(name: object, said: str) -> None:
    """The nearest name is told, and how one's own function is written."""
    assert said in (scorer_fault(name) or "")


# --- functions of the user's own -------------------------------------------------------------------------------------


def test_a_function_beside_the_task_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is called with the reply, the expected answer and the whole row."""
    # Given a module beside the task file
    monkeypatch.setattr("sys.path", [*sys.path])
    (tmp_path / "my_scorer_a.py").write_text(
        "def half(reply, expected, row):\n    return 0.5 if (reply, expected, row['x']) == ('r', 'e', 1) else 0\n"
    )
    # When
    function = load_function("my_scorer_a:half", (tmp_path,))
    # Then
    criterion = Criterion(scorer="my_scorer_a:half", expected="e")
    assert judge_by(function, "r", criterion, {"x": 1}) == Verdict(score=0.5, found="r")


def test_a_module_of_the_folder_never_hides_an_installed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder comes last in the search."""
    monkeypatch.setattr("sys.path", [*sys.path])
    (tmp_path / "colorsys.py").write_text("raise RuntimeError('never imported')\n")
    assert callable(load_function("colorsys:rgb_to_hsv", (tmp_path,)))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_module_here:score", "cannot be imported: No module named"),
        ("math:no_such_function", "cannot be imported"),
        ("math:pi", "is not a function"),
    ],
)
def test_a_function_that_is_not_there_is_a_sentence(name: str, said: str) -> None:
    """Module, attribute and kind are told apart."""
    with pytest.raises(SuiteError, match=said):
        load_function(name, ())


@pytest.mark.parametrize("answer", [None, "yes", 1.5, -0.1, float("nan")])
def test_a_function_must_answer_with_a_share(answer: object) -> None:
    """Anything but true, false or 0..1 is an error that names the scorer, never a score."""
    with pytest.raises(SuiteError, match="scorer mine:score gave"):
        judge_by(lambda *_: answer, "r", Criterion(scorer="mine:score", expected=1), {})
