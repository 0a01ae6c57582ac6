"""What a trial is expected to be: how many calls, how long each takes, how many tokens it carries. Pure.

A trial's shape is the known one where it is known (an earlier rehearsal of this very trial), else that of a trial drawn
from its likes, else one drawn from what is expected of its model. Whole trials are drawn, never means: when a run ends
is decided by its longest trials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, log
from random import Random

from benchrunner.planning.sharding import PhasePlan
from benchrunner.records import Trial
from benchrunner.suites.base import Suite

CALLS_SIGMA = 0.3
"""Spread of a trial's number of calls (log-normal), where nobody knows better: about that of the field's dialogues."""

LATENCY_SIGMA = 0.3
"""Spread of one call's time (log-normal), where nobody knows better: 95th percentile at 1.6 times the median."""

LIBRARY_SIZE = 64
"""Shapes drawn for trials of one kind; more trials than that share them. Keeps a plan of 100,000 calls cheap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialShape:
    """One trial as a forecast sees it. `latencies_s`: one per call, in order; at least one."""

    latencies_s: tuple[float, ...]
    tokens_per_call: float
    busy_s: float = field(init=False)  # all latencies together

    def __post_init__(self) -> None:
        """Add the latencies up once: the coarse forecast asks for nothing else."""
        object.__setattr__(self, "busy_s", sum(self.latencies_s))

    @property
    def calls(self) -> int:
        """Return how many calls it makes."""
        return len(self.latencies_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What is expected of a model. `calls_of`: by task type, how many calls each earlier trial took; {}: unknown."""

    latency_p50_s: float
    latency_sigma: float
    tokens_per_call: float
    calls_of: Mapping[str, Sequence[int]] = field(default_factory=dict)


def latency_sigma(p50_s: float, p95_s: float) -> float:
    """Return the spread of the log-normal distribution with these percentiles; 0.0 where they tell none."""
    return log(p95_s / p50_s) / 1.6449 if 0.0 < p50_s < p95_s else 0.0


def shape_trials(
    plan: PhasePlan,
    suite: Suite,
    expected: Mapping[str, Expectation],
    *,
    known: Mapping[str, TrialShape],
    rng: Random,
) -> dict[str, TrialShape]:
    """Return a shape for every trial of the plan. `expected` is by model; `known` by trial id, it may be partial."""
    likes = _Likes(plan.trials, known)
    libraries: dict[tuple[str, str, str], list[TrialShape]] = {}
    kinds: dict[tuple[str, str, str], int] = {}
    for trial in plan.trials:
        kinds[_kind(trial)] = kinds.get(_kind(trial), 0) + 1
    shapes: dict[str, TrialShape] = {}
    for trial in plan.trials:
        shape = known.get(trial.trial_id)
        if shape is None:
            drawn_from = likes.of(trial)
            if drawn_from is None:
                kind = _kind(trial)
                drawn_from = libraries.get(kind)
                if drawn_from is None:
                    count = min(LIBRARY_SIZE, kinds[kind])
                    drawn_from = libraries[kind] = [
                        _draw(trial, suite, expected[trial.condition.model], rng) for _ in range(count)
                    ]
            shape = drawn_from[int(rng.random() * len(drawn_from))]
        shapes[trial.trial_id] = shape
    return shapes


def _kind(trial: Trial) -> tuple[str, str, str]:
    return trial.condition.model, trial.condition.prompt, trial.task_type


class _Likes:
    """The known shapes, by ever looser likeness to a trial."""

    def __init__(self, trials: Sequence[Trial], known: Mapping[str, TrialShape]) -> None:
        self._by: dict[tuple[str, ...], list[TrialShape]] = {}
        if known:
            for trial in trials:
                if (shape := known.get(trial.trial_id)) is not None:
                    for likeness in _likenesses(trial):
                        self._by.setdefault(likeness, []).append(shape)

    def of(self, trial: Trial) -> list[TrialShape] | None:
        for likeness in _likenesses(trial):
            # A handful tells the spread of its kind; two trials only tell themselves.
            if len(found := self._by.get(likeness, ())) >= 4:
                return list(found) if isinstance(found, tuple) else found
        return self._by.get((trial.condition.model,))


def _likenesses(trial: Trial) -> tuple[tuple[str, ...], ...]:
    one = trial.condition
    return (
        (one.model, one.prompt, one.difficulty, trial.task_type),
        (one.model, one.prompt, trial.task_type),
        (one.model, one.prompt),
        (one.model,),
    )


def _draw(trial: Trial, suite: Suite, expected: Expectation, rng: Random) -> TrialShape:
    counts = expected.calls_of.get(trial.task_type)
    if counts:
        calls = counts[int(rng.random() * len(counts))]
    else:
        mean = suite.expected_calls(prompt=trial.condition.prompt, task_type=trial.task_type)
        drawn = mean * exp(CALLS_SIGMA * rng.gauss(0.0, 1.0) - CALLS_SIGMA**2 / 2)
        calls = max(1, min(suite.max_turns, round(drawn)))
    return TrialShape(
        latencies_s=tuple(
            expected.latency_p50_s * exp(expected.latency_sigma * rng.gauss(0.0, 1.0)) for _ in range(calls)
        ),
        tokens_per_call=expected.tokens_per_call,
    )
