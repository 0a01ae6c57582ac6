"""What the home page, a run's page, a trial's page and the charts show, asked of runs.db."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final

import orjson

from benchrunner.browse.charts import load_chart, success_bars
from benchrunner.browse.ready_queries import CHOSEN_RUN
from benchrunner.browse.transcript import pretty_json, read_turns, task_facts

Row = dict[str, Any]
Ask = Callable[[str, Mapping[str, object]], Awaitable[list[Row]]]
"""Asks runs.db in SQL with named parameters and returns every row."""

_RUNS: Final = """
SELECT id, phase, policy, backend, status, started_at, ended_at,
  (SELECT count(*) FROM trials WHERE run_id = runs.id) AS planned,
  (SELECT count(*) FROM trials WHERE run_id = runs.id AND status = 'scored') AS scored,
  (SELECT count(*) FROM trials WHERE run_id = runs.id AND status = 'invalid') AS invalid
FROM runs ORDER BY started_at DESC, id DESC LIMIT :most"""

_CONDITIONS: Final = """
SELECT model, prompt, difficulty, tool_success_rate, count(*) AS planned,
  count(*) FILTER (WHERE status = 'scored') AS scored, count(*) FILTER (WHERE status = 'invalid') AS invalid,
  count(*) FILTER (WHERE level = 'full') AS "full", count(*) FILTER (WHERE level = 'partial') AS partial,
  count(*) FILTER (WHERE level = 'failure') AS failure,
  avg(final_score) FILTER (WHERE status = 'scored') AS final_score, avg(turns) FILTER (WHERE status = 'scored') AS turns
FROM trials WHERE run_id = :run
GROUP BY model, prompt, difficulty, tool_success_rate ORDER BY min(rowid)"""

_KEYS: Final = """
SELECT key_id, count(*) AS calls, count(*) FILTER (WHERE outcome = 'rate_limited') AS refused,
  count(*) FILTER (WHERE outcome NOT IN ('ok', 'sent', 'rate_limited')) AS failed,
  count(*) FILTER (WHERE outcome = 'sent') AS unanswered, count(DISTINCT model) AS models,
  sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens,
  avg(wait_window_s) AS wait_window_s, avg(latency_s) AS latency_s,
  min(sent_at) AS first_at, max(julianday(sent_at) + coalesce(latency_s, 0) / 86400.0) AS last_day,
  julianday(min(sent_at)) AS first_day
FROM calls WHERE run_id = :run GROUP BY key_id ORDER BY key_id"""

_SHARDS: Final = """
SELECT id, model, label, key_id, trials, status,
  (SELECT group_concat(DISTINCT key_id) FROM leases WHERE shard_id = shards.id) AS leased,
  (SELECT count(*) FROM trials WHERE shard_id = shards.id AND status = 'scored') AS scored
