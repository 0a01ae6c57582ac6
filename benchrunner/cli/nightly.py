"""A night of `benchrunner nightly`: the lock, the rest of earlier nights, tonight's phases, each held against before.

    plan_night ─ refuses what is wrong ─> lock ─> nights row ─> the rest of last night's runs ─┐
                                                                                              ├─> launch, compare
                                                                tonight's phases, in order ───┘
    summary on stdout, exit code <─ verdict <─ nights row
"""

from __future__ import annotations

import hashlib
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click

from benchrunner.cli.last_words import whatever_stdout_takes
from benchrunner.cli.nightly_plan import NightPlan
from benchrunner.cli.nightly_runs import NightRuns, signal_name, stop_signal
from benchrunner.clock import SystemClock
from benchrunner.engine.launch import new_run_id
from benchrunner.engine.signals import StopSignals
from benchrunner.errors import StoreError
from benchrunner.reporting.nightly_report import NightReport, night_verdict, trouble_of
from benchrunner.reporting.nightly_summary import summary_text
from benchrunner.reporting.plain import PlainProgress
from benchrunner.reporting.tables import to_json
from benchrunner.reporting.wording import duration_text
from benchrunner.store.nights import Night, NightStatus, begin_night, night_lock_path, record_night
from benchrunner.store.ownership import FileLock, holder_pid

HELD_ELSEWHERE = 75
LOCK_LOOK_EVERY_S = 0.5
REASON_CHARACTERS = 2000


def run_night(plan: NightPlan, *, quiet: bool, as_json: bool) -> int:
    """Run the night, print what came of it on stdout, and return its exit code."""
    clock = SystemClock()
    with StopSignals(deadline_s=plan.deadline_s).installed() as signals:
        report = NightShift(plan, signals, clock, quiet=quiet).report()
    with whatever_stdout_takes():
        click.echo(to_json(report) if as_json else summary_text(report))
    return report.exit_code


class NightShift:
    """One night, from its lock to its row in the database. `report` once."""

    def __init__(self, plan: NightPlan, signals: StopSignals, clock: SystemClock, *, quiet: bool) -> None:
        """Take the night's plan, and its signals, which the caller has installed."""
        self._plan, self._signals, self._clock = plan, signals, clock
        self._log = PlainProgress(sys.stderr, clock)
        self._db = plan.config.run.db
        self._runs = NightRuns(plan, signals, clock, self._log, quiet=quiet)
        started_at = clock.utc()
        self._night = Night(
            night_id=new_run_id("night", started_at),
            started_at=started_at,
            phases=tuple(phase.name for phase in plan.phases),
            config_hash=hashlib.sha256("".join(plan.hashes.values()).encode()).hexdigest(),
        )

    def report(self) -> NightReport:
        """Return what the night came to, once it has. Raises StoreError where runs.db cannot be used at all."""
        path = night_lock_path(self._db)
        lock = self._take_lock(path)
        if lock is None:
            return self._not_begun(path)
        try:
            self._begin()
            self._run_all()
            return self._end()
        except BaseException as error:
            # A bug, mostly: its traceback goes where stderr goes, and the row must not read as a kill.
            with suppress(StoreError):
                record_night(self._db, self._ended(NightStatus.FAILED, 1, f"{type(error).__name__}: {error}"))
            raise
        finally:
            lock.release()

    # --- the lock ---------------------------------------------------------------------------------------------------

    def _take_lock(self, path: Path) -> FileLock | None:
        """Return the night's lock, or None when the wait ran out or a signal came first."""
        until_s = self._clock.now_s() + self._plan.wait_s
        told = False
        try:
            while (lock := FileLock.take(path, wait=False)) is None:
                left_s = until_s - self._clock.now_s()
                if left_s > 0 and not told:
                    told = True
                    self._log.line(f"another night (process {holder_pid(path)}) is under way; waiting for it")
                if left_s <= 0 or self._signals.wait_s(min(left_s, LOCK_LOOK_EVERY_S)):
                    return None
        except OSError as error:
            raise StoreError(f"cannot lock a night at {path}: {error.strerror}") from error
        return lock

    def _not_begun(self, path: Path) -> NightReport:
        stopped = stop_signal(self._signals)
        holder = f"another night (process {holder_pid(path)}) was under way"
        if stopped is not None:
            status, code, why = NightStatus.INTERRUPTED, 128 + stopped, f"{signal_name(stopped)} came while {holder}"
        else:
            limit = "the deadline came" if self._signals.count else self._waited()
            status, code, why = NightStatus.SKIPPED, HELD_ELSEWHERE, f"nothing was run: {holder}, and {limit}"
        night = self._ended(status, code, why)
        try:
            # The database takes a row also while the other night writes.
            record_night(self._db, night)
        except StoreError as error:
            why = f"{why}; nor could its row be written: {error}"
        self._log.line(f"night {night.night_id} skipped: {why}")
        return self._as_report(night, why)

    def _waited(self) -> str:
        waited_s = self._plan.wait_s
        return f"it did not end within {duration_text(waited_s)} (--wait)" if waited_s else "--wait is 0"

    # --- the night --------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        for killed in begin_night(self._db, self._night):
            found = f"; it had found: {killed.reason}" if killed.reason else ""
            self._runs.note(f"night {killed.night_id} was killed{found}")
        limit = f", at most {duration_text(self._plan.deadline_s)}" if self._plan.deadline_s else ""
        self._log.line(f"night {self._night.night_id} begins: {', '.join(self._night.phases)}{limit}")

    def _run_all(self) -> None:
        for _ in self._runs.make(self._night.night_id):
            self._night = replace(
                self._night,
                resumed=self._runs.resumed,
                compared_with=dict(self._runs.compared_with),
                reason=self._reason(),
            )
            # At once: a night that is killed later on has told what it found so far. `_end` tells if it cannot be.
            with suppress(StoreError):
                record_night(self._db, self._night)

    def _end(self) -> NightReport:
        status, code = night_verdict(self._runs.reports, stop_signal(self._signals))
        night = self._ended(status, code, self._reason())
        trouble = ""
        try:
            record_night(self._db, night)
        except StoreError as error:
            # What was found is still to be told; a night without its row is not one that went well.
            trouble = f"the night's own row could not be written: {error}"
            night = replace(night, status=NightStatus.FAILED, exit_code=code or 1)
        self._log.line(f"night {night.night_id} ended: {night.status}, exit {night.exit_code}")
        return self._as_report(night, trouble)

    def _ended(self, status: NightStatus, code: int, reason: str) -> Night:
        return replace(
            self._night,
            status=status,
            exit_code=code,
            ended_at=self._clock.utc(),
            reason=reason[:REASON_CHARACTERS],
        )

    def _as_report(self, night: Night, trouble: str) -> NightReport:
        assert night.exit_code is not None, "an ended night has an exit code"
        assert night.ended_at is not None, "an ended night has an end"
        return NightReport(
            night_id=night.night_id,
            started_at=night.started_at,
            ended_at=night.ended_at,
            status=night.status,
            exit_code=night.exit_code,
            simulated=self._plan.config.run.backend == "simulated",
            runs=tuple(self._runs.reports),
            trouble=trouble,
            notes=tuple(self._runs.notes),
        )

    def _reason(self) -> str:
        return "; ".join(sentence for run in self._runs.reports for sentence in trouble_of(run))
