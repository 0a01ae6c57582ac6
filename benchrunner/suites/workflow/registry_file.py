"""Which tools there are, what they depend on and which other names they go by: ours, or those of a registry file.

The field keeps registries as one JSON object, name -> tool. A compatibility registry also holds numbered aliases
(``is_canonical: false`` and the ``canonical_name`` they stand for); they are resolved and then forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from benchrunner.suites.task_faults import TaskFaults, kind_of, parse_json, shown
from benchrunner.suites.workflow.tools import catalogue


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRegistry:
    """Tools by name, with their direct prerequisites, and aliases by the tool they stand for."""

    dependencies: Mapping[str, tuple[str, ...]]
    aliases: Mapping[str, str]

    def resolve(self, name: str) -> str | None:
        """Return the tool that `name` or the alias `name` stands for, or None."""
        return name if name in self.dependencies else self.aliases.get(name)

    def nearest(self, name: str) -> str:
        """Return the tool whose name is most like `name`: one that holds it, else the one with most in common."""
        holding = [known for known in self.dependencies if name and (name in known or known in name)]
        return get_close_matches(name, holding or list(self.dependencies), n=1, cutoff=0.0)[0]


def packaged_registry() -> ToolRegistry:
    """Return the tools this suite simulates. They have no aliases."""
    return ToolRegistry(dependencies={tool.name: tool.dependencies for tool in catalogue().tools}, aliases={})


def parse_registry(data: bytes, where: str) -> ToolRegistry:
    """Return the registry in the JSON text `data`. Raises SuiteError with every fault of it."""
    faults = TaskFaults(where)
    raw = parse_json(data, where)
    if not isinstance(raw, dict) or not raw:
        faults.add("", f"a registry is an object of tools by name, not {kind_of(raw) if raw != {} else 'an empty one'}")
        faults.raise_any()
    tools = {name: tool for name, tool in raw.items() if _is_tool(name, tool, faults)}
    aliases: dict[str, str] = {}
    for name, tool in tools.items():
        target = tool.get("canonical_name") or name
        if tool.get("is_canonical") is False and target == name:
            faults.add(f"{name} canonical_name", "an alias must name the tool it stands for")
        elif target != name:
            aliases[name] = target
    canonical = [name for name in tools if name not in aliases]
    for name in canonical:
        for alias in tools[name].get("aliases", []):
            if alias not in tools and aliases.setdefault(alias, name) != name:
                faults.add(f"{name} aliases", f"{shown(alias)} is an alias of {aliases[alias]} already")
    for alias, target in aliases.items():
        if target not in tools or target in aliases:
            why = "is an alias itself" if target in aliases else "is not in the registry"
            faults.add(f"{alias} canonical_name = {shown(target)}", why)
    dependencies = {}
    for name in canonical:
        resolved = []
        for needed in tools[name].get("dependencies", []):
            target = aliases.get(needed, needed)
            if target not in tools:
                faults.add(f"{name} dependencies", f"{shown(needed)} is not in the registry")
            resolved.append(target)
        dependencies[name] = tuple(dict.fromkeys(resolved))
    if not canonical:
        faults.add("", "it holds no tool that is not an alias")
    faults.raise_any()
    return ToolRegistry(dependencies=dependencies, aliases=aliases)


def _is_tool(name: str, tool: Any, faults: TaskFaults) -> bool:
    """Return whether `tool` has the shape of one, noting where it does not."""
    if not isinstance(tool, dict):
        faults.add(name, f"a tool is an object, not {kind_of(tool)}")
        return False
    before = len(faults.sentences)
    if tool.get("name", name) != name:
        faults.add(f"{name} name = {shown(tool['name'])}", "is not the name it stands under")
    if not isinstance(tool.get("canonical_name") or "", str):
        faults.add(f"{name} canonical_name = {shown(tool['canonical_name'])}", "must be text")
    if not isinstance(tool.get("is_canonical", True), bool):
        faults.add(f"{name} is_canonical = {shown(tool['is_canonical'])}", "must be true or false")
    for key in ("dependencies", "aliases"):
        value = tool.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            faults.add(f"{name} {key} = {shown(value)}", "must be a list of tool names")
    return len(faults.sentences) == before
