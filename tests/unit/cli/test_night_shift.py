"""A night from its lock to its row, over a real database, with runs that end as the test says."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchrunner.cli import nightly, nightly_runs
from benchrunner.cli.nightly_plan import NightPlan, plan_night
from benchrunner.cli.running import Wishes
from benchrunner.clock import SystemClock
from benchrunner.config.snapshot import config_hash, config_json
from benchrunner.engine.launch import RunRequest, RunResult, new_run_id
from benchrunner.engine.signals import StopSignals
from benchrunner.errors import SimulatorError, StoreError
from benchrunner.records import RunEnded, RunRecord, RunStatus
from benchrunner.reporting.nightly_report import NightReport, RunEnd
from benchrunner.store.nights import Night, NightReader, NightStatus, night_lock_path, record_night
from benchrunner.store.ownership import FileLock
from benchrunner.store.writer import RunWriter

ROOT = Path(__file__).parents[3]
SAME = RunResult(
    run_id="",
    status=RunStatus.COMPLETE,
    no_usable_key=False,
    held_elsewhere=False,
    signal=None,
    first_call_mono_s=None,
    last_reply_mono_s=None,
    lower_bound_s=0.0,
)


class Runs:
    """Stands for the engine: each phase's run ends as it is told to, and stands in the database like a real one."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.ends: dict[str, RunResult | Exception] = {}
        self.requests: list[RunRequest] = []

    def launch(self, request: RunRequest, view: object, clock: SystemClock, signals: StopSignals) -> RunResult:
        self.requests.append(request)
        end = self.ends.get(request.phase.name, SAME)
        if isinstance(end, Exception):
            raise end
        at = clock.utc()
        run_id = new_run_id(request.phase.name, at)
        record = RunRecord(
            run_id=run_id,
            batch_id=request.batch_id,
            phase=request.phase.name,
            policy=request.phase.policy,
            engine="local",
            backend="simulated",
            seed=request.config.run.seed,
            config_hash=config_hash(request.config, request.phase, suite_version=self.version),
            config=config_json(request.config, request.phase, suite_version=self.version),
            version="0",
            argv="",
            started_at=at,
        )
        with RunWriter.open(request.config.run.db) as writer:
            writer.add_run(record, (), (), ())
            writer.record([RunEnded(run_id=run_id, status=end.status, ended_at=at)])
        return replace(end, run_id=run_id)


@pytest.fixture
def plan(tmp_path: Path) -> NightPlan:
    """Return a night of two small phases over a database that is not there yet."""
    config = tmp_path / "phases.toml"
    config.write_text((ROOT / "phases.toml").read_text(encoding="utf-8"), encoding="utf-8")
    wishes = Wishes(instances=1, models=("qwen2.5-3b-instruct",))
    return plan_night(("5.1", "5.2"), wishes, config_path=config, deadline_s=0.0, wait_s=0.0)


