"""Two recorded runs held against each other: what is paired, what is left out, what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import orjson
import pytest
from compared_runs import keep

from benchrunner.errors import StoreError, UsageError
from benchrunner.records import Level, RunStatus
from benchrunner.reporting.comparison import Comparison, compare_runs
from benchrunner.reporting.pairing import LeftOut
from benchrunner.reporting.statistics import bootstrap_rate_interval, mcnemar_exact
from benchrunner.reporting.tables import to_json
from benchrunner.store.queries import RunReader

OPTIMAL, BASELINE = ("m-big", "optimal"), ("m-big", "baseline")


def compare(
    database: Path,
    a: str | None = "a",
    b: str | None = "b",
    *,
    pairing: Sequence[tuple[str, str]] = (),
    seed: int = 1,
    other: Path | None = None,
) -> Comparison:
    with RunReader.open(database) as one, RunReader.open(other or database) as two:
        return compare_runs(one, a, two, b, rng=Random(seed), resamples=500, pairing=pairing)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Return where runs are kept."""
    return tmp_path / "runs.db"


def test_trials_are_paired_by_model_task_and_condition(database: Path) -> None:
    """Full and partial are successes, as in every success rate; the rows stand in the order A was planned."""
    # Given two runs of two conditions, the second planned in another order
    keep(database, "a", {OPTIMAL: "FPFxx", BASELINE: "FFFFx"})
    keep(database, "b", {BASELINE: "FFFFx", OPTIMAL: "xPxFx"})
    # When compared
    found = compare(database)
    # Then each trial stands against its own
    optimal, baseline = found.rows
    assert (optimal.prompt, optimal.pairs, optimal.rate_a, optimal.rate_b) == ("optimal", 5, 0.6, 0.4)
    assert (optimal.a_only, optimal.b_only, optimal.difference) == (2, 1, pytest.approx(-0.2))
    assert (baseline.prompt, baseline.a_only, baseline.b_only, baseline.p_value) == ("baseline", 0, 0, 1.0)
    assert (found.overall.pairs, found.overall.tasks, found.overall.prompt) == (10, 5, "")
    assert (found.overall.rate_a, found.overall.rate_b) == (0.7, 0.6)
    assert found.left_out == LeftOut()
    assert (found.by, found.simulated, found.notes) == ("same models", True, ())


def test_scores_are_compared_beside_rates(database: Path) -> None:
    """A full success that became a partial one flips nothing and costs score."""
    keep(database, "a", {OPTIMAL: "FFFF"})
    keep(database, "b", {OPTIMAL: "FFPP"})
    row = compare(database).overall
    assert (row.difference, row.a_only, row.low, row.high) == (0.0, 0, 0.0, 0.0)
    assert (row.score_a, row.score_b) == (pytest.approx(0.9), pytest.approx(0.7))
    assert row.score_difference == pytest.approx(-0.2)
    assert row.score_low is not None
    assert row.score_low < -0.2 < (row.score_high or 0.0)


def test_trials_that_infrastructure_took_are_left_out_and_counted(database: Path) -> None:
    """Not one of them is a failure of the model, on either side."""
    keep(database, "a", {OPTIMAL: "FFFiiFx"})
    keep(database, "b", {OPTIMAL: "FFiFi.x"})
    found = compare(database)
    assert (found.overall.pairs, found.overall.rate_a, found.overall.rate_b) == (3, 2 / 3, 2 / 3)
    assert found.left_out == LeftOut(invalid_a=1, invalid_b=1, invalid_both=1, unended=1)
    assert found.left_out.sentence() == "1 invalid in A, 1 invalid in B, 1 invalid in both, 1 not ended"
    assert found.flips == ()


def test_a_task_that_is_another_under_the_same_id_is_left_out(database: Path) -> None:
    """Equal ids do not make equal tasks: what was asked is compared."""
    keep(database, "a", {OPTIMAL: "FFF"})
    keep(database, "b", {OPTIMAL: "xFF"}, bodies=['{"n": "other"}'])
    found = compare(database)
    assert (found.overall.pairs, found.left_out) == (2, LeftOut(other_task=1))


def test_trials_and_models_of_one_run_alone_are_counted(database: Path) -> None:
    """Ten instances can be held against five, and a run of two models against one of one."""
    keep(database, "a", {OPTIMAL: "FFFF", ("m-small", "optimal"): "FF"})
    keep(database, "b", {OPTIMAL: "FFFFFFF"})
    found = compare(database)
    assert (found.overall.pairs, found.left_out) == (4, LeftOut(only_a=2, only_b=3))
    assert found.notes == ("in A alone: m-small",)


