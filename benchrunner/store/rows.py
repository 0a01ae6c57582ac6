"""How records become rows of runs.db: one `..._values` per insert or update. The way back is from_rows.py.

The tuples stand in the order of the statement that takes them; the statements are here beside them so that neither
changes without the other. NULL means "not known yet" or "never happened", as None does in the records.
"""

from __future__ import annotations

from benchrunner.records import (
    SENT,
    CallDone,
    CallSent,
    KeyEvent,
    LeaseGranted,
    LeaseReleased,
    RunEnded,
    RunRecord,
    Shard,
    ShardChanged,
    Task,
    Trial,
    TrialDone,
    TrialRequeued,
    TrialStarted,
    TrialStatus,
)

Value = str | int | float | None
Values = tuple[Value, ...]

INSERT_RUN = """
INSERT INTO runs (id, batch_id, phase, policy, engine, backend, seed, config_hash, config, version, argv, started_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
INSERT_TASK = "INSERT INTO tasks (run_id, task_id, difficulty, task_type, body) VALUES (?, ?, ?, ?, ?)"
INSERT_SHARD = """
INSERT INTO shards (id, run_id, position, model, label, provider, key_id, group_no, trials, workers, pace_qps,
                    expected_calls, expected_call_s, expected_s)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
REPLACE_SHARD = (
    INSERT_SHARD
    + """
ON CONFLICT (id) DO UPDATE SET
    position = excluded.position, model = excluded.model, label = excluded.label, provider = excluded.provider,
    key_id = excluded.key_id, group_no = excluded.group_no, workers = excluded.workers, pace_qps = excluded.pace_qps,
    expected_calls = excluded.expected_calls, expected_call_s = excluded.expected_call_s,
    expected_s = excluded.expected_s
"""
)
RECOUNT_SHARDS = """
UPDATE shards SET trials = (SELECT count(*) FROM trials WHERE trials.shard_id = shards.id) WHERE run_id = ?
"""
# A shard waits again as long as one of its trials is not scored; the others are done.
RESET_SHARDS = """
UPDATE shards SET (status, ended_at) = (
    SELECT CASE WHEN count(*) > 0 THEN 'waiting' ELSE 'done' END,
           CASE WHEN count(*) = 0 THEN coalesce(shards.ended_at, ?) END
    FROM trials WHERE trials.shard_id = shards.id AND trials.status <> 'scored'
) WHERE run_id = ?
"""
INSERT_TRIAL = """
INSERT INTO trials (id, run_id, shard_id, model, task_id, task_type, prompt, difficulty, tool_success_rate, instance,
                    seed)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
INSERT_CALL = """
INSERT INTO calls (id, run_id, trial_id, turn, attempt, key_id, model, deployment, sent_at, wait_window_s, backoff_s,
                   outcome)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
# `outcome = 'sent'`: the first end of a call stands; what comes late under an old fence does not rewrite it.
WITHDRAW_CALL = "DELETE FROM calls WHERE id = ? AND outcome = 'sent'"
"""An announced call that never left was no attempt."""

END_CALL = """
UPDATE calls SET outcome = ?, sent_at = ?, wait_window_s = ?, backoff_s = ?, latency_s = ?, http_status = ?,
                 provider_code = ?, prompt_tokens = ?, completion_tokens = ?, finish_reason = ?, retry_after_s = ?
WHERE id = ? AND outcome = 'sent'
"""
# One statement for every change of a trial, so that a batch keeps the order of the events of one trial.
# `status <> 'scored'`: there is never a second accepted result, and a scored trial never goes back to the queue.
CHANGE_TRIAL = """
UPDATE trials SET status = ?, level = ?, workflow_score = ?, phase2_score = ?, quality_score = ?, final_score = ?,
                  error_class = ?, turns = ?, tool_calls = ?, started_at = CASE WHEN ? THEN ? ELSE started_at END,
                  ended_at = ?, transcript = ?
WHERE id = ? AND status <> 'scored'
"""
INSERT_LEASE = """
INSERT INTO leases (run_id, shard_id, key_id, worker_pid, fence, granted_at) VALUES (?, ?, ?, ?, ?, ?)
"""
# `released_at IS NULL`: fences start anew when a run is resumed, so an old lease may bear the same number.
RELEASE_LEASE = """
UPDATE leases SET released_at = ?, reason = ? WHERE run_id = ? AND key_id = ? AND fence = ? AND released_at IS NULL
"""
INSERT_KEY_EVENT = "INSERT INTO key_events (run_id, key_id, domain, at, kind, detail) VALUES (?, ?, ?, ?, ?, ?)"
CHANGE_SHARD = """
UPDATE shards SET status = ?, started_at = CASE WHEN ? THEN coalesce(started_at, ?) ELSE started_at END, ended_at = ?
WHERE id = ? AND run_id = ?
"""
FORECAST_RUN = "UPDATE runs SET forecast_s = ? WHERE id = ?"
END_RUN = "UPDATE runs SET status = ?, ended_at = ? WHERE id = ?"


