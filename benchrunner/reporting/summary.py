"""What a run came to, put together from the store alone, so that it reads the same during the run and years later."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from benchrunner.records import RunStatus
from benchrunner.reporting.statistics import extreme_rates, wilson_interval
from benchrunner.reporting.stored_config import read_stored_config
from benchrunner.store.answers import ConditionRow, KeyRow, LossRow, Traffic
from benchrunner.store.queries import RunReader

Cell = tuple[str, str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionSummary:
    """One model under one condition. Rates are over the scored trials alone, and None when there are none."""

    model: str
    prompt: str
    difficulty: str
    tool_success_rate: float
    planned: int
    scored: int
    invalid: int
    full: int
    partial: int
    failure: int
    success_rate: float | None
    success_low: float | None  # 95 % interval of success_rate
    success_high: float | None
    success_worst: float | None  # if every trial not scored had failed ...
    success_best: float | None  # ... or succeeded
    weighted_success_score: float | None
    final_score: float | None
    turns: float | None
    coverage: float  # scored / planned
    low_coverage: bool  # below the run's floor: shown, not ranked
    rank: int | None  # by success rate among the models under the same condition; equals share one


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A run: header, conditions, keys, and what infrastructure took from it."""

    run_id: str
    phase: str
    policy: str
    engine: str
    backend: str
    simulated: bool
    seed: int
    version: str
    status: RunStatus
    killed: bool = False  # `status` reads running, but nobody drives the run
    started_at: str
    ended_at: str | None
    wall_s: float | None  # command's start to its end
    makespan_s: float | None  # first request to last reply
    lower_bound_s: float | None
    forecast_s: float | None = None  # what the makespan was expected to be, before the first call
    coverage_floor: float
    planned: int
    scored: int
    invalid: int
    calls: int
    refused: int
    unanswered: int
    conditions: tuple[ConditionSummary, ...]
    keys: tuple[KeyRow, ...]
    losses: tuple[LossRow, ...]


def summarise(
    reader: RunReader,
    reference: str | None = None,
    *,
    lower_bound_s: float | None = None,
    traffic: Traffic | None = None,
) -> RunSummary:
    """Return the summary of the run that `reference` names (None: the newest). Raises StoreError.

    `lower_bound_s`: what planning says no schedule could beat, shown beside the makespan when given. `traffic`: the
    run's, where it has been read already: it costs as much as all the rest.
    """
    run = reader.find_run(reference, count_calls=False)
    floor = read_stored_config(reader.run_record(run.run_id).config, f"run {run.run_id}").coverage_floor
    traffic = reader.traffic(run.run_id) if traffic is None else traffic
    keys = tuple(key.row for key in traffic.keys)
    return RunSummary(
        run_id=run.run_id,
        phase=run.phase,
        policy=run.policy,
        engine=run.engine,
        backend=run.backend,
        simulated=run.backend == "simulated",
        seed=run.seed,
        version=run.version,
        status=run.status,
        killed=run.killed,
        started_at=run.started_at,
        ended_at=run.ended_at,
        wall_s=_seconds_between(run.started_at, run.ended_at),
        makespan_s=traffic.makespan_s,
        lower_bound_s=lower_bound_s,
        forecast_s=run.forecast_s,
        coverage_floor=floor,
        planned=run.planned,
        scored=run.scored,
        invalid=run.invalid,
        calls=sum(key.calls for key in keys),
        refused=sum(key.refused for key in keys),
        unanswered=sum(key.unanswered for key in keys),
        conditions=_ranked([_condition(row, floor) for row in reader.condition_rows(run.run_id)]),
        keys=keys,
        losses=reader.losses(run.run_id),
    )


def _condition(row: ConditionRow, floor: float) -> ConditionSummary:
    successes = row.full + row.partial
    low, high = wilson_interval(successes, row.scored) or (None, None)
    worst, best = extreme_rates(successes, row.scored, row.planned) or (None, None)
    return ConditionSummary(
        model=row.model,
        prompt=row.prompt,
        difficulty=row.difficulty,
        tool_success_rate=row.tool_success_rate,
        planned=row.planned,
        scored=row.scored,
        invalid=row.invalid,
        full=row.full,
        partial=row.partial,
        failure=row.failure,
        success_rate=row.success_rate,
        success_low=low,
        success_high=high,
        success_worst=worst,
        success_best=best,
        weighted_success_score=row.weighted_success_score,
        final_score=row.final_score,
        turns=row.turns,
        coverage=row.scored / row.planned,
        low_coverage=row.scored / row.planned < floor,
        rank=None,
    )


def _ranked(conditions: Sequence[ConditionSummary]) -> tuple[ConditionSummary, ...]:
    """Return the conditions with ranks. What infrastructure took too much of stands beside the others, not among them.
    """
    rates: defaultdict[Cell, list[float]] = defaultdict(list)
    for one in conditions:
        if one.success_rate is not None and not one.low_coverage:
            rates[cell_of(one)].append(one.success_rate)
    return tuple(
        one
        if one.success_rate is None or one.low_coverage
        else replace(one, rank=1 + sum(rate > one.success_rate for rate in rates[cell_of(one)]))
        for one in conditions
    )


def cell_of(condition: ConditionSummary) -> Cell:
    """Return what models are compared under: prompt, difficulty, tool success rate."""
    return condition.prompt, condition.difficulty, condition.tool_success_rate


def _seconds_between(start: str, end: str | None) -> float | None:
    if end is None:
        return None
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
