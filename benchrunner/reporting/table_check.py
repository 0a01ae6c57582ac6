"""The identities every results table must keep. Tables of this field have been published that broke most of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import astuple
from math import isfinite
from typing import Final

from benchrunner.reporting.results_table import ResultRow

TOLERANCE: Final = 1e-6
"""How far a rate may be from the quotient of its counts: what rounding to six places leaves."""

_MEANS: Final = ("tool_coverage_rate", "avg_workflow_score", "avg_phase2_score", "avg_quality_score", "avg_final_score")
_PLAIN_MEANS: Final = ("avg_execution_time", "avg_turns", "avg_tool_calls")


def check_table(rows: Iterable[ResultRow]) -> tuple[str, ...]:
    """Return one sentence per identity that a row breaks, with the row's number (from 1); () for a sound table.

    `attempted` and `infra_excluded` are checked where they are known.
    """
    faults: list[str] = []
    seen: dict[tuple[object, ...], int] = {}
    for number, row in enumerate(rows, start=1):
        cell = (row.model, row.prompt_type, row.tool_success_rate, row.difficulty, row.task_type)
        where = f"row {number} ({', '.join(map(str, cell))})"
        twin = seen.setdefault((*cell[:2], round(row.tool_success_rate, 4), *cell[3:]), number)
        if twin != number:
            faults.append(f"{where}: row {twin} is of the same cell")
        faults += [f"{where}: {fault}" for fault in (*_counts(row), *_rates(row), *_bounds(row))]
    return tuple(faults)


def error_counts(row: ResultRow) -> tuple[int, ...]:
    """Return the counts of the eight error classes."""
    return (
        row.tool_call_format_errors,
        row.timeout_errors,
        row.dependency_errors,
        row.parameter_config_errors,
        row.tool_selection_errors,
        row.sequence_order_errors,
        row.max_turns_errors,
        row.other_errors,
    )


def _counts(row: ResultRow) -> Iterator[str]:
    for name, value in zip(row.__slots__, astuple(row), strict=True):
        if isinstance(value, int) and value < 0:
            yield f"{name} is {value}, below 0"
    sums: list[tuple[str, int, str, int]] = [
        ("success", row.success, "full_success + partial_success", row.full_success + row.partial_success),
        ("partial", row.partial, "partial_success", row.partial_success),
        ("total", row.total, "success + failed", row.success + row.failed),
        ("total_errors", row.total_errors, "total - full_success", row.total - row.full_success),
        ("total_errors", row.total_errors, "the sum of its classes", sum(error_counts(row))),
        (
            "tests_with_assistance",
            row.tests_with_assistance,
            "assisted_success + assisted_failure",
            row.assisted_success + row.assisted_failure,
        ),
    ]
    if row.attempted is not None and row.infra_excluded is not None:
        sums.append(("attempted", row.attempted, "total + infra_excluded", row.total + row.infra_excluded))
    for name, value, other, expected in sums:
        if value != expected:
            yield f"{name} is {value}, but {other} is {expected}"
    if row.assisted_success > row.success or row.assisted_failure > row.failed:
        yield "more tests were assisted than there are"
    if row.total_assisted_turns < row.tests_with_assistance:
        yield f"{row.tests_with_assistance} tests were assisted in {row.total_assisted_turns} turns"


def _rates(row: ResultRow) -> Iterator[str]:
    quotients: tuple[tuple[str, float | None, float, int], ...] = (
        ("success_rate", row.success_rate, row.success, row.total),
        ("partial_rate", row.partial_rate, row.partial, row.total),
        ("failure_rate", row.failure_rate, row.failed, row.total),
        ("weighted_success_score", row.weighted_success_score, row.full_success + 0.5 * row.partial_success, row.total),
        ("full_success_rate", row.full_success_rate, row.full_success, row.total),
        ("partial_success_rate", row.partial_success_rate, row.partial_success, row.total),
        ("tool_selection_error_rate", row.tool_selection_error_rate, row.tool_selection_errors, row.total_errors),
        ("parameter_error_rate", row.parameter_error_rate, row.parameter_config_errors, row.total_errors),
        ("sequence_error_rate", row.sequence_error_rate, row.sequence_order_errors, row.total_errors),
        ("dependency_error_rate", row.dependency_error_rate, row.dependency_errors, row.total_errors),
        ("timeout_error_rate", row.timeout_error_rate, row.timeout_errors, row.total_errors),
        ("format_error_rate", row.format_error_rate, row.tool_call_format_errors, row.total_errors),
        ("max_turns_error_rate", row.max_turns_error_rate, row.max_turns_errors, row.total_errors),
        ("other_error_rate", row.other_error_rate, row.other_errors, row.total_errors),
        ("avg_assisted_turns", row.avg_assisted_turns, row.total_assisted_turns, row.tests_with_assistance),
        ("assisted_success_rate", row.assisted_success_rate, row.assisted_success, row.tests_with_assistance),
        ("assistance_rate", row.assistance_rate, row.tests_with_assistance, row.total),
    )
    for name, rate, part, whole in quotients:
        if rate is None:
            if row.total:
                yield f"{name} is missing, though {row.total} tests were scored"
            continue
        if name != "avg_assisted_turns" and not 0 <= rate <= 1:
            yield f"{name} is {rate!r}, outside 0 to 1"
        expected = part / whole if whole else 0.0
        if not abs(rate - expected) <= TOLERANCE:
            yield f"{name} is {rate!r}, but its counts give {expected!r}"


def _bounds(row: ResultRow) -> Iterator[str]:
    if not 0 <= row.tool_success_rate <= 1:
        yield f"tool_success_rate is {row.tool_success_rate!r}, outside 0 to 1"
    for name in (*_MEANS, *_PLAIN_MEANS):
        value: float | None = getattr(row, name)
        if value is None:
            continue
        if not (isfinite(value) and value >= 0):
            yield f"{name} is {value!r}, below 0 or no number"
        elif name in _MEANS and value > 1 + TOLERANCE:
            yield f"{name} is {value!r}, above 1"
