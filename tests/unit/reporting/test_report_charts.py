"""Which chart a run gets, and that it shows the numbers it was made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from report_samples import record_grid, report_of

from benchrunner.records import Trial
from benchrunner.reporting.charts import (
    Bars,
    Curves,
    HeatMap,
    Lanes,
    Loads,
    Span,
    packed,
    round_up,
    time_ticks,
)
from benchrunner.reporting.charts_course import call_fault_chart, forecast_chart, model_error_chart
from benchrunner.reporting.charts_success import size_b, success_chart
from benchrunner.reporting.charts_time import BUCKETS, lease_chart, load_chart, sample_load
from benchrunner.store.overlaps import peak

SECOND = 1_000_000


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("qwen2.5-72b-instruct", 72.0),
        ("Llama-3.3-70B-Instruct", 70.0),
        ("phi-3.5-0.5B", 0.5),
        ("DeepSeek-V3-0324", None),
        ("gpt-4o-mini", None),
        ("bert2base", None),
    ],
)
def test_a_size_is_read_only_where_a_name_tells_one(name: str, expected: float | None) -> None:
    """A number with B for billions, standing by itself."""
    assert size_b(name) == expected


SIZED = ("m-3b", "m-7b", "m-72b")


@pytest.mark.parametrize(
    ("models", "prompts", "difficulties", "rates", "kind"),
    [
        (("m-a", "m-b"), ("optimal",), ("easy",), (0.8,), "bars"),  # as 5.1
        (SIZED, ("optimal",), ("easy", "medium"), (0.8,), "curves"),  # as 5.2
        (("m-a", "m-b"), ("f_a", "f_b", "f_c", "f_d"), ("easy",), (0.8,), "heat"),  # as 5.3
        (("m-a", "m-b"), ("optimal",), ("easy",), (0.9, 0.7, 0.5), "curves"),  # as 5.4
        (("m-a", "m-b"), ("baseline", "cot"), ("easy",), (0.8,), "bars"),  # as 5.5
        (("m-a", "m-b"), ("baseline", "cot"), ("easy",), (0.9, 0.5), "heat"),  # two things vary
    ],
)
def test_the_shape_of_the_grid_decides_the_chart(
    tmp_path: Path,
    models: Sequence[str],
    prompts: Sequence[str],
    difficulties: Sequence[str],
    rates: Sequence[float],
    kind: str,
) -> None:
    """So a phase of one's own gets a fitting one too; each says its main figures in words and has them as a table."""
    record_grid(tmp_path / "r.db", models=models, prompts=prompts, difficulties=difficulties, rates=rates)
    (run,) = report_of(tmp_path / "r.db").runs
    chart = success_chart(run)
    assert chart is not None
    assert chart.body.kind == kind
    assert chart.table is not None
    assert all(model in chart.says for model in models)
    assert "100\u00a0%" in chart.says


def test_bars_are_as_long_as_their_rates_and_whiskers_lie_around_them(tmp_path: Path) -> None:
    """In percent of the axis; low coverage is faint, nothing scored has no bar."""

    def ends(trial: Trial) -> str:
        if trial.condition.model == "m-c":
            return "pending"
        lost = trial.condition.model == "m-b" and trial.task_id == "t0"
        return "invalid" if lost else "failure" if trial.task_id == "t1" else "full"

    record_grid(tmp_path / "r.db", models=("m-a", "m-b", "m-c"), ends=ends)
    (run,) = report_of(tmp_path / "r.db").runs
    chart = success_chart(run)
    assert chart is not None
    assert isinstance(chart.body, Bars)
    first, low, none = (group.bars[0] for group in chart.body.groups)
    assert (first.width, first.faint, first.text) == (75.0, False, "75\u00a0% (30–95)")
    assert first.low == pytest.approx(30.06, abs=0.01)
    assert low.faint
    assert low.width == pytest.approx(100 * 2 / 3)
    assert (none.width, none.text) == (None, "not scored low")


def test_a_scale_curve_is_logarithmic_and_counts_upwards(tmp_path: Path) -> None:
    """The middle of 3B and 48B is 12B; a rate of 100 % lies at the top."""
    record_grid(tmp_path / "r.db", models=("m-48b", "m-3b", "m-12b"))
    chart = success_chart(report_of(tmp_path / "r.db").runs[0])
    assert chart is not None
    assert isinstance(chart.body, Curves)
    (line,) = chart.body.panels[0].lines
    assert [point.x for point in line.points] == pytest.approx([5.0, 50.0, 95.0])
    assert [point.y for point in line.points] == [0.0, 0.0, 0.0]
    assert [tick.text for tick in chart.body.x_ticks] == ["3B", "12B", "48B"]


