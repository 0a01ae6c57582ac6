"""The summary of a run, from its rows alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from recorded_run import FAILED_SCORE, done, invalid, planned, scored, second, sent

from benchrunner.records import Outcome, RunEnded, RunStatus
from benchrunner.reporting.statistics import wilson_interval
from benchrunner.reporting.summary import RunSummary, summarise
from benchrunner.reporting.tables import to_json
from benchrunner.store.queries import RunReader
from benchrunner.store.writer import RunWriter


@pytest.fixture
def summary(tmp_path: Path) -> RunSummary:
    """Return the summary of a run with m-big scored but for one trial, and m-small not started."""
    plan = planned()
    with RunWriter.open(tmp_path / "runs.db") as writer:
        writer.add_run(plan.run, plan.shards, plan.trials, plan.tasks)
        calls = [sent(n, plan.trials[0], at_s=n) for n in (1, 2, 3)]
        writer.record([*calls, done(calls[0], latency_s=9.0), done(calls[1], Outcome.RATE_LIMITED)])
        big = plan.trials[:4]
        writer.record([scored(big[0]), scored(big[1]), scored(big[2], FAILED_SCORE), invalid(big[3])])
        writer.record([RunEnded(run_id="r1", status=RunStatus.INCOMPLETE, ended_at=second(45))])
        with RunReader.open(writer.path) as reader:
            return summarise(reader, lower_bound_s=4.5)


def test_the_header_says_what_ran_how_long_and_what_came_of_it(summary: RunSummary) -> None:
    """Makespan is from request to reply, wall time from the command's start to its end."""
    assert (summary.run_id, summary.simulated, summary.status) == ("r1", True, RunStatus.INCOMPLETE)
    assert [summary.wall_s, summary.makespan_s, summary.lower_bound_s] == pytest.approx([45.0, 9.0, 4.5], abs=1e-3)
    assert (summary.planned, summary.scored, summary.invalid) == (8, 3, 1)
    assert (summary.calls, summary.refused, summary.unanswered) == (3, 1, 1)
    assert [(loss.cause, loss.trials) for loss in summary.losses] == [("rate_limit", 1)]
    assert [(key.key_id, key.peak_1s) for key in summary.keys] == [("key0", 1)]


def test_rates_are_over_the_scored_and_bounds_over_the_planned(summary: RunSummary) -> None:
    """Two of three scored succeeded; of four planned it is between two and three."""
    big, small = summary.conditions
    assert big.success_rate == pytest.approx(2 / 3)
    assert (big.success_low, big.success_high) == wilson_interval(2, 3)
    assert (big.success_worst, big.success_best) == (0.5, 0.75)
    assert (small.success_rate, small.success_low, small.success_worst, small.success_best) == (None, None, 0.0, 1.0)


def test_the_json_form_holds_every_field_and_says_simulated(summary: RunSummary) -> None:
    """A script reads the same figures, and cannot miss what they were measured on."""
    read = orjson.loads(to_json(summary))
    assert set(read) == set(RunSummary.__dataclass_fields__)
    assert (read["backend"], read["simulated"], read["status"]) == ("simulated", True, "incomplete")
    assert read["conditions"][1]["success_rate"] is None


def test_a_condition_below_the_floor_is_shown_and_not_ranked(summary: RunSummary) -> None:
    """Three of four scored is 75 %, the floor 90 %: no rank; its figures are there all the same."""
    big, small = summary.conditions
    assert summary.coverage_floor == 0.9
    assert (big.coverage, big.low_coverage, big.rank) == (0.75, True, None)
    assert (small.coverage, small.low_coverage, small.rank) == (0.0, True, None)


def test_models_are_ranked_by_success_under_the_same_condition_and_equals_share_a_rank(tmp_path: Path) -> None:
    """The floor is the run's own; what is lost of one model moves no other model's rank."""
    # Given three models, the first two equal, the third worse and with a trial lost, in a run with a floor of 75 %
    plan = planned(models=("m-a", "m-b", "m-c"))
    run = replace(plan.run, config='{"run": {"coverage_floor": 0.75}}')
    with RunWriter.open(tmp_path / "runs.db") as writer:
        writer.add_run(run, plan.shards, plan.trials, plan.tasks)
        writer.record([scored(trial) for trial in plan.trials[:8]])
        writer.record([scored(trial, FAILED_SCORE) for trial in plan.trials[8:11]])
        writer.record([invalid(plan.trials[11])])
        with RunReader.open(writer.path) as reader:
            # When it is summed up
            found = summarise(reader)
    # Then equals share the first place, and the next place is the third
    assert found.coverage_floor == 0.75
    assert [(one.model, one.rank, one.low_coverage) for one in found.conditions] == [
        ("m-a", 1, False),
        ("m-b", 1, False),
        ("m-c", 3, False),
    ]
