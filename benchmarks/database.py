"""What the commands that read a database cost when it holds 1,000,000 calls."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from benchmarks import writer
from benchmarks.figures import Figure
from benchmarks.workspace import benchrunner, open_workspace

CALLS = 1_000_000
BIG_BATCH = 20_000
ROUNDS = 3
MIB = 2**20


def measure(*, tiny: bool) -> Iterator[Figure]:
    """Measure each command from its start to its end; the file has been written just before."""
    calls = 2_000 if tiny else CALLS
    with open_workspace(questions=1) as workspace:
        trials = writer.plan(workspace.db, calls // writer.CALLS_PER_TRIAL)
        writer.fill(workspace.db, trials, 0, calls, batch=BIG_BATCH)
        size = workspace.db.stat().st_size / MIB
        for name, command in {"runs": ["runs"], "show": ["show", "bench"], "report": ["report", "bench"]}.items():
            accounts = [workspace.run(benchrunner(*command)).account for _ in range(1 if tiny else ROUNDS)]
            yield Figure(
                name=f"{name}_s",
                what=f"benchrunner {name}, {calls:,} calls",
                value=median(account.ended_s - account.started_s for account in accounts),
                unit="s",
                at_most=3.0,
                beside=f"{size:,.0f} MiB",
            )
