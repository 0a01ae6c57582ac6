"""Two runs held against each other, trial by trial: where one did better, and whether chance would explain it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final, TypeVar

from benchrunner.errors import UsageError
from benchrunner.records import Level, RunStatus
from benchrunner.reporting.pairing import LeftOut, Pair, pair_trials, paired_models
from benchrunner.reporting.statistics import RESAMPLES, bootstrap_ratio_interval, holm, sign_flip_exact
from benchrunner.reporting.stored_config import StoredConfig, read_stored_config
from benchrunner.store.answers import ResultRow, RunRow
from benchrunner.store.queries import RunReader

ValueT = TypeVar("ValueT")

SIGNIFICANT: Final = 0.05
"""Up to this adjusted p-value a difference is called significant."""
SAME_MODELS: Final = "same models"
DIFFERENT_MODELS: Final = "different models"
_SCORE_SHARE: Final = 5
"""A mean of scores costs a draw a task and resample, a rate a few a resample: scores get this part of the resamples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRow:
    """The pairs of one model (or two) under one condition, or all of them together. Differences are B minus A.

    Success is full or partial. Intervals are 95 %, over tasks, not adjusted for their number; None: of one task.
    """

    model_a: str  # "" in the overall row if several are in it, as are the next three; None for the rate
    model_b: str
    prompt: str
    difficulty: str
    tool_success_rate: float | None
    pairs: int
    tasks: int
    rate_a: float
    rate_b: float
    difference: float
    low: float | None
    high: float | None
    a_only: int  # pairs in which A alone succeeded: lost
    b_only: int  # ... B alone: won
    p_value: float  # exact; McNemar's where each task is one pair, else over tasks
    p_adjusted: float  # Holm's, over all rows and the overall one
    score_a: float  # mean final_score
    score_b: float
    score_difference: float
    score_low: float | None
    score_high: float | None
    significant: bool
    regression: bool  # significant, and B is the lower


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A pair in which one side alone succeeded."""

    lost: bool  # A succeeded and B did not; else the other way round
    task_id: str
    task_type: str
    instance: int
    model_a: str
    model_b: str
    prompt: str
    difficulty: str
    tool_success_rate: float
    level_a: Level
    level_b: Level
    error_a: str  # error class; "" for a full success
    error_b: str
    trial_a: str  # trial ids: `benchrunner show RUN --trial ID` prints the transcript
    trial_b: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What came of holding run B against run A, the base."""

    run_a: str
    run_b: str
    phase_a: str
    phase_b: str
    backend: str  # of both
    simulated: bool
    by: str  # SAME_MODELS | DIFFERENT_MODELS
    rows: tuple[ComparedRow, ...]  # in the order A was planned
    overall: ComparedRow
    flips: tuple[Flip, ...]  # lost ones first, else in the order A was planned
    left_out: LeftOut
    notes: tuple[str, ...]  # what else differs between the runs and may explain something
    resamples: int
    regressed: bool  # any row, or all together


