"""How long until something happens: `--help`, the first request of ten shards, the plan of all five phases."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from statistics import median

from benchmarks.figures import Figure
from benchmarks.w1 import run_policy
from benchmarks.workspace import Workspace, benchrunner, open_workspace

ROUNDS = 5
ALL_PHASES = ("5.1", "5.2", "5.3", "5.4", "5.5")


def measure(*, tiny: bool) -> Iterator[Figure]:
    """Measure medians of five; files are in the page cache by then, as they are for whoever runs a command twice."""
    rounds = 1 if tiny else ROUNDS
    with open_workspace(questions=1) as workspace:
        bare_s = _median_s(workspace, [sys.executable, "-c", "pass"], rounds)
        help_s = _median_s(workspace, benchrunner("--help"), rounds)
        yield Figure(
            name="help_s",
            what="benchrunner --help",
            value=help_s,
            unit="s",
            at_most=0.2,
            beside=f"{help_s / bare_s:.1f} times an empty Python's {bare_s:.3f} s",
        )
        plan_s = _median_s(workspace, benchrunner("plan", *ALL_PHASES), 1 if tiny else 3)
        yield Figure(name="plan_s", what="benchrunner plan of all five phases", value=plan_s, unit="s", at_most=5.0)
        firsts = [run_policy(workspace, "pool", 1) for _ in range(rounds)]
        yield Figure(
            name="first_request_s",
            what="command to first request, ten shards",
            value=median(first.before_s for first in firsts),
            unit="s",
            at_most=1.5,
            beside=f"{min(f.before_s for f in firsts):.2f} to {max(f.before_s for f in firsts):.2f} s in {rounds} runs"
            f", load {os.getloadavg()[0]:.1f}",
        )


def _median_s(workspace: Workspace, command: list[str], rounds: int) -> float:
    accounts = [workspace.run(command).account for _ in range(rounds)]
    return median(account.ended_s - account.started_s for account in accounts)
