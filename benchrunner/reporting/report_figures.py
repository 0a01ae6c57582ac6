"""The figures of a report, as its tables, charts and sentences write them. Pure."""

from __future__ import annotations

from collections import Counter

from benchrunner.records import Limit, RunStatus
from benchrunner.reporting.report import ConditionResult, RunReport
from benchrunner.reporting.wording import SIMULATED

NONE = "–"


def percent(rate: float | None, digits: int = 0) -> str:
    """Return a rate as people read it, a dash for None."""
    # A space that does not break: a sign alone on the next line is a riddle.
    return NONE if rate is None else f"{100 * rate:.{digits}f}\u00a0%"


def interval(bounds: tuple[float | None, float | None] | None) -> str:
    """Return an interval in percent without the sign, a dash for None."""
    if bounds is None or bounds[0] is None or bounds[1] is None:
        return NONE
    return f"{100 * bounds[0]:.0f}–{100 * bounds[1]:.0f}"


def marked(title: str, run: RunReport) -> str:
    """Return a title that cannot be taken for that of a measured result where the run was simulated."""
    return f"{title} ({SIMULATED})" if run.summary.simulated else title


def wilson(result: ConditionResult) -> str:
    """Return the condition's 95 % Wilson interval."""
    return interval((result.summary.success_low, result.summary.success_high))


def limit_text(limit: Limit | None) -> str:
    """Return a limit on requests as people say it, a dash for none."""
    return NONE if limit is None else f"{limit.amount} per {limit.per_s:g} s"


def error_classes(run: RunReport) -> tuple[str, ...]:
    """Return the model's error classes that the run has, the most frequent first."""
    totals = Counter[str]()
    for (_, kind), trials in run.model_errors.items():
        totals[kind] += trials
    return tuple(kind for kind, _ in sorted(totals.items(), key=lambda one: (-one[1], one[0])))


def bound_s(run: RunReport) -> float | None:
    """Return the lower bound, None also where the run beat it.

    Then the latencies that the bound rests on were wrong; the run was not faster than possible.
    """
    summary = run.summary
    if summary.lower_bound_s is None or summary.makespan_s is None or summary.lower_bound_s > summary.makespan_s:
        return None
    return summary.lower_bound_s


def took_s(run: RunReport) -> float | None:
    """Return the makespan of a whole run: only such a one can be held against its forecast."""
    return run.summary.makespan_s if run.summary.status is RunStatus.COMPLETE else None
