"""What went wrong and how long it took: the models' errors, attempts that did not end well, forecast against actual."""

from __future__ import annotations

from collections import Counter

from benchrunner.reporting.charts import (
    Bar,
    BarGroup,
    Bars,
    Chart,
    HeatCell,
    HeatMap,
    Tick,
    heat_shares,
    round_up,
    short_names,
    time_ticks,
)
from benchrunner.reporting.report import Report, RunReport
from benchrunner.reporting.report_figures import NONE, bound_s, error_classes
from benchrunner.reporting.report_tables import ReportTable, call_faults, model_errors
from benchrunner.reporting.wording import duration_text


def model_error_chart(run: RunReport) -> Chart | None:
    """Return the models' errors by class as a heat map of counts, None where there are none."""
    table = model_errors(run)
    if table is None:
        return None
    classes = error_classes(run)
    counts = [[run.model_errors.get((one.model, kind), 0) for kind in classes] for one in run.models]
    rows = tuple(
        (one.model, tuple(HeatCell(text=f"{n}", share=share) for n, share in zip(line, shares, strict=True)))
        for one, line, shares in zip(run.models, counts, heat_shares(counts), strict=True)
    )
    totals = [sum(column) for column in zip(*counts, strict=True)]
    said = ", ".join(f"{kind} {total}" for kind, total in zip(classes, totals, strict=True))
    return Chart(
        title=table.title,
        says=f"Trials that are no full success by model and error class. In all: {said}.",
        body=HeatMap(columns=short_names(classes), rows=rows),
        table=table,
        note=table.note,
    )


def call_fault_chart(run: RunReport) -> Chart | None:
    """Return the attempts that did not end well by outcome, None where all did."""
    table = call_faults(run)
    if table is None:
        return None
    counts = Counter[str]()
    for one in run.faulty_calls:
        counts[one.outcome] += one.calls
    top = round_up(max(counts.values()))
    groups = tuple(
        BarGroup(
            label=outcome,
            bars=(Bar(series=1, width=100 * calls / top, low=None, high=None, text=f"{calls}"),),
        )
        for outcome, calls in counts.most_common()
    )
    said = ", ".join(f"{outcome} {calls}" for outcome, calls in counts.most_common())
    return Chart(
        title=table.title,
        says=f"Of {run.summary.calls} attempts these did not end well: {said}.",
        body=Bars(groups=groups, series=("",), ticks=_count_ticks(top)),
        table=table,
        note=table.note,
    )


def forecast_chart(report: Report) -> Chart | None:
    """Return forecast, bound and time taken of each run, None where no run has a forecast to be held against."""
    runs = [run for run in report.runs if run.summary.makespan_s is not None and run.summary.forecast_s is not None]
    if not runs:
        return None
    series = ("lower bound", "forecast", "took")
    values = [(bound_s(run), run.summary.forecast_s, run.summary.makespan_s) for run in runs]
    top = round_up(max(value for three in values for value in three if value is not None))
    groups = tuple(
        BarGroup(
            label=f"{run.name}, {run.summary.policy}" + ("" if len(runs) == 1 else f" ({run.summary.run_id})"),
            bars=tuple(
                Bar(series=number, width=100 * value / top, low=None, high=None, text=duration_text(value))
                for number, value in enumerate(three)
                if value is not None
            ),
        )
        for run, three in zip(runs, values, strict=True)
    )
    rows = tuple(
        (
            run.name,
            run.summary.status.value,
            *(duration_text(value) if value is not None else NONE for value in three),
            _off(three[1], three[2]),
        )
        for run, three in zip(runs, values, strict=True)
    )
    said = "; ".join(f"{row[0]} forecast {row[3]}, took {row[4]}" for row in rows)
    return Chart(
        title="Forecast against actual",
        says=f"First request to last reply as forecast before the first call, and as it came: {said}.",
        body=Bars(groups=groups, series=series, ticks=time_ticks(top)),
        table=ReportTable(
            title="Forecast against actual",
            columns=("phase", "status", "lower bound", "forecast", "took", "off by"),
            sections=(("", rows),),
            words=2,
        ),
        note="First request to last reply. A bound that the run beat is left out: it rested on wrong latencies.",
    )


def _off(forecast_s: float | None, took_s: float | None) -> str:
    return NONE if not forecast_s or took_s is None else f"{100 * (took_s / forecast_s - 1):+.0f} %"


def _count_ticks(top: float) -> tuple[Tick, ...]:
    return tuple(Tick(at=share * 100, text=f"{top * share:g}") for share in (0.0, 0.5, 1.0))
