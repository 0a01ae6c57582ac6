"""Calls per second with 300 dialogues in flight and no limit set: what the runner itself can carry.

The provider runs on the same cores. So it is measured twice: on the strict provider, which does next to nothing per
call, and on the embedded one, which thinks about its replies; and beside each the processor time the run itself took.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from benchmarks.figures import Figure
from benchmarks.workspace import BROAD, add_broad_phase, open_workspace, phase_command, strict_server

IN_FLIGHT = 300
CALLS_PER_SHARD = 2000
LATENCY_S = 0.3


def measure(*, tiny: bool) -> Iterator[Figure]:
    """Measure both providers."""
    per_shard = 40 if tiny else CALLS_PER_SHARD
    calls = per_shard * len(BROAD)
    with open_workspace(questions=per_shard) as workspace:
        add_broad_phase(workspace, dialogues=IN_FLIGHT)
        with (workspace.path / "phases.toml").open("a") as config:
            for model in BROAD:
                config.write(f'\n[models."{model}".simulated]\nlatency_s = {LATENCY_S}\n')
        with strict_server("--limit", "0", "--latency", str(LATENCY_S)) as server:
            command = phase_command(workspace, "broad", "pool", per_shard, "--live")
            ran = workspace.run(command, to={"IDEALLAB_BASE_URL": server.base_url})
            seen = server.stats()
        rate = calls / seen["span_s"]
        yield Figure(
            name="strict_calls_per_s",
            what=f"strict provider, {LATENCY_S} s a reply, {IN_FLIGHT} dialogues in flight",
            value=rate,
            unit="calls/s",
            at_least=400,
            beside=f"{rate * LATENCY_S / IN_FLIGHT:.2f} of what {IN_FLIGHT} dialogues ask; {os.cpu_count()} cores",
        )
        if ran.account.cpu_s is not None:
            yield Figure(
                name="strict_cpu_ms",
                what="the same: processor time of the runner per call",
                value=ran.account.cpu_s / calls * 1e3,
                unit="ms",
                at_most=2.0,
                beside=f"{ran.account.cpu_s:.1f} s in all, start-up included",
            )
        workspace.drop_db()
        workspace.run(phase_command(workspace, "broad", "pool", per_shard, "--simulated"))
        ((span_s,),) = workspace.rows(
            "select 86400.0 * (max(julianday(sent_at) + latency_s / 86400.0) - min(julianday(sent_at))) from calls"
        )
        yield Figure(
            name="embedded_calls_per_s",
            what="embedded provider, the same",
            value=calls / span_s,
            unit="calls/s",
            beside=f"{calls / span_s / rate:.2f} of the strict provider's figure",
        )
