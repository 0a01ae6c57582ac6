"""A stub suite and small entries to plan with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchrunner.records import (
    KeyEntry,
    Limit,
    LimitKind,
    ModelEntry,
    Phase,
    PhaseOrder,
    ShardOrder,
    Task,
    Trial,
)
from benchrunner.suites.base import Dialogue


class StubSuite:
    """Tasks that carry in their body what they were made from; ten calls a trial."""

    name = "stub"
    version = "1"
    task_types: tuple[str, ...] = ("simple", "hard")
    prompts: tuple[str, ...] = ("optimal", "cot", "flaw_a", "flaw_b", "flaw_c")
    difficulties: tuple[str, ...] = ("very_easy", "easy", "medium")
    max_turns = 10
    calls = 10.0

    def __init__(self, shortage: int = 0, *, one_turn: bool = False) -> None:
        self.shortage = shortage
        if one_turn:
            self.max_turns, self.calls = 1, 1.0

    def tasks(self, *, seed: int, phase: str, difficulty: str, task_type: str, count: int) -> tuple[Task, ...]:
        return tuple(
            Task(
                task_id=f"{task_type}-{n}",
                task_type=task_type,
                difficulty=difficulty,
                body=f"{seed}/{phase}/{difficulty}/{task_type}/{n}",
            )
            for n in range(count - self.shortage)
        )

    def expected_calls(self, *, prompt: str, task_type: str) -> float:
        return self.calls

    def dialogue(self, trial: Trial, task: Task, *, protocol: str = "text") -> Dialogue:
        raise AssertionError("planning holds no dialogue")


def requests_per_s(amount: int, per_s: float = 1.0) -> Limit:
    return Limit(kind=LimitKind.REQUESTS, amount=amount, per_s=per_s)


def model_entry(name: str, key_id: str, **changes: Any) -> ModelEntry:
    entry = ModelEntry(name=name, provider="gate", key_id=key_id, deployments=(name,), limits=())
    return replace(entry, **changes)


def key_entry(key_id: str, **changes: Any) -> KeyEntry:
    entry = KeyEntry(
        key_id=key_id, provider="gate", env=key_id.upper(), account="acme", limits=(requests_per_s(10),), slots=1
    )
    return replace(entry, **changes)


def phase_of(*models: str, **changes: Any) -> Phase:
    phase = Phase(
        name="9.1",
        title="",
        models=models,
        prompts=("optimal",),
        difficulties=("easy",),
        task_types=None,
        instances=20,
        tool_success_rates=(0.8,),
        order=PhaseOrder.SERIAL,
        groups=(),
        stagger_s=0.0,
        shard_order=ShardOrder.MODELS,
        policy="pool",
    )
    return replace(phase, **changes)


FIVE = (
    model_entry("m72", "key0", expected_call_s=1.2),
    model_entry("m32", "key1", expected_call_s=0.9),
    model_entry("m14", "key2", expected_call_s=0.6),
    model_entry("m7", "key0", expected_call_s=0.4),
    model_entry("m3", "key1", expected_call_s=0.3),
)
THREE_KEYS = (key_entry("key0"), key_entry("key1"), key_entry("key2"))
