"""The SQL text of runs.db, one constant a migration, and the names by which a file is recognised.

Append only: a released migration's text never changes, because databases made by it are out there. Text, not code
that reads the enums of today: what a migration builds must not follow later edits of records.py. A test compares the
closed sets below with the enums, and docs/database.md with what the migrations really build.
"""

from __future__ import annotations

MIGRATION_SET = "benchrunner"
MIGRATION_NAMES = ("m001_initial", "m002_forecast", "m003_bounds", "m004_nights")
"""Every migration this version knows, in order. A file that holds another name was written by a newer version."""

TABLES = ("runs", "shards", "tasks", "trials", "calls", "leases", "key_events", "id_blocks", "nights")
VIEWS = ("phase_summary", "key_load", "lost_to_infrastructure", "unfinished")

CALL_ID_BITS = 20
"""A block holds 2**20 call ids: the id is block number << 20 | counter."""

M001_INITIAL = (
    """
CREATE TABLE runs (
    id TEXT PRIMARY KEY NOT NULL,
    batch_id TEXT NOT NULL,
    phase TEXT NOT NULL,
    policy TEXT NOT NULL,
    engine TEXT NOT NULL,
    backend TEXT NOT NULL CHECK (backend IN ('simulated', 'live')),
    seed INTEGER NOT NULL,
    config_hash TEXT NOT NULL,
    config TEXT NOT NULL,
    version TEXT NOT NULL,
    argv TEXT NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    status TEXT NOT NULL DEFAULT 'running'
        CHECK (status IN ('running', 'complete', 'incomplete', 'interrupted', 'failed'))
)
""",
    """
CREATE TABLE shards (
    id TEXT PRIMARY KEY NOT NULL,
    run_id TEXT NOT NULL REFERENCES runs (id),
    position INTEGER NOT NULL,
    model TEXT NOT NULL,
    label TEXT NOT NULL,
    provider TEXT NOT NULL,
    key_id TEXT NOT NULL,
    group_no INTEGER NOT NULL,
    trials INTEGER NOT NULL,
    workers INTEGER NOT NULL,
    pace_qps REAL NOT NULL,
    expected_calls REAL NOT NULL,
    expected_call_s REAL NOT NULL,
    expected_s REAL NOT NULL,
    status TEXT NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'running', 'done', 'failed')),
    started_at TEXT,
    ended_at TEXT
)
""",
    """
CREATE TABLE tasks (
    run_id TEXT NOT NULL REFERENCES runs (id),
    task_id TEXT NOT NULL,
    difficulty TEXT NOT NULL,
    task_type TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (run_id, task_id, difficulty)
)
""",
    """
CREATE TABLE trials (
    id TEXT PRIMARY KEY NOT NULL,
    run_id TEXT NOT NULL REFERENCES runs (id),
    shard_id TEXT NOT NULL REFERENCES shards (id),
    model TEXT NOT NULL,
    task_id TEXT NOT NULL,
    task_type TEXT NOT NULL,
    prompt TEXT NOT NULL,
    difficulty TEXT NOT NULL,
    tool_success_rate REAL NOT NULL,
    instance INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'running', 'scored', 'invalid')),
    level TEXT CHECK (level IN ('full', 'partial', 'failure')),
    workflow_score REAL,
    phase2_score REAL,
    quality_score REAL,
    final_score REAL,
    error_class TEXT,
    turns INTEGER,
    tool_calls INTEGER,
    started_at TEXT,
    ended_at TEXT,
    transcript TEXT,
    FOREIGN KEY (run_id, task_id, difficulty) REFERENCES tasks (run_id, task_id, difficulty),
    CHECK ((status = 'scored') = (level IS NOT NULL))
)
""",
    """
CREATE UNIQUE INDEX trials_identity
    ON trials (run_id, model, prompt, difficulty, tool_success_rate, task_id, instance)
""",
    "CREATE INDEX trials_by_status ON trials (run_id, status)",
    "CREATE INDEX trials_by_shard ON trials (shard_id)",
    "CREATE INDEX shards_by_run ON shards (run_id, position)",
    """
CREATE TABLE calls (
    id INTEGER PRIMARY KEY NOT NULL,
    run_id TEXT NOT NULL REFERENCES runs (id),
    trial_id TEXT NOT NULL REFERENCES trials (id),
    turn INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    model TEXT NOT NULL,
    deployment TEXT NOT NULL,
    outcome TEXT NOT NULL DEFAULT 'sent'
        CHECK (outcome IN ('sent', 'ok', 'rate_limited', 'transient', 'quota', 'auth', 'bad_request',
                           'truncated', 'empty')),
    http_status INTEGER,
    provider_code TEXT,
    sent_at TEXT NOT NULL,
    wait_window_s REAL NOT NULL,
    backoff_s REAL NOT NULL,
    latency_s REAL,
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    finish_reason TEXT,
    retry_after_s REAL
)
""",
    "CREATE INDEX calls_by_run ON calls (run_id)",
    "CREATE INDEX calls_by_trial ON calls (trial_id)",
    """
CREATE TABLE leases (
    id INTEGER PRIMARY KEY NOT NULL,
    run_id TEXT NOT NULL REFERENCES runs (id),
    shard_id TEXT NOT NULL REFERENCES shards (id),
    key_id TEXT NOT NULL,
    worker_pid INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    granted_at TEXT NOT NULL,
    released_at TEXT,
    reason TEXT
)
""",
    "CREATE INDEX leases_by_run ON leases (run_id)",
    "CREATE INDEX leases_by_shard ON leases (shard_id)",
    """
CREATE UNIQUE INDEX leases_open ON leases (run_id, key_id, fence) WHERE released_at IS NULL
""",
    """
CREATE TABLE key_events (
    id INTEGER PRIMARY KEY NOT NULL,
    run_id TEXT NOT NULL REFERENCES runs (id),
    key_id TEXT,
    domain TEXT,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    CHECK ((key_id IS NULL) <> (domain IS NULL))
)
""",
    "CREATE INDEX key_events_by_run ON key_events (run_id)",
    """
CREATE TABLE id_blocks (
    block INTEGER PRIMARY KEY NOT NULL,
    taken_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
)
""",
    # Rates divide by `scored` only. sum() over no row and 1.0 * NULL are NULL, so a condition nobody scored has no rate
    # instead of a rate of zero.
    """
CREATE VIEW phase_summary AS
SELECT
    trials.run_id,
    runs.phase,
    runs.backend,
    trials.model,
    trials.prompt,
    trials.difficulty,
    trials.tool_success_rate,
    trials.task_type,
    count(*) AS planned,
    sum(trials.status = 'scored') AS scored,
    sum(trials.status = 'invalid') AS invalid,
    count(*) FILTER (WHERE trials.level = 'full') AS "full",
    count(*) FILTER (WHERE trials.level = 'partial') AS partial,
    count(*) FILTER (WHERE trials.level = 'failure') AS failure,
    1.0 * count(*) FILTER (WHERE trials.level IN ('full', 'partial'))
        / nullif(sum(trials.status = 'scored'), 0) AS success_rate,
    (count(*) FILTER (WHERE trials.level = 'full') + 0.5 * count(*) FILTER (WHERE trials.level = 'partial'))
        / nullif(sum(trials.status = 'scored'), 0) AS weighted_success_score,
    avg(trials.final_score) FILTER (WHERE trials.status = 'scored') AS final_score,
    avg(trials.turns) FILTER (WHERE trials.status = 'scored') AS turns
FROM trials JOIN runs ON runs.id = trials.run_id
GROUP BY trials.run_id, trials.model, trials.prompt, trials.difficulty, trials.tool_success_rate, trials.task_type
""",
    """
CREATE VIEW key_load AS
SELECT
    run_id,
    key_id,
    substr(sent_at, 1, 19) || 'Z' AS second,
    count(*) AS requests,
    sum(outcome = 'rate_limited') AS refused
FROM calls
GROUP BY run_id, key_id, second
""",
    """
CREATE VIEW lost_to_infrastructure AS
SELECT run_id, model, error_class AS cause, count(*) AS trials
FROM trials
WHERE status = 'invalid'
GROUP BY run_id, model, error_class
""",
    """
CREATE VIEW unfinished AS
SELECT
    run_id,
    id AS trial_id,
    shard_id,
    model,
    prompt,
    difficulty,
    tool_success_rate,
    task_type,
    task_id,
    instance,
    status,
    error_class
FROM trials
WHERE status <> 'scored'
""",
)

