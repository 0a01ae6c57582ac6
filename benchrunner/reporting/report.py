"""What a report says of its runs, as plain values: read once from the store, then shown as a page or as Markdown."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from random import Random

from benchrunner import __version__
from benchrunner.records import KeyEvent, Level
from benchrunner.reporting.condition_names import condition_names, shared_words
from benchrunner.reporting.report_bound import StoredPlan, read_stored_plan
from benchrunner.reporting.statistics import bootstrap_rate_interval, wilson_interval
from benchrunner.reporting.summary import Cell, ConditionSummary, RunSummary, cell_of, summarise
from benchrunner.store.answers import CallCount, KeyTraffic, LeaseRow
from benchrunner.store.queries import RunReader
from benchrunner.suites.workflow.levels import legacy_level

RESAMPLES = 4_000
"""Of each bootstrap here: enough for whole percents, and a report on 130 conditions stays a matter of a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionResult:
    """One model under one condition, with what a summary has no time for."""

    summary: ConditionSummary
    name: str  # of the condition: what differs from the run's others; "" where there is only one
    over_tasks: tuple[float, float] | None  # 95 % bootstrap interval of the success rate over tasks
    full_rate: float | None
    legacy_rate: float | None  # success by the field's older score-based rule; None: no such rule, or nothing scored


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelResult:
    """One model over all conditions of a run."""

    model: str
    scored: int
    success_rate: float | None
    interval: tuple[float, float] | None  # Wilson
    low_coverage: bool  # in any condition


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """One run."""

    summary: RunSummary
    plan: StoredPlan
    shared: str  # what all its conditions have in common
    conditions: tuple[ConditionResult, ...]
    models: tuple[ModelResult, ...]
    model_errors: dict[tuple[str, str], int]  # (model, error class) -> scored trials that are no full success
    faulty_calls: tuple[CallCount, ...]
    key_events: tuple[KeyEvent, ...]
    leases: tuple[LeaseRow, ...]
    traffic: tuple[KeyTraffic, ...]

    @property
    def name(self) -> str:
        """Return what people call the run's phase."""
        phase = self.summary.phase
        return f"{phase} {self.plan.title}" if self.plan.title else phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Some runs, in the order asked for."""

    runs: tuple[RunReport, ...]
    version: str  # of the program that wrote it

    @property
    def simulated(self) -> tuple[str, ...]:
        """Return the ids of the runs whose results the embedded provider's models made."""
        return tuple(run.summary.run_id for run in self.runs if run.summary.simulated)


def collect_report(reader: RunReader, references: Sequence[str]) -> Report:
    """Return the report on the runs that `references` name (none: the newest run), each once. Raises StoreError."""
    run_ids = dict.fromkeys(reader.find_run_id(reference) for reference in references or ("",))
    return Report(runs=tuple(_run(reader, run_id) for run_id in run_ids), version=__version__)


def _run(reader: RunReader, run_id: str) -> RunReport:
    traffic = reader.traffic(run_id)
    summary = summarise(reader, run_id, traffic=traffic)
    plan = read_stored_plan(reader.run_record(run_id), f"run {run_id}")
    if plan.models:
        summary = replace(summary, lower_bound_s=plan.lower_bound_s(reader.shards(run_id), summary.policy))
    marks = _read_marks(reader, run_id, summary.seed, legacy=plan.suite == "workflow")
    names = condition_names(map(cell_of, summary.conditions))
    return RunReport(
        summary=summary,
        plan=plan,
        shared=shared_words(map(cell_of, summary.conditions)).removeprefix(", "),
        conditions=tuple(_condition(row, names, marks) for row in summary.conditions),
        models=_models(summary.conditions),
        model_errors=dict(marks.errors),
        faulty_calls=tuple(fault for one in traffic.keys for fault in one.faults),
        key_events=reader.key_events(run_id),
        leases=reader.lease_rows(run_id),
        traffic=traffic.keys,
    )


class _Marks:
    """Sums over the scored trials of a run, and the intervals that rest on them."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._intervals: dict[tuple[tuple[int, int], ...], tuple[float, float] | None] = {}
        self.by_task: defaultdict[tuple[str, Cell], defaultdict[str, list[int]]] = defaultdict(
            lambda: defaultdict(lambda: [0, 0])
        )
        self.legacy: Counter[tuple[str, Cell]] | None = None
        self.errors: Counter[tuple[str, str]] = Counter()

    def over_tasks(self, place: tuple[str, Cell]) -> tuple[float, float] | None:
        """Return the bootstrap interval over tasks: the same for the same results, so that it is drawn once."""
        clusters = tuple(sorted((successes, trials) for successes, trials in self.by_task[place].values()))
        if clusters not in self._intervals:
            self._intervals[clusters] = bootstrap_rate_interval(clusters, Random(self._seed), RESAMPLES)
        return self._intervals[clusters]


def _read_marks(reader: RunReader, run_id: str, seed: int, *, legacy: bool) -> _Marks:
    marks = _Marks(seed)
    old = Counter[tuple[str, Cell]]()
    for mark in reader.scored_marks(run_id):
        place = (mark.model, (mark.prompt, mark.difficulty, mark.tool_success_rate))
        counts = marks.by_task[place][mark.task_id]
        counts[0] += mark.level != Level.FAILURE
        counts[1] += 1
        if mark.level != Level.FULL:
            marks.errors[mark.model, mark.error_class or "unnamed"] += 1
        if legacy:
            old[place] += legacy_level(mark.workflow_score, mark.phase2_score) is not Level.FAILURE
    marks.legacy = old if legacy else None
    return marks


def _condition(row: ConditionSummary, names: dict[Cell, str], marks: _Marks) -> ConditionResult:
    place = (row.model, cell_of(row))
    return ConditionResult(
        summary=row,
        name=names[cell_of(row)],
        over_tasks=marks.over_tasks(place),
        full_rate=row.full / row.scored if row.scored else None,
        legacy_rate=None if marks.legacy is None or not row.scored else marks.legacy[place] / row.scored,
    )


def _models(conditions: Sequence[ConditionSummary]) -> tuple[ModelResult, ...]:
    found = []
    for model in dict.fromkeys(row.model for row in conditions):
        mine = [row for row in conditions if row.model == model]
        scored, successes = sum(row.scored for row in mine), sum(row.full + row.partial for row in mine)
        found.append(
            ModelResult(
                model=model,
                scored=scored,
                success_rate=successes / scored if scored else None,
                interval=wilson_interval(successes, scored),
                low_coverage=any(row.low_coverage for row in mine),
            )
        )
    return tuple(found)


def best_and_worst(models: Sequence[ModelResult]) -> tuple[ModelResult, ModelResult] | None:
    """Return the models with the highest and the lowest success rate, None where fewer than two may be compared."""
    ranked = sorted(
        (one for one in models if one.success_rate is not None and not one.low_coverage),
        key=lambda one: -(one.success_rate if one.success_rate is not None else -inf),
    )
    return (ranked[0], ranked[-1]) if len(ranked) > 1 else None