def run_values(run: RunRecord) -> Values:
    """Return what INSERT_RUN takes."""
    return (
        run.run_id,
        run.batch_id,
        run.phase,
        run.policy,
        run.engine,
        run.backend,
        run.seed,
        run.config_hash,
        run.config,
        run.version,
        run.argv,
        run.started_at,
    )


def task_values(run_id: str, task: Task) -> Values:
    """Return what INSERT_TASK takes."""
    return (run_id, task.task_id, task.difficulty, task.task_type, task.body)


def expected_s(shard: Shard) -> float:
    """Return how long a shard should take alone on one key with no limit in its way: its calls over its workers."""
    return shard.expected_calls * shard.expected_call_s / max(1, shard.workers)


def shard_values(run_id: str, shard: Shard) -> Values:
    """Return what INSERT_SHARD takes."""
    return (
        shard.shard_id,
        run_id,
        shard.position,
        shard.model,
        shard.label,
        shard.provider,
        shard.key_id,
        shard.group,
        len(shard.trial_ids),
        shard.workers,
        shard.pace_qps,
        shard.expected_calls,
        shard.expected_call_s,
        expected_s(shard),
    )


def trial_values(run_id: str, trial: Trial) -> Values:
    """Return what INSERT_TRIAL takes."""
    condition = trial.condition
    return (
        trial.trial_id,
        run_id,
        trial.shard_id,
        condition.model,
        trial.task_id,
        trial.task_type,
        condition.prompt,
        condition.difficulty,
        condition.tool_success_rate,
        trial.instance,
        trial.seed,
    )


def call_sent_values(call: CallSent) -> Values:
    """Return what INSERT_CALL takes."""
    return (
        call.call_id,
        call.run_id,
        call.trial_id,
        call.turn,
        call.attempt,
        call.key_id,
        call.model,
        call.deployment,
        call.sent_at,
        call.wait_window_s,
        call.backoff_s,
        SENT,
    )


def call_done_values(call: CallDone) -> Values:
    """Return what END_CALL takes."""
    return (
        call.outcome.value,
        call.sent_at,
        call.wait_window_s,
        call.backoff_s,
        call.latency_s,
        call.http_status,
        call.provider_code,
        call.prompt_tokens,
        call.completion_tokens,
        call.finish_reason,
        call.retry_after_s,
        call.call_id,
    )


def trial_change_values(event: TrialStarted | TrialRequeued | TrialDone) -> Values:
    """Return what CHANGE_TRIAL takes. Raises ValueError for an end that is neither scored with a score nor invalid."""
    match event:
        case TrialStarted():
            return _unscored(TrialStatus.RUNNING, event.trial_id, started_at=event.started_at)
        case TrialRequeued():
            return _unscored(TrialStatus.PENDING, event.trial_id, started_at=None)
    score = event.score
    if event.status is TrialStatus.SCORED and score is not None:
        return (
            TrialStatus.SCORED.value,
            score.level.value,
            score.workflow_score,
            score.phase2_score,
            score.quality_score,
            score.final_score,
            score.error_class,
            score.turns,
            score.tool_calls,
            False,
            None,
            event.ended_at,
            score.transcript,
            event.trial_id,
        )
    if event.status is TrialStatus.INVALID and score is None:
        return (
            TrialStatus.INVALID.value,
            *(None,) * 5,
            event.error_class,
            event.turns,
            event.tool_calls,
            False,
            None,
            event.ended_at,
            event.transcript,
            event.trial_id,
        )
    raise ValueError(
        f"trial {event.trial_id} ended {event.status.value} {'with' if score else 'without'} a score; "
        "it is either scored with one or invalid without"
    )


def _unscored(status: TrialStatus, trial_id: str, *, started_at: str | None) -> Values:
    """Return the CHANGE_TRIAL row of a trial that has no result (any more)."""
    return (status.value, *(None,) * 8, True, started_at, None, None, trial_id)


def lease_granted_values(event: LeaseGranted) -> Values:
    """Return what INSERT_LEASE takes."""
    return (event.run_id, event.shard_id, event.key_id, event.worker_pid, event.fence, event.granted_at)


def lease_released_values(event: LeaseReleased) -> Values:
    """Return what RELEASE_LEASE takes."""
    return (event.released_at, event.reason, event.run_id, event.key_id, event.fence)


def key_event_values(event: KeyEvent) -> Values:
    """Return what INSERT_KEY_EVENT takes."""
    key_id, domain = (None, event.subject) if event.is_domain else (event.subject, None)
    return (event.run_id, key_id, domain, event.at, event.kind, event.detail)


def shard_change_values(event: ShardChanged) -> Values:
    """Return what CHANGE_SHARD takes."""
    ended_at = event.at if event.status in ("done", "failed") else None
    return (event.status, event.status == "running", event.at, ended_at, event.shard_id, event.run_id)


def run_ended_values(event: RunEnded) -> Values:
    """Return what END_RUN takes."""
    return (event.status.value, event.ended_at, event.run_id)
