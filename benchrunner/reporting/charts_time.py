"""What a run's keys did over time: which shard each served, and how many requests it carried against its limit."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from benchrunner.reporting.charts import SERIES, Chart, Lane, Lanes, Load, Loads, Span, packed, time_ticks
from benchrunner.reporting.report import RunReport
from benchrunner.reporting.report_figures import limit_text, marked
from benchrunner.reporting.report_tables import ReportTable
from benchrunner.reporting.wording import count_text, duration_text
from benchrunner.store.answers import KeyTraffic, LeaseRow
from benchrunner.store.overlaps import peak

BUCKETS = 160
"""Columns of a rate over time: what a phone can show."""

MOST_SAMPLES = 40_000  # of all columns of one key together
MOST_SPANS = 400  # of a chart; beyond that, leases of one model that follow each other on a key are drawn as one
US = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hold:
    """A lease in seconds from the chart's beginning."""

    key_id: str
    model: str
    start_s: float
    end_s: float


def lease_chart(run: RunReport) -> Chart | None:
    """Return who held which key when, None where nobody did."""
    if not run.leases:
        return None
    began = min(_epoch_s(lease.granted_at) for lease in run.leases)
    ends = [_epoch_s(lease.released_at) for lease in run.leases if lease.released_at is not None]
    last = [one.sent_us[-1] / US for one in run.traffic if one.sent_us]
    if run.summary.ended_at:
        last = [_epoch_s(run.summary.ended_at)]
    over = max([*ends, *last, began + 0.1])
    holds = _joined([_hold(lease, began, over) for lease in run.leases], gap_s=(over - began) / MOST_SPANS)
    places = {model.model: place for place, model in enumerate(run.models)}
    length_s = over - began
    by_key: defaultdict[str, list[Span]] = defaultdict(list)
    for hold in holds:
        by_key[hold.key_id].append(
            Span(
                left=100 * hold.start_s / length_s,
                width=100 * max(hold.end_s - hold.start_s, 0.0) / length_s,
                text=hold.model,
                series=places.get(hold.model, 0) % SERIES,
            )
        )
    held: defaultdict[str, float] = defaultdict(float)
    for hold in holds:
        held[hold.key_id] += hold.end_s - hold.start_s
    said = ", ".join(f"{key} {len(by_key[key])} leases for {duration_text(held[key])} in all" for key in sorted(by_key))
    return Chart(
        title=marked("Shards over keys", run),
        says=f"Which key served which model when, over {duration_text(length_s)}: {said}.",
        body=Lanes(
            lanes=tuple(Lane(label=key, rows=packed(by_key[key])) for key in sorted(by_key)), ticks=time_ticks(length_s)
        ),
        table=_lease_table(run, began, over),
    )


def _hold(lease: LeaseRow, began: float, over: float) -> _Hold:
    end = over if lease.released_at is None else _epoch_s(lease.released_at)
    return _Hold(
        key_id=lease.key_id, model=lease.model, start_s=_epoch_s(lease.granted_at) - began, end_s=end - began
    )


def _joined(holds: Sequence[_Hold], *, gap_s: float) -> list[_Hold]:
    """Return the holds, those of a model that follow each other on a key joined where they are too many to draw."""
    if len(holds) <= MOST_SPANS:
        return list(holds)
    found: dict[tuple[str, str], list[_Hold]] = {}
    for hold in sorted(holds, key=lambda one: one.start_s):
        mine = found.setdefault((hold.key_id, hold.model), [])
        if mine and hold.start_s - mine[-1].end_s <= gap_s:
            before = mine.pop()
            end_s = max(before.end_s, hold.end_s)
            hold = _Hold(key_id=hold.key_id, model=hold.model, start_s=before.start_s, end_s=end_s)
        mine.append(hold)
    return [hold for mine in found.values() for hold in mine]


