"""Renders summaries, lists and plans as tables for people, and any record as JSON for scripts.

A terminal gets colour, everything else (a pipe, a log, NO_COLOR) plain text of the same shape. 80 columns are enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchrunner.records import RunStatus
from benchrunner.reporting.summary import Cell, ConditionSummary, RunSummary, cell_of
from benchrunner.reporting.wording import backend_mark, count_text, duration_text, printable
from benchrunner.store.answers import RunRow

RUNS_COUNTS = frozenset({"scored", "inv", "calls", "ref"})
RUNS_CAN_DO_WITHOUT = ("started", "phase", "calls", "policy", "ref", "inv")
"""Columns of the runs list, the first to go first where the screen is narrow: a run's id tells its time and phase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column's title and how its cells stand: numbers right and whole, words left and folded where space is short.

    `whole`: words that are not folded either, as one copies them.
    """

    title: str
    numeric: bool = False
    whole: bool = False


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
            no_wrap=column.numeric or column.whole,
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
    """Return the runs list, one line a run, in the order given; without columns that `width` has no room for."""
    columns = {
        "run": [run.run_id for run in runs],
        "phase": [run.phase for run in runs],
        "policy": [run.policy for run in runs],
        "backend": [backend_mark(run.backend) for run in runs],
        "status": ["killed" if run.killed else run.status.value for run in runs],
        "scored": [f"{run.scored}/{run.planned}" for run in runs],
        "inv": [str(run.invalid) for run in runs],
        "calls": [count_text(run.calls) for run in runs],
        "ref": [count_text(run.refused) for run in runs],
        "started": [_minute(run.started_at) for run in runs],
    }
    widths = {title: max([len(title), *map(len, cells)]) for title, cells in columns.items()}
    for title in RUNS_CAN_DO_WITHOUT:
        if sum(widths.values()) + len(widths) - 1 > width:
            del columns[title], widths[title]
    return table(
        f"{len(runs)} runs" if len(runs) != 1 else "1 run",
        [Column(title=title, numeric=title in RUNS_COUNTS, whole=title == "run") for title in columns],
        zip(*columns.values(), strict=True),
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


def sectioned_table(
    title: str, columns: Sequence[Column], sections: Mapping[str, Sequence[Sequence[object]]]
) -> RenderableType:
    """Return a titled table in sections, each under its heading; one without a heading is a plain `table`."""
    if set(sections) <= {""}:
        return table(title, columns, sections.get("", ()))
    texts = {
        heading: [["  " + _cell_text(row[0]), *map(_cell_text, row[1:])] for row in rows]
        for heading, rows in sections.items()
    }
    held = [[column.title for column in columns], *(line for lines in texts.values() for line in lines)]
    widths = [max(len(line[place]) for line in held) for place in range(len(columns))]
    parts: list[RenderableType] = [Text(title, style="bold"), _rows(columns, (), widths)]
    for heading, lines in texts.items():
        parts += [Text(printable(heading)), _rows(columns, lines, widths, header=False)]
    return Group(*parts)


def condition_names(conditions: Iterable[Cell]) -> dict[Cell, str]:
    """Return what each condition is called: by what differs between them; "" where there is only one."""
    cells = dict.fromkeys(conditions)
    varies = [len(set(values)) > 1 for values in zip(*cells, strict=True)]
    return {
        (prompt, difficulty, rate): ", ".join(
            text for text, shown in zip((prompt, difficulty, f"tools {rate:g}"), varies, strict=True) if shown
        )
        for prompt, difficulty, rate in cells
    }


def shared_words(conditions: Iterable[Cell]) -> str:
    """Return what all conditions have in common, for a title."""
    cells = dict.fromkeys(conditions)
    if not cells:
        return ""
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