def compare_runs(
    reader_a: RunReader,
    run_a: str | None,
    reader_b: RunReader,
    run_b: str | None,
    *,
    rng: Random,
    resamples: int = RESAMPLES,
    pairing: Sequence[tuple[str, str]] = (),
) -> Comparison:
    """Return run B (the new one) held against run A (the base), over the trials that were scored in both.

    Runs are named as `RunReader.find_run` takes them. Models are paired by name, or with each other where each
    run has one; `pairing` names the models of A and B to hold against each other instead. Invalid trials are left out
    and counted. Raises StoreError for a run that is not there, UsageError where nothing can be paired.
    """
    base, new = reader_a.find_run(run_a), reader_b.find_run(run_b)
    if base.backend != new.backend:
        raise UsageError(
            f"run {base.run_id} is {base.backend} and run {new.run_id} is {new.backend}: "
            "a simulation and a measurement are not held against each other"
        )
    same_run = base.run_id == new.run_id and reader_a.path.absolute() == reader_b.path.absolute()
    if same_run and not any(one != other for one, other in pairing):
        raise UsageError(f"both are run {base.run_id}; name two runs, or two of its models with --pair")
    results_a, results_b = tuple(reader_a.results(base.run_id)), tuple(reader_b.results(new.run_id))
    models_a, models_b = _models(results_a), _models(results_b)
    models = paired_models(models_a, models_b, pairing)
    pairs, left_out = pair_trials(
        results_a, results_b, reader_a.tasks(base.run_id), reader_b.tasks(new.run_id), models, every=not pairing
    )
    config_a, config_b = _config(reader_a, base), _config(reader_b, new)
    notes = _notes(base, new, config_a, config_b)
    if not pairs:
        raise UsageError(
            f"no trial is scored in both {base.run_id} and {new.run_id} ({'; '.join((left_out.sentence(), *notes))})"
        )
    if not pairing:
        notes += _alone("A", models_a, [model for model, _ in models])
        notes += _alone("B", models_b, [model for _, model in models])
    rows, overall = compare_pairs(pairs, rng=rng, resamples=resamples)
    return Comparison(
        run_a=base.run_id,
        run_b=new.run_id,
        phase_a=base.phase,
        phase_b=new.phase,
        backend=base.backend,
        simulated=base.backend == "simulated",
        by=SAME_MODELS if all(one == other for one, other in models) else DIFFERENT_MODELS,
        rows=rows,
        overall=overall,
        flips=_flips(pairs),
        left_out=left_out,
        notes=notes,
        resamples=resamples,
        regressed=overall.regression or any(row.regression for row in rows),
    )


def compare_pairs(
    pairs: Sequence[Pair], *, rng: Random, resamples: int = RESAMPLES
) -> tuple[tuple[ComparedRow, ...], ComparedRow]:
    """Return the rows of one pair or more, in the order of their first, and the row of all; p-values adjusted. Pure."""
    grouped: defaultdict[_Cell, list[Pair]] = defaultdict(list)
    for pair in pairs:
        grouped[_cell(pair)].append(pair)
    rows = [_row(members, rng, resamples) for members in grouped.values()]
    if len(rows) == 1:
        # One condition is all there is: one question, asked once.
        (row,) = _judged(rows)
        return (row,), row
    *judged, overall = _judged([*rows, _row(pairs, rng, resamples)])
    return tuple(judged), overall


_Cell = tuple[str, str, str, str, float]


def _cell(pair: Pair) -> _Cell:
    return pair.a.model, pair.b.model, pair.a.prompt, pair.a.difficulty, pair.a.tool_success_rate


