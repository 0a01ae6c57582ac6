"""The results table, from trial rows alone."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import pytest
from result_samples import failure, full, invalid, partial, transcript

from benchrunner.reporting.results_table import COLUMNS, ResultRow, results_table
from benchrunner.reporting.table_check import check_table
from benchrunner.store.answers import TrialRow

FIELD_COLUMNS = re.findall(r"\w+", """
    model, prompt_type, tool_success_rate, difficulty, task_type, timestamp, total, success, partial, failed,
    success_rate, partial_rate, failure_rate, weighted_success_score, full_success_rate, partial_success_rate,
    avg_execution_time, avg_turns, avg_tool_calls, tool_coverage_rate, avg_workflow_score, avg_phase2_score,
    avg_quality_score, avg_final_score, total_errors, tool_call_format_errors, timeout_errors, dependency_errors,
    parameter_config_errors, tool_selection_errors, sequence_order_errors, max_turns_errors, other_errors,
    tool_selection_error_rate, parameter_error_rate, sequence_error_rate, dependency_error_rate,
    timeout_error_rate, format_error_rate, max_turns_error_rate, other_error_rate, assisted_failure,
    assisted_success, total_assisted_turns, tests_with_assistance, avg_assisted_turns, assisted_success_rate,
    assistance_rate, full_success, partial_success
""")


def only_row(*trials: TrialRow) -> ResultRow:
    (row,) = results_table(trials)
    assert check_table([row]) == ()
    return row


def test_the_columns_are_the_fields_fifty_and_two_of_our_own() -> None:
    """In the field's order, so that its own tools read the file."""
    assert len(FIELD_COLUMNS) == 50
    assert [*FIELD_COLUMNS, "attempted", "infra_excluded"] == list(COLUMNS)


def test_a_row_is_what_its_trials_add_up_to() -> None:
    """Success holds partial; rates are over scored trials, error rates over what is not full."""
    # Given two full successes, one partial, one failure that was helped twice, and one trial lost to throttling
    row = only_row(
        full(),
        full(ended_at="2025-08-26T10:00:50.000000Z", turns=7),
        partial(),
        failure("max_turns", transcript=transcript(succeeded=1, helps=2), turns=10, workflow_score=0.1),
        invalid(),
    )
    # Then
    expected = {
        "total": 4, "success": 3, "partial": 1, "failed": 1, "full_success": 2, "partial_success": 1,
        "attempted": 5, "infra_excluded": 1,
        "success_rate": 0.75, "partial_rate": 0.25, "failure_rate": 0.25, "full_success_rate": 0.5,
        "partial_success_rate": 0.25, "weighted_success_score": 0.625,
        "avg_execution_time": 35.0, "avg_turns": 6.75, "avg_tool_calls": 4.0,
        "tool_coverage_rate": (1 + 1 + 0.5 + 0.25) / 4, "avg_workflow_score": pytest.approx(0.7),
        "total_errors": 2, "sequence_order_errors": 1, "max_turns_errors": 1, "other_errors": 0,
        "sequence_error_rate": 0.5, "max_turns_error_rate": 0.5, "timeout_error_rate": 0.0,
        "tests_with_assistance": 1, "assisted_failure": 1, "assisted_success": 0, "total_assisted_turns": 2,
        "avg_assisted_turns": 2.0, "assisted_success_rate": 0.0, "assistance_rate": 0.25,
        "timestamp": "2025-08-26T11:00:00.000000Z",
    }  # fmt: skip
    assert {name: value for name, value in asdict(row).items() if name in expected} == expected


def test_what_infrastructure_took_is_in_no_rate() -> None:
    """Four lost trials beside one success leave a success rate of one; they stand in columns of their own."""
    row = only_row(full(), *(invalid(cause) for cause in ("rate_limit", "api_timeout", "connection", "empty_reply")))
    assert (row.total, row.success_rate, row.total_errors, row.timeout_errors) == (1, 1.0, 0, 0)
    assert (row.attempted, row.infra_excluded) == (5, 4)


def test_a_cell_that_infrastructure_took_whole_has_no_rates_rather_than_zeros() -> None:
    """Nothing was measured, which is not the same as nothing achieved."""
    row = only_row(invalid(), invalid())
    assert (row.total, row.attempted, row.infra_excluded) == (0, 2, 2)
    measured = {value for name, value in asdict(row).items() if name.endswith("_rate") or name.startswith("avg_")}
    assert measured == {None, 0.8}  # 0.8: tool_success_rate, the cell's own
    assert row.weighted_success_score is None


@pytest.mark.parametrize(
    ("error_class", "column"),
    [
        ("tool_call_format", "tool_call_format_errors"),
        ("timeout", "timeout_errors"),
        ("dependency", "dependency_errors"),
        ("parameter_config", "parameter_config_errors"),
        ("tool_selection", "tool_selection_errors"),
        ("sequence_order", "sequence_order_errors"),
        ("max_turns", "max_turns_errors"),
        ("other", "other_errors"),
        ("wrong_answer", "other_errors"),
        ("", "other_errors"),
    ],
)
def test_every_error_class_has_its_column_and_a_strange_one_is_other(error_class: str, column: str) -> None:
    """Whatever classes a suite has, their counts add up to the errors."""
    row = only_row(failure(error_class), partial(error_class), full())
    assert (getattr(row, column), row.total_errors) == (2, 2)


def test_cells_are_told_apart_by_all_five_and_by_rates_to_four_places() -> None:
    """One row per model, prompt, rate, difficulty and type, in the order of their first trials."""
    others = [{"model": "n"}, {"prompt": "cot"}, {"tool_success_rate": 0.7}, {"difficulty": "hard"}, {"task_type": "x"}]
    rows = results_table([full(), *(full(**one) for one in others), full(tool_success_rate=0.80000001)])
    assert [row.total for row in rows] == [2, 1, 1, 1, 1, 1]
    assert [row.tool_success_rate for row in rows] == [0.8, 0.8, 0.8, 0.7, 0.8, 0.8]


def test_trials_of_a_suite_without_tools_make_rows_with_zeros() -> None:
    """Columns that make no sense for a question-answer suite are 0, and the rest holds."""
    task = {"task_body": '{"prompt": "2+2?", "expected": "4"}', "transcript": '[{"reply": "5"}, {"reply": "4"}]'}
    row = only_row(full(**task, tool_calls=0), failure("wrong_answer", **task, tool_calls=0))
    assert (row.success_rate, row.tool_coverage_rate, row.avg_tool_calls, row.tests_with_assistance) == (0.5, 0, 0, 0)


def test_a_clock_set_back_makes_no_negative_time() -> None:
    """Durations come from wall-clock instants; a trial whose start is unknown is in no mean."""
    row = only_row(full(started_at="2025-08-26T10:00:40.000000Z"), full(started_at=None), full())
    assert row.avg_execution_time == 15.0


def test_no_trials_make_no_rows() -> None:
    """An empty run has an empty table."""
    assert results_table([]) == ()


def test_the_documentation_explains_every_column_in_order() -> None:
    """docs/results-table.md has one line per column."""
    page = (Path(__file__).parents[3] / "docs" / "results-table.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == COLUMNS
