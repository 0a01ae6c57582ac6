"""The results table in the field's own columns, made from trial rows and nothing else (docs/results-table.md).

One row per model, prompt, tool success rate, difficulty and task type. Only scored trials are in `total` and in what
is divided by it; what infrastructure took is counted beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Final

from benchrunner.records import Level, TrialStatus
from benchrunner.store.answers import TrialRow
from benchrunner.suites.workflow.error_classes import ErrorClass
from benchrunner.suites.workflow.transcript import read_tool_use


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """One line of the table; the fields are its columns, in order.

    Rates and means are None where `total` is 0: nothing was measured. A share of nothing else (errors, assisted
    tests) is 0.0, as the field writes it. `attempted` and `infra_excluded` are None only in tables made elsewhere.
    """

    model: str
    prompt_type: str
    tool_success_rate: float
    difficulty: str
    task_type: str
    timestamp: str  # when the last of its trials ended
    total: int
    success: int  # full and partial
    partial: int
    failed: int
    success_rate: float | None
    partial_rate: float | None
    failure_rate: float | None
    weighted_success_score: float | None
    full_success_rate: float | None
    partial_success_rate: float | None
    avg_execution_time: float | None  # seconds
    avg_turns: float | None
    avg_tool_calls: float | None
    tool_coverage_rate: float | None
    avg_workflow_score: float | None
    avg_phase2_score: float | None
    avg_quality_score: float | None
    avg_final_score: float | None
    total_errors: int
    tool_call_format_errors: int
    timeout_errors: int
    dependency_errors: int
    parameter_config_errors: int
    tool_selection_errors: int
    sequence_order_errors: int
    max_turns_errors: int
    other_errors: int
    tool_selection_error_rate: float | None
    parameter_error_rate: float | None
    sequence_error_rate: float | None
    dependency_error_rate: float | None
    timeout_error_rate: float | None
    format_error_rate: float | None
    max_turns_error_rate: float | None
    other_error_rate: float | None
    assisted_failure: int
    assisted_success: int
    total_assisted_turns: int
    tests_with_assistance: int
    avg_assisted_turns: float | None
    assisted_success_rate: float | None
    assistance_rate: float | None
    full_success: int
    partial_success: int
    attempted: int | None
    infra_excluded: int | None


COLUMNS: Final = tuple(one.name for one in fields(ResultRow))
OWN_COLUMNS: Final = ("attempted", "infra_excluded")
"""What the field's fifty columns do not have."""

_CLASSES: Final = frozenset(kind.value for kind in ErrorClass)

Cell = tuple[str, str, float, str, str]


@dataclass(slots=True)
class _Tally:
    """The running sums of one row."""

    full: int = 0
    partial: int = 0
    failure: int = 0
    invalid: int = 0
    ended_at: str = ""
    timed: int = 0
    seconds: float = 0.0
    turns: int = 0
    tool_calls: int = 0
    coverage: float = 0.0
    workflow: float = 0.0
    phase2: float = 0.0
    quality: float = 0.0
    final: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    assisted_turns: int = 0
    assisted_success: int = 0
    assisted_failure: int = 0

    def add(self, trial: TrialRow) -> None:
        self.ended_at = max(self.ended_at, trial.ended_at)
        if trial.status is not TrialStatus.SCORED:
            self.invalid += 1
            return
        self.full += trial.level is Level.FULL
        self.partial += trial.level is Level.PARTIAL
        self.failure += trial.level is Level.FAILURE
        if trial.started_at is not None:
            self.timed += 1
            self.seconds += _seconds_between(trial.started_at, trial.ended_at)
        self.turns += trial.turns
        self.tool_calls += trial.tool_calls
        self.workflow += trial.workflow_score
        self.phase2 += trial.phase2_score
        self.quality += trial.quality_score
        self.final += trial.final_score
        if trial.level is not Level.FULL:
            # A suite may have classes of its own; the field's table has one column for them all.
            self.errors[trial.error_class if trial.error_class in _CLASSES else ErrorClass.OTHER] += 1
        use = read_tool_use(trial.task_body, trial.transcript)
        self.coverage += use.coverage
        if use.assisted_turns:
            self.assisted_turns += use.assisted_turns
            self.assisted_success += trial.level is not Level.FAILURE
            self.assisted_failure += trial.level is Level.FAILURE