def test_many_models_over_reliability_get_a_panel_each_with_the_others_behind(tmp_path: Path) -> None:
    """Eight lines in one panel tell nothing; up to four share one."""
    for run_id, models in (("few", tuple("abcd")), ("many", tuple("abcde"))):
        record_grid(tmp_path / "r.db", run_id, models=models, rates=(0.9, 0.5))
    few, many = (success_chart(run) for run in report_of(tmp_path / "r.db", "few", "many").runs)
    assert few is not None
    assert many is not None
    assert isinstance(few.body, Curves)
    assert isinstance(many.body, Curves)
    assert [(len(panel.lines), len(panel.others)) for panel in few.body.panels] == [(4, 0)]
    assert [(panel.title, len(panel.lines), len(panel.others)) for panel in many.body.panels] == [
        (model, 1, 4) for model in "abcde"
    ]


def test_errors_faults_and_forecast_are_charted_with_their_counts(tmp_path: Path) -> None:
    """The model's errors apart from what infrastructure did."""
    record_grid(tmp_path / "r.db", ends=lambda trial: "failure" if trial.task_id == "t0" else "full")
    report = report_of(tmp_path / "r.db")
    (run,) = report.runs
    errors, faults, forecast = model_error_chart(run), call_fault_chart(run), forecast_chart(report)
    assert errors is not None
    assert faults is not None
    assert forecast is not None
    assert isinstance(errors.body, HeatMap)
    assert errors.body.rows[0][1][0].text == "1"
    assert faults.says == "Of 8 attempts these did not end well: rate_limited 1."
    assert forecast.says.endswith("9.1 Sample forecast 10 s, took 4 s.")


def test_a_gantt_chart_lays_leases_where_they_were(tmp_path: Path) -> None:
    """Both shards held key0 for its first nine seconds: two rows, as wide as the chart."""
    record_grid(tmp_path / "r.db")
    chart = lease_chart(report_of(tmp_path / "r.db").runs[0])
    assert chart is not None
    assert isinstance(chart.body, Lanes)
    (lane,) = chart.body.lanes
    assert lane.label == "key0"
    assert [[(span.left, span.width, span.text) for span in row] for row in lane.rows] == [
        [(0.0, 100.0, "m-7b")],
        [(0.0, 100.0, "m-3b")],
    ]


def test_spans_that_follow_each_other_share_a_row() -> None:
    """Overlapping ones get another; as few rows as that takes."""
    a, b, c = (Span(left=left, width=20.0, text="", series=0) for left in (0.0, 10.0, 20.0))
    assert packed([c, a, b]) == ((a, c), (b,))


def test_a_load_chart_draws_the_limit_the_run_had(tmp_path: Path) -> None:
    """Ten a second at speed 2, with a little room above it; the text says the exact peak."""
    record_grid(tmp_path / "r.db")
    chart = load_chart(report_of(tmp_path / "r.db").runs[0])
    assert chart is not None
    assert isinstance(chart.body, Loads)
    (load,) = chart.body.loads
    assert load.text == "8 requests; at most 2 in any 1 s, limit 10 per 1 s"
    assert load.limit_y == pytest.approx(100 - 100 / 1.06)


@pytest.mark.parametrize("length_s", [3.0, 40.0, 4000.0])
def test_no_sample_of_a_load_shows_more_than_the_exact_peak(length_s: float) -> None:
    """A chart must not show a limit broken that was kept; and bursts far shorter than a column still show."""
    # Given a burst of ten every two seconds
    sent_us = [2 * SECOND * (n // 10) + n % 10 for n in range(int(length_s * 5))]
    # When it is sampled
    most, mean = sample_load(sent_us, 0, round(length_s * SECOND), SECOND)
    # Then no column exceeds the peak, and means lie below
    assert (len(most), len(mean)) == (BUCKETS, BUCKETS)
    assert max(most) <= peak(sent_us, SECOND)
    assert max(most) >= peak(sent_us, SECOND) - 1
    assert all(one <= high for one, high in zip(mean, most, strict=True))


def test_axes_end_at_round_numbers() -> None:
    """1, 2 or 5 times a power of ten; times in units people use."""
    assert [round_up(value) for value in (0, 0.3, 1, 7.7, 23, 100)] == [1.0, 0.5, 1.0, 10.0, 50.0, 100.0]
    assert [tick.text for tick in time_ticks(20.0)] == ["0", "5 s", "10 s", "15 s", "20 s"]
    assert [tick.text for tick in time_ticks(9 * 3600)] == ["0", "2 h", "4 h", "6 h", "8 h"]
    assert time_ticks(30 * 86400)[-1].at == pytest.approx(100.0)
