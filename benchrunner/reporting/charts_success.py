"""How a run's success is drawn. The shape of its grid decides, so that a phase of one's own gets a fitting chart too.

    several tool success rates                       curves over the rate, a panel a model
    every model's size in its name, three or more    curves over the size
    four conditions or more                          heat map
    otherwise                                        grouped bars
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from math import log

from benchrunner.reporting.charts import (
    Bar,
    BarGroup,
    Bars,
    Chart,
    Curves,
    HeatCell,
    HeatMap,
    Line,
    Panel,
    Point,
    Tick,
    percent_ticks,
    short_names,
)
from benchrunner.reporting.report import ConditionResult, RunReport
from benchrunner.reporting.report_figures import NONE, marked, percent, wilson
from benchrunner.reporting.report_tables import ReportTable, grid

SIZES = 3
HEAT_FROM = 4
INSET = 5.0  # percent left free at both ends of a curve's axis
PANELS_FROM = 4  # more lines than this do not share a panel

_SIZE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)[bB](?![A-Za-z0-9])")


def size_b(model: str) -> float | None:
    """Return a model's size in billions of parameters as its name tells it, None where it tells none."""
    found = _SIZE.findall(model)
    return float(found[-1]) if found else None


def success_chart(run: RunReport) -> Chart | None:
    """Return the chart of the run's success rates, None where nothing is scored."""
    if all(one.summary.success_rate is None for one in run.conditions):
        return None
    names = tuple(dict.fromkeys(one.name for one in run.conditions))
    rates = {one.summary.tool_success_rate for one in run.conditions}
    sizes = {one.model: size_b(one.model) for one in run.models}
    if len(rates) > 1 and len(names) == len(rates):
        return _over_reliability(run)
    if None not in sizes.values() and len(set(sizes.values())) >= SIZES and len(names) < HEAT_FROM:
        return _over_size(run, {model: size for model, size in sizes.items() if size is not None}, names)
    if len(names) >= HEAT_FROM:
        return _heat_map(run, names)
    return _grouped_bars(run, names)


def _grouped_bars(run: RunReport, names: Sequence[str]) -> Chart:
    cells = {(one.summary.model, one.name): one for one in run.conditions}
    groups = tuple(
        BarGroup(
            label=model.model,
            bars=tuple(
                _bar(cells[model.model, name], series)
                for series, name in enumerate(names)
                if (model.model, name) in cells
            ),
        )
        for model in run.models
    )
    low = " Low: coverage too low to be ranked." if any(one.summary.low_coverage for one in run.conditions) else ""
    return Chart(
        title=marked("Success by model" + (" and condition" if len(names) > 1 else ""), run),
        says="Success rate with its 95 % Wilson interval. " + _rates_in_words(run),
        body=Bars(groups=groups, series=tuple(names), ticks=percent_ticks()),
        table=_rates_table(run),
        note=f"Whiskers: 95 % Wilson intervals.{low}",
    )


def _bar(one: ConditionResult, series: int) -> Bar:
    row = one.summary
    low = " low" if row.low_coverage else ""
    return Bar(
        series=series,
        width=None if row.success_rate is None else 100 * row.success_rate,
        low=None if row.success_low is None else 100 * row.success_low,
        high=None if row.success_high is None else 100 * row.success_high,
        text=("not scored" if row.success_rate is None else f"{percent(row.success_rate)} ({wilson(one)})") + low,
        faint=row.low_coverage,
    )


def _over_size(run: RunReport, sizes: Mapping[str, float], names: Sequence[str]) -> Chart:
    places = _places({size: log(size) for size in sorted(set(sizes.values()))})
    lines = tuple(
        Line(
            series=series,
            points=tuple(
                _point(one, places[sizes[one.summary.model]], shift=1.2 * (series - (len(names) - 1) / 2))
                for one in sorted(run.conditions, key=lambda one: sizes[one.summary.model])
                if one.name == name and one.summary.success_rate is not None
            ),
        )
        for series, name in enumerate(names)
    )
    return Chart(
        title=marked("Success over model size", run),
        says="Success rate over model size on a logarithmic axis. " + _rates_in_words(run),
        body=Curves(
            panels=(Panel(title="", lines=lines),),
            series=tuple(names),
            x_ticks=tuple(Tick(at=at, text=f"{size:g}B") for size, at in places.items()),
            y_ticks=_upwards(percent_ticks()),
            x_title="parameters, logarithmic",
        ),
        table=_rates_table(run),
        note="Whiskers: 95 % Wilson intervals.",
    )


