"""What trials are expected to be."""

from __future__ import annotations

from random import Random
from statistics import mean, median

import pytest
from forecast_worlds import LayOut, expectation
from planning_samples import StubSuite, model_entry, phase_of

from benchrunner.planning.trial_shapes import TrialShape, latency_sigma, shape_trials

MODEL = model_entry("m", "key0", expected_call_s=2.0)


class SixCalls(StubSuite):
    calls = 6.0


def test_drawn_trials_are_as_expected_on_the_mean_and_never_beyond_the_turn_limit(lay_out: LayOut) -> None:
    """Calls spread around what the suite expects, latencies around the median, both with a tail."""
    plan = lay_out(phase_of("m", instances=2000), MODEL)
    shapes = shape_trials(plan, SixCalls(), {"m": expectation(MODEL)}, known={}, rng=Random(1)).values()
    assert mean(shape.calls for shape in shapes) == pytest.approx(6.0, rel=0.08)
    assert (min(shape.calls for shape in shapes) >= 1, max(shape.calls for shape in shapes)) == (True, 10)
    latencies = sorted(latency_s for shape in shapes for latency_s in shape.latencies_s)
    assert median(latencies) == pytest.approx(2.0, rel=0.05)
    assert latencies[int(0.95 * len(latencies))] == pytest.approx(2.0 * 2.71828 ** (1.645 * 0.3), rel=0.1)


def test_history_tells_the_calls_of_a_task_type(lay_out: LayOut) -> None:
    """What earlier trials of a type took goes before what the suite expects; a type nobody ran keeps the latter."""
    plan = lay_out(phase_of("m", instances=50), MODEL)
    expected = {"m": expectation(MODEL, calls_of={"simple": (2, 3)})}
    shapes = shape_trials(plan, StubSuite(), expected, known={}, rng=Random(1))
    by_type = {"simple": set[int](), "hard": set[int]()}
    for trial in plan.trials:
        by_type[trial.task_type].add(shapes[trial.trial_id].calls)
    assert by_type["simple"] == {2, 3}
    assert min(by_type["hard"]) > 3


def test_a_known_trial_keeps_its_shape_and_lends_it_to_its_likes(lay_out: LayOut) -> None:
    """A rehearsed trial is what it was rehearsed to be; the others are drawn from the rehearsed of their kind."""
    # Given one in five trials known, two calls for simple tasks and seven for hard ones
    plan = lay_out(phase_of("m", instances=50), MODEL)
    calls_of = {"simple": 2, "hard": 7}
    known = {
        trial.trial_id: TrialShape(latencies_s=(0.1 * n,) * calls_of[trial.task_type], tokens_per_call=10.0 * n)
        for n, trial in enumerate(plan.trials[::5], start=1)
    }
    # When all are given shapes, Then nobody's is of another kind, and the known keep theirs
    shapes = shape_trials(plan, StubSuite(), {}, known=known, rng=Random(1))
    assert {trial_id: shapes[trial_id] for trial_id in known} == known
    assert {(trial.task_type, shapes[trial.trial_id].calls) for trial in plan.trials} == set(calls_of.items())


def test_the_same_seed_gives_the_same_trials(lay_out: LayOut) -> None:
    """A forecast can be had again."""
    plan = lay_out(phase_of("m"), MODEL)
    first, again, other = (
        shape_trials(plan, StubSuite(), {"m": expectation(MODEL)}, known={}, rng=Random(seed)) for seed in (1, 1, 2)
    )
    assert first == again != other


@pytest.mark.parametrize(("p50_s", "p95_s", "sigma"), [(2.0, 2.0, 0.0), (0.0, 0.0, 0.0), (1.0, 2.71828**1.6449, 1.0)])
def test_percentiles_tell_the_spread(p50_s: float, p95_s: float, sigma: float) -> None:
    """The 95th percentile lies 1.645 standard deviations above the median, in logarithms."""
    assert latency_sigma(p50_s, p95_s) == pytest.approx(sigma, abs=1e-4)
