"""How a reply is held against the expected answer: five built-in ways, or a function of the user's own.

A built-in scorer takes the expected answer in several spellings as a list: any of them will do.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from importlib import import_module
from math import isfinite
from pathlib import Path
from typing import Any, Final

import orjson

from benchrunner.errors import SuiteError, did_you_mean
from benchrunner.suites.task_faults import kind_of, shown

EXACT: Final = "exact"
NAMES: Final = (EXACT, "choice", "number", "regex", "contains")

UserScorer = Callable[[str, object, Mapping[str, object]], object]
"""A user's `module:function`: (reply, expected, row of the task file) -> true, false or a number from 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One task's expected answer and how a reply is held against it."""

    scorer: str  # a name of NAMES, or module:function
    expected: object  # JSON value
    tolerance: Decimal = Decimal(0)  # of `number`: how far off is still right
    ignore_case: bool = False  # of `exact` and `contains`


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a reply is worth, 0..1. `found` is the answer read out of it; None: there was none to be read."""

    score: float
    found: str | None


def scorer_fault(name: object) -> str | None:
    """Return what is wrong with a scorer's name, or None. Does not look for the function of a `module:function`."""
    if not isinstance(name, str):
        return f"must be text, not {kind_of(name)}"
    if name in NAMES or _FUNCTION.fullmatch(name):
        return None
    return f"no such scorer; {did_you_mean(name, NAMES)} A function of your own is written module:function"


def expected_fault(scorer: str, expected: object) -> str | None:
    """Return why `expected` is no answer that `scorer` could look for, or None."""
    if scorer not in NAMES:
        return None
    if expected == []:
        return "must not be an empty list"
    for one in _spellings(expected):
        if not isinstance(one, str | int | float) or (isinstance(one, bool) and scorer != EXACT):
            return f"must be text or a number, or a list of them, not {kind_of(one)}"
        text = _text(one)
        if scorer == "choice" and not re.fullmatch(r"[A-Za-z]", text):
            return f"must be one letter for scorer choice, not {shown(one)}"
        if scorer == "number" and _decimal(text) is None:
            return f"must be a number for scorer number, not {shown(one)}"
        if scorer == "regex":
            try:
                re.compile(text)
            except re.error as fault:
                return f"is no regular expression: {fault}"
        if not text.strip():
            return f"must not be empty for scorer {scorer}"
    return None


def judge(reply: str, criterion: Criterion) -> Verdict:
    """Return the verdict of a built-in scorer. Never raises, whatever the reply."""
    answer = spoken(reply).strip()
    if not answer:
        return Verdict(score=0.0, found=None)
    found, right = _RULES[criterion.scorer](answer, criterion)
    return Verdict(score=float(right), found=found)


def judge_by(function: UserScorer, reply: str, criterion: Criterion, row: Mapping[str, object]) -> Verdict:
    """Return the verdict of a user's function, which is given the whole reply.

    Raises SuiteError when it answers with anything but true, false or a number from 0 to 1.
    """
    answer = function(reply, criterion.expected, row)
    if not isinstance(answer, bool | int | float) or not isfinite(answer) or not 0 <= answer <= 1:
        raise SuiteError(f"scorer {criterion.scorer} gave {answer!r}; it must give true, false or a number from 0 to 1")
    return Verdict(score=float(answer), found=reply)


def load_function(name: str, folders: Sequence[Path]) -> UserScorer:
    """Return the function that `module:function` names. Raises SuiteError when there is none.

    The module is looked for where Python looks, then in `folders`, which join the end of the process's search path:
    a module beside the task file never hides an installed one.
    """
    for folder in map(str, folders):
        if folder not in sys.path:
            sys.path.append(folder)
    module, _, attribute = name.partition(":")
    try:
        function: Any = import_module(module)
        for part in attribute.split("."):
            function = getattr(function, part)
    except (ImportError, AttributeError, SyntaxError) as fault:
        raise SuiteError(f"scorer {name} cannot be imported: {fault}") from fault
    if not callable(function):
        raise SuiteError(f"scorer {name} is not a function")
    scorer: UserScorer = function
    return scorer


