"""Task libraries in the field's newer JSON form: made by our generator, or written back after an import."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from benchrunner.errors import SuiteError
from benchrunner.suites.workflow.tasks import LENGTHS, TASK_TYPES, WorkflowTask, make_task

LIBRARY_PHASE: Final = "library"  # stands for the phase in the seeds of generated libraries
FIELD_COUNTS: Final = {task_type: sum(lengths.values()) for task_type, lengths in LENGTHS.items()}
FIELD_TASKS: Final = sum(FIELD_COUNTS.values())
_CONSTRAINTS: Final = {"timeout": 300, "max_retries": 3}  # what every task of the field's libraries states


def task_counts(count: int) -> dict[str, int]:
    """Return how many of `count` tasks are of each type: the field's shares, largest remainders first."""
    whole = {task_type: count * share // FIELD_TASKS for task_type, share in FIELD_COUNTS.items()}
    by_remainder = sorted(FIELD_COUNTS, key=lambda task_type: -(count * FIELD_COUNTS[task_type] % FIELD_TASKS))
    for task_type in by_remainder[: count - sum(whole.values())]:
        whole[task_type] += 1
    return whole


def generate_library(*, seed: int, difficulty: str, count: int) -> tuple[WorkflowTask, ...]:
    """Return `count` generated tasks, type by type. Ids and tools are the same at every difficulty.

    Raises SuiteError for a difficulty that does not exist or fewer than one task.
    """
    if count < 1:
        raise SuiteError(f"a library has at least one task, not {count}")
    return tuple(
        make_task(seed=seed, phase=LIBRARY_PHASE, difficulty=difficulty, task_type=task_type, index=index)
        for task_type, share in task_counts(count).items()
        for index in range(share)
    )


def encode_library(tasks: Sequence[WorkflowTask], origin: Mapping[str, object]) -> bytes:
    """Return the JSON text of a library; `origin` joins its metadata. Equal arguments give equal bytes."""
    counts = {task_type: sum(task.task_type == task_type for task in tasks) for task_type in TASK_TYPES}
    metadata = {"num_tasks": len(tasks), "task_distribution": counts, **origin}
    return orjson.dumps(
        {"tasks": list(_entries(tasks)), "metadata": metadata}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    )


def _entries(tasks: Iterable[WorkflowTask]) -> Iterable[dict[str, Any]]:
    for task in tasks:
        yield {
            "instance_id": task.task_id,
            "task_type": task.task_type,
            "description": task.description,
            "inputs": task.inputs,
            "expected_outputs": task.expected_outputs,
            "required_tools": task.required_tools,
            "constraints": _CONSTRAINTS,
            "complexity": task.complexity,
            "metadata": {"template": task.task_type, "timeout": _CONSTRAINTS["timeout"]},
            **({"difficulty_level": task.difficulty} if task.difficulty else {}),
        }
