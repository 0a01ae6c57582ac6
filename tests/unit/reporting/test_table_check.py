"""The checker finds what published tables got wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from result_samples import failure, full, invalid, partial

from benchrunner.reporting.results_table import results_table
from benchrunner.reporting.table_check import check_table

(SOUND,) = results_table([full(), full(), partial(), failure("max_turns"), invalid()])


def test_a_sound_table_has_no_faults() -> None:
    """What the program makes of trials keeps every identity."""
    assert check_table([SOUND]) == ()
    assert check_table([]) == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"success": 4}, "success is 4, but full_success + partial_success is 3"),
        ({"total": 8}, "total is 8, but success + failed is 4"),  # each test counted twice
        ({"success_rate": 1.36}, "success_rate is 1.36, outside 0 to 1"),  # partial added twice
        ({"full_success_rate": 0.75}, "full_success_rate is 0.75, but its counts give 0.5"),
        ({"other_errors": -1}, "other_errors is -1, below 0"),
        ({"max_turns_errors": 2}, "total_errors is 2, but the sum of its classes is 3"),
        ({"max_turns_error_rate": 0.25}, "max_turns_error_rate is 0.25, but its counts give 0.5"),  # over total
        ({"total_errors": 1}, "total_errors is 1, but total - full_success is 2"),
        ({"attempted": 4}, "attempted is 4, but total + infra_excluded is 5"),
        ({"partial": 2}, "partial is 2, but partial_success is 1"),
        ({"success_rate": float("nan")}, "success_rate is nan, outside 0 to 1"),
        ({"success_rate": None}, "success_rate is missing, though 4 tests were scored"),
        ({"avg_turns": -1.0}, "avg_turns is -1.0, below 0 or no number"),
        ({"tool_coverage_rate": 1.5}, "tool_coverage_rate is 1.5, above 1"),
        ({"tool_success_rate": 80.0}, "tool_success_rate is 80.0, outside 0 to 1"),
        ({"tests_with_assistance": 1}, "tests_with_assistance is 1, but assisted_success + assisted_failure is 0"),
        ({"weighted_success_score": 0.75}, "weighted_success_score is 0.75, but its counts give 0.625"),
    ],
)
def test_each_broken_identity_is_told_with_its_row(changes: dict[str, Any], said: str) -> None:
    """The sentence names row, cell, column, and both values."""
    faults = check_table([replace(SOUND, model="sound"), replace(SOUND, **changes)])
    assert any(fault.endswith(said) for fault in faults), faults
    rate = changes.get("tool_success_rate", 0.8)
    assert all(fault.startswith(f"row 2 (m, optimal, {rate}, easy, basic_task): ") for fault in faults)


def test_a_cell_may_stand_in_a_table_only_once() -> None:
    """Two rows of one cell would be counted twice by whoever adds them up."""
    (fault,) = check_table([SOUND, SOUND])
    assert fault == "row 2 (m, optimal, 0.8, easy, basic_task): row 1 is of the same cell"


def test_rounded_rates_of_other_tools_pass() -> None:
    """Six places are enough; the field's fifty columns without our two are checked as far as they go."""
    (row,) = results_table([full(), failure(), failure()])
    rounded = replace(row, success_rate=0.333333, attempted=None, infra_excluded=None)
    assert check_table([rounded]) == ()