def spoken(reply: str) -> str:
    """Return what a reply says after its reasoning block, if it has one; "" when it never got to the end of it."""
    _, closing, rest = reply.rpartition("</think>")
    if closing:
        return rest
    return "" if reply.lstrip().startswith("<think>") else reply


# --- the built-in scorers: (answer, criterion) -> what was read out of it, whether that is right ---------------------

_FUNCTION: Final = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_WRAPPING: Final = r"[\s*_`\"'(\[{$]{0,8}"  # what may stand between "answer:" and the letter: **(B)**
_STATED: Final = re.compile(
    rf"(?i:\banswer\s{{0,3}}(?:is|was|:|=)\s{{0,3}}:?{_WRAPPING}(?:\\boxed\{{|option\s|choice\s)?){_WRAPPING}"
    r"(?P<letter>[A-Z]|[a-z](?=\W{0,8}$|[).\]*:]))(?![\w'])",
    re.MULTILINE,
)
_ALONE: Final = re.compile(r"\W*(?P<letter>[A-Za-z])\W*")
# "A" before a word in small letters is the article, and "I" the pronoun.
_STANDALONE: Final = re.compile(r"(?<![\w'-])(?P<letter>[A-Z])(?![\w'-])(?!(?<=[AI])\s+[a-z])")
_NUMBER: Final = re.compile(
    r"(?:(?<![\w.)])[-+\u2212])?(?<![A-Za-z_0-9.])(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?"
    r"(?:[eE][-+]?[0-9]{1,4}(?![0-9]))?|(?<![\w.])[-+\u2212]?\.[0-9]+"
)
_ARITHMETIC: Final = Context(prec=60, traps=[])  # exact for any number people write, and silent about all others


def _exact(answer: str, criterion: Criterion) -> tuple[str | None, bool]:
    return answer, any(_same(answer, _text(one).strip(), criterion) for one in _spellings(criterion.expected))


def _contains(answer: str, criterion: Criterion) -> tuple[str | None, bool]:
    folded = answer.casefold() if criterion.ignore_case else answer
    wanted = (_text(one) for one in _spellings(criterion.expected))
    return answer, any((one.casefold() if criterion.ignore_case else one) in folded for one in wanted)


def _regex(answer: str, criterion: Criterion) -> tuple[str | None, bool]:
    found = (re.search(_text(one), answer) for one in _spellings(criterion.expected))
    first = next((match for match in found if match), None)
    return (first[0] if first else answer), first is not None


def _choice(answer: str, criterion: Criterion) -> tuple[str | None, bool]:
    stated = list(_STATED.finditer(answer))
    match = stated[-1] if stated else _ALONE.fullmatch(answer) or _STANDALONE.search(answer)
    if match is None:
        return None, False
    letter = match["letter"].upper()
    return letter, any(letter == _text(one).upper() for one in _spellings(criterion.expected))


def _number(answer: str, criterion: Criterion) -> tuple[str | None, bool]:
    found = [match[0] for match in _NUMBER.finditer(answer)]
    if not found:
        return None, False
    value = _decimal(found[-1])
    if value is None:
        return None, False
    wanted = (_decimal(_text(one)) for one in _spellings(criterion.expected))
    return found[-1], any(
        one is not None and abs(_ARITHMETIC.subtract(value, one)) <= criterion.tolerance for one in wanted
    )


_RULES: Final[dict[str, Callable[[str, Criterion], tuple[str | None, bool]]]] = {
    EXACT: _exact,
    "choice": _choice,
    "number": _number,
    "regex": _regex,
    "contains": _contains,
}


def _spellings(expected: object) -> Sequence[object]:
    return expected if isinstance(expected, list) else [expected]


def _text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _same(one: str, other: str, criterion: Criterion) -> bool:
    return one.casefold() == other.casefold() if criterion.ignore_case else one == other


def _decimal(text: str) -> Decimal | None:
    """Return the finite number a text spells, or None."""
    value = _ARITHMETIC.create_decimal(text.strip().replace(",", "").replace("\u2212", "-"))
    return value if value.is_finite() else None
