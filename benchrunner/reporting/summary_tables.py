"""A run's summary for people: its header, and its tables in reading order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import RenderableType
from rich.text import Text

from benchrunner.records import RunStatus
from benchrunner.reporting.condition_names import condition_names, shared_words
from benchrunner.reporting.summary import ConditionSummary, RunSummary, cell_of
from benchrunner.reporting.tables import Column, sectioned_table, table
from benchrunner.reporting.wording import backend_mark, duration_text


def summary_parts(summary: RunSummary) -> list[RenderableType]:
    """Return the header and the tables of a run, in reading order."""
    mark = f" ({backend_mark(summary.backend)})" if summary.simulated else ""
    parts: list[RenderableType] = [_header(summary), _conditions(summary, mark)]
    if any(condition.scored < condition.planned for condition in summary.conditions):
        parts.append(_bounds(summary, mark))
    if summary.losses:
        parts.append(
            table(
                f"Lost to infrastructure, in no score{mark}",
                [Column(title="model"), Column(title="cause"), Column(title="trials", numeric=True)],
                ((loss.model, loss.cause, loss.trials) for loss in summary.losses),
            )
        )
    if summary.keys:
        parts.append(_keys(summary, mark))
    return parts


def _header(summary: RunSummary) -> Text:
    mark = f"{backend_mark(summary.backend)} " if summary.simulated else ""
    head = f"{mark}run {summary.run_id}: phase {summary.phase}, policy {summary.policy}, engine {summary.engine}"
    bound = ""
    # The bound rests on expected latencies; a run that beat it tells that they were wrong, not that it was fast.
    if summary.lower_bound_s is not None and summary.makespan_s and summary.lower_bound_s <= summary.makespan_s:
        ratio = summary.lower_bound_s / summary.makespan_s
        bound = f"; lower bound {duration_text(summary.lower_bound_s)}, ratio {ratio:.2f}"
    unanswered = f", {summary.unanswered} unanswered" if summary.unanswered else ""
    resume = f"killed, to be resumed (`benchrunner resume {summary.run_id}`)"
    status = resume if summary.killed else summary.status.value
    lines = [
        f"{status}, backend {summary.backend}, seed {summary.seed}, version {summary.version}",
        f"started {_second(summary.started_at)}, "
        + (f"ended {_second(summary.ended_at)} ({duration_text(summary.wall_s)})" if summary.ended_at else "not ended"),
        f"first request to last reply {duration_text(summary.makespan_s)}{bound}",
        *_forecast_lines(summary),
        f"trials {summary.scored} of {summary.planned} scored, {summary.invalid} invalid; "
        f"calls {summary.calls}, {summary.refused} refused{unanswered}",
    ]
    return Text.assemble((head, "bold"), "\n", "\n".join(lines))


def _forecast_lines(summary: RunSummary) -> list[str]:
    """Return what was expected beside what came: only a whole run can be held against its forecast."""
    if summary.forecast_s is None:
        return []
    took = summary.makespan_s if summary.status is RunStatus.COMPLETE else None
    return [f"forecast {duration_text(summary.forecast_s)}" + (f", took {duration_text(took)}" if took else "")]


def _conditions(summary: RunSummary, mark: str) -> RenderableType:
    rivals = len({row.model for row in summary.conditions}) > 1
    ranked = rivals or any(row.low_coverage for row in summary.conditions)
    return _by_condition(
        f"Success, 95 % interval{shared_words(map(cell_of, summary.conditions))}{mark}",
        [
            Column(title="model"),
            Column(title="scored", numeric=True),
            Column(title="inv", numeric=True),
            Column(title="full", numeric=True),
            Column(title="part", numeric=True),
            Column(title="fail", numeric=True),
            Column(title="success", numeric=True),
            Column(title="wtd", numeric=True),
            Column(title="turns", numeric=True),
            *([Column(title="rank", numeric=True)] if ranked else []),
        ],
        summary.conditions,
        lambda row: (
            row.model,
            f"{row.scored}/{row.planned}",
            row.invalid,
            row.full,
            row.partial,
            row.failure,
            _rate(row.success_rate, row.success_low, row.success_high),
            None if row.weighted_success_score is None else f"{row.weighted_success_score:.2f}",
            None if row.turns is None else f"{row.turns:.1f}",
            *(("low" if row.low_coverage else row.rank,) if ranked else ()),
        ),
        every=summary.conditions,
    )


def _bounds(summary: RunSummary, mark: str) -> RenderableType:
    low = any(row.low_coverage for row in summary.conditions)
    note = f"; below {100 * summary.coverage_floor:g} % coverage not ranked" if low else ""
    return _by_condition(
        f"Success if all trials not scored had failed, or succeeded{note}{mark}",
        [
            Column(title="model"),
            Column(title="missing", numeric=True),
            Column(title="worst", numeric=True),
            Column(title="best", numeric=True),
            Column(title="coverage", numeric=True),
            Column(title=""),
        ],
        [row for row in summary.conditions if row.scored < row.planned],
        lambda row: (
            row.model,
            row.planned - row.scored,
            _percent(row.success_worst),
            _percent(row.success_best),
            _percent(row.coverage),
            "low coverage" if row.low_coverage else "",
        ),
        every=summary.conditions,
    )


def _by_condition(
    title: str,
    columns: Sequence[Column],
    rows: Sequence[ConditionSummary],
    cells: Callable[[ConditionSummary], Sequence[object]],
    *,
    every: Sequence[ConditionSummary],
) -> RenderableType:
    """Return a table with a heading per condition: models are compared under one, and its name may be long.

    `every`: all rows of the run, from which a condition is named by what differs.
    """
    names = condition_names(map(cell_of, every))
    sections: dict[str, list[Sequence[object]]] = {}
    for row in rows:
        sections.setdefault(names[cell_of(row)], []).append(cells(row))
    return sectioned_table(title, columns, sections)


def _keys(summary: RunSummary, mark: str) -> RenderableType:
    return table(
        f"Keys{mark}",
        [
            Column(title="key"),
            Column(title="calls", numeric=True),
            Column(title="refused", numeric=True),
            Column(title="no answer", numeric=True),
            Column(title="most in any 1 s", numeric=True),
            Column(title="mean wait", numeric=True),
        ],
        (
            (key.key_id, key.calls, key.refused, key.unanswered, key.peak_1s, f"{key.mean_wait_window_s:.2f} s")
            for key in summary.keys
        ),
    )


def _percent(rate: float | None) -> str | None:
    return None if rate is None else f"{100 * rate:.1f}%"


def _rate(rate: float | None, low: float | None, high: float | None) -> str | None:
    if rate is None or low is None or high is None:
        return None
    return f"{100 * rate:.0f}% {100 * low:.0f}-{100 * high:.0f}"


def _second(at: str) -> str:
    return at[:19].replace("T", " ") + " UTC"