def _row(pairs: Sequence[Pair], rng: Random, resamples: int) -> ComparedRow:
    """Return the row of these pairs, its p-value not adjusted yet."""
    by_task: defaultdict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        # Without the difficulty: one task worded in several is still one task.
        by_task[pair.a.task_id].append(pair)
    gains = [(sum(pair.success_b - pair.success_a for pair in one), len(one)) for one in by_task.values()]
    score_gains = [(sum(b - a for a, b in map(_scores, one)), len(one)) for one in by_task.values()]
    # Rounded: two scores that are the same but for the last bit are one kind of result.
    score_gains = [(round(gain, 9), members) for gain, members in score_gains]
    low, high = bootstrap_ratio_interval(gains, rng, resamples) or (None, None)
    fewer = max(1, resamples // _SCORE_SHARE)
    score_low, score_high = bootstrap_ratio_interval(score_gains, rng, fewer) or (None, None)
    a_only = sum(pair.success_a > pair.success_b for pair in pairs)
    b_only = sum(pair.success_b > pair.success_a for pair in pairs)
    both = sum(pair.success_a and pair.success_b for pair in pairs)
    score_a, score_b = (sum(side) / len(pairs) for side in zip(*map(_scores, pairs), strict=True))
    p_value = sign_flip_exact([gain for gain, _ in gains])
    models_a, models_b, prompts, difficulties, rates = map(set, zip(*map(_cell, pairs), strict=True))
    return ComparedRow(
        model_a=_only(models_a, ""),
        model_b=_only(models_b, ""),
        prompt=_only(prompts, ""),
        difficulty=_only(difficulties, ""),
        tool_success_rate=_only(rates, None),
        pairs=len(pairs),
        tasks=len(by_task),
        rate_a=(both + a_only) / len(pairs),
        rate_b=(both + b_only) / len(pairs),
        difference=(b_only - a_only) / len(pairs),
        low=low,
        high=high,
        a_only=a_only,
        b_only=b_only,
        p_value=p_value,
        p_adjusted=p_value,
        score_a=score_a,
        score_b=score_b,
        score_difference=score_b - score_a,
        score_low=score_low,
        score_high=score_high,
        significant=False,
        regression=False,
    )


def _judged(rows: Sequence[ComparedRow]) -> list[ComparedRow]:
    """Return the rows with their p-values adjusted for each other, and what follows."""
    return [
        replace(
            row,
            p_adjusted=adjusted,
            significant=adjusted <= SIGNIFICANT,
            regression=adjusted <= SIGNIFICANT and row.difference < 0,
        )
        for row, adjusted in zip(rows, holm([row.p_value for row in rows]), strict=True)
    ]


def _only(values: set[ValueT], several: ValueT) -> ValueT:
    return next(iter(values)) if len(values) == 1 else several


def _scores(pair: Pair) -> tuple[float, float]:
    assert pair.a.final_score is not None, "a scored trial has a score"
    assert pair.b.final_score is not None, "a scored trial has a score"
    return pair.a.final_score, pair.b.final_score


def _flips(pairs: Iterable[Pair]) -> tuple[Flip, ...]:
    flips = [_flip(pair) for pair in pairs if pair.success_a != pair.success_b]
    return tuple(sorted(flips, key=lambda flip: not flip.lost))


def _flip(pair: Pair) -> Flip:
    a, b = pair.a, pair.b
    assert a.level is not None, "a pair is scored on both sides"
    assert b.level is not None, "a pair is scored on both sides"
    return Flip(
        lost=pair.success_a,
        task_id=a.task_id,
        task_type=a.task_type,
        instance=a.instance,
        model_a=a.model,
        model_b=b.model,
        prompt=a.prompt,
        difficulty=a.difficulty,
        tool_success_rate=a.tool_success_rate,
        level_a=a.level,
        level_b=b.level,
        error_a=a.error_class,
        error_b=b.error_class,
        trial_a=a.trial_id,
        trial_b=b.trial_id,
    )


def _models(results: Iterable[ResultRow]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.model for one in results))


def _config(reader: RunReader, run: RunRow) -> StoredConfig:
    return read_stored_config(reader.run_record(run.run_id).config, f"run {run.run_id}")


def _notes(a: RunRow, b: RunRow, config_a: StoredConfig, config_b: StoredConfig) -> tuple[str, ...]:
    """Return what differs between the runs besides what is compared, one clause each."""
    protocols_a, protocols_b = ({one.name: one.protocol for one in config.models} for config in (config_a, config_b))
    otherwise = [name for name, protocol in protocols_a.items() if protocols_b.get(name, protocol) != protocol]
    suite_a, suite_b = (f"{config.suite} {config.suite_version}".strip() for config in (config_a, config_b))
    notes = (
        *((run.status is RunStatus.RUNNING, f"{side} has not ended") for side, run in (("A", a), ("B", b))),
        (a.phase != b.phase, f"A is of phase {a.phase}, B of {b.phase}"),
        (a.seed != b.seed, f"the seeds differ ({a.seed}, {b.seed}): tasks may, and the luck of tools does"),
        (suite_a != suite_b, f"A was asked and scored by suite {suite_a}, B by {suite_b}"),
        (bool(otherwise), f"{', '.join(otherwise)} called tools by another protocol"),
    )
    return tuple(said for holds, said in notes if holds)


def _alone(side: str, models: Sequence[str], paired: Sequence[str]) -> tuple[str, ...]:
    left = [model for model in models if model not in paired]
    return (f"in {side} alone: {', '.join(left)}",) if left else ()