M002_FORECAST = ("ALTER TABLE runs ADD COLUMN forecast_s REAL",)

M003_BOUNDS = (
    "DROP VIEW phase_summary",
    """
CREATE VIEW phase_summary AS
SELECT
    trials.run_id,
    runs.phase,
    runs.backend,
    trials.model,
    trials.prompt,
    trials.difficulty,
    trials.tool_success_rate,
    trials.task_type,
    count(*) AS planned,
    sum(trials.status = 'scored') AS scored,
    sum(trials.status = 'invalid') AS invalid,
    count(*) FILTER (WHERE trials.level = 'full') AS "full",
    count(*) FILTER (WHERE trials.level = 'partial') AS partial,
    count(*) FILTER (WHERE trials.level = 'failure') AS failure,
    1.0 * count(*) FILTER (WHERE trials.level IN ('full', 'partial'))
        / nullif(sum(trials.status = 'scored'), 0) AS success_rate,
    (count(*) FILTER (WHERE trials.level = 'full') + 0.5 * count(*) FILTER (WHERE trials.level = 'partial'))
        / nullif(sum(trials.status = 'scored'), 0) AS weighted_success_score,
    -- if every trial not scored had failed, or succeeded
    1.0 * count(*) FILTER (WHERE trials.level IN ('full', 'partial')) / count(*) AS success_worst,
    1.0 * (count(*) FILTER (WHERE trials.level IN ('full', 'partial')) + count(*) - sum(trials.status = 'scored'))
        / count(*) AS success_best,
    avg(trials.final_score) FILTER (WHERE trials.status = 'scored') AS final_score,
    avg(trials.turns) FILTER (WHERE trials.status = 'scored') AS turns
FROM trials JOIN runs ON runs.id = trials.run_id
GROUP BY trials.run_id, trials.model, trials.prompt, trials.difficulty, trials.tool_success_rate, trials.task_type
""",
)

M004_NIGHTS = (
    """
CREATE TABLE nights (
    id TEXT PRIMARY KEY NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    status TEXT NOT NULL DEFAULT 'running'
        CHECK (status IN ('running', 'complete', 'regressed', 'incomplete', 'no_key', 'interrupted', 'failed',
                          'skipped', 'killed')),
    exit_code INTEGER,
    phases TEXT NOT NULL,
    config_hash TEXT NOT NULL,
    resumed TEXT NOT NULL DEFAULT '[]',
    compared_with TEXT NOT NULL DEFAULT '{}',
    reason TEXT NOT NULL DEFAULT ''
)
""",
    # A night's runs carry its id: what goes on with them, and what compares them, looks there.
    "CREATE INDEX runs_by_batch ON runs (batch_id)",
)
