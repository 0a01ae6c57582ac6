"""A small run that was really played, without a process: every dialogue held with a scripted model, every row kept.

Two models, two prompts, two task types, two instances: sixteen trials under policy pool, one lease a key.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import orjson

from benchrunner.planning.sharding import PhasePlan, plan_phase
from benchrunner.records import (
    CallDone,
    CallSent,
    ChatReply,
    ChatRequest,
    LeaseGranted,
    LeaseReleased,
    ModelEntry,
    Outcome,
    Phase,
    PhaseOrder,
    RunEnded,
    RunRecord,
    RunStatus,
    ShardOrder,
    StoreEvent,
    TrialDone,
    TrialScore,
    TrialStatus,
)
from benchrunner.reporting.audit import Audit, audit
from benchrunner.store.audit_queries import AuditReader
from benchrunner.store.writer import RunWriter
from benchrunner.suites import load_suite

MODELS = ("m-big", "m-small")
PHASE = Phase(
    name="5.9",
    title="a small one",
    models=MODELS,
    prompts=("optimal", "baseline"),
    difficulties=("easy",),
    task_types=("simple_task", "basic_task"),
    instances=2,
    tool_success_rates=(0.8,),
    order=PhaseOrder.SERIAL,
    groups=(),
    stagger_s=0.0,
    shard_order=ShardOrder.MODELS,
    policy="pool",
)
TRIALS = 16
GAP_S = 0.125
"""Between two calls of the run: with ten calls in a second and eight here, no window is near its limit."""


def play_and_keep(database: Path, *, run_id: str = "r1", policy: str = "pool", backend: str = "simulated") -> PhasePlan:
    """Play the run and record it, and return its plan."""
    suite = load_suite("workflow")
    entries = tuple(
        ModelEntry(name=name, provider="p", key_id=f"key{place}", deployments=(name,), limits=())
        for place, name in enumerate(MODELS)
    )
    plan = plan_phase(PHASE, entries, suite, run_id=run_id, seed=7)
    with RunWriter.open(database) as writer:
        writer.add_run(_record(run_id, policy, backend), plan.shards, plan.trials, tuple(plan.tasks.values()))
        ids = iter(writer.take_call_ids(1000))
        at_s = 0.0
        shard_of = {shard.shard_id: shard for shard in plan.shards}
        for fence, shard in enumerate(plan.shards, start=1):
            events: list[StoreEvent] = [
                LeaseGranted(
                    run_id=run_id,
                    shard_id=shard.shard_id,
                    key_id=shard.key_id,
                    worker_pid=100 + fence,
                    fence=fence,
                    granted_at=instant(at_s),
                )
            ]
            for trial in plan.trials:
                if trial.shard_id != shard.shard_id:
                    continue
                dialogue = suite.dialogue(trial, plan.task_of(trial))
                request, turn = next(dialogue), 0
                try:
                    while True:
                        call = CallSent(
                            call_id=next(ids),
                            run_id=run_id,
                            trial_id=trial.trial_id,
                            turn=turn,
                            attempt=1,
                            key_id=shard_of[trial.shard_id].key_id,
                            model=trial.condition.model,
                            deployment=trial.condition.model,
                            sent_at=instant(at_s),
                            wait_window_s=0.0,
                            backoff_s=0.0,
                        )
                        events += [call, answered(call)]
                        at_s, turn = at_s + GAP_S, turn + 1
                        request = dialogue.send(ChatReply(text=scripted(request), finish_reason="stop"))
                except StopIteration as stop:
                    score: TrialScore = stop.value
                events.append(
                    TrialDone(
                        trial_id=trial.trial_id, status=TrialStatus.SCORED, ended_at=instant(at_s), score=score
                    )
                )
            events.append(
                LeaseReleased(
                    run_id=run_id, key_id=shard.key_id, fence=fence, released_at=instant(at_s), reason="done"
                )
            )
            writer.record(events)
        writer.record([RunEnded(run_id=run_id, status=RunStatus.COMPLETE, ended_at=instant(at_s))])
    return plan


def scripted(request: ChatRequest) -> str:
    """Return what a model says that follows its plan, or looks for a tool and calls what it finds."""
    last = request.messages[-1].content
    steps = re.findall(r"^Step \d+\. (\w+)", request.messages[1].content, re.MULTILINE)
    done = sum("[ok]" in message.content for message in request.messages)
    if steps:
        return f"<use_tool>{steps[done]}</use_tool>" if done < len(steps) else "Task completed."
    found = re.findall(r"^tool: (\w+)", last, re.MULTILINE)
    return f"<use_tool>{found[0]}</use_tool>" if found else "<find_tool>read a file and parse it</find_tool>"


def answered(call: CallSent, outcome: Outcome = Outcome.OK) -> CallDone:
    """Return the end of a call."""
    return CallDone(
        call_id=call.call_id,
        outcome=outcome,
        sent_at=call.sent_at,
        wait_window_s=0.0,
        backoff_s=0.0,
        latency_s=0.1,
        http_status=200,
        prompt_tokens=100,
        completion_tokens=10,
        finish_reason="stop",
    )


def instant(at_s: float) -> str:
    """Return the instant `at_s` seconds into the run, below an hour."""
    return f"2025-08-26T10:{int(at_s // 60):02d}:{at_s % 60:09.6f}Z"


def change(database: Path, sql: str, *parameters: object) -> None:
    """Change the rows behind the program's back; the schema's own checks and keys are out of the way."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        assert connection.execute(sql, parameters).rowcount != 0, "the change touched no row"
        connection.commit()


def audited(database: Path, run: str | None = None) -> Audit:
    """Return the audit of a run."""
    with AuditReader.open(database) as reader:
        return audit(reader, run)


def faults_of(found: Audit) -> dict[str, int]:
    """Return how many rows do not hold, by check; only those that have some."""
    return {check.name: check.faults for check in found.checks if check.faults}


def rows_of(found: Audit, name: str) -> Iterator[tuple[str, str, str]]:
    """Yield the findings of one check as (where, expected, found)."""
    for check in found.checks:
        if check.name == name:
            yield from ((one.where, one.expected, one.found) for one in check.findings)


def _record(run_id: str, policy: str, backend: str) -> RunRecord:
    config = {
        "run": {"suite": "workflow", "suite_version": load_suite("workflow").version, "tasks": None},
        "simulator": {"speed": 1.0},
        "providers": [{"name": "p", "base_url": "https://p.example/v1"}],
        "keys": [
            {
                "key_id": f"key{n}",
                "provider": "p",
                "account": "acc",
                "env": f"KEY_{n}",
                "slots": 1,
                "limits": [{"kind": "requests", "amount": 10, "per_s": 1.0}],
            }
            for n in range(2)
        ],
        "models": [
            {
                "name": name,
                "provider": "p",
                "protocol": "text",
                "limits": [{"kind": "tokens", "amount": 2000, "per_s": 1.0}],
            }
            for name in MODELS
        ],
        "phases": [
            {
                "models": MODELS,
                "prompts": PHASE.prompts,
                "difficulties": PHASE.difficulties,
                "tool_success_rates": PHASE.tool_success_rates,
                "task_types": PHASE.task_types,
                "instances": PHASE.instances,
            }
        ],
    }
    return RunRecord(
        run_id=run_id,
        batch_id="b",
        phase=PHASE.name,
        policy=policy,
        engine="local",
        backend=backend,
        seed=7,
        config_hash="c",
        config=orjson.dumps(config).decode(),
        version="0.1",
        argv="phase 5.9",
        started_at=instant(0.0),
    )