@pytest.fixture
def runs(plan: NightPlan, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Put runs that end as told in the engine's place."""
    made = Runs(plan.suite_version)
    monkeypatch.setattr(nightly_runs, "launch", made.launch)
    return made


Shift = Callable[..., NightReport]


@pytest.fixture
def shift(plan: NightPlan) -> Shift:
    """Run a night; `stopped` by a signal before its first phase if so told."""

    def run(stopped: signal.Signals | None = None) -> NightReport:
        with StopSignals().installed() as signals:
            if stopped is not None:
                signal.raise_signal(stopped)
            return nightly.NightShift(plan, signals, SystemClock(), quiet=True).report()

    return run


def stored(plan: NightPlan) -> tuple[Night, ...]:
    with NightReader.open(plan.config.run.db) as nights:
        return nights.nights()


def test_a_phase_that_cannot_be_run_costs_the_night_that_phase_only(
    plan: NightPlan, runs: Runs, shift: Shift
) -> None:
    """The other phases run, the night ends with 1, and its row has the sentence."""
    # Given a phase whose provider does not start
    runs.ends["5.1"] = SimulatorError("the embedded provider did not start")
    # When the night has run
    report = shift()
    # Then
    assert [(run.phase, run.end) for run in report.runs] == [("5.1", RunEnd.FAILED), ("5.2", RunEnd.COMPLETE)]
    assert (report.status, report.exit_code) == (NightStatus.FAILED, 1)
    (night,) = stored(plan)
    assert (night.status, night.exit_code) == (NightStatus.FAILED, 1)
    assert night.reason == "5.1 failed: the embedded provider did not start"


def test_a_night_that_may_not_wait_says_so(plan: NightPlan, runs: Runs, shift: Shift) -> None:
    """No wait is told as none, not as a wait of no time that ran out."""
    # Given another night under way
    path = night_lock_path(plan.config.run.db)
    other = FileLock.take(path, wait=False)
    assert other is not None
    # When this one begins, with a wait of 0
    report = shift()
    other.release()
    # Then
    assert (report.status, report.exit_code) == (NightStatus.SKIPPED, 75)
    assert report.trouble.endswith(" was under way, and --wait is 0")


@pytest.mark.parametrize(
    ("end", "told", "code"),
    [
        (replace(SAME, status=RunStatus.INCOMPLETE), RunEnd.INCOMPLETE, 1),
        (replace(SAME, status=RunStatus.INCOMPLETE, no_usable_key=True), RunEnd.NO_KEY, 3),
        (replace(SAME, status=RunStatus.INCOMPLETE, no_usable_key=True, held_elsewhere=True), RunEnd.HELD, 75),
    ],
)
def test_how_a_run_ended_decides_how_the_night_did(
    runs: Runs, shift: Shift, end: RunResult, told: RunEnd, code: int
) -> None:
    """Each end of a run has its word and its exit code."""
    runs.ends["5.2"] = end
    report = shift()
    assert ([run.end for run in report.runs], report.exit_code) == ([RunEnd.COMPLETE, told], code)


def test_a_signal_before_the_first_phase_leaves_all_of_them(plan: NightPlan, runs: Runs, shift: Shift) -> None:
    """Nothing is launched once a stop has been asked for."""
    report = shift(stopped=signal.SIGTERM)
    assert runs.requests == []
    assert [run.end for run in report.runs] == [RunEnd.NOT_RUN, RunEnd.NOT_RUN]
    assert (report.exit_code, stored(plan)[0].status) == (143, NightStatus.INTERRUPTED)


def test_the_rest_of_last_nights_runs_comes_before_tonights(plan: NightPlan, runs: Runs, shift: Shift) -> None:
    """What is unfinished goes on under its own id, then each phase runs anew; a run that cannot go on is told."""
    # Given a night whose first run stayed unfinished
    runs.ends["5.1"] = replace(SAME, status=RunStatus.INTERRUPTED)
    left = shift().runs[0].run_id
    # When the next night runs
    runs.requests.clear()
    runs.ends.clear()
    shift()
    # Then
    asked = [(request.phase.name, request.resume_of) for request in runs.requests]
    assert asked == [("5.1", left), ("5.1", ""), ("5.2", "")]
    assert stored(plan)[0].resumed == (left,)


def test_a_bug_leaves_a_row_that_says_so_and_no_lock(
    plan: NightPlan, runs: Runs, shift: Shift
) -> None:
    """What nobody foresaw goes on as it is, after the night's row has it: it must not read as a kill."""
    # Given an engine with a bug
    runs.ends["5.2"] = RuntimeError("nobody thought of this")
    # When the night meets it
    with pytest.raises(RuntimeError, match="nobody thought of this"):
        shift()
    # Then the row says so, and the next night has the lock
    (night,) = stored(plan)
    assert (night.status, night.exit_code) == (NightStatus.FAILED, 1)
    assert night.reason == "RuntimeError: nobody thought of this"
    lock = FileLock.take(night_lock_path(plan.config.run.db), wait=False)
    assert lock is not None
    lock.release()


def test_a_night_whose_row_cannot_be_written_still_tells_what_it_found(
    runs: Runs, shift: Shift, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The summary comes, and says that the row is missing; it is no night that went well."""

    # Given a database that takes no row at the end
    def refuse(database: Path, night: Night) -> None:
        if night.ended_at is not None:
            raise StoreError("the disk is full")
        record_night(database, night)

    monkeypatch.setattr(nightly, "record_night", refuse)
    # When the night has run
    report = shift()
    # Then
    assert (report.status, report.exit_code) == (NightStatus.FAILED, 1)
    assert report.trouble == "the night's own row could not be written: the disk is full"
    assert [run.end for run in report.runs] == [RunEnd.COMPLETE, RunEnd.COMPLETE]


def test_a_skipped_night_is_skipped_also_when_its_row_cannot_be_written(
    plan: NightPlan, shift: Shift, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit code says what happened to the night; the summary says what happened to its row."""

    # Given another night that has the lock, and a database that takes no row
    def refuse(database: Path, night: Night) -> None:
        raise StoreError("another process kept it locked for too long")

    monkeypatch.setattr(nightly, "record_night", refuse)
    lock = FileLock.take(night_lock_path(plan.config.run.db), wait=False)
    assert lock is not None
    # When a night begins
    report = shift()
    lock.release()
    # Then
    assert (report.status, report.exit_code) == (NightStatus.SKIPPED, 75)
    assert report.trouble.endswith("nor could its row be written: another process kept it locked for too long")


def test_a_run_that_nothing_pairs_with_stands_uncompared(runs: Runs, shift: Shift) -> None:
    """A comparison that cannot be made is a note; the run is as good as it was."""
    # Given two nights of runs without a single trial
    shift()
    report = shift()
    # Then the second says why nothing was compared, and ends well
    assert report.exit_code == 0
    assert [note.split(": ")[0].rpartition(" is ")[2] for note in report.notes] == ["compared with none"] * 2
