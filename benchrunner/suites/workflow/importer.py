"""PILOT-Bench task libraries, read as they are: both generations of the field's JSON, every fault located.

The newer form (630 tasks) says `instance_id`, `inputs`, `expected_outputs`; the older one (500 tasks) says `id`,
`test_input`, `expected_output`. Keys the suite has no use for are passed over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from benchrunner.errors import did_you_mean
from benchrunner.suites.task_faults import TaskFaults, kind_of, parse_json, shown
from benchrunner.suites.workflow.registry_file import ToolRegistry, packaged_registry
from benchrunner.suites.workflow.tasks import (
    COMPLEXITY,
    TASK_TYPES,
    WorkflowTask,
    has_order_conflict,
    missing_prerequisites,
)

_ID: Final = ("instance_id", "id")
_INPUTS: Final = ("inputs", "test_input")
_OUTPUTS: Final = ("expected_outputs", "expected_output")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedTask:
    """One task of a library. `task.difficulty` is the wording the file states for it, "" where it states none."""

    task: WorkflowTask
    missing: tuple[str, ...]  # direct prerequisites of its tools that it does not require itself
    repeated: tuple[str, ...]  # tools it lists more than once; the first mention counts
    renamed: tuple[str, ...]  # aliases it used


def parse_library(data: bytes, where: str, registry: ToolRegistry | None = None) -> tuple[ImportedTask, ...]:
    """Return the tasks in the JSON text `data`, in file order.

    `registry` None: the suite's own tools. Raises SuiteError, prefixed with `where`, that locates every fault by task
    number and id, field and value, or by line and column where the text is no JSON.
    """
    registry = registry or packaged_registry()
    faults = TaskFaults(where)
    raw = parse_json(data, where)
    listed = raw.get("tasks") if isinstance(raw, dict) else raw
    if not isinstance(listed, list):
        found = 'one without "tasks"' if isinstance(raw, dict) and "tasks" not in raw else kind_of(listed)
        faults.add("", f'a task library is an object whose "tasks" is a list, not {found}')
        listed = []
    elif not listed:
        faults.add("tasks", "there is none")
    tasks: list[ImportedTask] = []
    first_at: dict[str, int] = {}
    for number, entry in enumerate(listed):
        reader = _TaskReader(number, entry, registry, faults)
        task = reader.read()
        if reader.task_id and first_at.setdefault(reader.task_id, number) != number:
            faults.add(reader.place(reader.id_key), f"stands already at tasks[{first_at[reader.task_id]}]")
        if task is not None:
            tasks.append(task)
    faults.raise_any()
    return tuple(tasks)


class _TaskReader:
    """Reads one entry of `tasks`, noting what is wrong with it."""

    def __init__(self, number: int, entry: Any, registry: ToolRegistry, faults: TaskFaults) -> None:
        self._number, self._entry, self._registry, self._faults = number, entry, registry, faults
        self.id_key = _ID[0]
        self.task_id = ""

    def place(self, field: str) -> str:
        """Return where a field stands: task number, id as far as known, field and value."""
        named = f" ({self.task_id})" if self.task_id else ""
        value = f" = {shown(self._entry[field])}" if field in self._entry else ""
        return f"tasks[{self._number}]{named} {field}{value}"

    def read(self) -> ImportedTask | None:
        """Return the task, or None when something is wrong with it."""
        if not isinstance(self._entry, dict):
            self._faults.add(f"tasks[{self._number}]", f"a task is an object, not {kind_of(self._entry)}")
            return None
        before = len(self._faults.sentences)
        self.id_key = next((key for key in _ID if key in self._entry), _ID[0])
        self.task_id = self._text(self.id_key, needed=" or ".join(_ID))
        task_type = self._text("task_type")
        if task_type and task_type not in COMPLEXITY:
            self._faults.add(self.place("task_type"), f"no such task type; {did_you_mean(task_type, TASK_TYPES)}")
        description = self._text("description")
        inputs, outputs = self._values(_INPUTS), self._values(_OUTPUTS)
        complexity = self._text("complexity", default=COMPLEXITY.get(task_type, ""))
        difficulty = self._text("difficulty_level", default="")
        names = self._tools()
        if len(self._faults.sentences) > before:
            return None
        listed = [self._registry.resolve(name) or name for name in names]
        required = tuple(dict.fromkeys(listed))
        task = WorkflowTask(
            task_id=self.task_id,
            task_type=task_type,
            difficulty=difficulty,
            complexity=complexity,
            # The older library breaks its descriptions into paragraphs.
            description=" ".join(description.split()),
            inputs=inputs,
            expected_outputs=outputs,
            required_tools=required,
            order_conflict=has_order_conflict(required, self._registry.dependencies),
        )
        return ImportedTask(
            task=task,
            missing=missing_prerequisites(required, self._registry.dependencies),
            repeated=tuple(name for name in required if listed.count(name) > 1),
            renamed=tuple(name for name in names if name not in self._registry.dependencies),
        )

    def _text(self, field: str, *, default: str | None = None, needed: str = "") -> str:
        """Return a text field; "" after noting a fault. `default` None: it must be there and not be blank."""
        value = self._entry.get(field)
        if value is None and default is not None:
            return default
        if field not in self._entry:
            self._faults.add(self.place(needed or field), "is missing")
        elif not isinstance(value, str):
            self._faults.add(self.place(field), f"must be text, not {kind_of(value)}")
        elif not value.strip():
            self._faults.add(self.place(field), "must not be empty")
        else:
            return value
        return ""

    def _values(self, fields: tuple[str, str]) -> dict[str, str]:
        """Return an object of inputs or outputs with every value as one line of text."""
        field = next((key for key in fields if key in self._entry), "")
        if not field:
            self._faults.add(self.place(" or ".join(fields)), "is missing")
            return {}
        value = self._entry[field]
        if not isinstance(value, dict):
            self._faults.add(self.place(field), f"must be an object, not {kind_of(value)}")
            return {}
        return {_one_line(name): _one_line(one) for name, one in value.items()}

    def _tools(self) -> list[str]:
        value = self._entry.get("required_tools")
        if not isinstance(value, list):
            wrong = f"must be a list of tool names, not {kind_of(value)}" if "required_tools" in self._entry else ""
            self._faults.add(self.place("required_tools"), wrong or "is missing")
            return []
        if not value:
            self._faults.add(self.place("required_tools"), "must name at least one tool")
        named = f"tasks[{self._number}]" + (f" ({self.task_id})" if self.task_id else "")
        for position, name in enumerate(value):
            place = f"{named} required_tools[{position}] = {shown(name)}"
            if not isinstance(name, str):
                self._faults.add(place, f"must be a tool's name, not {kind_of(name)}")
            elif self._registry.resolve(name) is None:
                self._faults.add(place, f'no such tool; the nearest is "{self._registry.nearest(name)}"')
        return [name for name in value if isinstance(name, str)]


def _one_line(value: object) -> str:
    """Return text as it is, anything else as JSON, either way on one line: prompts are read line by line."""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return " ".join(text.splitlines())
