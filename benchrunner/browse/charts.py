"""The geometry of the charts: rows in, bars out, as shares of the picture's width and height. Pure.

Words are set by the page, not drawn: an SVG that is scaled down to a phone would take its words with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

MOST_BARS: Final = 240
"""Of one strip; a longer run is shown by the highest second of every so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuccessBar:
    """One condition's success. All shares are percent; `rate` None: no trial is scored yet."""

    model: str
    condition: str
    rate: float | None
    worst: float  # if every trial not scored had failed ...
    best: float  # ... or succeeded
    full: float  # of the scored, how many were full successes
    scored: int
    planned: int

    @property
    def words(self) -> str:
        """Return what the bar shows, for whoever cannot see it."""
        if self.rate is None:
            return f"{self.model}, {self.condition}: none of {self.planned} trials scored"
        counted = f"{self.scored} scored trials, {self.planned} planned"
        return f"{self.model}, {self.condition}: {self.rate:.0f} % of {counted}"


def success_bars(rows: Sequence[Mapping[str, object]]) -> tuple[SuccessBar, ...]:
    """Return one bar per row of `pages.CONDITIONS`, in their order."""
    return tuple(map(_success_bar, rows))


def _success_bar(row: Mapping[str, object]) -> SuccessBar:
    planned, scored, full, partial = (_count(row[name]) for name in ("planned", "scored", "full", "partial"))
    won = full + partial
    return SuccessBar(
        model=str(row["model"]),
        condition=f"{row['prompt']}, {row['difficulty']}, tools {_number(row['tool_success_rate']):g}",
        rate=100 * won / scored if scored else None,
        worst=100 * won / planned,
        best=100 * (won + planned - scored) / planned,
        full=100 * full / scored if scored else 0.0,
        scored=scored,
        planned=planned,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBar:
    """The highest second of a stretch of time; `x` and `width` are percent of the strip, heights of its top."""

    x: float
    width: float
    height: float
    refused_height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadStrip:
    """One key's requests per clock second over a run. All strips of a chart share their time and their top."""

    key_id: str
    bars: tuple[LoadBar, ...]
    requests: int
    refused: int
    most: int  # in any clock second
    limit_per_s: float | None  # None: the key has no limit on requests
    limit_height: float | None  # None: there is none, or it lies above the strip's top

    @property
    def words(self) -> str:
        """Return what the strip shows, for whoever cannot see it."""
        limit = f", its limit is {self.limit_per_s:g} a second" if self.limit_per_s is not None else ""
        return (
            f"{self.key_id}: {self.requests} requests, {self.refused} refused, "
            f"at most {self.most} in a clock second{limit}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadChart:
    """Requests per clock second, a strip per key. `bar_s`: how many seconds one bar stands for."""

    strips: tuple[LoadStrip, ...]
    begins: str
    ends: str
    bar_s: int
    top: float


def load_chart(rows: Sequence[Mapping[str, object]], limits: Mapping[str, float]) -> LoadChart | None:
    """Return the chart of rows of the view key_load, None where there are none. `limits`: requests/s of keys."""
    if not rows:
        return None
    begins, ends = min(str(row["second"]) for row in rows), max(str(row["second"]) for row in rows)
    first_s = _epoch_s(begins)
    span_s = _epoch_s(ends) - first_s + 1
    bar_s = -(-span_s // MOST_BARS)
    by_key: dict[str, list[Mapping[str, object]]] = {}
    for row in rows:
        by_key.setdefault(str(row["key_id"]), []).append(row)
    highest = max(_count(row["requests"]) for row in rows)
    # A limit far above what was sent would press the bars flat; it is told in words then.
    near = [limit for key_id, limit in limits.items() if key_id in by_key and limit <= 3 * highest]
    top = float(max([highest, *near]))
    strips = tuple(_strip(key_id, held, limits.get(key_id), first_s, span_s, bar_s, top)
                   for key_id, held in sorted(by_key.items()))  # fmt: skip
    return LoadChart(strips=strips, begins=begins, ends=ends, bar_s=bar_s, top=top)


def _strip(
    key_id: str,
    rows: Sequence[Mapping[str, object]],
    limit: float | None,
    first_s: int,
    span_s: int,
    bar_s: int,
    top: float,
) -> LoadStrip:
    tallest: dict[int, tuple[int, int]] = {}
    for row in rows:
        place = (_epoch_s(str(row["second"])) - first_s) // bar_s
        sent, refused = tallest.get(place, (0, 0))
        tallest[place] = (max(sent, _count(row["requests"])), max(refused, _count(row["refused"])))
    width = 100 * bar_s / span_s
    return LoadStrip(
        key_id=key_id,
        bars=tuple(
            LoadBar(x=place * width, width=width, height=100 * sent / top, refused_height=100 * refused / top)
            for place, (sent, refused) in sorted(tallest.items())
        ),
        requests=sum(_count(row["requests"]) for row in rows),
        refused=sum(_count(row["refused"]) for row in rows),
        most=max(_count(row["requests"]) for row in rows),
        limit_per_s=limit,
        limit_height=100 * limit / top if limit is not None and limit <= top else None,
    )


def _epoch_s(second: str) -> int:
    return int(datetime.fromisoformat(second).timestamp())


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
