"""The runs of a night: what earlier nights left, then tonight's phases, each held against the night before."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from random import Random

import orjson

from benchrunner.cli.nightly_plan import NightPlan
from benchrunner.cli.resuming import differences, request_for
from benchrunner.cli.running import EventsOnly
from benchrunner.clock import SystemClock
from benchrunner.config.snapshot import config_json
from benchrunner.engine.launch import RunRequest, RunResult, launch
from benchrunner.engine.signals import DEADLINE, StopSignals
from benchrunner.errors import BenchrunnerError
from benchrunner.records import Phase, RunStatus
from benchrunner.reporting.comparison import compare_runs
from benchrunner.reporting.nightly_report import RunEnd, RunReport, drops_of, trouble_of
from benchrunner.reporting.plain import PlainProgress
from benchrunner.store.nights import NightReader
from benchrunner.store.queries import RunReader

FIGURES_EVERY_S = 60.0


class NightRuns:
    """Makes the runs of one night, one after the other, and keeps what is to be told of them."""

    def __init__(
        self, plan: NightPlan, signals: StopSignals, clock: SystemClock, log: PlainProgress, *, quiet: bool
    ) -> None:
        """`signals` are installed by the caller; once one has come, what is left is reported as not run."""
        self._plan, self._signals, self._clock, self._log, self._quiet = plan, signals, clock, log, quiet
        self._db = plan.config.run.db
        self.reports: list[RunReport] = []
        self.notes: list[str] = []
        self.resumed: tuple[str, ...] = ()  # runs of earlier nights that were gone on with
        self.compared_with: dict[str, str] = {}  # by run, the earlier run it was held against

    def make(self, night_id: str) -> Iterator[RunReport]:
        """Yield a report as each run ends: the rest of earlier nights first, then tonight's phases under `night_id`."""
        for phase in self._plan.phases:
            request = self._rest_of(phase)
            if request is not None:
                self.resumed = (*self.resumed, request.resume_of)
                yield self._run(request)
        argv = shlex.join(sys.argv[1:])
        for phase in self._plan.phases:
            yield self._run(
                RunRequest(
                    config=self._plan.config,
                    phase=phase,
                    argv=argv,
                    batch_id=night_id,
                    wait_s=self._plan.wait_s,
                    engine=self._plan.wishes.engine,
                    address=self._plan.wishes.address,
                )
            )

    def note(self, text: str) -> None:
        """Keep a sentence for the summary, and log it."""
        self.notes.append(text)
        self._log.line(text)

    def _rest_of(self, phase: Phase) -> RunRequest | None:
        """Return what goes on with the last night's run of the phase, or None; where it cannot, a note says why."""
        with NightReader.open(self._db) as nights:
            last = nights.newest_run(phase.name)
        if last is None or last.status is RunStatus.COMPLETE:
            return None
        if last.config_hash != self._plan.hashes[phase.name]:
            changed = self._changed(phase, last.run_id)
            self.note(f"{last.run_id} stays unfinished, its configuration is another: {changed}")
            return None
        try:
            request, told = request_for(
                last.run_id,
                self._db,
                self._plan.config_path,
                tasks=self._plan.wishes.tasks,
                force=False,
                wait_s=self._plan.wait_s,
            )
        except BenchrunnerError as error:
            self.note(f"{last.run_id} stays unfinished: {error}")
            return None
        self._log.line(told)
        return request

    def _changed(self, phase: Phase, run_id: str) -> str:
        """Return the first differences between a run's configuration and tonight's."""
        with RunReader.open(self._db) as reader:
            was = orjson.loads(reader.run_record(run_id).config)
        now = orjson.loads(config_json(self._plan.config, phase, suite_version=self._plan.suite_version))
        found = list(differences(was, now))
        return "; ".join(found[:2]) + (f"; and {len(found) - 2} more" if len(found) > 2 else "")

    def _run(self, request: RunRequest) -> RunReport:
        report = self._launched(request)
        if report.end in (RunEnd.COMPLETE, RunEnd.INCOMPLETE):
            report = self._compared(request, report)
        self.reports.append(report)
        if report.run_id:
            rate = "" if report.success_rate is None else f", success {100 * report.success_rate:.1f} %"
            self._log.line(f"{report.run_id} ended: {report.end}, {report.scored} of {report.planned} scored{rate}")
        for sentence in trouble_of(report):
            self._log.line(sentence)
        return report

    def _launched(self, request: RunRequest) -> RunReport:
        resumed, name = bool(request.resume_of), request.phase.name
        if self._signals.count:
            return RunReport(phase=name, run_id="", resumed=resumed, end=RunEnd.NOT_RUN, error=self._stopped_by())
        plain = PlainProgress(sys.stderr, self._clock, every_s=FIGURES_EVERY_S)
        view = EventsOnly(sys.stderr) if self._quiet else plain
        began_s = self._clock.now_s()
        try:
            result = launch(request, view, self._clock, self._signals)
            return self._told(request, result, self._clock.now_s() - began_s)
        except BenchrunnerError as error:
            # One phase that cannot be run must not cost the night the others.
            return RunReport(
                phase=name, run_id=request.resume_of, resumed=resumed, end=RunEnd.FAILED, error=str(error)
            )

    def _told(self, request: RunRequest, result: RunResult, took_s: float) -> RunReport:
        with RunReader.open(self._db) as reader:
            run = reader.find_run(result.run_id)
            conditions = reader.condition_rows(result.run_id)
            losses: dict[str, int] = {}
            for row in reader.losses(result.run_id):
                losses[row.cause] = losses.get(row.cause, 0) + row.trials
        successes = sum(row.full + row.partial for row in conditions)
        return RunReport(
            phase=run.phase,
            run_id=run.run_id,
            resumed=bool(request.resume_of),
            end=self._how(result),
            error=self._stopped_by() if self._signals.count else "",
            planned=run.planned,
            scored=run.scored,
            invalid=run.invalid,
            losses=tuple(sorted(losses.items(), key=lambda item: (-item[1], item[0]))),
            success_rate=successes / run.scored if run.scored else None,
            took_s=took_s,
        )

    def _how(self, result: RunResult) -> RunEnd:
        if result.status is RunStatus.COMPLETE:
            return RunEnd.COMPLETE
        if result.status is RunStatus.INTERRUPTED:
            return RunEnd.DEADLINE if stop_signal(self._signals) is None else RunEnd.STOPPED
        if result.held_elsewhere:
            return RunEnd.HELD
        return RunEnd.NO_KEY if result.no_usable_key else RunEnd.INCOMPLETE

    def _compared(self, request: RunRequest, report: RunReport) -> RunReport:
        """Return the report with what came of holding the run against the last complete one of a night."""
        try:
            with NightReader.open(self._db) as nights:
                before = nights.baseline(report.run_id)
                other = nights.baseline(report.run_id, same_config=False)
            if before is None:
                if other is not None:
                    changed = self._changed(request.phase, other.run_id)
                    self.note(f"{report.run_id} is compared with none: since {other.run_id}, {changed}")
                return report
            with RunReader.open(self._db) as reader:
                rng = Random(self._plan.config.run.seed)
                found = compare_runs(reader, before.run_id, reader, report.run_id, rng=rng)
        except BenchrunnerError as error:
            # The run itself stands, compared or not.
            self.note(f"{report.run_id} is compared with none: {error}")
            return report
        drops = drops_of(found)
        self.compared_with[report.run_id] = before.run_id
        if not drops:
            points = 100 * found.overall.difference
            self._log.line(f"{report.run_id} against {before.run_id}: no significant drop ({points:+.1f} points)")
        return replace(
            report,
            compared_with=before.run_id,
            success_before=found.overall.rate_a,
            pairs=found.overall.pairs,
            drops=drops,
        )

    def _stopped_by(self) -> str:
        number = stop_signal(self._signals)
        return "the deadline" if number is None else signal_name(number)


def stop_signal(signals: StopSignals) -> int | None:
    """Return the SIGINT or SIGTERM that came first; None if none did, or the deadline before it."""
    return None if signals.first == DEADLINE else signals.first


def signal_name(number: int) -> str:
    """Return how people call a signal: `SIGTERM`."""
    return signal.Signals(number).name
