"""Whether a trial costs the same in a large run as in a small one.

Whole runs of one-turn trials, on a strict provider that neither limits nor waits, by processor time less that of the
smallest run; and planning and RunState alone, where 100,000 trials take seconds.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from statistics import median

from benchmarks.figures import Figure
from benchmarks.workspace import BROAD, Workspace, add_broad_phase, open_workspace, phase_command, strict_server
from benchrunner.engine import events as ev
from benchrunner.engine.books import KeySetup, Rules
from benchrunner.engine.state import RunState
from benchrunner.planning.sharding import plan_phase
from benchrunner.policies import make_policy
from benchrunner.records import (
    Level,
    ModelEntry,
    Outcome,
    Phase,
    PhaseOrder,
    ShardOrder,
    TrialScore,
    TrialStatus,
)
from benchrunner.suites import load_suite

BASE, SIZES = 30, (99, 999, 9_999)
ROUNDS = 3
PURE_SIZES = (100, 1_000, 10_000, 100_000)
IN_FLIGHT = 90
FLAT = 1.5
KEYS = ("key0", "key1", "key2")
RIGHT = TrialScore(
    level=Level.FULL, workflow_score=1.0, phase2_score=1.0, quality_score=1.0, final_score=1.0, error_class="",
    turns=1, tool_calls=0, transcript="[]",
)  # fmt: skip


def measure(*, tiny: bool) -> Iterator[Figure]:
    """Measure pure growth first, then whole runs."""
    yield from _pure(PURE_SIZES[:2] if tiny else PURE_SIZES)
    yield from _whole(SIZES[:1] if tiny else SIZES, rounds=1 if tiny else ROUNDS)


def _pure(sizes: tuple[int, ...]) -> Iterator[Figure]:
    costs_us = {size: play(size) / size * 1e6 for size in sizes}
    for size, cost_us in costs_us.items():
        what = f"planning + RunState, {size:,} trials, each"
        yield Figure(name=f"pure_{size}_us", what=what, value=cost_us, unit="us")
    first, last = sizes[0], sizes[-1]
    yield Figure(
        name="pure_growth",
        what=f"the same: a trial among {last:,} against one among {first:,}",
        value=costs_us[last] / costs_us[first],
        at_most=FLAT,
    )


def play(trials: int) -> float:
    """Return the processor seconds that planning so many trials, and RunState through all of them, take."""
    suite = load_suite("workflow")
    models = tuple(_entry(f"model-{n}", KEYS[n % len(KEYS)]) for n in range(5))
    # Prompts cross with everything, so the count is met by instances; rounded down to a whole number of them.
    cells = len(models) * 2 * len(suite.task_types)
    phase = Phase(
        name="growth", title="", models=tuple(model.name for model in models), prompts=("optimal",),
        difficulties=suite.difficulties[:2], task_types=None, instances=max(1, trials // cells),
        tool_success_rates=(0.8,), order=PhaseOrder.CONCURRENT, groups=(), stagger_s=0.0,
        shard_order=ShardOrder.MODELS, policy="pool",
    )  # fmt: skip
    started_s = time.process_time()
    plan = plan_phase(phase, models, suite, run_id="growth", seed=1)
    state = RunState(
        run_id="growth",
        shards=plan.shards,
        keys=[KeySetup(key_id=key, provider="p", slots=1, rate_per_s=1000.0, burst=float("inf")) for key in KEYS],
        policy=make_policy("pool", order="concurrent", stagger_s=0.0, batch_size=3),
        rules=Rules(),
    )
    todo: deque[ev.Event] = deque([ev.Tick()])
    now_s, at = 0.0, "2025-08-26T00:00:00.000000Z"
    while state.ended is None:
        now_s += 0.001
        for command in state.handle(todo.popleft() if todo else ev.Tick(), now_s, at):
            match command:
                case ev.Assign():
                    for trial_id in command.trial_ids:
                        worker = command.worker_id
                        todo.append(ev.CallLeaves(worker_id=worker, wait_window_s=0.1))
                        todo.append(ev.CallFinished(worker_id=worker, outcome=Outcome.OK, latency_s=0.1, answered=True))
                        todo.append(
                            ev.TrialFinished(
                                worker_id=worker, trial_id=trial_id, status=TrialStatus.SCORED, score=RIGHT,
                                cause="", detail="", turns=1,
                            )
                        )  # fmt: skip
                case ev.StopWorker():
                    todo.append(ev.WorkerExited(worker_id=command.worker_id, exit_code=0))
                case _:
                    pass
    return time.process_time() - started_s


def _entry(name: str, key_id: str) -> ModelEntry:
    return ModelEntry(name=name, provider="p", key_id=key_id, deployments=(name,), limits=())


def _whole(sizes: tuple[int, ...], *, rounds: int) -> Iterator[Figure]:
    with open_workspace(questions=sizes[-1] // len(BROAD)) as workspace:
        add_broad_phase(workspace, dialogues=IN_FLIGHT)
        base_s = _cpu_s(workspace, BASE, rounds=rounds)
        if base_s is None:
            return  # processor time is not to be had here (accounting.py)
        costs_ms = {}
        for size in sizes:
            # What a start costs differs by as much as a hundred trials take.
            cpu_s = _cpu_s(workspace, size, rounds=rounds if size < 10 * BASE else 1)
            assert cpu_s is not None
            costs_ms[size] = (cpu_s - base_s) / (size - BASE) * 1e3
            yield Figure(
                name=f"run_{size}_ms",
                what=f"whole run, {size:,} trials: processor time of each beyond the first {BASE}",
                value=costs_ms[size],
                unit="ms",
            )
        yield Figure(
            name="run_growth",
            what=f"the same: a trial among {sizes[-1]:,} against one among {sizes[len(sizes) // 2]:,}",
            value=costs_ms[sizes[-1]] / costs_ms[sizes[len(sizes) // 2]],
            at_most=FLAT,
        )


def _cpu_s(workspace: Workspace, trials: int, *, rounds: int) -> float | None:
    """Return the processor time of a run, the median of `rounds`; None where it is not to be had."""
    taken: list[float] = []
    for _ in range(rounds):
        workspace.drop_db()
        with strict_server("--limit", "0", "--latency", "0") as server:
            command = phase_command(workspace, "broad", "pool", trials // len(BROAD), "--live")
            cpu_s = workspace.run(command, to={"IDEALLAB_BASE_URL": server.base_url}).account.cpu_s
        if cpu_s is None:
            return None
        taken.append(cpu_s)
    return median(taken)
