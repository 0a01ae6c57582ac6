"""The questions people ask of runs.db, ready to run: each is a page of its own with its parameters in a form.

`:run` is a run's id or the beginning of one; left empty, it is the newest run. `:key` and `:model` left empty are all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CHOSEN_RUN: Final = (
    "chosen AS (SELECT id FROM runs WHERE substr(id, 1, length(:run)) = :run ORDER BY started_at DESC, id DESC LIMIT 1)"
)
"""The run that `:run` means, as a common table expression."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyQuery:
    """One question. `parameters` are those its SQL names, in the order of the form; `charts`: what is drawn above."""

    name: str
    title: str
    text: str
    sql: str
    parameters: tuple[str, ...] = ("run",)
    charts: tuple[str, ...] = ()  # "success" | "load"


READY_QUERIES: Final = (
    ReadyQuery(
        name="every_run",
        title="Every run",
        text="The newest first: how much of it is scored, and what the providers refused.",
        parameters=(),
        sql="""
SELECT id AS run_id, phase, policy, backend, status, started_at, ended_at,
  (SELECT count(*) FROM trials WHERE run_id = runs.id) AS planned,
  (SELECT count(*) FROM trials WHERE run_id = runs.id AND status = 'scored') AS scored,
  (SELECT count(*) FROM trials WHERE run_id = runs.id AND status = 'invalid') AS invalid,
  (SELECT count(*) FROM calls WHERE run_id = runs.id) AS calls,
  (SELECT count(*) FROM calls WHERE run_id = runs.id AND outcome = 'rate_limited') AS refused
FROM runs ORDER BY started_at DESC, id DESC""",
    ),
    ReadyQuery(
        name="run_summary",
        title="What a run came to",
        text="One row per condition and task type. Rates are over scored trials alone; success_worst and success_best "
        "are what the rate would be if every trial not scored had failed, or succeeded.",
        charts=("success",),
        sql=f"""
WITH {CHOSEN_RUN}
SELECT model, prompt, difficulty, tool_success_rate, task_type, planned, scored, invalid, full, partial, failure,
  round(success_rate, 4) AS success_rate, round(success_worst, 4) AS success_worst,
  round(success_best, 4) AS success_best, round(weighted_success_score, 4) AS weighted_success_score,
  round(final_score, 4) AS final_score, round(turns, 2) AS turns, backend
FROM phase_summary WHERE run_id = (SELECT id FROM chosen)""",
    ),
    ReadyQuery(
        name="worst_trials",
        title="Worst trials of a run",
        text="Scored trials, the lowest final score first; the trial's page has its transcript.",
        parameters=("run", "model"),
        sql=f"""
WITH {CHOSEN_RUN}
SELECT trials.id AS trial_id, runs.backend, trials.model, prompt, difficulty, tool_success_rate, task_type, level,
  round(final_score, 3) AS final_score, error_class, turns, tool_calls
FROM trials JOIN chosen ON chosen.id = trials.run_id JOIN runs ON runs.id = trials.run_id
WHERE trials.status = 'scored' AND (:model = '' OR trials.model = :model)
ORDER BY trials.final_score, trials.turns DESC, trials.id LIMIT 200""",
    ),
    ReadyQuery(
        name="key_per_second",
        title="What a key did, second by second",
        text="Requests per clock second, those that were refused included. A limit counts over any second, not over "
        "clock seconds: benchrunner audit checks it exactly.",
        parameters=("run", "key"),
        charts=("load",),
        # As the view key_load has it; asked of the view, SQLite would first count the calls of every run.
        sql=f"""
WITH {CHOSEN_RUN}
SELECT key_id, substr(sent_at, 1, 19) || 'Z' AS second, count(*) AS requests, sum(outcome = 'rate_limited') AS refused
FROM chosen JOIN calls ON calls.run_id = chosen.id
WHERE :key = '' OR key_id = :key GROUP BY key_id, second ORDER BY key_id, second""",
    ),
    ReadyQuery(
        name="key_history",
        title="What happened to a key",
        text="Leases granted and given back, pauses, retirements and learned caps, in the order they came. Events of a "
        "domain concern every key in it and are always listed.",
        parameters=("run", "key"),
        sql=f"""
WITH {CHOSEN_RUN}, happened AS (
  SELECT run_id, granted_at AS at, key_id AS subject, 'lease granted' AS what, fence, shard_id,
    'worker ' || worker_pid AS detail FROM leases
  UNION ALL
  SELECT run_id, released_at, key_id, 'lease released', fence, shard_id, reason FROM leases
  WHERE released_at IS NOT NULL
  UNION ALL
  SELECT run_id, at, coalesce(key_id, domain), kind, NULL, NULL, detail FROM key_events
  WHERE :key = '' OR key_id = :key OR domain IS NOT NULL
)
SELECT at, subject, what, fence, shard_id, detail FROM happened JOIN chosen ON chosen.id = run_id
WHERE what NOT LIKE 'lease%' OR :key = '' OR subject = :key ORDER BY at""",
    ),
    ReadyQuery(
        name="why_invalid",
        title="Why trials are invalid",
        text="Trials that infrastructure took, by cause. They are in no score and are run again by benchrunner resume.",
        sql=f"""
WITH {CHOSEN_RUN}
SELECT model, error_class AS cause, count(*) AS trials, min(trials.id) AS trial_id
FROM trials JOIN chosen ON chosen.id = run_id
WHERE status = 'invalid' GROUP BY model, error_class ORDER BY trials DESC, model""",
    ),
    ReadyQuery(
        name="refused_calls",
        title="Calls that were refused or failed",
        text="Every attempt that a provider did not answer as asked, in the order they were sent.",
        sql=f"""
WITH {CHOSEN_RUN}
SELECT sent_at, key_id, model, outcome, http_status, provider_code, retry_after_s, turn, attempt, trial_id
FROM calls JOIN chosen ON chosen.id = run_id
WHERE outcome NOT IN ('ok', 'sent') ORDER BY sent_at""",
    ),
    ReadyQuery(
        name="slowest_calls",
        title="Slowest calls",
        text="By the time from sending to the end of the reply.",
        sql=f"""
WITH {CHOSEN_RUN}
SELECT round(latency_s, 3) AS latency_s, round(wait_window_s, 3) AS wait_window_s, sent_at, key_id, model, outcome,
  prompt_tokens, completion_tokens, turn, attempt, trial_id
FROM calls JOIN chosen ON chosen.id = run_id
WHERE latency_s IS NOT NULL ORDER BY calls.latency_s DESC LIMIT 200""",
    ),
    ReadyQuery(
        name="unfinished_trials",
        title="Unfinished trials",
        text="What benchrunner resume would run: pending, cut off, or taken by infrastructure.",
        sql=f"""
WITH {CHOSEN_RUN}
SELECT trial_id, model, prompt, difficulty, tool_success_rate, task_type, instance, status, error_class
FROM unfinished JOIN chosen ON chosen.id = run_id ORDER BY status, trial_id""",
    ),
    ReadyQuery(
        name="unanswered_calls",
        title="Calls without an end",
        text="Requests that left, or were about to, and whose reply was never noted: still in flight while the run "
        "goes on; after it, a kill came in between, and the provider may have billed them twice.",
        sql=f"""
WITH {CHOSEN_RUN}
SELECT sent_at, key_id, model, turn, attempt, trial_id FROM calls JOIN chosen ON chosen.id = run_id
WHERE outcome = 'sent' ORDER BY sent_at""",
    ),
)


def ready_query(name: str | None) -> ReadyQuery | None:
    """Return the query of that name, None when there is none."""
    return next((query for query in READY_QUERIES if query.name == name), None)