def results_table(trials: Iterable[TrialRow]) -> tuple[ResultRow, ...]:
    """Return the table of the trials that have ended, rows in the order in which their first trials come."""
    tallies: dict[Cell, _Tally] = {}
    for trial in trials:
        rate = round(trial.tool_success_rate, 4)
        cell = (trial.model, trial.prompt, rate, trial.difficulty, trial.task_type)
        tallies.setdefault(cell, _Tally()).add(trial)
    return tuple(_row(cell, tally) for cell, tally in tallies.items())


def _row(cell: Cell, tally: _Tally) -> ResultRow:
    model, prompt, rate, difficulty, task_type = cell
    success = tally.full + tally.partial
    total = success + tally.failure
    errors = {kind: tally.errors[kind] for kind in ErrorClass}
    total_errors = sum(errors.values())
    assisted = tally.assisted_success + tally.assisted_failure

    def mean(value: float) -> float | None:
        return value / total if total else None

    def share(part: float, whole: int) -> float | None:
        return None if not total else part / whole if whole else 0.0

    def error_rate(kind: ErrorClass) -> float | None:
        return share(errors[kind], total_errors)

    return ResultRow(
        model=model,
        prompt_type=prompt,
        tool_success_rate=rate,
        difficulty=difficulty,
        task_type=task_type,
        timestamp=tally.ended_at,
        total=total,
        success=success,
        partial=tally.partial,
        failed=tally.failure,
        success_rate=mean(success),
        partial_rate=mean(tally.partial),
        failure_rate=mean(tally.failure),
        weighted_success_score=mean(tally.full + 0.5 * tally.partial),
        full_success_rate=mean(tally.full),
        partial_success_rate=mean(tally.partial),
        avg_execution_time=tally.seconds / tally.timed if tally.timed else None,
        avg_turns=mean(tally.turns),
        avg_tool_calls=mean(tally.tool_calls),
        tool_coverage_rate=mean(tally.coverage),
        avg_workflow_score=mean(tally.workflow),
        avg_phase2_score=mean(tally.phase2),
        avg_quality_score=mean(tally.quality),
        avg_final_score=mean(tally.final),
        total_errors=total_errors,
        tool_call_format_errors=errors[ErrorClass.TOOL_CALL_FORMAT],
        timeout_errors=errors[ErrorClass.TIMEOUT],
        dependency_errors=errors[ErrorClass.DEPENDENCY],
        parameter_config_errors=errors[ErrorClass.PARAMETER_CONFIG],
        tool_selection_errors=errors[ErrorClass.TOOL_SELECTION],
        sequence_order_errors=errors[ErrorClass.SEQUENCE_ORDER],
        max_turns_errors=errors[ErrorClass.MAX_TURNS],
        other_errors=errors[ErrorClass.OTHER],
        tool_selection_error_rate=error_rate(ErrorClass.TOOL_SELECTION),
        parameter_error_rate=error_rate(ErrorClass.PARAMETER_CONFIG),
        sequence_error_rate=error_rate(ErrorClass.SEQUENCE_ORDER),
        dependency_error_rate=error_rate(ErrorClass.DEPENDENCY),
        timeout_error_rate=error_rate(ErrorClass.TIMEOUT),
        format_error_rate=error_rate(ErrorClass.TOOL_CALL_FORMAT),
        max_turns_error_rate=error_rate(ErrorClass.MAX_TURNS),
        other_error_rate=error_rate(ErrorClass.OTHER),
        assisted_failure=tally.assisted_failure,
        assisted_success=tally.assisted_success,
        total_assisted_turns=tally.assisted_turns,
        tests_with_assistance=assisted,
        avg_assisted_turns=share(tally.assisted_turns, assisted),
        assisted_success_rate=share(tally.assisted_success, assisted),
        assistance_rate=mean(assisted),
        full_success=tally.full,
        partial_success=tally.partial,
        attempted=total + tally.invalid,
        infra_excluded=tally.invalid,
    )


def _seconds_between(start: str, end: str) -> float:
    # The wall clock may have been set back in between; a duration below zero would be no better an answer.
    return max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())
