"""The 30 simulated tools: read once from the packaged tools.json into frozen records."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

from benchrunner.errors import SuiteError

TOOLS_SHA256 = "38ea8d293638c5569c06794f833f7c7a59a0010951dacf35158165d2adc94f3c"
"""Checksum of tools.json. A changed catalogue changes every score, so it must not change unnoticed."""

MIN_FRAGMENT = 4  # letters below which a piece of a name says nothing ("e" is in every tool)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One argument a tool takes."""

    name: str
    type: str  # "string" | "number" | "object"
    description: str
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """One field of what a tool answers."""

    name: str
    type: str  # "boolean" | "object" | "array"
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCode:
    """One way a tool can fail."""

    code: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool of the registry."""

    name: str
    category: str
    operation: str
    level: int  # 0: no prerequisites; else one above its highest prerequisite
    description: str
    keywords: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    returns: tuple[Returned, ...]
    errors: tuple[ErrorCode, ...]
    dependencies: tuple[str, ...]  # names of the tools that should have succeeded before


class Catalogue:
    """The tools by name, in registry order. Immutable once built; any thread may use it."""

    def __init__(self, tools: tuple[Tool, ...]) -> None:
        self.tools = tools
        self._by_name = {tool.name: tool for tool in tools}

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Tool:
        return self._by_name[name]

    def resolve(self, name: str) -> Tool | None:
        """Return the tool a model means by `name`, or None when it means none.

        Exact first; then without regard to case and separators; then the first tool in registry order whose name
        holds `name` or stands inside it (as in ``functions.file_operations_reader_2``).
        """
        tool = self._by_name.get(name)
        if tool is not None:
            return tool
        folded = "_".join("".join(c if c.isalnum() else " " for c in name.casefold()).split())
        if folded in self._by_name:
            return self._by_name[folded]
        if len(folded) < MIN_FRAGMENT:
            return None
        return next((tool for tool in self.tools if folded in tool.name or tool.name in folded), None)


def _tool(raw: dict[str, Any]) -> Tool:
    return Tool(
        name=raw["name"],
        category=raw["metadata"]["category"],
        operation=raw["metadata"]["operation"],
        level=raw["metadata"]["dependency_level"],
        description=raw["description"],
        keywords=tuple(raw["differentiation"]["usage_keywords"]),
        parameters=tuple(
            Parameter(name=p["name"], type=p["type"], description=p["description"], required=p["required"])
            for p in raw["parameters"]
        ),
        returns=tuple(Returned(name=r["name"], type=r["type"], description=r["description"]) for r in raw["returns"]),
        errors=tuple(ErrorCode(code=e["code"], description=e["description"]) for e in raw["errors"]),
        dependencies=tuple(raw["dependencies"]),
    )


@cache
def catalogue() -> Catalogue:
    """Return the packaged tools. Raises SuiteError when tools.json is not the one this version was made for."""
    text = files(__package__).joinpath("tools.json").read_bytes()
    found = hashlib.sha256(text).hexdigest()
    if found != TOOLS_SHA256:
        raise SuiteError(f"tools.json has checksum {found[:12]}, expected {TOOLS_SHA256[:12]}: reinstall benchrunner")
    return Catalogue(tuple(_tool(raw) for raw in orjson.loads(text).values()))
