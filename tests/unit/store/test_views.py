"""The views, against rows made by hand and sums made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from recorded_run import FAILED_SCORE, FULL_SCORE, Ask, Planned, done, invalid, planned, scored, sent

from benchrunner.records import Level, Outcome, TrialStarted
from benchrunner.store.writer import RunWriter

PARTIAL_SCORE = replace(FULL_SCORE, level=Level.PARTIAL, final_score=0.5, turns=6)


def test_phase_summary_counts_only_scored_trials_in_its_rates(writer: RunWriter, plan: Planned, ask: Ask) -> None:
    """An invalid or pending trial is planned, and in no denominator."""
    # Given of m-big: full, partial, failure and invalid; of m-small nothing yet
    big = plan.trials[:4]  # types alternate: basic, simple, basic, simple
    writer.record([scored(big[0]), scored(big[2], PARTIAL_SCORE), scored(big[1], FAILED_SCORE), invalid(big[3])])
    # When the summary is read
    rows = ask(
        "SELECT model, task_type, planned, scored, invalid, full, partial, failure, success_rate, "
        "weighted_success_score, final_score, turns FROM phase_summary ORDER BY model, task_type"
    )
    # Then each condition and task type has one row, and rates where something was scored
    assert rows == [
        ("m-big", "basic_task", 2, 2, 0, 1, 1, 0, 1.0, 0.75, pytest.approx(0.7), 5.0),
        ("m-big", "simple_task", 2, 1, 1, 0, 0, 1, 0.0, 0.0, 0.1, 10.0),
        ("m-small", "basic_task", 2, 0, 0, 0, 0, 0, None, None, None, None),
        ("m-small", "simple_task", 2, 0, 0, 0, 0, 0, None, None, None, None),
    ]


def test_phase_summary_bounds_what_a_rate_may_still_become(writer: RunWriter, plan: Planned, ask: Ask) -> None:
    """Beside each rate: what it were if every trial not scored had failed, and if every one had succeeded."""
    # Given of m-big: two full successes; one failure beside one invalid; of m-small nothing yet
    big = plan.trials[:4]  # types alternate: basic, simple, basic, simple
    writer.record([scored(big[0]), scored(big[2]), scored(big[1], FAILED_SCORE), invalid(big[3])])
    # Then the bounds close on the rate where all is scored, and are all there is where nothing is
    columns = "task_type, success_rate, success_worst, success_best"
    rows = ask(f"SELECT {columns} FROM phase_summary ORDER BY model, task_type")
    assert rows == [
        ("basic_task", 1.0, 1.0, 1.0),
        ("simple_task", 0.0, 0.0, 0.5),
        ("basic_task", None, 0.0, 1.0),
        ("simple_task", None, 0.0, 1.0),
    ]


def test_phase_summary_says_whether_a_result_is_simulated(writer: RunWriter, plan: Planned, ask: Ask) -> None:
    """A script that reads the view cannot take a simulated score for a measured one."""
    # Given a simulated run and a live one
    live = planned("r2", backend="live")
    writer.add_run(live.run, live.shards, live.trials, live.tasks)
    # Then the view tells them apart
    assert ask("SELECT DISTINCT run_id, phase, backend FROM phase_summary ORDER BY run_id") == [
        ("r1", "5.2", "simulated"),
        ("r2", "5.2", "live"),
    ]


def test_key_load_counts_requests_per_key_and_second(writer: RunWriter, plan: Planned, ask: Ask) -> None:
    """Refused requests are requests: they reached the provider."""
    # Given two calls on key0 in second 3, one refused, one in second 4, and one on key1
    calls = [
        sent(1, plan.trials[0], at_s=3.1),
        sent(2, plan.trials[0], at_s=3.999999),
        sent(3, plan.trials[0], at_s=4.0),
        sent(4, plan.trials[4], at_s=3.0, key_id="key1"),
    ]
    writer.record([*calls, done(calls[0]), done(calls[1], Outcome.RATE_LIMITED)])
    # Then the view has one row per key and second
    assert ask("SELECT * FROM key_load ORDER BY key_id, second") == [
        ("r1", "key0", "2025-08-26T10:00:03Z", 2, 1),
        ("r1", "key0", "2025-08-26T10:00:04Z", 1, 0),
        ("r1", "key1", "2025-08-26T10:00:03Z", 1, 0),
    ]


def test_what_infrastructure_took_is_listed_by_cause(writer: RunWriter, plan: Planned, ask: Ask) -> None:
    """Lost trials stand by model and cause, until they are run again."""
    # Given three invalid trials, one of them started again
    lost = [
        invalid(plan.trials[0], "rate_limit"),
        invalid(plan.trials[1], "rate_limit"),
        invalid(plan.trials[4], "auth"),
    ]
    writer.record([*lost, TrialStarted(trial_id=plan.trials[1].trial_id, started_at="2025-08-26T10:00:31Z")])
    # Then two are lost
    assert ask("SELECT * FROM lost_to_infrastructure ORDER BY model") == [
        ("r1", "m-big", "rate_limit", 1),
        ("r1", "m-small", "auth", 1),
    ]


def test_unfinished_lists_all_but_the_scored(writer: RunWriter, plan: Planned, ask: Ask) -> None:
    """What resume would run: pending, running and invalid trials, with the cause where there is one."""
    # Given a trial in each status
    scored_one, running, lost = plan.trials[:3]
    writer.record([scored(scored_one), invalid(lost), TrialStarted(trial_id=running.trial_id, started_at="x")])
    # Then the scored one is not in the view
    rows = ask("SELECT trial_id, status, error_class FROM unfinished WHERE model = 'm-big' ORDER BY trial_id")
    assert rows == [
        ("r1/m-big/1", "running", None),
        ("r1/m-big/2", "invalid", "rate_limit"),
        ("r1/m-big/3", "pending", None),
    ]
