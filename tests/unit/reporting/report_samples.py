"""Runs for the tests of reports: a grid of conditions, every trial's end made by a rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import orjson
from recorded_run import FAILED_SCORE, FULL_SCORE, done, granted, invalid, released, scored, second, sent

from benchrunner.records import (
    Condition,
    KeyEvent,
    Outcome,
    RunEnded,
    RunRecord,
    RunStatus,
    Shard,
    StoreEvent,
    Task,
    Trial,
)
from benchrunner.reporting.report import Report, collect_report
from benchrunner.store.queries import RunReader
from benchrunner.store.writer import RunWriter

Ends = Callable[[Trial], str]
"""Tells how a trial ended: "full", "failure", "invalid" or "pending"."""

TASKS = 4


def config_of(
    models: Sequence[str], prompts: Sequence[str], difficulties: Sequence[str], rates: Sequence[float]
) -> str:
    """Return a stored configuration: one key with 5 requests per second, at speed 2."""
    content = {
        "run": {"coverage_floor": 0.9, "suite": "workflow"},
        "simulator": {"speed": 2.0},
        "keys": [
            {
                "key_id": "key0", "provider": "p", "env": "E", "account": "a", "slots": 1,
                "limits": [{"kind": "requests", "amount": 5, "per_s": 1.0}],
            }
        ],
        "models": [
            {"name": model, "provider": "p", "key_id": "key0", "deployments": [model], "limits": []} for model in models
        ],
        "providers": [{"name": "p", "base_url": "u"}],
        "phases": [
            {
                "name": "9.1", "title": "Sample", "models": models, "prompts": prompts, "difficulties": difficulties,
                "task_types": None, "instances": TASKS, "tool_success_rates": rates, "order": "serial",
                "shard_order": "models", "groups": [], "stagger_s": 0.0, "policy": "pool",
            }
        ],
    }  # fmt: skip
    return orjson.dumps(content).decode()


def record_grid(
    path: Path,
    run_id: str = "g1",
    *,
    models: Sequence[str] = ("m-7b", "m-3b"),
    prompts: Sequence[str] = ("optimal",),
    difficulties: Sequence[str] = ("easy",),
    rates: Sequence[float] = (0.8,),
    ends: Ends = lambda trial: "full",
    backend: str = "simulated",
) -> None:
    """Record a run of TASKS tasks under every condition of the grid, each trial ended as `ends` tells."""
    run = RunRecord(
        run_id=run_id, batch_id="b", phase="9.1", policy="pool", engine="local", backend=backend, seed=3,
        config_hash="c", config=config_of(models, prompts, difficulties, rates), version="0.1", argv="phase 9.1",
        started_at=second(0),
    )  # fmt: skip
    tasks = tuple(
        Task(task_id=f"t{n}", task_type="basic_task", difficulty=difficulty, body="{}")
        for difficulty in difficulties
        for n in range(TASKS)
    )
    trials = tuple(
        Trial(
            trial_id=f"{run_id}/{model}/{prompt}/{task.difficulty}/{rate}/{task.task_id}",
            shard_id=f"{run_id}/s{place}",
            condition=Condition(model=model, prompt=prompt, difficulty=task.difficulty, tool_success_rate=rate),
            task_id=task.task_id,
            task_type=task.task_type,
            instance=0,
            seed=1,
        )
        for (place, model), prompt, rate, task in product(enumerate(models), prompts, rates, tasks)
    )
    shards = tuple(
        Shard(
            shard_id=f"{run_id}/s{place}", position=place, model=model, provider="p", key_id="key0", label="easy",
            group=1, trial_ids=(), expected_calls=8.0, expected_call_s=0.1, workers=2, pace_qps=2.0,
        )
        for place, model in enumerate(models)
    )  # fmt: skip
    with RunWriter.open(path) as writer:
        writer.add_run(run, shards, trials, tasks, forecast_s=10.0)
        calls = [sent(writer.next_call_id(), trials[0], run_id=run_id, at_s=0.5 * n) for n in range(8)]
        events: list[StoreEvent] = [*calls, *(done(call) for call in calls[:-1]), done(calls[-1], Outcome.RATE_LIMITED)]
        events += [_end(trial, ends(trial)) for trial in trials if ends(trial) != "pending"]
        for fence, shard in enumerate(shards, start=1):
            events += [granted(shard, fence, run_id=run_id), released(fence, run_id=run_id)]
        events.append(
            KeyEvent(run_id=run_id, subject="key0", is_domain=False, at=second(3), kind="pause", detail="HTTP 429 <b>")
        )
        whole = all(ends(trial) in ("full", "failure") for trial in trials)
        status = RunStatus.COMPLETE if whole else RunStatus.INCOMPLETE
        writer.record([*events, RunEnded(run_id=run_id, status=status, ended_at=second(9))])


def _end(trial: Trial, how: str) -> StoreEvent:
    if how == "invalid":
        return invalid(trial, "api_timeout")
    return scored(trial, FULL_SCORE if how == "full" else FAILED_SCORE)


def report_of(path: Path, *run_ids: str) -> Report:
    """Return the report on the runs of a database."""
    with RunReader.open(path) as reader:
        return collect_report(reader, run_ids)
