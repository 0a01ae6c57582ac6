"""Runs to compare, written down as letters: one a task, in the order of the tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import orjson
from recorded_run import AT, FAILED_SCORE, FULL_SCORE, invalid, planned, scored

from benchrunner.records import Condition, Level, RunEnded, RunStatus, StoreEvent, Task, Trial, TrialStatus
from benchrunner.reporting.pairing import Pair
from benchrunner.store.answers import ResultRow
from benchrunner.store.writer import RunWriter

PARTIAL_SCORE = replace(FULL_SCORE, level=Level.PARTIAL, final_score=0.5, error_class="sequence_order")
SCORES = {"F": FULL_SCORE, "P": PARTIAL_SCORE, "x": FAILED_SCORE}
"""F full, P partial, x failure; besides these, i invalid and . not ended."""
TURNS = [{"turn": 1, "sent": [{"role": "user", "content": "Say it"}], "reply": "said", "finish_reason": "stop"}]


def keep(
    database: Path,
    run_id: str,
    results: Mapping[tuple[str, str], str],
    *,
    backend: str = "simulated",
    seed: int = 7,
    phase: str = "5.2",
    config: Mapping[str, object] | None = None,
    bodies: Sequence[str] = (),
    status: RunStatus | None = RunStatus.COMPLETE,
    started_at: str = AT,
) -> None:
    """Record a run with these results per (model, prompt). `bodies`: of the tasks, where not the usual ones."""
    models = tuple(dict.fromkeys(model for model, _ in results))
    plan = planned(run_id, models=models, per_model=0, backend=backend, started_at=started_at)
    count = max(map(len, results.values()))
    tasks = tuple(
        Task(
            task_id=f"t{n}",
            task_type="basic_task",
            difficulty="easy",
            body=bodies[n] if n < len(bodies) else f'{{"n": {n}}}',
        )
        for n in range(count)
    )
    trials: list[Trial] = []
    ends: list[StoreEvent] = []
    for (model, prompt), letters in results.items():
        for task, letter in zip(tasks, letters, strict=False):
            trial = Trial(
                trial_id=f"{run_id}/{len(trials):05d}",
                shard_id=f"{run_id}/s{models.index(model):02d}",
                condition=Condition(model=model, prompt=prompt, difficulty="easy", tool_success_rate=0.8),
                task_id=task.task_id,
                task_type=task.task_type,
                instance=0,
                seed=len(trials),
            )
            trials.append(trial)
            if letter == "i":
                ends.append(invalid(trial))
            elif letter in SCORES:
                ends.append(scored(trial, replace(SCORES[letter], transcript=orjson.dumps(TURNS).decode())))
    if status is not None:
        ends.append(RunEnded(run_id=run_id, status=status, ended_at=AT))
    run = replace(plan.run, seed=seed, phase=phase, config=orjson.dumps(config or {}).decode())
    with RunWriter.open(database) as writer:
        writer.add_run(run, plan.shards, tuple(trials), tasks)
        writer.record(ends)


@cache
def pair(a: bool, b: bool, *, task: int = 0, prompt: str = "optimal") -> Pair:
    """Return the pair of a trial that succeeded as told."""
    return Pair(a=_result(a, task, prompt), b=_result(b, task, prompt))


@cache
def _result(success: bool, task: int, prompt: str) -> ResultRow:
    return ResultRow(
        trial_id=f"r/{task}",
        model="m",
        prompt=prompt,
        difficulty="easy",
        tool_success_rate=0.8,
        task_id=f"t{task}",
        task_type="basic_task",
        instance=0,
        status=TrialStatus.SCORED,
        level=Level.PARTIAL if success else Level.FAILURE,
        final_score=0.5,
        error_class="",
    )