def test_flips_name_both_trials_and_lost_ones_come_first(database: Path) -> None:
    """With the error of each side, and the ids by which the transcripts are found."""
    keep(database, "a", {OPTIMAL: "xFPF"})
    keep(database, "b", {OPTIMAL: "FFxP"})
    lost, won = compare(database).flips
    assert (lost.lost, lost.task_id, lost.level_a, lost.level_b) == (True, "t2", Level.PARTIAL, Level.FAILURE)
    assert (lost.error_a, lost.error_b) == ("sequence_order", "max_turns")
    assert (lost.trial_a, lost.trial_b) == ("a/00002", "b/00002")
    assert (won.lost, won.task_id, won.level_a, won.level_b) == (False, "t0", Level.FAILURE, Level.FULL)


def test_a_significant_drop_is_a_regression_and_a_gain_is_none(database: Path) -> None:
    """Both are significant; only the one is worse."""
    keep(database, "a", {OPTIMAL: "F" * 30})
    keep(database, "b", {OPTIMAL: "F" * 20 + "x" * 10})
    worse, better = compare(database), compare(database, "b", "a")
    assert (worse.overall.significant, worse.overall.regression, worse.regressed) == (True, True, True)
    assert (better.overall.significant, better.overall.regression, better.regressed) == (True, False, False)
    assert worse.overall.p_value == mcnemar_exact(10, 0)


def test_p_values_are_adjusted_for_all_rows_and_the_overall_one(database: Path) -> None:
    """A drop that would stand alone may be chance among several: Holm over three hypotheses here."""
    # Given a drop in one condition of two: six lost pairs, p = 1/32
    keep(database, "a", {OPTIMAL: "F" * 20, BASELINE: "FFx" + "x" * 17})
    keep(database, "b", {OPTIMAL: "F" * 14 + "x" * 6, BASELINE: "xxF" + "x" * 17})
    found = compare(database)
    # Then it is not called one
    optimal, _ = found.rows
    assert optimal.p_value == 1 / 32
    assert optimal.p_adjusted == pytest.approx(3 / 32)
    assert (optimal.significant, found.regressed) == (False, False)


def test_one_condition_alone_is_asked_about_once(database: Path) -> None:
    """Its row and the overall one are the same question: nothing to adjust."""
    keep(database, "a", {OPTIMAL: "F" * 20})
    keep(database, "b", {OPTIMAL: "F" * 14 + "x" * 6})
    found = compare(database)
    assert found.rows == (found.overall,)
    assert (found.overall.p_adjusted, found.regressed) == (1 / 32, True)


def test_one_model_each_is_held_against_the_other_on_the_same_tasks(database: Path) -> None:
    """Two runs of different models need no word on who belongs to whom."""
    keep(database, "a", {("m-big", "optimal"): "FFFF"})
    keep(database, "b", {("m-small", "optimal"): "FxFx"})
    found = compare(database)
    assert (found.by, found.overall.model_a, found.overall.model_b) == ("different models", "m-big", "m-small")
    assert (found.overall.pairs, found.overall.a_only) == (4, 2)


def test_several_different_models_are_paired_by_name_of_each(database: Path) -> None:
    """Without it the sentence says how; with it those named are compared, and the others not counted."""
    keep(database, "a", {("m-1", "optimal"): "FF", ("m-2", "optimal"): "FF"})
    keep(database, "b", {("m-3", "optimal"): "FF", ("m-4", "optimal"): "Fx"})
    with pytest.raises(UsageError, match=r"share no model \(A: m-1, m-2; B: m-3, m-4\); --pair"):
        compare(database)
    with pytest.raises(UsageError, match=r'run B has no model "m-2"; did you mean "m-4"'):
        compare(database, pairing=[("m-1", "m-2")])
    found = compare(database, pairing=[("m-1", "m-4")])
    assert [(row.model_a, row.model_b, row.pairs) for row in found.rows] == [("m-1", "m-4", 2)]
    assert (found.left_out, found.notes) == (LeftOut(), ())


def test_two_models_of_one_run_can_be_held_against_each_other(database: Path) -> None:
    """A run against itself says nothing, unless two of its models are named."""
    keep(database, "a", {("m-1", "optimal"): "FFF", ("m-2", "optimal"): "Fxx"})
    with pytest.raises(UsageError, match="both are run a"):
        compare(database, "a", "newest")
    assert compare(database, "a", "a", pairing=[("m-1", "m-2")]).overall.a_only == 2


