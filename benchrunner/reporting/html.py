"""The report as one page that needs nothing but itself: no network, no script, no font of its own."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

from benchrunner.errors import UsageError, pip_line
from benchrunner.reporting.charts import Chart
from benchrunner.reporting.charts_course import call_fault_chart, forecast_chart, model_error_chart
from benchrunner.reporting.charts_success import success_chart
from benchrunner.reporting.charts_time import lease_chart, load_chart
from benchrunner.reporting.report import Report, RunReport
from benchrunner.reporting.report_files import GENERATOR
from benchrunner.reporting.report_tables import (
    ReportTable,
    bounds,
    grid,
    invalid_trials,
    key_events,
    keys,
    overview,
    results,
)
from benchrunner.reporting.report_words import facts, in_plain_words, in_short, title, warning
from benchrunner.reporting.wording import SIMULATED


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    """One run on the page."""

    run: RunReport
    anchor: str
    words: str
    short: str
    facts: tuple[tuple[str, str], ...]
    parts: tuple[Chart | ReportTable, ...]
    machinery: tuple[Chart | ReportTable, ...]


def render_html(report: Report) -> str:
    """Return the page. Raises UsageError where jinja2 is not installed."""
    template = _environment().get_template("report.html.j2")
    forecast = forecast_chart(report)
    page: str = template.render(
        generator=GENERATOR,
        report=report,
        title=title(report),
        warning=warning(report),
        mark=SIMULATED,
        overview=overview(report) if len(report.runs) > 1 else None,
        forecast=forecast,
        sections=[_section(run, number) for number, run in enumerate(report.runs, start=1)],
    )
    return page


def _section(run: RunReport, number: int) -> _Section:
    shown = (grid(run), success_chart(run), results(run), bounds(run), invalid_trials(run))
    errors = (model_error_chart(run), call_fault_chart(run))
    behind = (*errors, lease_chart(run), load_chart(run), keys(run), key_events(run))
    return _Section(
        run=run,
        anchor=f"run-{number}",
        words=in_plain_words(run),
        short=in_short(run),
        facts=facts(run),
        parts=tuple(part for part in shown if part is not None),
        machinery=tuple(part for part in behind if part is not None),
    )


def _environment() -> Any:
    try:
        jinja2 = importlib.import_module("jinja2")
    except ImportError as error:
        raise UsageError(f"the page needs jinja2: {pip_line('report')}; --format md needs nothing") from error
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("benchrunner.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["next_id"] = partial(next, count(1))  # one environment a page: ids are the same every time
    # Long names (a condition's, a run's) may break at their joints, not only outside a table's box.
    environment.filters["jointed"] = lambda text: jinja2.utils.markupsafe.Markup("_<wbr>").join(text.split("_"))
    environment.filters["kept"] = _kept
    environment.tests["chart"] = lambda part: isinstance(part, Chart)
    return environment


def _kept(text: str) -> str:
    """Return `text` with its intervals and percentages kept on one line each."""
    return (text.replace("–", "\u2060–\u2060") if len(text) > 1 else text).replace(" %", "\u00a0%")
