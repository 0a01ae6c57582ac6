"""What a task library holds, in numbers: what `benchrunner tasks check` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchrunner.suites.workflow.importer import ImportedTask
from benchrunner.suites.workflow.tasks import TASK_TYPES


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Counts over some tasks of a library. Every count but the distinct ones is a number of tasks."""

    tasks: int
    order_conflict: int  # the required order contradicts the registry's dependencies
    missing_prerequisite: int  # a tool depends on one that the task does not require
    distinct_descriptions: int
    distinct_sequences: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey(Tally):
    """A library in numbers: over all its tasks, and per task type."""

    by_type: dict[str, Tally]
    difficulties: dict[str, int]  # tasks by the wording they state; "" states none
    tools: int  # different tools that occur
    repeated_tool: int  # tasks that list a tool twice
    renamed_tool: int  # tasks that name a tool by an alias


def survey(tasks: Sequence[ImportedTask]) -> Survey:
    """Return the numbers of a library."""
    total = _tally(tasks)
    return Survey(
        **asdict(total),
        by_type={name: _tally([one for one in tasks if one.task.task_type == name]) for name in TASK_TYPES},
        difficulties=dict(Counter(one.task.difficulty for one in tasks)),
        tools=len({tool for one in tasks for tool in one.task.required_tools}),
        repeated_tool=sum(bool(one.repeated) for one in tasks),
        renamed_tool=sum(bool(one.renamed) for one in tasks),
    )


def _tally(tasks: Sequence[ImportedTask]) -> Tally:
    return Tally(
        tasks=len(tasks),
        order_conflict=sum(one.task.order_conflict for one in tasks),
        missing_prerequisite=sum(bool(one.missing) for one in tasks),
        distinct_descriptions=len({one.task.description for one in tasks}),
        distinct_sequences=len({one.task.required_tools for one in tasks}),
    )
