from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from planning_samples import model_entry, phase_of

from benchrunner.planning.grid import identity_of
from benchrunner.planning.resume import plan_rest
from benchrunner.planning.sharding import PhasePlan
from benchrunner.records import TrialStatus

LayOut = Callable[..., PhasePlan]


def test_a_resumed_run_keeps_what_is_scored_and_runs_the_rest(lay_out: LayOut) -> None:
    """Only a scored trial is done; pending, running, invalid and unknown ones are run, in planned order."""
    # Given six trials of which the store knows five
    trials = lay_out(phase_of("a"), model_entry("a", "key0"), instances=3).trials
    found = (TrialStatus.SCORED, TrialStatus.INVALID, TrialStatus.RUNNING, TrialStatus.PENDING, TrialStatus.SCORED)
    stored = {identity_of(one): status for one, status in zip(trials, found, strict=False)}
    # When the rest is asked for
    rest = plan_rest(trials, stored)
    # Then the two scored ones are kept, and one may have been billed twice
    assert (trials[1], trials[2], trials[3], trials[5]) == rest.remaining
    assert (rest.kept, rest.in_flight, rest.strangers) == (2, 1, ())


def test_a_stored_trial_that_is_not_planned_is_told(lay_out: LayOut) -> None:
    """A trial nobody planned shows that the configuration is not the one the run was made with."""
    trials = lay_out(phase_of("a"), model_entry("a", "key0"), instances=1).trials
    stranger = replace(identity_of(trials[0]), instance=99)
    assert (stranger,) == plan_rest(trials, {stranger: TrialStatus.SCORED}).strangers


def test_the_key_a_trial_ran_on_does_not_matter(lay_out: LayOut) -> None:
    """The identity holds no shard and no key: a model moved to another key keeps its results."""
    before = lay_out(phase_of("a"), model_entry("a", "key0"), instances=1).trials
    after = lay_out(phase_of("a"), model_entry("a", "key1", shards=2), instances=1, run_id="r2").trials
    stored = {identity_of(one): TrialStatus.SCORED for one in before}
    assert plan_rest(after, stored).remaining == ()
