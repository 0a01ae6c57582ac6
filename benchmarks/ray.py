"""Engine `ray`: permits through the registry actor, W1 against the local engine, a cluster larger than this machine.

    permits: clients, each a process, ask for blocks of 1, 16 and 64 in a row, all at once
    W1:      the same command with --engine local and --engine ray; the local cluster is started and stopped by it
    crowd:   benchmarks/ray_crowd.py, with the service times that were just measured
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import psutil

from benchmarks.figures import Figure
from benchmarks.ray_crowd import Crowd, run_crowd
from benchmarks.w1 import CALLS_PER_SHARD, SHARDS, TINY_CALLS, Result, bound_s, result_of
from benchmarks.workspace import open_workspace, phase_command, strict_server, w1_options
from benchrunner.clock import SystemClock
from benchrunner.engine.ray_engine import open_cluster
from benchrunner.limits.blocks import MOST_SLOTS, Ask
from benchrunner.records import Domain, Limit, LimitKind
from benchrunner.registry.cluster import KeyClaim
from benchrunner.registry.service import KeyRow

CLIENTS, SECONDS = 4, 5.0
BLOCKS = (1, 16, MOST_SLOTS)
WIDE = (Limit(kind=LimitKind.REQUESTS, amount=10**9, per_s=1.0),)


class Client:
    """A process that asks the registry for blocks, one after the other."""

    def __init__(self, registry: list[Any], number: int) -> None:
        from benchrunner.engine.ray_registry import RegistryCalls

        self._calls = RegistryCalls(registry[0])
        self._key = f"bench-{secrets.token_hex(4)}"
        domain = Domain(name=f"key:{self._key}", label="bench", provider="bench", limits=WIDE)
        self._calls.register([domain])
        claim = KeyClaim(
            row=KeyRow(key_id=self._key, provider="bench"), model="m", shard_id="s", holder=f"bench/s/{number}",
            worker="", note="", counted=True,
        )  # fmt: skip
        lease: Any = self._calls.lease(claim, None)
        self._ask = Ask(names=(domain.name,), key=self._key, fence=lease.fence)

    def draw(self, block: int, seconds: float) -> tuple[int, int]:
        """Return how many exchanges were made, and permits had, in so many seconds."""
        clock = SystemClock()
        ask = replace(self._ask, wanted=((100, 0.0),) * block)
        until_s = clock.now_s() + seconds
        exchanges = permits = 0
        while clock.now_s() < until_s:
            _, answer = self._calls.exchange(ask)
            exchanges += 1
            permits += len(answer.slots)
        return exchanges, permits

    def live(self) -> None:
        """Return never, as a worker would."""
        threading.Event().wait()


@dataclass(slots=True)
class Cost:
    """What the registry spends: seconds of its processor for an exchange, and for each permit in it."""

    exchange_s: float = 0.0
    permit_s: float = 0.0


def measure_permits(seconds: float, cost: Cost) -> Iterator[Figure]:
    """Return the rates of all clients together, for each size of block; `cost` is filled in."""
    with open_cluster(None):
        import ray

        from benchrunner.engine.ray_registry import open_registry

        registry = open_registry()
        kind: Any = ray.remote(Client)
        clients = [kind.options(num_cpus=0).remote([registry.actor], n) for n in range(CLIENTS)]
        (itself,) = (one for one in psutil.Process().children(recursive=True) if "RegistryActor" in one.name())
        single, spent = 0.0, {}
        for block in BLOCKS:
            before_s = sum(itself.cpu_times()[:2])
            drawn = ray.get([client.draw.remote(block, seconds) for client in clients])
            spent[block] = (sum(itself.cpu_times()[:2]) - before_s) / sum(exchanges for exchanges, _ in drawn)
            permits = sum(permits for _, permits in drawn) / seconds
            exchanges = sum(exchanges for exchanges, _ in drawn) / seconds
            single = single or permits
            yield Figure(
                name=f"ray_permits_{block}",
                what=f"{CLIENTS} processes, registry actor, {block} permits an exchange",
                value=permits,
                unit="/s",
                beside=f"{exchanges:,.0f} exchanges/s"
                + ("" if block == 1 else f"; {permits / single:.1f} times one call a permit"),
            )
        first, last = BLOCKS[0], BLOCKS[-1]
        cost.permit_s = max(0.0, (spent[last] - spent[first]) / (last - first))
        cost.exchange_s = spent[first] - cost.permit_s
        yield Figure(
            name="ray_exchange_ms",
            what="registry actor: its processor's time for an exchange",
            value=cost.exchange_s * 1e3,
            unit="ms",
            beside=f"and {cost.permit_s * 1e6:.0f} us for each permit in it",
        )


def run_engine(engine: str, calls: int) -> Result:
    """Run W1 under pool on an engine, in a workspace of its own."""
    with open_workspace(questions=calls) as workspace, strict_server(*w1_options()) as server:
        workspace.env["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        command = phase_command(workspace, "5.2", "pool", calls, "--live", "--engine", engine)
        ran = workspace.run(command, to={"IDEALLAB_BASE_URL": server.base_url}, may_end=(0, 1))
        ((scored,),) = workspace.rows("select count(*) from trials where status = 'scored'")
        return result_of(server, ran, calls=SHARDS * calls, lost=SHARDS * calls - scored)


def measure_w1(calls: int) -> Iterator[Figure]:
    """Return W1 on ray beside W1 on local."""
    local, ray = run_engine("local", calls), run_engine("ray", calls)
    bound = bound_s(SHARDS * calls)
    yield Figure(
        name="ray_w1_span",
        what="W1 on ray: lower bound / (first request to last reply)",
        value=bound / ray.span_s,
        beside=f"local in the same run: {bound / local.span_s:.3f}",
    )
    yield Figure(
        name="ray_w1_before",
        what="W1 on ray: command's start to first request, a cluster started",
        value=ray.before_s,
        unit="s",
        beside=f"local: {local.before_s:.2f} s",
    )
    yield Figure(name="ray_w1_refused", what="W1 on ray: requests refused", value=ray.refused, at_most=0)
    yield Figure(name="ray_w1_lost", what="W1 on ray: calls finally lost", value=ray.lost, at_most=0)


def measure_crowd(cost: Cost, *, tiny: bool) -> Iterator[Figure]:
    """Return what a cluster of 1,000 keys and 10,000 workers asks of its registries, under the virtual clock.

    Twice: ten workers share each key (slots = 10), and a worker has a key for itself, with as many dialogues.
    """
    shared = Crowd(exchange_s=cost.exchange_s, permit_s=cost.permit_s)
    own = replace(shared, workers_per_key=1, dialogues=30)
    if tiny:
        shared, own = (replace(one, keys=50, seconds=6.0) for one in (shared, own))
    for crowd, registries in ((own, 1), (own, 4), (own, 8), (shared, 1), (shared, 8), (shared, 24)):
        found = run_crowd(crowd, registries=registries)
        yield Figure(
            name=f"ray_crowd_{crowd.workers_per_key}_{registries}",
            what=f"{crowd.keys:,} keys, {crowd.workers:,} workers, {crowd.workers * crowd.dialogues:,} dialogues,"
            f" registries: {registries}; share of the limits used",
            value=found.used,
            beside=f"registry busy {found.busy:.0%}, {found.exchanges_per_s:,.0f} exchanges/s each, answer "
            f"p99 {found.answer_p99_s * 1e3:,.0f} ms, {found.refused} refused",
        )


def measure(*, tiny: bool) -> Iterator[Figure]:
    """Measure all three."""
    cost = Cost()
    yield from measure_permits(0.5 if tiny else SECONDS, cost)
    yield from measure_w1(TINY_CALLS if tiny else CALLS_PER_SHARD)
    yield from measure_crowd(cost, tiny=tiny)
