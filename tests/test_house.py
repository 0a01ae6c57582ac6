"""The house keeps its order: layers import downwards, each outside library has one door, banned names stay out."""

from __future__ import annotations

import ast
import pickle
from pathlib import Path

import pytest

import benchrunner
from benchrunner import errors

PACKAGE = Path(benchrunner.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

LAYERS = {
    "errors": 0, "clock": 0, "locks": 0,
    "records": 1,
    "limits": 2, "policies": 2, "suites": 2,
    "planning": 3,
    "config": 4, "providers": 4, "simulator": 4, "registry": 4, "store": 4,
    "engine": 5, "reporting": 5, "browse": 5,
    "cli": 6, "testing": 6, "__main__": 7,
}  # fmt: skip
"""Room or file -> layer (design, "The house"); `__init__` of the package itself is below all."""

DOORS = {
    "requests": {"providers"},
    "urllib3": {"providers"},
    "multiprocess": {"engine", "registry"},
    "psutil": {"engine", "registry", "store"},
    "sqlite_utils": {"store"},
    "sqlite3": {"store"},
    "pydantic": {"config"},
    "dotenv": {"config"},
    "uvicorn": {"simulator"},
    "click": {"cli"},
    "rich": {"reporting", "cli"},
    "jinja2": {"reporting", "browse"},
    "datasette": {"browse"},
    "ray": {"engine"},
    "platformdirs": {"registry"},
    "fcntl": {"locks", "registry", "store"},
    "mmap": {"registry"},
    "signal": {"engine", "registry", "simulator", "cli"},
    "time": {"clock"},
}
"""Outside library -> the rooms that may import it."""

PURE = ("limits", "policies", "suites", "planning")
IMPURE_MODULES = {"os", "socket", "subprocess", "logging", "threading", "time", "tempfile", "shutil"}

BANNED_NAMES = {"utils", "helpers", "common", "misc", "core2", "model", "task"}
BANNED_PARTS = {"smart", "ultra", "enhanced", "unified", "final", "v2"}


def room_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports_of(path: Path) -> list[str]:
    """Return the full names of the modules a file imports, wherever in it."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_lower_layers_and_its_own_room(path: Path) -> None:
    """A file imports lower layers and its own room; rooms of one layer never import each other."""
    room = room_of(path)
    if room == "__init__":
        return
    wrong = []
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] != "benchrunner" or len(parts) < 2 or parts[1] == "__version__":
            continue
        if parts[1] != room and LAYERS[parts[1]] >= LAYERS[room]:
            wrong.append(name)
    assert wrong == [], f"layer {LAYERS[room]} ({room}) reaches sideways or up"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_outside_library_has_one_door(path: Path) -> None:
    """A library is imported only by the rooms whose business it is."""
    strangers = [
        name
        for name in imports_of(path)
        if (door := DOORS.get(name.split(".")[0])) is not None and room_of(path) not in door
    ]
    assert strangers == []


@pytest.mark.parametrize("path", [p for p in FILES if room_of(p) in PURE], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_pure_rooms_touch_nothing(path: Path) -> None:
    """Rules and content take time, randomness and data as arguments: no clock, file, socket or thread in them."""
    allowed = {"limits/local.py": {"threading"}}
    found = {name.split(".")[0] for name in imports_of(path)} & IMPURE_MODULES
    assert found - allowed.get(path.relative_to(PACKAGE).as_posix(), set()) == set()


def test_no_file_has_a_name_that_says_nothing() -> None:
    """A file is named for the one noun or act it owns."""
    wrong = [
        path.name for path in FILES if path.stem in BANNED_NAMES or set(path.stem.split("_")) & BANNED_PARTS
    ]
    assert wrong == []


def test_exceptions_are_caught_wholesale_only_where_somebody_must_answer() -> None:
    """`except Exception` stands in the worker's main and its threads, and nowhere else."""
    places = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            broad = isinstance(node, ast.ExceptHandler) and (
                node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "Exception")
            )
            if broad:
                places.append(path.relative_to(PACKAGE).as_posix())
    assert sorted(places) == ["engine/worker.py", "engine/worker.py"]


def error_classes() -> list[type[errors.BenchrunnerError]]:
    found, queue = [], [errors.BenchrunnerError]
    while queue:
        kind = queue.pop()
        found.append(kind)
        queue += kind.__subclasses__()
    return found


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.__name__)
def test_every_error_survives_pickling(kind: type[errors.BenchrunnerError]) -> None:
    """An error crosses a Manager or a pipe with its class, arguments and text."""
    samples = {
        errors.ConfigError: ("phases.toml", ("one", "two")),
        errors.UnknownKey: ("key9", ("key0", "key1")),
        errors.InvalidTransition: ("Tick", "ended", ("a", "b")),
    }
    error = kind(*samples.get(kind, ("what went wrong",)))
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.args, str(copy)) == (kind, error.args, str(error))
