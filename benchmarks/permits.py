"""Permits per second: 8 processes reserve on one domain that never makes them wait. Prints figures beside targets.

    python benchmarks/permits.py [--processes 8] [--permits 40000] [--json]

Also printed: the three calls of one request's life (reserve, spend, settle), and a reserve behind a queue.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from benchrunner.clock import SystemClock
from benchrunner.records import Domain, Limit, LimitKind
from benchrunner.registry.shared_windows import SharedWindows

TARGETS = {"permits_per_s": ">= 100,000", "p50_us": "<= 10", "p99_us": "< 1,000"}
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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--permits", type=int, default=40_000, help="per process")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        together = measure_together(Path(directory) / "together.bin", options.processes, options.permits)
        alone = measure_alone(Path(directory) / "alone.bin")
    if options.json:
        print(json.dumps({"processes": options.processes, "cores": os.cpu_count(), **together, **alone}))
        return
    print(f"{options.processes} processes, one domain, {os.cpu_count()} cores, Python {platform.python_version()}")
    for name, value in together.items():
        print(f"  {name:<40} {value:>12,.1f}   target {TARGETS.get(name, '-')}")
    print("one process")
    for name, value in alone.items():
        print(f"  {name:<40} {value:>12,.1f}")


if __name__ == "__main__":
    main()
