"""Trial rows for the tests of the results table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from benchrunner.records import Level, TrialStatus
from benchrunner.store.answers import TrialRow

STEPS = ["file_operations_reader", "data_processing_parser", "data_processing_filter", "file_operations_writer"]


def transcript(succeeded: int = 0, helps: int = 0) -> str:
    """Return a transcript in which so many of the required tools succeeded, after so many format helps."""
    turns: list[dict[str, Any]] = [
        {"actions": [], "claims_completion": False, "results": []} for _ in range(helps)
    ]
    for tool in STEPS[:succeeded]:
        turns.append({"actions": [{"kind": "use"}], "results": [{"tool": tool, "error": ""}]})
    turns.append({"actions": [], "claims_completion": True, "results": []})
    return orjson.dumps(turns).decode()


BASE = TrialRow(
    run_id="r1",
    trial_id="t",
    model="m",
    prompt="optimal",
    difficulty="easy",
    tool_success_rate=0.8,
    task_type="basic_task",
    task_body=orjson.dumps({"required_tools": STEPS}).decode(),
    status=TrialStatus.SCORED,
    level=Level.FULL,
    workflow_score=0.9,
    phase2_score=0.8,
    quality_score=0.7,
    final_score=0.8,
    error_class="",
    turns=5,
    tool_calls=4,
    started_at="2025-08-26T10:00:00.000000Z",
    ended_at="2025-08-26T10:00:30.000000Z",
    transcript=transcript(succeeded=4),
)


def full(**changes: Any) -> TrialRow:
    """Return a full success."""
    return replace(BASE, **changes)


def partial(error_class: str = "sequence_order", **changes: Any) -> TrialRow:
    """Return a partial success."""
    fields = {"level": Level.PARTIAL, "error_class": error_class, "transcript": transcript(succeeded=2)}
    return replace(BASE, **(fields | changes))


def failure(error_class: str = "max_turns", **changes: Any) -> TrialRow:
    """Return a failure."""
    fields = {"level": Level.FAILURE, "error_class": error_class, "transcript": transcript()}
    return replace(BASE, **(fields | changes))


def invalid(cause: str = "rate_limit", **changes: Any) -> TrialRow:
    """Return a trial that infrastructure took."""
    fields: dict[str, Any] = {
        "status": TrialStatus.INVALID, "level": None, "error_class": cause, "transcript": "[]",
        "workflow_score": 0.0, "phase2_score": 0.0, "quality_score": 0.0, "final_score": 0.0,
        "ended_at": "2025-08-26T11:00:00.000000Z",
    }  # fmt: skip
    return replace(BASE, **(fields | changes))