def test_runs_of_two_databases_are_compared(database: Path, tmp_path: Path) -> None:
    """Last night's may be on another disk; even the ids may be the same."""
    keep(database, "a", {OPTIMAL: "FFF"})
    keep(tmp_path / "other.db", "a", {OPTIMAL: "FFx"})
    assert compare(database, None, "a", other=tmp_path / "other.db").overall.a_only == 1


@pytest.mark.parametrize(
    ("letters", "seed", "reason"),
    [
        ("ii", 7, r"no trial is scored in both a and b \(2 invalid in B\)"),
        ("..", 8, r"2 not ended; the seeds differ \(7, 8\)"),
    ],
)
def test_two_runs_of_which_nothing_pairs_are_refused_with_the_reason(
    database: Path, letters: str, seed: int, reason: str
) -> None:
    """One sentence; exit 2."""
    keep(database, "a", {OPTIMAL: "FF"})
    keep(database, "b", {OPTIMAL: letters}, seed=seed)
    with pytest.raises(UsageError, match=reason) as caught:
        compare(database)
    assert caught.value.exit_code == 2


def test_a_simulation_is_not_held_against_a_measurement(database: Path) -> None:
    """What was measured must not be judged by what was made up."""
    keep(database, "a", {OPTIMAL: "FF"})
    keep(database, "b", {OPTIMAL: "FF"}, backend="live")
    with pytest.raises(UsageError, match="run a is simulated and run b is live"):
        compare(database)


def test_a_run_that_is_not_there_is_named(database: Path) -> None:
    """As everywhere a run is asked for."""
    keep(database, "a", {OPTIMAL: "FF"})
    with pytest.raises(StoreError, match="there is no run 'zz'"):
        compare(database, "a", "zz")


def test_what_else_differs_between_the_runs_is_noted(database: Path) -> None:
    """Phase, seed, suite and protocol may explain what the models do not."""

    def config(version: str, protocol: str) -> dict[str, object]:
        model = {"name": "m-big", "provider": "p", "limits": [], "protocol": protocol}
        return {"run": {"suite": "workflow", "suite_version": version}, "models": [model]}

    keep(database, "a", {OPTIMAL: "FF"}, config=config("1", "text"))
    keep(database, "b", {OPTIMAL: "FF"}, config=config("2", "native"), seed=8, phase="5.9", status=None)
    assert compare(database).notes == (
        "B has not ended",
        "A is of phase 5.2, B of 5.9",
        "the seeds differ (7, 8): tasks may, and the luck of tools does",
        "A was asked and scored by suite workflow 1, B by workflow 2",
        "m-big called tools by another protocol",
    )


def test_the_same_seed_gives_the_same_comparison(database: Path) -> None:
    """Figures can be made again; another seed moves the intervals alone."""
    keep(database, "a", {OPTIMAL: "FPxFPFFxFx" * 6})
    keep(database, "b", {OPTIMAL: "xPFFxFFxFP" * 6})
    one, again, other = compare(database), compare(database), compare(database, seed=2)
    assert one == again
    assert (one.overall.low, one.overall.score_low) != (other.overall.low, other.overall.score_low)
    assert one.overall.p_value == other.overall.p_value


def test_the_json_form_holds_everything_and_says_simulated(database: Path) -> None:
    """A script reads the verdict without computing anything."""
    keep(database, "a", {OPTIMAL: "FF"})
    keep(database, "b", {OPTIMAL: "Fx"})
    read = orjson.loads(to_json(compare(database)))
    assert set(read) == set(Comparison.__dataclass_fields__)
    assert (read["simulated"], read["regressed"], read["left_out"]["invalid_a"]) == (True, False, 0)
    assert (read["flips"][0]["trial_b"], read["flips"][0]["level_b"]) == ("b/00001", "failure")


def test_the_rates_interval_can_stand_beside_a_reports(database: Path) -> None:
    """The difference to a run that never fails is the rate itself, less one: the same resamples give both."""
    letters = "FFFxFxFFFF" * 4
    keep(database, "a", {OPTIMAL: "F" * len(letters)})
    keep(database, "b", {OPTIMAL: letters})
    row = compare(database).overall
    low, high = bootstrap_rate_interval([(letter == "F", 1) for letter in letters], Random(1), 500) or (0.0, 0.0)
    assert (row.low, row.high) == (pytest.approx(low - 1), pytest.approx(high - 1))


def test_a_run_still_under_way_can_be_compared(database: Path) -> None:
    """Over what it has so far."""
    keep(database, "a", {OPTIMAL: "FFFF"})
    keep(database, "b", {OPTIMAL: "Fx.."}, status=RunStatus.INTERRUPTED)
    assert compare(database).overall.pairs == 2
