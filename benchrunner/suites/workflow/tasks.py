"""The seeded task generator: which tools a task needs, in which order, with which inputs.

A task's structure follows from (seed, phase, type, index); the difficulty changes only its wording. Sequences run
through a type's stages from first to last, and the stages stand in the order of the tools' dependencies, so every
sequence is topologically valid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import Final

import orjson

from benchrunner.errors import SuiteError
from benchrunner.suites.workflow.tools import catalogue
from benchrunner.suites.workflow.wording import DIFFICULTIES, describe, draw_subject

COMPLEXITY: Final = {
    "simple_task": "easy",
    "basic_task": "easy",
    "data_pipeline": "medium",
    "api_integration": "medium",
    "multi_stage_pipeline": "hard",
}
TASK_TYPES: Final = tuple(COMPLEXITY)

Dependencies = Mapping[str, tuple[str, ...]]
"""Tool -> its direct prerequisites."""

LENGTHS: Final = {  # number of required tools -> how many of the field's tasks of that type need so many
    "simple_task": {2: 1, 3: 39},
    "basic_task": {3: 144, 4: 6},
    "data_pipeline": {3: 8, 4: 118, 5: 64},
    "api_integration": {3: 164, 4: 6},
    "multi_stage_pipeline": {4: 17, 5: 51, 6: 12},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One place in a task type's course. Weight inf: always there; else relative to the other optional stages."""

    tools: tuple[str, ...]
    weight: float


ALWAYS: Final = float("inf")
_SOURCE: Final = Stage(  # the reader twice: half of the tasks start with it
    tools=("file_operations_reader", "file_operations_reader", "network_fetcher", "file_operations_scanner"),
    weight=ALWAYS,
)
_PARSE: Final = Stage(tools=("data_processing_parser",), weight=6.0)
_TRANSFORM: Final = Stage(tools=("data_processing_transformer",), weight=3.0)
_FILTER: Final = Stage(tools=("data_processing_filter",), weight=2.0)
_CHECK: Final = Stage(tools=("data_processing_validator",), weight=1.5)
_GROUP: Final = Stage(tools=("data_processing_aggregator",), weight=1.5)

