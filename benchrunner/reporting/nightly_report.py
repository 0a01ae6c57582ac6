"""What a night came to: a record for each run it made or should have made, and the one verdict on all of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from benchrunner.reporting.comparison import ComparedRow, Comparison
from benchrunner.store.nights import NightStatus


class RunEnd(StrEnum):
    """How one of the night's runs ended."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"  # trials invalid or given up
    NO_KEY = "no key"  # no usable key left
    HELD = "keys held"  # what is left waits for keys that other runs hold
    DEADLINE = "deadline"  # drained at the night's deadline
    STOPPED = "stopped"  # drained by SIGINT or SIGTERM
    FAILED = "failed"  # it could not begin, or could not go on
    NOT_RUN = "not run"  # its turn did not come


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """A condition, or all of a run together, that did significantly worse than on the night before."""

    model: str  # "" : all conditions together
    prompt: str
    difficulty: str
    tool_success_rate: float | None
    pairs: int
    rate_before: float
    rate_now: float
    low: float | None  # 95 % interval of the difference
    high: float | None
    p_adjusted: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """One run of the night. Rates are over the scored trials; None: there are none."""

    phase: str
    run_id: str  # "": it never began
    resumed: bool  # an earlier night began it
    end: RunEnd
    error: str = ""  # what failed, or who stopped it
    planned: int = 0
    scored: int = 0
    invalid: int = 0
    losses: tuple[tuple[str, int], ...] = ()  # invalid trials by cause, the worst first
    success_rate: float | None = None
    took_s: float | None = None
    compared_with: str = ""  # the run of an earlier night; "": with none
    success_before: float | None = None  # of the pairs that were compared
    pairs: int = 0
    drops: tuple[Drop, ...] = ()

    @property
    def left(self) -> int:
        """Return how many trials neither ended scored nor invalid."""
        return self.planned - self.scored - self.invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class NightReport:
    """A night."""

    night_id: str
    started_at: str
    ended_at: str
    status: NightStatus
    exit_code: int
    simulated: bool
    runs: tuple[RunReport, ...]
    trouble: str = ""  # what kept the whole night from running
    notes: tuple[str, ...] = ()


def night_verdict(runs: Sequence[RunReport], stop_signal: int | None) -> tuple[NightStatus, int]:
    """Return the night's status and exit code. `stop_signal`: the SIGINT or SIGTERM that came, None if none did.

    What stands first goes before what follows: a signal (130, 143), no usable key (3), keys held by other runs (75),
    anything else left undone (1), a drop (4), complete (0). So 4 says that everything was scored.
    """
    ends = {run.end for run in runs}
    if stop_signal is not None and ends & {RunEnd.STOPPED, RunEnd.NOT_RUN}:
        return NightStatus.INTERRUPTED, 128 + stop_signal
    if RunEnd.NO_KEY in ends:
        return NightStatus.NO_KEY, 3
    if RunEnd.HELD in ends:
        return NightStatus.INCOMPLETE, 75
    if RunEnd.FAILED in ends:
        return NightStatus.FAILED, 1
    if ends - {RunEnd.COMPLETE}:
        return NightStatus.INCOMPLETE, 1
    if any(run.drops for run in runs):
        return NightStatus.REGRESSED, 4
    return NightStatus.COMPLETE, 0


def drops_of(comparison: Comparison) -> tuple[Drop, ...]:
    """Return what did significantly worse, the deepest fall first; all together only where no condition alone did."""
    found = [row for row in comparison.rows if row.regression]
    if not found and comparison.overall.regression:
        found = [comparison.overall]
    return tuple(_drop(row, overall=row is comparison.overall) for row in sorted(found, key=lambda row: row.difference))


def _drop(row: ComparedRow, *, overall: bool) -> Drop:
    return Drop(
        model="" if overall else row.model_a,
        prompt=row.prompt,
        difficulty=row.difficulty,
        tool_success_rate=row.tool_success_rate,
        pairs=row.pairs,
        rate_before=row.rate_a,
        rate_now=row.rate_b,
        low=row.low,
        high=row.high,
        p_adjusted=row.p_adjusted,
    )


def trouble_of(run: RunReport) -> tuple[str, ...]:
    """Return what went wrong with the run, a sentence each; () when nothing did."""
    name = f"{run.phase} (resumed)" if run.resumed else run.phase
    said = [] if run.end is RunEnd.COMPLETE else [f"{name} {_ended(run)}"]
    return (*said, *(f"{name} fell: {_fall(drop)}" for drop in run.drops))


def _ended(run: RunReport) -> str:
    if run.end is RunEnd.FAILED:
        return f"failed: {run.error}"
    if run.end is RunEnd.NOT_RUN:
        return f"was not run: {run.error} came first"
    how = {
        RunEnd.NO_KEY: "has no usable key left",
        RunEnd.HELD: "waited too long for keys that other runs hold",
        RunEnd.DEADLINE: "was stopped by the deadline",
        RunEnd.STOPPED: f"was stopped by {run.error}",
    }.get(run.end, "is incomplete")
    lost = ", ".join(f"{cause} {count}" for cause, count in run.losses)
    invalid = f", {run.invalid} invalid" + (f" ({lost})" if lost else "") if run.invalid else ""
    return f"{how}: {run.scored} of {run.planned} scored{invalid}" + (f", {run.left} not run" if run.left else "")


def _fall(drop: Drop) -> str:
    rate = "" if drop.tool_success_rate is None else f"{drop.tool_success_rate:g}"
    where = ", ".join(part for part in (drop.model, drop.prompt, drop.difficulty, rate) if part)
    points = 100 * (drop.rate_now - drop.rate_before)
    known = drop.low is not None and drop.high is not None
    interval = f", 95 % {100 * (drop.low or 0.0):+.1f} to {100 * (drop.high or 0.0):+.1f}" if known else ""
    return (
        f"{where if drop.model else 'all together'}: {100 * drop.rate_before:.1f} % -> {100 * drop.rate_now:.1f} % "
        f"({points:+.1f} points{interval}, p {drop.p_adjusted:.2g}, {drop.pairs} pairs)"
    )
