"""What a person reads about a wrong phases.toml: one sentence a fault, with table, key, value and the way out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from benchrunner.config.schema import looks_secret
from benchrunner.errors import did_you_mean

T = TypeVar("T", bound=BaseModel)

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SHOWN_CHARS = 60
_NEVER_SHOWN = frozenset({"env"})
_LINKED = frozenset({"api_version", "groups", "margin_ceiling_s", "margin_floor_s", "simulated", "suite"})
"""Keys whose default, put in the place of a faulty value, could make a fault of a right value elsewhere."""

_KINDS = {
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be text in quotes",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "model_type": "must be a table",
    "finite_number": "must be a finite number",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}
_BOUNDS = {
    "greater_than_equal": ("must be at least", "ge"),
    "greater_than": ("must be more than", "gt"),
    "less_than_equal": ("must be at most", "le"),
    "less_than": ("must be less than", "lt"),
}


def table_name(*parts: str) -> str:
    """Return the parts as a TOML table name, quoted where TOML needs it."""
    return ".".join(part if _BARE_KEY.fullmatch(part) else json.dumps(part, ensure_ascii=False) for part in parts)


def shown(value: object) -> str:
    """Return a value as TOML would write it, cut to one line; what looks like a secret is not repeated."""
    text = _toml(value)
    if any(looks_secret(word) for word in re.findall(r"[^\s\"',\[\]]+", text)):
        return "(not repeated here: it looks like a secret)"
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "..."


def _toml(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False)
        case list():
            return "[" + ", ".join(_toml(one) for one in value) + "]"
        case dict():
            return "{" + ", ".join(f"{table_name(str(key))} = ..." for key in value) + "}"
        case date():
            return value.isoformat()
        case _:
            return str(value)


@dataclass(slots=True)
class Faults:
    """Gathers sentences while a file is read, so that all its faults are told at once."""

    sentences: list[str] = field(default_factory=list)

    def add(self, where: str, what: str) -> None:
        """Note one fault; `where` is a bracketed table, with the key and value where there is one."""
        self.sentences.append(f"{where}: {what}")

    def unknown(self, where: str, key: str, word: str, noun: str, known: Iterable[str]) -> None:
        """Note that `key` names a `noun` that is not there."""
        self.add(f"{where} {key} = {shown(word)}", f"there is no such {noun}; {did_you_mean(word, known)}")

    def validated(self, table: type[T], raw: object, where: str, also: Iterable[str] = ()) -> T | None:
        """Return `raw` as that table after noting everything wrong with it; None where it cannot be looked at further.

        A faulty table comes back without its faulty keys, so that what the others refer to is checked too.
        `also` are keys of the table that the caller takes out before: they are offered as nearest words.
        """
        if not isinstance(raw, dict):
            self.add(where, f"must be a table, not {shown(raw)}")
            return None
        try:
            return table.model_validate(raw)
        except ValidationError as error:
            details = error.errors(include_url=False)
        self.sentences.extend(_sentence(table, detail, where, tuple(also)) for detail in details)
        faulty = {detail["loc"][0] for detail in details}
        if faulty & _LINKED:
            return None
        try:
            return table.model_validate({key: value for key, value in raw.items() if key not in faulty})
        except ValidationError:  # something needed is missing, and that has been told
            return None


def _sentence(table: type[BaseModel], detail: ErrorDetails, where: str, also: tuple[str, ...]) -> str:
    location, kind = detail["loc"], detail["type"]
    key = _path(location)
    if kind == "missing":
        owner = _owner(table, location)
        meaning = (owner.model_fields[str(location[-1])].description or "").rstrip(".") if owner else ""
        return f"{where} {key}: is missing" + (f" ({meaning})" if meaning else "")
    if kind == "extra_forbidden":
        owner = _owner(table, location)
        known = (*(owner.model_fields if owner else ()), *(also if len(location) == 1 else ()))
        return f"{where} {key}: unknown key; {did_you_mean(str(location[-1]), known)}"
    value = detail["input"]
    if _NEVER_SHOWN.intersection(map(str, location)):
        return f"{where} {key}: {_wish(detail)}"
    return f"{where} {key} = {shown(value)}: {_wish(detail)}"


def _wish(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _KINDS:
        return _KINDS[kind]
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"{words} {context[bound]:g}" if isinstance(context[bound], float) else f"{words} {context[bound]}"
    if kind == "literal_error":
        valid = re.findall(r"'([^']*)'", context["expected"])
        near = did_you_mean(str(detail["input"]), valid)
        listed = f"must be one of {', '.join(valid)}"
        return listed if near.startswith("valid:") else f"{listed}; {near}"
    if kind == "value_error":
        return str(context["error"])
    return detail["msg"][0].lower() + detail["msg"][1:]


def _path(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part + 1}]"  # people count from one
        else:
            text += ("." if text else "") + table_name(part)
    return text


def _owner(table: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel] | None:
    """Return the table that the last part of `location` is, or should be, a key of."""
    owner: type[BaseModel] = table
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        nested = _tables_in(owner.model_fields[part].annotation)
        if nested is None:
            return None
        owner = nested
    return owner


def _tables_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _tables_in(inner)
        if found is not None:
            return found
    return None