STAGES: Final[dict[str, tuple[Stage, ...]]] = {
    "simple_task": (
        _SOURCE,
        _PARSE,
        Stage(tools=("data_processing_transformer", "data_processing_validator"), weight=1.0),
        _FILTER,
    ),
    "basic_task": (
        _SOURCE,
        _PARSE,
        Stage(tools=("data_processing_filter", "data_processing_transformer"), weight=2.0),
        Stage(tools=("data_processing_validator", "data_processing_aggregator"), weight=1.5),
        Stage(tools=("file_operations_compressor", "utility_cache"), weight=0.5),
    ),
    "data_pipeline": (
        _SOURCE,
        _PARSE,
        _TRANSFORM,
        _FILTER,
        _CHECK,
        _GROUP,
        Stage(tools=("file_operations_compressor", "file_operations_writer", "utility_cache"), weight=1.0),
    ),
    "api_integration": (
        Stage(tools=("integration_authenticator",), weight=1.0),
        Stage(tools=("network_fetcher",), weight=ALWAYS),
        _PARSE,
        Stage(tools=("data_processing_transformer", "integration_mapper"), weight=2.0),
        Stage(tools=("network_validator",), weight=1.0),
        Stage(tools=("network_poster", "integration_queue", "utility_logger"), weight=1.5),
    ),
    "multi_stage_pipeline": (
        _SOURCE,
        _PARSE,
        _TRANSFORM,
        Stage(tools=("data_processing_validator", "network_validator"), weight=1.5),
        _FILTER,
        _GROUP,
        Stage(tools=("computation_analyzer", "computation_predictor"), weight=1.5),
        Stage(tools=("file_operations_writer", "network_poster", "utility_notifier"), weight=ALWAYS),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowTask:
    """One benchmark item as this suite knows it; its JSON text is `Task.body`."""

    task_id: str
    task_type: str
    difficulty: str
    complexity: str
    description: str
    inputs: dict[str, str]
    expected_outputs: dict[str, str]
    required_tools: tuple[str, ...]
    order_conflict: bool = False  # the required order contradicts the tools' dependencies (imported tasks only)


def make_task(*, seed: int, phase: str, difficulty: str, task_type: str, index: int) -> WorkflowTask:
    """Return the task number `index` (from 0) of its kind. Raises SuiteError for an unknown type or difficulty."""
    if task_type not in COMPLEXITY:
        raise SuiteError(f"unknown task type {task_type!r}; the workflow suite has {', '.join(TASK_TYPES)}")
    if difficulty not in DIFFICULTIES:
        raise SuiteError(f"unknown difficulty {difficulty!r}; the workflow suite has {', '.join(DIFFICULTIES)}")
    structure = _rng("structure", seed, phase, task_type, index)
    required = _draw_tools(task_type, structure)
    subject = draw_subject(structure)
    inputs = _draw_inputs(required, subject, structure)
    outputs = {"result": f"{subject} after {len(required)} operations", "format": inputs["output_format"]}
    if "destination" in inputs:
        outputs["delivered_to"] = inputs["destination"]
    number = index * len(TASK_TYPES) + TASK_TYPES.index(task_type)
    return WorkflowTask(
        task_id=f"task_{_scrambled(number, f'{seed}/{phase}'):08x}",
        task_type=task_type,
        difficulty=difficulty,
        complexity=COMPLEXITY[task_type],
        description=describe(
            required, subject, task_type, difficulty, _rng("wording", seed, phase, task_type, index, difficulty)
        ),
        inputs=inputs,
        expected_outputs=outputs,
        required_tools=required,
    )


def encode_task(task: WorkflowTask) -> str:
    """Return the JSON text of a task."""
    return orjson.dumps(task).decode()


def decode_task(body: str) -> WorkflowTask:
    """Return the task of a JSON text made by `encode_task`. Raises SuiteError when it is none."""
    try:
        fields = orjson.loads(body)
        task = WorkflowTask(**{**fields, "required_tools": tuple(fields["required_tools"])})
    except (orjson.JSONDecodeError, TypeError, KeyError) as fault:
        raise SuiteError(f"this is no task of the workflow suite: {body[:80]!r} ({fault})") from fault
    unknown = [name for name in task.required_tools if name not in catalogue()]
    if unknown or not task.required_tools:
        needed = ", ".join(unknown) or "no tool at all"
        raise SuiteError(f"{task.task_id} needs {needed}, which the suite does not hold")
    return task


def missing_prerequisites(required: tuple[str, ...], dependencies: Dependencies | None = None) -> tuple[str, ...]:
    """Return the direct prerequisites of the required tools that are not required themselves.

    `dependencies` None: those of the packaged tools.
    """
    needed = (name for tool in required for name in _needs(tool, dependencies))
    return tuple(dict.fromkeys(name for name in needed if name not in required))


def has_order_conflict(required: tuple[str, ...], dependencies: Dependencies | None = None) -> bool:
    """Return whether a tool stands before one of its own direct prerequisites. `dependencies` as above."""
    return any(
        name in required[position:] for position, tool in enumerate(required) for name in _needs(tool, dependencies)
    )


def _needs(tool: str, dependencies: Dependencies | None) -> tuple[str, ...]:
    return catalogue()[tool].dependencies if dependencies is None else dependencies[tool]


def _rng(*parts: str | int) -> Random:
    digest = blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return Random(int.from_bytes(digest, "big"))


def _draw_tools(task_type: str, rng: Random) -> tuple[str, ...]:
    lengths = LENGTHS[task_type]
    (length,) = rng.choices(list(lengths), weights=list(lengths.values()))
    stages = STAGES[task_type]
    chosen = {position for position, stage in enumerate(stages) if stage.weight == ALWAYS}
    while len(chosen) < length:
        rest = [position for position in range(len(stages)) if position not in chosen]
        chosen.update(rng.choices(rest, weights=[stages[position].weight for position in rest]))
    return tuple(rng.choice(stages[position].tools) for position in sorted(chosen))


def _draw_inputs(required: tuple[str, ...], subject: str, rng: Random) -> dict[str, str]:
    slug = subject.replace(" ", "_")
    number = rng.randint(1, 9999)
    source_format, output_format = rng.sample(("csv", "json", "xml", "yaml", "parquet"), 2)
    inputs: dict[str, str] = {}
    if required[0].startswith("network") or "network_fetcher" in required:
        inputs["url"] = f"https://data.example.org/v{rng.randint(1, 3)}/{slug}/{number}"
    else:
        inputs["source_path"] = f"/data/in/{slug}_{number:04d}.{source_format}"
    inputs["input_format"] = source_format
    inputs["output_format"] = output_format
    last = catalogue()[required[-1]]
    if any(parameter.name == "destination" for parameter in last.parameters):
        inputs["destination"] = {
            "file_operations": f"/data/out/{slug}_{number:04d}.{output_format}",
            "network": f"https://hub.example.org/in/{slug}",
            "utility": f"{slug}@example.org",
        }[last.category]
    return inputs


def _scrambled(number: int, key: str) -> int:
    """Return `number` under a permutation of the 32-bit numbers drawn from `key`: different numbers never collide."""
    left, right = number >> 16, number & 0xFFFF
    for turn in range(4):
        digest = blake2b(f"{key}/{turn}/{right}".encode(), digest_size=2).digest()
        left, right = right, left ^ int.from_bytes(digest, "big")
    return left << 16 | right