FROM shards WHERE run_id = :run ORDER BY position"""

_CALLS: Final = """
SELECT id, turn, attempt, key_id, outcome, http_status, provider_code, sent_at, wait_window_s, backoff_s, latency_s,
  prompt_tokens, completion_tokens, finish_reason FROM calls WHERE trial_id = :trial ORDER BY turn, attempt, id"""

_NEIGHBOURS: Final = """
SELECT (SELECT id FROM trials WHERE run_id = :run AND rowid = (SELECT max(rowid) FROM trials WHERE rowid < :place))
    AS before,
  (SELECT id FROM trials WHERE run_id = :run AND rowid = (SELECT min(rowid) FROM trials WHERE rowid > :place))
    AS after"""
"""In the order they were planned, which is that of the rowids: two look-ups, however many trials there are."""

RUNS_AT_HOME: Final = 30


async def home(ask: Ask) -> dict[str, Any]:
    """Return the newest runs."""
    return {"newest_runs": await ask(_RUNS, {"most": RUNS_AT_HOME})}


async def simulated_mark(ask: Ask) -> str:
    """Return the sentence that marks simulated runs on every page, "" where every run is live."""
    (row,) = await ask("SELECT count(*) AS runs, coalesce(sum(backend = 'simulated'), 0) AS simulated FROM runs", {})
    if not row["simulated"]:
        return ""
    if row["simulated"] == row["runs"]:
        return "SIMULATED: every run in this file is of the embedded provider's models, not of real ones."
    return f"{row['simulated']} of {row['runs']} runs in this file are SIMULATED; each is marked."


async def run_page(ask: Ask, run_id: str) -> dict[str, Any]:
    """Return what a run came to, {} where there is no such run."""
    found = await ask("SELECT * FROM runs WHERE id = :run", {"run": run_id})
    if not found:
        return {}
    (run,) = found
    conditions = await ask(_CONDITIONS, {"run": run_id})
    keys = await ask(_KEYS, {"run": run_id})
    return {
        "run": run,
        "totals": _totals(run, conditions, keys),
        "conditions": conditions,
        "bars": success_bars(conditions),
        "keys": keys,
        "shards": await ask(_SHARDS, {"run": run_id}),
        "losses": await ask(
            "SELECT model, cause, trials FROM lost_to_infrastructure WHERE run_id = :run ORDER BY trials DESC, model",
            {"run": run_id},
        ),
        "config_text": pretty_json(run["config"]),
        **await _load(ask, run, ""),
    }


def _totals(run: Row, conditions: list[Row], keys: list[Row]) -> dict[str, Any]:
    ends = [key["last_day"] for key in keys]
    return {
        **{name: sum(row[name] for row in conditions) for name in ("planned", "scored", "invalid")},
        **{name: sum(key[name] for key in keys) for name in ("calls", "refused", "unanswered")},
        "tokens": sum((key["prompt_tokens"] or 0) + (key["completion_tokens"] or 0) for key in keys),
        "took_s": (max(ends) - min(key["first_day"] for key in keys)) * 86400.0 if ends else None,
        "wall_s": _between_s(run["started_at"], run["ended_at"]),
    }


def _between_s(begin: str, end: str | None) -> float | None:
    if end is None:
        return None
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


async def trial_page(ask: Ask, trial_id: str) -> dict[str, Any]:
    """Return a trial, its dialogue and its calls, {} where there is no such trial."""
    found = await ask(
        "SELECT trials.*, trials.rowid AS place, runs.backend, runs.phase, runs.status AS run_status FROM trials "
        "JOIN runs ON runs.id = trials.run_id WHERE trials.id = :trial",
        {"trial": trial_id},
    )
    if not found:
        return {}
    (trial,) = found
    bodies = await ask(
        "SELECT body FROM tasks WHERE run_id = :run AND task_id = :task AND difficulty = :difficulty",
        {"run": trial["run_id"], "task": trial["task_id"], "difficulty": trial["difficulty"]},
    )
    (neighbours,) = await ask(_NEIGHBOURS, {"run": trial["run_id"], "place": trial["place"]})
    return {
        "trial": trial,
        "turns": read_turns(trial["transcript"]),
        "transcript_text": pretty_json(trial["transcript"]),
        "task_facts": task_facts(bodies[0]["body"] if bodies else None),
        "calls": await ask(_CALLS, {"trial": trial_id}),
        "neighbours": neighbours,
    }


async def query_page(ask: Ask, charts: tuple[str, ...], run: str, key: str) -> dict[str, Any]:
    """Return the run that a ready query's parameters mean, and the charts that go with the query."""
    found = await ask(
        f"WITH {CHOSEN_RUN} SELECT runs.* FROM runs JOIN chosen ON chosen.id = runs.id", {"run": run}
    )
    if not found:
        return {"asked_run": None, "no_run": run}
    (chosen,) = found
    shown: dict[str, Any] = {"asked_run": chosen}
    if "success" in charts:
        shown["bars"] = success_bars(await ask(_CONDITIONS, {"run": chosen["id"]}))
    if "load" in charts:
        shown |= await _load(ask, chosen, key)
    return shown


async def _load(ask: Ask, run: Row, key_id: str) -> dict[str, Any]:
    rows = await ask(
        "SELECT key_id, second, requests, refused FROM key_load WHERE run_id = :run AND (:key = '' OR key_id = :key)",
        {"run": run["id"], "key": key_id},
    )
    return {"load": load_chart(rows, key_limits(run["config"], run["backend"]))}


def key_limits(config: str, backend: str) -> dict[str, float]:
    """Return each key's limit in requests/s as its run had it: the lowest of its windows; keys without one are absent.

    A simulated run's clock may be sped up, and its limits with it. A configuration that cannot be read has none.
    """
    try:
        content = orjson.loads(config)
        speed = float(content.get("simulator", {}).get("speed", 1.0)) if backend == "simulated" else 1.0
        found: dict[str, float] = {}
        for key in content.get("keys", ()):
            rates = [one["amount"] / one["per_s"] for one in key.get("limits", ()) if one["kind"] == "requests"]
            if rates:
                found[str(key["key_id"])] = speed * min(rates)
    except (ValueError, TypeError, KeyError, AttributeError, ZeroDivisionError):
        return {}
    return found
