"""A trial's transcript as turns a page can show: who said what, which tools were called, what came of them. Pure.

The suites of this package keep a list of turns with `sent` and `reply`; whatever else a turn holds is shown as it
stands, and a transcript of another shape is shown as text. Nothing here is safe to put into a page unescaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson

_LONG_CHARACTERS: Final = 1200
_KNOWN: Final = frozenset({"turn", "sent", "reply", "calls", "results", "finish_reason"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One message. `role` is the provider's word for who said it; `about`: the call a tool's message answers."""

    role: str
    text: str
    about: str = ""

    @property
    def is_long(self) -> bool:
        """Return whether it is folded at first: prompts take screens."""
        return len(self.text) > _LONG_CHARACTERS


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUsed:
    """One tool that was carried out. `error` is "" for a success."""

    tool: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownCall:
    """A function call as the model wrote it."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownTurn:
    """One request and its reply. `facts`: what else the suite kept of the turn, as name and text."""

    number: int
    sent: tuple[Said, ...]
    reply: Said
    calls: tuple[ShownCall, ...]
    results: tuple[ToolUsed, ...]
    finish_reason: str
    facts: tuple[tuple[str, str], ...]


def read_turns(transcript: str | None) -> tuple[ShownTurn, ...] | None:
    """Return the turns, () where there are none, None where the text is no transcript of a shape that is known."""
    if not transcript:
        return ()
    try:
        content = orjson.loads(transcript)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(content, list) or not all(isinstance(turn, dict) and "reply" in turn for turn in content):
        return None
    return tuple(_turn(turn, place) for place, turn in enumerate(content, start=1))


def _turn(turn: Mapping[str, object], place: int) -> ShownTurn:
    number = turn.get("turn")
    return ShownTurn(
        number=number if isinstance(number, int) else place,
        sent=tuple(
            Said(role=_text(one.get("role")), text=_text(one.get("content")), about=_text(one.get("tool_call_id")))
            for one in _entries(turn.get("sent"))
        ),
        reply=Said(role="assistant", text=_text(turn.get("reply"))),
        calls=tuple(
            ShownCall(call_id=_text(one.get("id")), name=_text(one.get("name")), arguments=_text(one.get("arguments")))
            for one in _entries(turn.get("calls"))
        ),
        results=tuple(
            ToolUsed(tool=_text(one.get("tool")), error=_text(one.get("error")))
            for one in _entries(turn.get("results"))
        ),
        finish_reason=_text(turn.get("finish_reason")),
        facts=tuple((name.replace("_", " "), _fact(value)) for name, value in turn.items() if name not in _KNOWN),
    )


def pretty_json(text: str | None) -> str:
    """Return JSON text indented for reading; text that is none as it stands."""
    if not text:
        return ""
    try:
        return orjson.dumps(orjson.loads(text), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        return text


def task_facts(body: str | None) -> tuple[tuple[str, str], ...]:
    """Return what a task's text holds, as name and text, in its order; () where it is no JSON object."""
    try:
        content = orjson.loads(body or "")
    except orjson.JSONDecodeError:
        return ()
    if not isinstance(content, dict):
        return ()
    return tuple((name.replace("_", " "), _fact(value)) for name, value in content.items())


def _fact(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case None:
            return "none"
        case str():
            return value
        case list() | dict() if not value:
            return "none"
        case list() if all(isinstance(one, str) for one in value):
            return ", ".join(value)
        case list() if all(isinstance(one, dict) for one in value):
            return "; ".join(" ".join(_text(part) for part in one.values() if part != "") for one in value)
        case dict():
            return ", ".join(f"{name}: {_text(part)}" for name, part in value.items())
        case _:
            return _text(value)


def _entries(value: object) -> list[Mapping[str, object]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
