"""A small run made by hand, for tests that need rows: two models, one shard each, tasks of two types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchrunner.records import (
    CallDone,
    CallSent,
    Condition,
    LeaseGranted,
    LeaseReleased,
    Level,
    Outcome,
    RunRecord,
    Shard,
    Task,
    Trial,
    TrialDone,
    TrialScore,
    TrialStatus,
)

Ask = Callable[..., list[tuple[object, ...]]]
"""Asks the database in SQL and returns its rows."""

AT = "2025-08-26T10:00:00.000000Z"
FULL_SCORE = TrialScore(
    level=Level.FULL,
    workflow_score=0.92,
    phase2_score=0.9,
    quality_score=0.8,
    final_score=0.9,
    error_class="",
    turns=4,
    tool_calls=3,
    transcript='[{"turn": 0}]',
)
FAILED_SCORE = TrialScore(
    level=Level.FAILURE,
    workflow_score=0.1,
    phase2_score=0.2,
    quality_score=0.2,
    final_score=0.1,
    error_class="max_turns",
    turns=10,
    tool_calls=1,
    transcript="[]",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What `add_run` takes."""

    run: RunRecord
    shards: tuple[Shard, ...]
    trials: tuple[Trial, ...]
    tasks: tuple[Task, ...]


def planned(
    run_id: str = "r1",
    *,
    models: tuple[str, ...] = ("m-big", "m-small"),
    per_model: int = 4,
    backend: str = "simulated",
    started_at: str = AT,
) -> Planned:
    """Return a run of `per_model` trials a model, tasks alternating between two types."""
    run = RunRecord(
        run_id=run_id,
        batch_id="b1",
        phase="5.2",
        policy="pool",
        engine="local",
        backend=backend,
        seed=7,
        config_hash="c0ffee",
        config="{}",
        version="0.1",
        argv="phase 5.2",
        started_at=started_at,
    )
    tasks = tuple(
        Task(task_id=f"t{n}", task_type=("basic_task", "simple_task")[n % 2], difficulty="easy", body=f'{{"n": {n}}}')
        for n in range(per_model)
    )
    trials = tuple(
        Trial(
            trial_id=f"{run_id}/{model}/{n}",
            shard_id=f"{run_id}/s{place:02d}",
            condition=Condition(model=model, prompt="optimal", difficulty="easy", tool_success_rate=0.8),
            task_id=task.task_id,
            task_type=task.task_type,
            instance=0,
            seed=1000 * place + n,
        )
        for place, model in enumerate(models)
        for n, task in enumerate(tasks)
    )
    shards = tuple(
        Shard(
            shard_id=f"{run_id}/s{place:02d}",
            position=place,
            model=model,
            provider="ideallab",
            key_id=f"key{place}",
            label="easy",
            group=1,
            trial_ids=tuple(trial.trial_id for trial in trials if trial.condition.model == model),
            expected_calls=10.0 * per_model,
            expected_call_s=0.5,
            workers=2,
            pace_qps=2.0,
        )
        for place, model in enumerate(models)
    )
    return Planned(run=run, shards=shards, trials=trials, tasks=tasks)


def second(at_s: float) -> str:
    """Return the instant `at_s` seconds into the run, below a minute."""
    return f"2025-08-26T10:00:{at_s:09.6f}Z"


def sent(call_id: int, trial: Trial, *, key_id: str = "key0", at_s: float = 0.0, run_id: str = "r1") -> CallSent:
    """Return a call of the trial's first turn."""
    return CallSent(
        call_id=call_id,
        run_id=run_id,
        trial_id=trial.trial_id,
        turn=0,
        attempt=1,
        key_id=key_id,
        model=trial.condition.model,
        deployment=trial.condition.model,
        sent_at=second(at_s),
        wait_window_s=0.25,
        backoff_s=0.0,
    )


def done(call: CallSent, outcome: Outcome = Outcome.OK, *, latency_s: float = 0.5) -> CallDone:
    """Return the end of a call."""
    refused = outcome is Outcome.RATE_LIMITED
    return CallDone(
        call_id=call.call_id,
        outcome=outcome,
        sent_at=call.sent_at,
        wait_window_s=call.wait_window_s,
        backoff_s=call.backoff_s,
        latency_s=latency_s,
        http_status=429 if refused else 200,
        provider_code="PL-002" if refused else "",
        prompt_tokens=None if refused else 1450,
        completion_tokens=None if refused else 20,
        finish_reason="" if refused else "stop",
        retry_after_s=1.0 if refused else None,
    )


def scored(trial: Trial, score: TrialScore = FULL_SCORE) -> TrialDone:
    """Return a trial's scored end."""
    return TrialDone(trial_id=trial.trial_id, status=TrialStatus.SCORED, ended_at=second(30), score=score)


def invalid(trial: Trial, cause: str = "rate_limit") -> TrialDone:
    """Return a trial's end by infrastructure."""
    return TrialDone(trial_id=trial.trial_id, status=TrialStatus.INVALID, ended_at=second(30), error_class=cause)


def granted(shard: Shard, fence: int, *, key_id: str = "key0", run_id: str = "r1") -> LeaseGranted:
    """Return a lease of the shard."""
    return LeaseGranted(
        run_id=run_id, shard_id=shard.shard_id, key_id=key_id, worker_pid=101, fence=fence, granted_at=second(0)
    )


def released(fence: int, *, key_id: str = "key0", run_id: str = "r1", reason: str = "done") -> LeaseReleased:
    """Return the end of a lease."""
    return LeaseReleased(run_id=run_id, key_id=key_id, fence=fence, released_at=second(9), reason=reason)
