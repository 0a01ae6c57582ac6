"""What a chart is before it is drawn: shares of its box, colour numbers and words; templates only place them.

Positions are percentages of the plotting area, so that a chart takes the width it is given and its text keeps its
size: docs/decisions/report-charts.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import ClassVar

from benchrunner.reporting.report_tables import ReportTable

SERIES = 8
"""Colours there are. Nothing is told by colour alone: series differ in marker and pattern, spans carry their name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark on an axis."""

    at: float  # percent
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One value as a bar from zero, with its interval as a whisker."""

    series: int
    width: float | None  # percent; None: there is no value
    low: float | None
    high: float | None
    text: str
    faint: bool = False  # shown, not to be compared


@dataclass(frozen=True, slots=True, kw_only=True)
class BarGroup:
    """The bars of one label."""

    label: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Grouped bars, lying."""

    kind: ClassVar[str] = "bars"
    groups: tuple[BarGroup, ...]
    series: tuple[str, ...]  # names, for the legend; one: no legend
    ticks: tuple[Tick, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point of a line with its interval; y counts downwards."""

    x: float
    y: float
    low: float | None
    high: float | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Points joined in order."""

    series: int
    points: tuple[Point, ...]

    @property
    def segments(self) -> tuple[tuple[Point, Point], ...]:
        """Return the pairs of points to be joined."""
        return tuple(zip(self.points, self.points[1:], strict=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One plotting area. `others`: what the neighbours show, drawn faintly behind."""

    title: str
    lines: tuple[Line, ...]
    others: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Lines over a common axis, in one panel or several of one scale."""

    kind: ClassVar[str] = "curves"
    panels: tuple[Panel, ...]
    series: tuple[str, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    x_title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatCell:
    """One cell of a heat map. `share` None: nothing there."""

    text: str
    share: float | None  # 0..1, how deep its colour is
    note: str = ""
    faint: bool = False

    @property
    def deep(self) -> bool:
        """Return whether dark text would drown in its colour."""
        return self.share is not None and self.share > 0.55


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """Numbers in cells whose colour deepens with them."""

    kind: ClassVar[str] = "heat"
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[HeatCell, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of time on a lane."""

    left: float
    width: float
    text: str
    series: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """What one thing did over time; spans that overlap lie in rows below each other."""

    label: str
    rows: tuple[tuple[Span, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lanes:
    """A Gantt chart."""

    kind: ClassVar[str] = "lanes"
    lanes: tuple[Lane, ...]
    ticks: tuple[Tick, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A rate over time against its limit. Paths are in a box of 1000 x 100, stretched to fit."""

    label: str
    text: str
    most: str  # the busiest sample's path
    mean: str  # the mean's, closed to an area
    limit_y: float | None  # percent; None: no limit
    top: str  # what the upper edge stands for


@dataclass(frozen=True, slots=True, kw_only=True)
class Loads:
    """Rates over one axis of time."""

    kind: ClassVar[str] = "loads"
    loads: tuple[Load, ...]
    ticks: tuple[Tick, ...]
    limit_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart with its words: what it shows, said in a sentence or two, and the same data as a table."""

    title: str
    says: str
    body: Bars | Curves | HeatMap | Lanes | Loads
    table: ReportTable | None  # None: the table beside it holds the same
    note: str = ""


def percent_ticks(step: int = 25) -> tuple[Tick, ...]:
    """Return marks at 0 to 100 %."""
    return tuple(Tick(at=float(at), text=f"{at} %") for at in range(0, 101, step))


def round_up(value: float) -> float:
    """Return the least of 1, 2, 5 times a power of ten that is not below `value`: where an axis may end."""
    if value <= 0:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= value * (1 - 1e-9))


def time_ticks(seconds: float, most: int = 5) -> tuple[Tick, ...]:
    """Return at most `most` + 1 marks from 0 to `seconds`, at round times."""
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)
    step = next((one for one in steps if seconds / one <= most), 86400.0 * ceil(seconds / 86400 / most))
    return tuple(
        Tick(at=100 * n * step / seconds, text=_clock_text(n * step)) for n in range(int(seconds / step + 1e-9) + 1)
    )


def _clock_text(seconds: float) -> str:
    if seconds == 0:
        return "0"
    if seconds < 60:
        return f"{seconds:g} s"
    if seconds < 3600:
        return f"{seconds / 60:g} min"
    return f"{seconds / 3600:g} h"


def packed(spans: Iterable[Span]) -> tuple[tuple[Span, ...], ...]:
    """Return the spans in as few rows as they need, none overlapping another in its row."""
    rows: list[list[Span]] = []
    for span in sorted(spans, key=lambda one: one.left):
        for row in rows:
            if row[-1].left + row[-1].width <= span.left + 1e-6:
                row.append(span)
                break
        else:
            rows.append([span])
    return tuple(map(tuple, rows))


def heat_shares(counts: Sequence[Sequence[int]]) -> list[list[float]]:
    """Return each count as a share of the highest."""
    top = max((count for row in counts for count in row), default=0) or 1
    return [[count / top for count in row] for row in counts]


def short_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names without a first word they all share, underscores as spaces."""
    words = [name.split("_") for name in names]
    if len({word[0] for word in words}) == 1 and all(len(word) > 1 for word in words) and len(words) > 1:
        words = [word[1:] for word in words]
    return tuple(" ".join(word) for word in words)
