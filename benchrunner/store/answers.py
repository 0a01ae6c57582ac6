"""What queries answer: one frozen record a line of an answer, as rows.py has one for every line of a table."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchrunner.records import Level, RunStatus, TrialStatus

Ask = Callable[[str, Mapping[str, object]], list[sqlite3.Row]]
"""Asks the database: SQL and what is bound to its names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One line of the runs list. `ended_at` None: still running, or killed before it could say so."""

    run_id: str
    batch_id: str
    phase: str
    policy: str
    engine: str
    backend: str
    seed: int
    version: str
    started_at: str
    ended_at: str | None
    status: RunStatus
    planned: int
    scored: int
    invalid: int
    calls: int
    refused: int
    forecast_s: float | None = None  # first request to last reply; None: nobody said, or the run was resumed
    killed: bool = False  # reads `running`, but nobody drives it: `resume` goes on with it. Looked up, not stored


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionRow:
    """One condition of a run, all task types together (`task_type` "") or one. Rates are over `scored`; None: 0."""

    model: str
    prompt: str
    difficulty: str
    tool_success_rate: float
    task_type: str
    planned: int
    scored: int
    invalid: int
    full: int
    partial: int
    failure: int
    success_rate: float | None
    weighted_success_score: float | None
    final_score: float | None
    turns: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """One key's share of a run. `peak_1s` is the most requests whose `sent_at` lie within any one second."""

    key_id: str
    calls: int
    refused: int
    unanswered: int  # still `sent`: in flight, or a kill came between request and reply
    peak_1s: int
    mean_wait_window_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallCount:
    """How many attempts of one model on one key ended in one way (an Outcome's value, or `sent`)."""

    key_id: str
    model: str
    outcome: str
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTraffic:
    """One key's share of a run, with the instants its answered requests were sent at, in order, in microseconds since
    1970. One that was never answered counts among the calls; whether it left, a killed run cannot say.
    """

    row: KeyRow
    faults: tuple[CallCount, ...]  # what did not end well
    sent_us: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What the calls of a run say: its keys by id, and seconds from the first request to the last reply."""

    keys: tuple[KeyTraffic, ...]
    makespan_s: float | None  # None: no reply yet


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRow:
    """One lease. `released_at` None: still held, or its supervisor was killed."""

    shard_id: str
    model: str
    key_id: str
    worker_pid: int
    fence: int
    granted_at: str
    released_at: str | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRow:
    """One shard as it stands."""

    shard_id: str
    position: int
    model: str
    label: str
    key_id: str
    trials: int
    status: str
    started_at: str | None
    ended_at: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LossRow:
    """How many trials of a model one infrastructure cause made invalid."""

    model: str
    cause: str
    trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """One trial that has ended, with the task it was about. Scores are 0.0 and `level` None where it is invalid."""

    run_id: str
    trial_id: str
    model: str
    prompt: str
    difficulty: str
    tool_success_rate: float
    task_type: str
    task_body: str  # the suite's own JSON text
    status: TrialStatus  # scored or invalid
    level: Level | None
    workflow_score: float
    phase2_score: float
    quality_score: float
    final_score: float
    error_class: str
    turns: int
    tool_calls: int
    started_at: str | None  # None: no worker ever took it
    ended_at: str
    transcript: str


class ScoredMark(NamedTuple):
    """What one scored trial is worth. A tuple: a run has a hundred thousand of them."""

    model: str
    prompt: str
    difficulty: str
    tool_success_rate: float
    task_id: str
    level: str
    workflow_score: float
    phase2_score: float
    error_class: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """How one trial stands, without its transcript: what trials of two runs are paired and compared by.

    `level` and `final_score` None: not scored.
    """

    trial_id: str
    model: str
    prompt: str
    difficulty: str
    tool_success_rate: float
    task_id: str
    task_type: str
    instance: int
    status: TrialStatus
    level: Level | None
    final_score: float | None
    error_class: str
