"""What earlier runs say about a model: how long a call takes, how many calls and tokens a trial. For planning."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchrunner.store.connection import connect_reader, store_errors

RUNS_BACK = 20
"""How many runs to look at, newest first."""
TRIALS_PER_MODEL = 200
"""How many scored trials of a model are enough: the median of 200 trials is good to a few percent."""

# Through scored trials, not straight through calls: the index on trials finds one model's newest at once, while the
# tail of a million calls may hold nothing but the model that ran last.
_SAMPLE = """
WITH recent AS (
    SELECT id, task_type FROM trials WHERE run_id = ? AND model = ? AND status = 'scored' ORDER BY rowid DESC LIMIT ?
)
SELECT calls.trial_id, recent.task_type, calls.latency_s, calls.prompt_tokens, calls.completion_tokens
FROM recent JOIN calls ON calls.trial_id = recent.id
WHERE calls.outcome = 'ok' AND calls.latency_s IS NOT NULL
"""


class _Call(NamedTuple):
    trial_id: str
    task_type: str
    latency_s: float
    prompt_tokens: int | None
    completion_tokens: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelHistory:
    """Medians over the ok calls of a model's newest scored trials. Tokens are None when no reply told them."""

    model: str
    trials: int  # how many trials the medians rest on
    calls: int  # and how many calls
    latency_s: float
    calls_per_trial: float
    prompt_tokens: float | None
    completion_tokens: float | None


def model_history(path: str | Path, models: Iterable[str], *, backend: str) -> dict[str, ModelHistory]:
    """Return what is known of each model on `backend`; a model without a scored trial is not in it.

    Simulated latencies never plan a live run, nor the other way round. Reads at most RUNS_BACK runs and
    TRIALS_PER_MODEL trials of each model, however large the database. A file that does not exist yet knows nothing.
    Raises StoreError for one that cannot be read.
    """
    return {model: _summarise(model, sample) for model, sample in _samples(Path(path), models, backend).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSample:
    """What a model's newest scored trials were like. `calls_of`: the calls of each of them, by task type."""

    calls_of: dict[str, tuple[int, ...]]
    latency_p50_s: float
    latency_p95_s: float
    tokens_per_call: float | None  # prompt and reply, mean; None when no reply told them


def model_samples(path: str | Path, models: Iterable[str], *, backend: str) -> dict[str, ModelSample]:
    """Return, as `model_history` does, what is known of each model: the spread of its trials, not their medians."""
    return {model: _describe(sample) for model, sample in _samples(Path(path), models, backend).items()}


def _samples(path: Path, models: Iterable[str], backend: str) -> dict[str, list[_Call]]:
    if not path.exists() or path.stat().st_size == 0:
        return {}
    known: dict[str, list[_Call]] = {}
    with closing(connect_reader(path)) as connection, store_errors(path, "read"):
        run_ids = [
            row["id"]
            for row in connection.execute(
                "SELECT id FROM runs WHERE backend = ? ORDER BY started_at DESC, rowid DESC LIMIT ?",
                (backend, RUNS_BACK),
            )
        ]
        for model in models:
            samples: list[_Call] = []
            trials: set[str] = set()
            for run_id in run_ids:
                found = connection.execute(_SAMPLE, (run_id, model, TRIALS_PER_MODEL - len(trials))).fetchall()
                samples += [_Call(*row) for row in found]
                trials.update(row["trial_id"] for row in found)
                if len(trials) >= TRIALS_PER_MODEL:
                    break
            if samples:
                known[model] = samples
    return known


def _describe(samples: list[_Call]) -> ModelSample:
    per_trial = Counter((one.trial_id, one.task_type) for one in samples)
    calls_of: defaultdict[str, list[int]] = defaultdict(list)
    for (_, task_type), calls in per_trial.items():
        calls_of[task_type].append(calls)
    latencies_s = sorted(one.latency_s for one in samples)
    tokens = [one.prompt_tokens + (one.completion_tokens or 0) for one in samples if one.prompt_tokens is not None]
    return ModelSample(
        calls_of={task_type: tuple(calls) for task_type, calls in calls_of.items()},
        latency_p50_s=median(latencies_s),
        latency_p95_s=latencies_s[int(0.95 * (len(latencies_s) - 1))],
        tokens_per_call=sum(tokens) / len(tokens) if tokens else None,
    )


def _summarise(model: str, samples: list[_Call]) -> ModelHistory:
    per_trial = Counter(one.trial_id for one in samples)
    return ModelHistory(
        model=model,
        trials=len(per_trial),
        calls=len(samples),
        latency_s=median(one.latency_s for one in samples),
        calls_per_trial=median(per_trial.values()),
        prompt_tokens=_median_of_known(one.prompt_tokens for one in samples),
        completion_tokens=_median_of_known(one.completion_tokens for one in samples),
    )


def _median_of_known(counts: Iterable[int | None]) -> float | None:
    known = [count for count in counts if count is not None]
    return median(known) if known else None
