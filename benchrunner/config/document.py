"""docs/configuration.md, made from the schema so that the two never disagree.

`python -m benchrunner.config.document > docs/configuration.md` writes it; a test compares.
"""

from __future__ import annotations

import inspect
import json
import re
import types
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from benchrunner.config.schema import (
    FaultTable,
    KeyTable,
    LimitTable,
    ModelLimitTable,
    ModelTable,
    NightlyTable,
    PhaseTable,
    ProviderTable,
    RayTable,
    RunTable,
    SimulatedTable,
    SimulatorTable,
)

_TABLES: tuple[tuple[str, type[BaseModel]], ...] = (
    ("[run]", RunTable),
    ("[simulator]", SimulatorTable),
    ("[simulator.faults]", FaultTable),
    ("[providers.NAME]", ProviderTable),
    ("[[providers.NAME.keys]]", KeyTable),
    ("limits = [{ ... }] of a key", LimitTable),
    ("[[providers.NAME.limits]]", ModelLimitTable),
    ('[models."NAME"]', ModelTable),
    ('[models."NAME".simulated]', SimulatedTable),
    ('[phases."NAME"]', PhaseTable),
    ("[nightly]", NightlyTable),
    ("[engine.ray]", RayTable),
)

_OPENING = """\
# Configuration

<!-- Made from benchrunner/config/schema.py by `python -m benchrunner.config.document`; edit it there. -->

`phases.toml` says what is run, where, and how fast. `benchrunner init` writes a commented one, `benchrunner check`
tells everything that is wrong with yours: each fault with its table, key, value and, where a word is misspelt, the
nearest valid one. A wrong file starts nothing and writes nothing (exit code 2).

* Paths are relative to the file. `${NAME}` in a path or in `base_url` is read from the environment.
* Secrets never stand in the file. A key's `env` names the environment variable that holds its secret; `env_file` may
  hold such variables for runs without a shell (cron). A variable of the environment goes before the one in the file.
  Neither is needed while `backend` is `simulated`.
* A call counts in every limit that applies to it: those of its key, and those of its (account, model) pair. All hold.
* Durations are seconds (`_s`). Numbers are finite.
"""


def describe_schema() -> str:
    """Return docs/configuration.md: every table with its keys, their types, defaults and meanings."""
    parts = [_OPENING]
    for heading, table in _TABLES:
        meaning = inspect.cleandoc(table.__doc__ or "")
        parts.append(f"\n## `{heading}`\n\n{meaning}\n\n| key | value | default | meaning |")
        parts.append("\n|---|---|---|---|\n")
        parts.extend(_row(name, field) for name, field in table.model_fields.items())
    return "".join(parts)


def _row(name: str, field: FieldInfo) -> str:
    cells = (f"`{name}`", _value(field), _default(field), field.description or "")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _value(field: FieldInfo) -> str:
    return _kind(field.annotation, list(field.metadata))


def _kind(annotation: object, metadata: list[object]) -> str:
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        unpacked = [one for meta in more for one in (meta.metadata if isinstance(meta, FieldInfo) else [meta])]
        return _kind(inner, unpacked + metadata)
    if origin in (Union, types.UnionType):
        return _kind(next(one for one in get_args(annotation) if one is not type(None)), metadata)
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in get_args(annotation))
    if origin is list:
        return f"list of {_plural(get_args(annotation)[0])}"
    if origin is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return "table"
    words: dict[object, str] = {int: "whole number", float: "number", bool: "`true`, `false`", str: "text"}
    return words[annotation] + _bounds(metadata)


def _plural(annotation: object) -> str:
    kind = _kind(annotation, [])
    if kind.startswith("list of"):
        return "lists"
    return re.sub(r"^(number|table|whole number)", r"\1s", kind)


def _bounds(metadata: list[object]) -> str:
    found: dict[str, float] = {}
    for one in metadata:
        for bound in ("ge", "gt", "le"):
            if (value := getattr(one, bound, None)) is not None:
                found[bound] = value
    if "ge" in found and found.get("le", 2**62) < 2**62:
        return f", {found['ge']:g} to {found['le']:g}"
    if "gt" in found and "le" in found:
        return f", more than {found['gt']:g}, at most {found['le']:g}"
    if "ge" in found:
        return f", at least {found['ge']:g}"
    return f", more than {found['gt']:g}" if "gt" in found else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    default = field.get_default()
    if default is None:
        return '`"all"`' if field.annotation is not None and "BeforeValidator" in repr(field) else "-"
    return f"`{json.dumps(default)}`"


if __name__ == "__main__":
    print(describe_schema(), end="")
