"""What the calls of a run say of its keys, in as few passes over them as can be: there may be a million."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from benchrunner.errors import StoreError
from benchrunner.records import SENT, Outcome
from benchrunner.store.answers import Ask, CallCount, KeyRow, KeyTraffic, Traffic
from benchrunner.store.overlaps import instants_us, peak

SECOND_US: Final = 1_000_000

# Who may have been sent with: asking `calls` itself costs another pass over all of them.
_LIKELY_KEYS = "SELECT key_id FROM shards WHERE run_id = :run UNION SELECT key_id FROM leases WHERE run_id = :run"
_CERTAIN_KEYS = "SELECT DISTINCT key_id FROM calls WHERE run_id = :run"

# One pass for everything: over a million calls each pass costs a third of a second. Each key has its own filter, as
# grouping would sort the calls first, and all its instants in one text: a million rows of one value each take four
# times as long to come over.
_TRAFFIC = """
SELECT count(*), sum(outcome <> 'ok'), {span} {keys} FROM calls WHERE run_id = :run
"""
_SPAN = "max(julianday(sent_at) * 86400.0 + latency_s) - julianday(min(sent_at)) * 86400.0"
# Without those never answered: a row that a kill left at `sent` says when its call was to leave, not that it did.
_KEY = f""",
group_concat(sent_at, ' ') FILTER (WHERE key_id = :{{key}} AND outcome <> '{SENT}'),
avg(wait_window_s) FILTER (WHERE key_id = :{{key}})
"""
_BEFORE_KEYS, _PER_KEY = 3, 2

# Few: the rest ended well, and is not sorted for that.
_FAULTS = """
SELECT key_id, model, outcome, count(*) AS calls FROM calls
WHERE run_id = :run AND outcome <> 'ok' GROUP BY key_id, model, outcome ORDER BY key_id, model, outcome
"""


def read_traffic(ask: Ask, run_id: str) -> Traffic:
    """Return the run's keys with their rows, faults and the instants of sending of answered calls, and its makespan.

    Raises StoreError when keys keep appearing while they are read.
    """
    found = _traffic(ask, run_id, _LIKELY_KEYS) or _traffic(ask, run_id, _CERTAIN_KEYS)
    if found is None:
        raise StoreError(f"the calls of run {run_id} were changed while they were being read; try again")
    return found


def read_makespan_s(ask: Ask, run_id: str) -> float | None:
    """Return seconds from the first request to the last reply, None before there is one."""
    (row,) = ask(f"SELECT {_SPAN} AS span_s FROM calls WHERE run_id = :run", {"run": run_id})
    return _makespan_s(row["span_s"])


def _traffic(ask: Ask, run_id: str, whose: str) -> Traffic | None:
    """Return the traffic of the keys that a query names, None when other keys had some too."""
    key_ids = sorted(row["key_id"] for row in ask(whose, {"run": run_id}))
    names = [f"k{place}" for place in range(len(key_ids))]
    sql = _TRAFFIC.format(span=_SPAN, keys="".join(_KEY.format(key=name) for name in names))
    (row,) = ask(sql, {"run": run_id, **dict(zip(names, key_ids, strict=True))})
    calls, faulty, span_s = row[:_BEFORE_KEYS]
    faults: defaultdict[str, list[CallCount]] = defaultdict(list)
    for fault in ask(_FAULTS, {"run": run_id}) if faulty else ():
        faults[fault["key_id"]].append(CallCount(**dict(fault)))
    keys = []
    for place, key_id in enumerate(key_ids):
        texts, wait_s = row[_BEFORE_KEYS + _PER_KEY * place : _BEFORE_KEYS + _PER_KEY * (place + 1)]
        if wait_s is not None:  # it has calls
            sent_us = instants_us(texts) if texts else ()
            keys.append(_key_traffic(key_id, sent_us, wait_s, faults[key_id]))
    if sum(key.row.calls for key in keys) != calls:
        return None
    return Traffic(keys=tuple(keys), makespan_s=_makespan_s(span_s))


def _key_traffic(key_id: str, sent_us: Sequence[int], wait_s: float, faults: Sequence[CallCount]) -> KeyTraffic:
    def ended(outcome: str) -> int:
        return sum(one.calls for one in faults if one.outcome == outcome)

    unanswered = ended(SENT)
    row = KeyRow(
        key_id=key_id,
        calls=len(sent_us) + unanswered,
        refused=ended(Outcome.RATE_LIMITED),
        unanswered=unanswered,
        peak_1s=peak(sent_us, SECOND_US),
        mean_wait_window_s=wait_s,
    )
    return KeyTraffic(row=row, faults=tuple(faults), sent_us=sent_us)


def _makespan_s(span_s: float | None) -> float | None:
    # A Julian day in a double resolves 40 microseconds; more digits than that would be made up.
    return None if span_s is None else round(span_s, 4)
