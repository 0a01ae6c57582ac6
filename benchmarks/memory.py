"""Memory over a run of 13,000 trials without latency: the supervisor, the largest worker, and how much they grow.

Resident memory is what is read, pages shared with the fork server included. Growth is the median of the last fifth of
the samples less the median of the second fifth: the first holds the start, where every page is new.
"""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from statistics import median

import psutil

from benchmarks.figures import Figure
from benchmarks.workspace import BROAD, Workspace, add_broad_phase, open_workspace, phase_command

TRIALS = 13_000
EVERY_S, EVERY_TINY_S = 0.25, 0.02
"""A tiny run's workers live for some tenths of a second, and each must be seen at least once."""

IN_FLIGHT = 90
MIB = 2**20


def measure(*, tiny: bool) -> Iterator[Figure]:
    """Measure one run on the embedded provider."""
    per_shard = 300 if tiny else -(-TRIALS // len(BROAD))
    with open_workspace(questions=per_shard) as workspace:
        add_broad_phase(workspace, dialogues=IN_FLIGHT)
        workspace.edit_config("[simulator]\n", "[simulator]\nlatency = false\n")
        process = workspace.start(phase_command(workspace, "broad", "pool", per_shard, "--simulated"))
        samples = _watch(process, EVERY_TINY_S if tiny else EVERY_S)
        workspace.finish(process)
        supervisor, workers = _told_apart(workspace, samples)
    yield Figure(
        name="supervisor_mib",
        what=f"supervisor at its largest, {per_shard * len(BROAD):,} trials",
        value=max(supervisor) / MIB,
        unit="MiB",
        at_most=150,
        beside=f"grew by {_growth(supervisor) / MIB:.1f} MiB",
    )
    yield Figure(
        name="worker_mib",
        what=f"largest worker, {IN_FLIGHT // len(BROAD)} dialogues",
        value=max(max(sizes) for sizes in workers) / MIB,
        unit="MiB",
        at_most=70,
        beside=f"{len(workers)} workers seen",
    )
    yield Figure(
        name="growth_bytes_per_trial",
        what="growth of supervisor and workers, per trial",
        value=(_growth(supervisor) + sum(_growth(sizes) for sizes in workers)) / (per_shard * len(BROAD)),
        unit="bytes",
        at_most=400,
        beside="none wanted; less than a trial's record is noise of the allocator",
    )


def _watch(wrapper: subprocess.Popen[str], every_s: float) -> dict[int, list[int]]:
    """Return what every process below the wrapper had resident, sampled until it ends."""
    top = psutil.Process(wrapper.pid)
    samples: dict[int, list[int]] = defaultdict(list)
    while wrapper.poll() is None:
        with suppress(psutil.NoSuchProcess):
            for process in top.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    samples[process.pid].append(process.memory_info().rss)
        with suppress(subprocess.TimeoutExpired):
            wrapper.wait(every_s)
    return samples


def _told_apart(workspace: Workspace, samples: dict[int, list[int]]) -> tuple[list[int], list[list[int]]]:
    """Return the supervisor's samples, and those of each worker that held a lease."""
    leased = {pid for (pid,) in workspace.rows("select distinct worker_pid from leases")}
    # The command is the wrapper's first and only child; everything else was started by it, later.
    supervisor = next(iter(samples))
    return samples[supervisor], [samples[pid] for pid in leased if pid in samples]


def _growth(sizes: list[int]) -> float:
    """Return the growth; 0.0 for a process that was seen too briefly to tell."""
    fifth = len(sizes) // 5
    return median(sizes[-fifth:]) - median(sizes[fifth : 2 * fifth]) if fifth else 0.0
