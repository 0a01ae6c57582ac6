"""Libraries that look like the field's: the counts of its files, with texts of our own."""

from __future__ import annotations

from typing import Any

import orjson

READ, FETCH, WRITE, POST = "file_operations_reader", "network_fetcher", "file_operations_writer", "network_poster"
PARSE, FILTER, CHECK = "data_processing_parser", "data_processing_filter", "data_processing_validator"
TRANSFORM, ANALYZE = "data_processing_transformer", "computation_analyzer"

# task type -> (tools, how many tasks ask for them). 630 tasks; 281 lack a prerequisite.
SEQUENCES: dict[str, list[tuple[tuple[str, ...], int]]] = {
    "simple_task": [((CHECK, PARSE, FILTER), 1), ((CHECK, TRANSFORM, FILTER), 38), ((READ, FILTER), 1)],
    "basic_task": [((READ, PARSE, FILTER), 144), ((READ, PARSE, FILTER, CHECK), 6)],
    "data_pipeline": [
        ((READ, PARSE, FILTER), 8),
        ((READ, TRANSFORM, FILTER, CHECK), 104),
        ((READ, PARSE, TRANSFORM, FILTER), 14),
        ((READ, PARSE, TRANSFORM, FILTER, CHECK), 64),
    ],
    "api_integration": [
        ((FETCH, CHECK, PARSE), 111),
        ((FETCH, CHECK, POST), 53),
        ((FETCH, PARSE, TRANSFORM, POST), 6),
    ],
    "multi_stage_pipeline": [
        ((READ, CHECK, PARSE, WRITE), 5),
        ((READ, PARSE, TRANSFORM, WRITE), 12),
        ((READ, PARSE, TRANSFORM, FILTER, WRITE), 51),
        ((READ, PARSE, TRANSFORM, CHECK, ANALYZE, WRITE), 12),
    ],
}


def entry(number: int, task_type: str, tools: tuple[str, ...], *, level: str = "easy") -> dict[str, Any]:
    """Return one task in the newer form, with the keys the suite has no use for."""
    return {
        "instance_id": f"task_{number:08x}",
        "task_type": task_type,
        "description": f"Wording {level} of item {number}.",
        "inputs": {"source": f"in/{number}.csv", "options": {"header": True, "columns": ["a", "b"]}},
        "expected_outputs": {"success": True, "errors": []},
        "required_tools": list(tools),
        "constraints": {"timeout": 300, "max_retries": 3},
        "complexity": "medium",
        "metadata": {"template": task_type, "llm_generated": True},
        "original_description": f"Item {number}.",
        "difficulty_level": level,
        "enhanced": True,
        "enhancement_timestamp": "2025-07-10 04:34:36",
    }


def entries(level: str = "easy") -> list[dict[str, Any]]:
    """Return the 630 tasks of one wording."""
    made: list[dict[str, Any]] = []
    for task_type, sequences in SEQUENCES.items():
        for tools, count in sequences:
            made += [entry(len(made) + place, task_type, tools, level=level) for place in range(count)]
    return made


def old_entry(number: int, tools: tuple[str, ...]) -> dict[str, Any]:
    """Return one task in the older form."""
    return {
        "id": f"task_{number:08x}",
        "task_type": "simple_task",
        "complexity": "easy",
        "description": f"You hold item {number}. \n\nSave it,\nthen send it.",
        "test_input": {"input_data": {"data": [0.25, 0.5]}},
        "expected_output": {"processed_data": {"processed": True}},
        "required_tools": list(tools),
        "metadata": {"template": "simple_network_task", "timeout": 60},
        "enhanced": True,
    }


def library(tasks: list[dict[str, Any]], **metadata: object) -> bytes:
    """Return the JSON text of a library."""
    return orjson.dumps({"tasks": tasks, "metadata": {"num_tasks": len(tasks), **metadata}})
