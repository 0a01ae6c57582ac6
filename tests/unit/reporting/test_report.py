"""What a report says of its runs, read from rows alone."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from recorded_run import planned
from report_samples import record_grid, report_of

from benchrunner.errors import StoreError
from benchrunner.records import Limit, LimitKind, Trial
from benchrunner.reporting.report import RESAMPLES
from benchrunner.reporting.report_tables import (
    bounds,
    grid,
    invalid_trials,
    key_events,
    keys,
    model_errors,
    overview,
    results,
)
from benchrunner.reporting.report_words import in_plain_words, title, warning
from benchrunner.reporting.statistics import bootstrap_rate_interval, wilson_interval
from benchrunner.store.writer import RunWriter


def three_of_four(trial: Trial) -> str:
    """m-7b always succeeds; m-3b fails its first task."""
    return "failure" if trial.condition.model == "m-3b" and trial.task_id == "t0" else "full"


def test_a_run_is_read_with_intervals_and_what_its_plan_still_tells(tmp_path: Path) -> None:
    """Wilson over trials, bootstrap over tasks, the older rule beside them; limits as they held at the run's speed."""
    # Given a run in which one of two models fails one of four tasks
    record_grid(tmp_path / "runs.db", ends=three_of_four)
    # When it is reported on
    (run,) = report_of(tmp_path / "runs.db").runs
    # Then each condition has its figures
    big, small = run.conditions
    assert (big.summary.success_rate, small.summary.success_rate) == (1.0, 0.75)
    assert (small.summary.success_low, small.summary.success_high) == wilson_interval(3, 4)
    assert small.over_tasks == bootstrap_rate_interval([(0, 1), (1, 1), (1, 1), (1, 1)], Random(3), RESAMPLES)
    assert (small.full_rate, small.legacy_rate) == (0.75, 0.75)
    assert run.model_errors == {("m-3b", "max_turns"): 1}
    # And its plan its title, its limits at speed 2, and the least time the eight calls of each shard could take
    assert (run.name, run.shared) == ("9.1 Sample", "prompt optimal, easy, tools 0.8")
    assert run.plan.request_limit("key0") == Limit(kind=LimitKind.REQUESTS, amount=10, per_s=1.0)
    assert run.plan.request_limit("nosuch") is None
    assert run.summary.lower_bound_s == pytest.approx(1.1)


def test_a_run_without_a_stored_plan_is_reported_without_bound_and_limits(tmp_path: Path) -> None:
    """What an older version did not store is left out, not made up."""
    plan = planned()
    with RunWriter.open(tmp_path / "runs.db") as writer:
        writer.add_run(plan.run, plan.shards, plan.trials, plan.tasks)
    (run,) = report_of(tmp_path / "runs.db").runs
    assert (run.name, run.summary.lower_bound_s, run.plan.keys, run.traffic) == ("5.2", None, (), ())
    assert (keys(run), model_errors(run), key_events(run)) == (None, None, None)


def test_runs_come_in_the_order_asked_for_each_once(tmp_path: Path) -> None:
    """None named is the newest; an unknown one is the store's own sentence."""
    record_grid(tmp_path / "runs.db", "g1")
    record_grid(tmp_path / "runs.db", "g2")
    assert [run.summary.run_id for run in report_of(tmp_path / "runs.db", "g2", "g1", "g2").runs] == ["g2", "g1"]
    assert [run.summary.run_id for run in report_of(tmp_path / "runs.db").runs] == ["g2"]
    with pytest.raises(StoreError, match="no run 'x9'"):
        report_of(tmp_path / "runs.db", "x9")


def test_the_results_table_has_a_line_a_model_and_condition(tmp_path: Path) -> None:
    """In the form a paper prints, a section a condition."""
    record_grid(tmp_path / "runs.db", difficulties=("easy", "hard"), ends=three_of_four)
    (run,) = report_of(tmp_path / "runs.db").runs
    table = results(run)
    assert [heading for heading, _ in table.sections] == ["easy", "hard"]
    assert table.sections[0][1][1] == (
        "m-3b", "4/4", "100\u00a0%", "75\u00a0%", "30–95", "25–100",
        "75\u00a0%", "0.75", "0.700", "5.5", "75\u00a0%", "2",
    )  # fmt: skip
    assert table.title == "Results, prompt optimal, tools 0.8 (SIMULATED)"
    # And the grid has the same rates side by side, the highest of each column in bold
    side_by_side = grid(run)
    assert side_by_side is not None
    assert side_by_side.sections[0][1][1] == ("m-3b", "75\u00a0% [30–95]", "75\u00a0% [30–95]")
    assert side_by_side.strong == {(0, 1), (0, 2)}


def test_what_infrastructure_took_is_told_and_not_ranked(tmp_path: Path) -> None:
    """Low coverage is marked, its bounds stand beside it, its cause is named, and the prose does not compare it."""
    # Given a run in which m-3b loses half of its trials and succeeds in the rest
    record_grid(
        tmp_path / "runs.db",
        ends=lambda trial: "invalid" if trial.condition.model == "m-3b" and trial.task_id in ("t0", "t1") else "full",
    )
    (run,) = report_of(tmp_path / "runs.db").runs
    # Then its line says low and has no rank
    lost = results(run).sections[0][1][1]
    assert (lost[1], lost[2], lost[-1]) == ("2/4", "50\u00a0% low", "–")
    between, why = bounds(run), invalid_trials(run)
    assert between is not None
    assert why is not None
    assert between.sections == (("", (("m-3b", "2", "50\u00a0%", "100\u00a0%"),)),)
    assert why.sections == (("", (("m-3b", "api_timeout", "2"),)),)
    # And the paragraph counts what was lost and compares nobody
    words = in_plain_words(run)
    assert "6 of 8 trials (75\u00a0%) are scored, 2 were lost to infrastructure and count for no model." in words
    assert "Most successful" not in words


def test_the_paragraph_says_what_came_of_the_run(tmp_path: Path) -> None:
    """Who was best, what was refused, how long it took against the forecast."""
    record_grid(tmp_path / "runs.db", ends=three_of_four)
    (run,) = report_of(tmp_path / "runs.db").runs
    assert in_plain_words(run) == (
        "Phase 9.1 Sample put 2 simulated models to the test. All 8 trials are scored. "
        "Most successful: m-7b with 100\u00a0% (95\u00a0% interval 51–100); "
        "least: m-3b with 75\u00a0% (95\u00a0% interval 30–95). "
        "The providers got 8 requests, 1 refused (12.5\u00a0%). "
        "From the first request to the last reply it took 4 s, 60\u00a0% less than forecast (10 s)."
    )


def test_simulated_runs_are_called_so_wherever_results_stand(tmp_path: Path) -> None:
    """In the warning, in the overview, in each table's title; a live run's are not."""
    record_grid(tmp_path / "runs.db", "g1")
    record_grid(tmp_path / "runs.db", "g2", backend="live")
    report = report_of(tmp_path / "runs.db", "g1", "g2")
    assert title(report) == "Phase 9.1: 2 runs"
    assert warning(report).startswith("Simulated, not measured: g1.")
    assert [row[3] for row in overview(report).sections[0][1]] == ["SIMULATED", "live"]
    assert [results(run).title.endswith("(SIMULATED)") for run in report.runs] == [True, False]
    assert warning(report_of(tmp_path / "runs.db", "g2")) == ""