def _over_reliability(run: RunReport) -> Chart:
    rates = sorted({one.summary.tool_success_rate for one in run.conditions})
    places = _places({rate: rate for rate in rates})
    lines = {
        model.model: tuple(
            _point(one, places[one.summary.tool_success_rate])
            for one in sorted(run.conditions, key=lambda one: one.summary.tool_success_rate)
            if one.summary.model == model.model and one.summary.success_rate is not None
        )
        for model in run.models
    }
    if len(lines) > PANELS_FROM:
        panels = tuple(
            Panel(
                title=model,
                lines=(Line(series=0, points=points),),
                others=tuple(Line(series=0, points=theirs) for other, theirs in lines.items() if other != model),
            )
            for model, points in lines.items()
        )
        series: tuple[str, ...] = ("",)
    else:
        both = enumerate(lines.values())
        panels = (Panel(title="", lines=tuple(Line(series=number, points=points) for number, points in both)),)
        series = tuple(lines)
    grey = " Grey: the other models." if len(panels) > 1 else ""
    return Chart(
        title=marked("Success over tool reliability", run),
        says="Success rate over the simulated tools' success rate. " + _rates_in_words(run),
        body=Curves(
            panels=panels,
            series=series,
            x_ticks=tuple(Tick(at=at, text=f"{rate:g}") for rate, at in places.items()),
            y_ticks=_upwards(percent_ticks(50 if len(panels) > 1 else 25)),
            x_title="tool success rate",
        ),
        table=_rates_table(run),
        note=f"Whiskers: 95 % Wilson intervals.{grey}",
    )


def _heat_map(run: RunReport, names: Sequence[str]) -> Chart:
    cells = {(one.summary.model, one.name): one for one in run.conditions}

    def cell(model: str, name: str) -> HeatCell:
        one = cells.get((model, name))
        if one is None or one.summary.success_rate is None:
            return HeatCell(text=NONE, share=None)
        rate, low = one.summary.success_rate, one.summary.low_coverage
        return HeatCell(
            text=f"{100 * rate:.0f}{'†' if low else ''}", share=rate, note=f"95 % interval {wilson(one)}", faint=low
        )

    low = " †: low coverage, not ranked." if any(one.summary.low_coverage for one in run.conditions) else ""
    return Chart(
        title=marked("Success in percent by model and condition", run),
        says="Success rate of each model under each condition. " + _rates_in_words(run),
        body=HeatMap(
            columns=short_names(names),
            rows=tuple((one.model, tuple(cell(one.model, name) for name in names)) for one in run.models),
        ),
        table=_rates_table(run),
        note=f"Deeper is more.{low}",
    )


def _point(one: ConditionResult, x: float, shift: float = 0.0) -> Point:
    row = one.summary
    assert row.success_rate is not None, "only scored conditions are points"
    return Point(
        x=x + shift,
        y=100 - 100 * row.success_rate,
        low=None if row.success_low is None else 100 - 100 * row.success_low,
        high=None if row.success_high is None else 100 - 100 * row.success_high,
        text=f"{row.model}{f', {one.name}' if one.name else ''}: {percent(row.success_rate)} ({wilson(one)})",
    )


def _places(values: Mapping[float, float]) -> dict[float, float]:
    """Return where each value's position on the axis lies, in percent of it."""
    first, last = min(values.values()), max(values.values())
    reach = (last - first) or 1.0
    return {value: INSET + (100 - 2 * INSET) * (at - first) / reach for value, at in values.items()}


def _upwards(ticks: Sequence[Tick]) -> tuple[Tick, ...]:
    return tuple(Tick(at=100 - tick.at, text=tick.text) for tick in ticks)


def _rates_table(run: RunReport) -> ReportTable:
    """Return the figures of a success chart: the grid, or where there is one condition a column of rates."""
    found = grid(run)
    if found is not None:
        return found
    rows = tuple(
        (row.model, f"{row.scored}/{row.planned}", percent(row.success_rate), wilson(one))
        for one in run.conditions
        for row in [one.summary]
    )
    columns = ("model", "scored", "success", "95 % Wilson")
    return ReportTable(title=marked("Success by model", run), columns=columns, sections=(("", rows),))


def _rates_in_words(run: RunReport) -> str:
    return "; ".join(_model_in_words(run)) + "."


def _model_in_words(run: RunReport) -> Iterator[str]:
    for model in run.models:
        mine = [one for one in run.conditions if one.summary.model == model.model]
        yield f"{model.model} " + ", ".join(
            f"{one.name} {percent(one.summary.success_rate)}".strip() for one in mine
        )
