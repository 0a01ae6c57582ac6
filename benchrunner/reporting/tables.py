"""Renders summaries, lists and plans as tables for people, and any record as JSON for scripts.

A terminal gets colour, everything else (a pipe, a log, NO_COLOR) plain text of the same shape. 80 columns are enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import orjson
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchrunner.records import RunStatus
from benchrunner.reporting.summary import Cell, ConditionSummary, RunSummary, cell_of
from benchrunner.reporting.wording import backend_mark, count_text, duration_text, printable
from benchrunner.store.answers import RunRow

WIDE = 100
"""From this many columns on the runs list also says when each run started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column's title and how its cells stand: numbers right and whole, words left and folded where space is short."""

    title: str
    numeric: bool = False


def to_json(record: object) -> str:
    """Return a record, or a sequence of them, as indented JSON text; not-a-number and infinity become null."""
    return orjson.dumps(record, option=orjson.OPT_INDENT_2).decode()


def table(title: str, columns: Sequence[Column], cells: Iterable[Sequence[object]]) -> RenderableType:
    """Return a titled table of `cells`; None is shown as `-`. Print it on a console from `console_for`."""
    made = _rows(columns, ([_cell_text(cell) for cell in row] for row in cells))
    # Above the table, not the table's own: a title wraps at the screen's width, not at a narrow table's.
    return Group(Text(title, style="bold"), made)


def _cell_text(cell: object) -> str:
    return "-" if cell is None else printable(str(cell))


def _rows(
    columns: Sequence[Column],
    lines: Iterable[Sequence[str]],
    widths: Sequence[int] | None = None,
    *,
    header: bool = True,
) -> Table:
    """Return the lines as a table. `widths`: the least of each column, so that tables under one another line up."""
    made = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=header)
    for place, column in enumerate(columns):
        made.add_column(
            Text(column.title),
            justify="right" if column.numeric else "left",
            no_wrap=column.numeric,
            overflow="fold",
            min_width=None if widths is None else widths[place],
        )
    for line in lines:
        made.add_row(*map(Text, line))
    return made


def show(console: Console, parts: Iterable[RenderableType]) -> None:
    """Print the parts with an empty line between them."""
    for number, part in enumerate(parts):
        if number:
            console.print()
        console.print(part)


def runs_table(runs: Sequence[RunRow], *, width: int = 80) -> RenderableType:
    """Return the runs list, one line a run, in the order given."""
    wide = width >= WIDE
    columns = [
        Column(title="run"),
        Column(title="phase"),
        Column(title="policy"),
        Column(title="backend"),
        Column(title="status"),
        Column(title="scored", numeric=True),
        Column(title="inv", numeric=True),
        Column(title="calls", numeric=True),
        Column(title="ref", numeric=True),
        *([Column(title="started")] if wide else []),
    ]
    return table(
        f"{len(runs)} runs" if len(runs) != 1 else "1 run",
        columns,
        (
            (
                run.run_id,
                run.phase,
                run.policy,
                backend_mark(run.backend),
                run.status.value,
                f"{run.scored}/{run.planned}",
                run.invalid,
                count_text(run.calls),
                count_text(run.refused),
                *((_minute(run.started_at),) if wide else ()),
            )
            for run in runs
        ),
    )


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
    lines = [
        f"{summary.status.value}, backend {summary.backend}, seed {summary.seed}, version {summary.version}",
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
        f"Success, 95 % interval{_shared(summary.conditions)}{mark}",
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
    if len({cell_of(row) for row in every}) < 2:
        return table(title, columns, map(cells, rows))
    sections: dict[Cell, list[Sequence[str]]] = {}
    for row in rows:
        texts = [_cell_text(cell) for cell in cells(row)]
        sections.setdefault(cell_of(row), []).append(["  " + texts[0], *texts[1:]])
    held = [[column.title for column in columns], *(line for lines in sections.values() for line in lines)]
    widths = [max(len(line[place]) for line in held) for place in range(len(columns))]
    parts: list[RenderableType] = [Text(title, style="bold"), _rows(columns, (), widths)]
    names = _names(every)
    for cell, lines in sections.items():
        parts += [Text(printable(names[cell])), _rows(columns, lines, widths, header=False)]
    return Group(*parts)


def _names(conditions: Sequence[ConditionSummary]) -> dict[Cell, str]:
    """Return what each condition is called: by what differs between them."""
    cells = dict.fromkeys(map(cell_of, conditions))
    varies = [len(set(values)) > 1 for values in zip(*cells, strict=True)]
    return {
        (prompt, difficulty, rate): ", ".join(
            text for text, shown in zip((prompt, difficulty, f"tools {rate:g}"), varies, strict=True) if shown
        )
        for prompt, difficulty, rate in cells
    }


def _shared(conditions: Sequence[ConditionSummary]) -> str:
    """Return what all conditions have in common, for a title."""
    if not conditions:
        return ""
    cells = dict.fromkeys(map(cell_of, conditions))
    prompt, difficulty, rate = next(iter(cells))
    same = [len(set(values)) == 1 for values in zip(*cells, strict=True)]
    parts = (f"prompt {prompt}", difficulty, f"tools {rate:g}")
    return "".join(f", {text}" for text, shown in zip(parts, same, strict=True) if shown)


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


def _minute(at: str) -> str:
    return at[:16].replace("T", " ")


def _second(at: str) -> str:
    return at[:19].replace("T", " ") + " UTC"
