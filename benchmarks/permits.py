"""Permits per second: 8 processes reserve on one domain that never makes them wait.

Also: the three calls of one request's life (reserve, spend, settle), and a reserve behind a queue.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from fcntl import LOCK_EX, LOCK_UN, flock
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.figures import Figure
from benchrunner.clock import SystemClock
from benchrunner.records import Domain, Limit, LimitKind
from benchrunner.registry.shared_windows import SharedWindows

PROCESSES, PERMITS = 8, 40_000
WIDE = Domain(
    name="key:bench", label="bench", provider="bench",
    limits=(Limit(kind=LimitKind.REQUESTS, amount=10**12, per_s=1.0),),
)  # fmt: skip
BUSY = Domain(
    name="key:busy", label="busy", provider="bench",
    limits=(Limit(kind=LimitKind.REQUESTS, amount=10, per_s=1.0),),
)  # fmt: skip
FULL = Domain(
    name="model:busy", label="busy", provider="bench",
    limits=(
        Limit(kind=LimitKind.REQUESTS, amount=10_000, per_s=60.0),
        Limit(kind=LimitKind.TOKENS, amount=40_000_000, per_s=60.0),
    ),
)  # fmt: skip


def hammer(path: Path, permits: int, pipe: Connection) -> None:
    """Reserve as fast as it goes and send back every duration, between a common start and one's own end."""
    windows = SharedWindows(path, SystemClock())
    windows.register([WIDE])
    names, now, reserve = (WIDE.name,), time.perf_counter, windows.reserve
    took = [0.0] * permits
    pipe.send("ready")
    pipe.recv()
    started = now()
    for i in range(permits):
        before = now()
        reserve(names)
        took[i] = now() - before
    pipe.send((started, now(), took))
    windows.close()


def measure_together(path: Path, processes: int, permits: int) -> dict[str, float]:
    """Return the rate of all processes together and the percentiles over every single permit."""
    context = multiprocessing.get_context("spawn")
    pipes, workers = [], []
    for _ in range(processes):
        ours, theirs = context.Pipe()
        worker = context.Process(target=hammer, args=(path, permits, theirs))
        worker.start()
        pipes.append(ours)
        workers.append(worker)
    for pipe in pipes:
        pipe.recv()
    for pipe in pipes:
        pipe.send("go")
    results = [pipe.recv() for pipe in pipes]
    for worker in workers:
        worker.join()
    took = sorted(duration for _, _, durations in results for duration in durations)
    elapsed = max(ended for _, ended, _ in results) - min(started for started, _, _ in results)
    granted = len(took)
    return {
        "permits_per_s": granted / elapsed,
        "p50_us": took[granted // 2] * 1e6,
        "p99_us": took[granted * 99 // 100] * 1e6,
        "max_us": took[-1] * 1e6,
    }


def measure_alone(path: Path) -> dict[str, float]:
    """Return microseconds per call of one process: alone, over key and model domain at once, behind a queue."""
    windows = SharedWindows(path, SystemClock())
    windows.register([WIDE, BUSY, FULL])
    rounds, now = 5_000, time.perf_counter
    started = now()
    for _ in range(rounds):
        windows.reserve((WIDE.name,))
    alone = now() - started
    spent = []
    started = now()
    for _ in range(rounds):
        permit, _ = windows.spend(windows.reserve((WIDE.name, FULL.name), tokens=2_500))
        spent.append(permit)
    both = now() - started
    started = now()
    for permit in spent[-500:]:
        windows.settle(permit, 2_400)
    settled = now() - started
    started = now()
    queue = [windows.reserve((BUSY.name,)) for _ in range(300)]
    queued = now() - started
    for permit in reversed(queue):
        windows.give_back(permit)
    windows.close()
    return {
        "reserve_us": alone / rounds * 1e6,
        "reserve_and_spend_on_three_windows_us": both / rounds * 1e6,
        "settle_behind_250_later_calls_us": settled / 500 * 1e6,
        "reserve_in_a_queue_of_300_us": queued / 300 * 1e6,
    }


LABELS = {
    "p50_us": "the same: median",
    "p99_us": "the same: 99th percentile",
    "max_us": "the same: longest",
    "reserve_us": "one process: reserve",
    "reserve_and_spend_on_three_windows_us": "one process: reserve and spend, key and model, three windows",
    "settle_behind_250_later_calls_us": "one process: settle tokens behind 250 later calls",
    "reserve_in_a_queue_of_300_us": "one process: reserve in a queue of 300",
}
AT_MOST = {"p50_us": 10.0, "p99_us": 1000.0}


def measure(*, tiny: bool) -> Iterator[Figure]:
    """Measure all processes together, then one alone; beside the rate, what a bare lock and an append would reach."""
    permits = 500 if tiny else PERMITS
    with tempfile.TemporaryDirectory(prefix="benchrunner-bench-") as directory:
        together = measure_together(Path(directory) / "together.bin", PROCESSES, permits)
        alone = measure_alone(Path(directory) / "alone.bin")
        bare_us = measure_bare_lock(Path(directory) / "bare.lock")
    rate = together.pop("permits_per_s")
    yield Figure(
        name="permits_per_s",
        what=f"{PROCESSES} processes on one domain, permits of all",
        value=rate,
        unit="/s",
        at_least=100_000,
        beside=f"{rate * bare_us / 1e6:.2f} of one process that only locks and unlocks the file",
    )
    for name, value in (together | alone).items():
        yield Figure(name=name, what=LABELS[name], value=value, unit="us", at_most=AT_MOST.get(name))


def measure_bare_lock(path: Path) -> float:
    """Return microseconds of one kernel lock and unlock, nothing between: what no permit can cost less than."""
    rounds = 20_000
    with path.open("w") as file:
        started = time.perf_counter()
        for _ in range(rounds):
            flock(file, LOCK_EX)
            flock(file, LOCK_UN)
        return (time.perf_counter() - started) / rounds * 1e6
