"""What earlier runs say about a model: how long a call takes, how many calls and tokens a trial. For planning."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchrunner.store.connection import connect_reader, store_errors

RUNS_BACK = 20
"""How many runs to look at, newest first."""
TRIALS_PER_MODEL = 200
"""How many scored trials of a model are enough: the median of 200 trials is good to a few percent."""

# Through scored trials, not straight through calls: the index on trials finds one model's newest at once, while the
# tail of a million calls may hold nothing but the model that ran last.
_SAMPLE = """
WITH recent AS (
    SELECT id FROM trials WHERE run_id = ? AND model = ? AND status = 'scored' ORDER BY rowid DESC LIMIT ?
)
SELECT calls.trial_id, calls.latency_s, calls.prompt_tokens, calls.completion_tokens
FROM recent JOIN calls ON calls.trial_id = recent.id
WHERE calls.outcome = 'ok' AND calls.latency_s IS NOT NULL
"""


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
    path = Path(path)
    if not path.exists() or path.stat().st_size == 0:
        return {}
    known: dict[str, ModelHistory] = {}
    with closing(connect_reader(path)) as connection, store_errors(path, "read"):
        run_ids = [
            row["id"]
            for row in connection.execute(
                "SELECT id FROM runs WHERE backend = ? ORDER BY started_at DESC, rowid DESC LIMIT ?",
                (backend, RUNS_BACK),
            )
        ]
        for model in models:
            samples: list[tuple[str, float, int | None, int | None]] = []
            trials: set[str] = set()
            for run_id in run_ids:
                found = connection.execute(_SAMPLE, (run_id, model, TRIALS_PER_MODEL - len(trials))).fetchall()
                samples += [tuple(row) for row in found]
                trials.update(row["trial_id"] for row in found)
                if len(trials) >= TRIALS_PER_MODEL:
                    break
            if samples:
                known[model] = _summarise(model, samples)
    return known


def _summarise(model: str, samples: list[tuple[str, float, int | None, int | None]]) -> ModelHistory:
    per_trial: defaultdict[str, int] = defaultdict(int)
    for trial_id, *_ in samples:
        per_trial[trial_id] += 1
    return ModelHistory(
        model=model,
        trials=len(per_trial),
        calls=len(samples),
        latency_s=median(latency_s for _, latency_s, _, _ in samples),
        calls_per_trial=median(per_trial.values()),
        prompt_tokens=_median_of_known(prompt for _, _, prompt, _ in samples),
        completion_tokens=_median_of_known(completion for _, _, _, completion in samples),
    )


def _median_of_known(counts: Iterable[int | None]) -> float | None:
    known = [count for count in counts if count is not None]
    return median(known) if known else None
