"""W1 as others do it, on the same server, in an environment of their own (`make bench-peers`)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.w1 import CALLS_PER_SHARD, SHARDS, TINY_CALLS, result_of, run_policy
from benchmarks.workspace import LATENCIES_S, ROOT, open_workspace, strict_server, w1_options

PYTHON = ROOT / ".venv-peers" / "bin" / "python"
PEERS = {
    "asyncio_client": "asyncio + httpx + aiolimiter, by hand",
    "openai_threads": "openai client, 30 threads",
    "inspect_eval": "Inspect AI",
}


def measure(*, tiny: bool) -> Iterator[Figure]:
    """Measure W1 under pool and by every peer, one after the other; nothing where there is no .venv-peers."""
    if not PYTHON.exists():
        print("  no .venv-peers here: `make bench-peers` installs the peers", file=sys.stderr)
        return
    calls_per_shard = TINY_CALLS if tiny else CALLS_PER_SHARD
    calls = SHARDS * calls_per_shard
    with open_workspace(questions=calls_per_shard) as workspace:
        ours = run_policy(workspace, "pool", calls_per_shard)
        yield Figure(
            name="ours_whole",
            what="benchrunner, pool: command's start to last reply",
            value=ours.whole_s,
            unit="s",
            beside=f"{ours.refused} refused, {ours.lost} lost",
        )
        for name, label in PEERS.items():
            script = Path(__file__).parent / f"{name}.py"
            arguments = [str(workspace.tasks), str(calls_per_shard), *LATENCIES_S]
            with strict_server(*w1_options()) as server:
                ran = workspace.run([str(PYTHON), str(script), server.base_url, *arguments])
                theirs = result_of(server, ran, calls=calls, lost=int(ran.out.split()[-1]))
            yield from theirs.figures(
                name, label, targets=False, beside=f"{theirs.whole_s / ours.whole_s:.2f} times benchrunner's time"
            )