def _lease_table(run: RunReport, began: float, over: float) -> ReportTable:
    totals: dict[tuple[str, str], list[float]] = {}
    for lease in run.leases:
        hold = _hold(lease, began, over)
        mine = totals.setdefault((hold.key_id, hold.model), [0, hold.start_s, hold.end_s, 0.0])
        mine[0] += 1
        mine[1], mine[2] = min(mine[1], hold.start_s), max(mine[2], hold.end_s)
        mine[3] += hold.end_s - hold.start_s
    rows = tuple(
        (key, model, f"{leases:.0f}", duration_text(first), duration_text(end), duration_text(held))
        for (key, model), (leases, first, end, held) in sorted(totals.items())
    )
    return ReportTable(
        title=marked("Leases by key and model", run),
        columns=("key", "model", "leases", "from", "to", "held"),
        sections=(("", rows),),
        words=2,
    )


def load_chart(run: RunReport) -> Chart | None:
    """Return how many requests each key carried over time against its limit, None where none were sent."""
    answered = [one for one in run.traffic if one.sent_us]
    if not answered:
        return None
    first_us = min(one.sent_us[0] for one in answered)
    length_us = max(max(one.sent_us[-1] for one in answered) - first_us, US // 10)
    loads = tuple(_load(run, one, first_us, length_us) for one in answered)
    rows = tuple(
        (
            one.row.key_id,
            f"{one.row.calls}",
            f"{one.row.calls / (length_us / US):.1f}/s",
            f"{one.row.peak_1s}",
            limit_text(run.plan.request_limit(one.row.key_id)),
        )
        for one in answered
    )
    said = "; ".join(
        f"{key} {sent} requests, mean {mean}, most in any second {most}, limit {limit}"
        for key, sent, mean, most, limit in rows
    )
    return Chart(
        title=marked("Requests per key against its limit", run),
        says=f"Requests over {duration_text(length_us / US)}: {said}.",
        body=Loads(loads=loads, ticks=time_ticks(length_us / US), limit_name="limit"),
        table=ReportTable(
            title=marked("Requests per key", run),
            columns=("key", "requests", "mean", "most in any 1 s", "request limit"),
            sections=(("", rows),),
        ),
        note="Line: the most in any window that ends in the column; area: the mean. Dashed: the limit.",
    )  # fmt: skip


def _load(run: RunReport, traffic: KeyTraffic, first_us: int, length_us: int) -> Load:
    limit = run.plan.request_limit(traffic.row.key_id)
    window_s = limit.per_s if limit is not None else 1.0
    most, mean = sample_load(traffic.sent_us, first_us, length_us, round(window_s * US))
    exact = traffic.row.peak_1s if window_s == 1.0 else peak(traffic.sent_us, round(window_s * US))
    top = max([limit.amount if limit is not None else 0, *most, 1]) * 1.06
    window = f"any {window_s:g} s"
    against = f"limit {limit_text(limit)}" if limit is not None else "no limit on requests"
    return Load(
        label=traffic.row.key_id,
        text=f"{count_text(traffic.row.calls)} requests; at most {exact} in {window}, {against}",
        most=_path(most, top, closed=False),
        mean=_path(mean, top, closed=True),
        limit_y=None if limit is None else 100 - 100 * limit.amount / top,
        top=f"{top:.0f}",
    )


def sample_load(
    sent_us: Sequence[int], first_us: int, length_us: int, window_us: int
) -> tuple[list[int], list[float]]:
    """Return per column the most requests in any looked-at window that ends in it, and their mean.

    `sent_us` in order. Windows are looked at once a column at least, and as often as they are long if that is not too
    often; so none shows more than the exact peak.
    """
    column_us = length_us / BUCKETS
    looks = max(1, min(ceil(column_us / window_us), MOST_SAMPLES // BUCKETS))
    most, mean = [], []
    for column in range(BUCKETS):
        seen = []
        for look in range(1, looks + 1):
            end_us = first_us + round(column_us * (column + look / looks))
            seen.append(bisect_right(sent_us, end_us) - bisect_right(sent_us, end_us - window_us))
        most.append(max(seen))
        mean.append(sum(seen) / looks)
    return most, mean


def _path(values: Sequence[float], top: float, *, closed: bool) -> str:
    """Return values as steps in a box of 1000 x 100."""
    step = 1000 / len(values)
    parts = ["M0,100"] if closed else [f"M0,{100 - 100 * values[0] / top:.1f}"]
    for place, value in enumerate(values):
        parts.append(f"V{100 - 100 * value / top:.1f}H{step * (place + 1):g}")
    return "".join(parts) + ("V100Z" if closed else "")


def _epoch_s(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()
