"""What is asked: the benchmarks. `load_suite` finds one by name, built in or brought by an installed package."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Final, cast

from benchrunner.errors import SuiteError
from benchrunner.suites.base import Suite

ENTRY_POINT_GROUP: Final = "benchrunner.suites"
"""An entry point of this group names a function that takes the path of a task file, or None, and returns a Suite."""

SuiteFactory = Callable[[Path | None], Suite]

_BUILT_IN: Final = {"workflow": "benchrunner.suites.workflow", "jsonl": "benchrunner.suites.jsonl"}


def load_suite(name: str, tasks_file: str | Path | None = None) -> Suite:
    """Return the suite called `name`, which will take its tasks from `tasks_file` if it takes one.

    The built-in ones read the file when tasks are asked for: workers load the suite too, and may be without the file.
    Raises SuiteError for an unknown name, a suite that cannot be imported, or a task file that is missing where one
    is needed.
    """
    path = None if tasks_file is None else Path(tasks_file)
    if name in _BUILT_IN:
        factory = cast("SuiteFactory", import_module(_BUILT_IN[name]).load)
        return factory(path)
    from importlib import metadata  # on first touch: it costs more than all the rest of this file's imports

    found = {entry.name: entry for entry in metadata.entry_points(group=ENTRY_POINT_GROUP)}
    if name not in found:
        known = sorted({*_BUILT_IN, *found})
        near = get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise SuiteError(f"no suite {name!r}: there is {', '.join(known)}{hint}")
    try:
        factory = cast("SuiteFactory", found[name].load())
    except (ImportError, AttributeError) as fault:
        raise SuiteError(f"suite {name!r} ({found[name].value}) cannot be imported: {fault}") from fault
    return factory(path)
