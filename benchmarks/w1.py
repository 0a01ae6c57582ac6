"""W1: phase 5.2's shape with one-turn dialogues, on a provider that enforces the window at arrival.

Ten shards of 60 calls, three keys of ten requests in any second. The lower bound follows from that alone: 600 calls on
30 places a second leave in 20 bursts of 30, the last of them 19 s after the first; its replies take half a second more
even when the fastest model is what was kept for the end (the slowest of ten log-normal draws with median 0.3 s and
sigma 0.3 is 0.48 s on average).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.figures import Figure
from benchmarks.workspace import Ran, StrictServer, Workspace, open_workspace, phase_command, strict_server, w1_options

SHARDS, CALLS_PER_SHARD = 10, 60
KEYS, PER_KEY_PER_S = 3, 10
LAST_REPLIES_S = 0.5
TINY_CALLS = 2


def bound_s(calls: int) -> float:
    """Return the least time from the first request to the last reply that so many calls can take."""
    bursts = -(-calls // (KEYS * PER_KEY_PER_S))
    return (bursts - 1) * 1.0 + LAST_REPLIES_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the server and the account say of one client's W1."""

    calls: int
    span_s: float  # first request to last reply
    whole_s: float  # command's start to last reply
    before_s: float  # command's start to first request
    refused: int
    lost: int
    cpu_s: float | None

    def figures(self, name: str, label: str, *, targets: bool, beside: str = "") -> Iterator[Figure]:
        """Return the result as figures; `targets` puts design's targets beside them."""
        bound = bound_s(self.calls)
        yield Figure(
            name=f"{name}_span",
            what=f"{label}: lower bound / (first request to last reply)",
            value=bound / self.span_s,
            at_least=0.97 if targets else None,
            beside=f"{bound:.1f} s / {self.span_s:.2f} s",
        )
        yield Figure(
            name=f"{name}_whole",
            what=f"{label}: lower bound / (command's start to last reply)",
            value=bound / self.whole_s,
            at_least=0.93 if targets else None,
            beside=f"{bound:.1f} s / {self.whole_s:.2f} s" + (f"; {beside}" if beside else ""),
        )
        yield Figure(
            name=f"{name}_refused",
            what=f"{label}: requests refused",
            value=self.refused,
            at_most=0 if name in MANAGED else None,
            beside=f"of {self.calls + self.refused:,} sent",
        )
        yield Figure(
            name=f"{name}_lost",
            what=f"{label}: calls finally lost",
            value=self.lost,
            at_most=0 if name in MANAGED else None,
            beside=f"of {self.calls}",
        )
        if self.cpu_s is not None:
            yield Figure(
                name=f"{name}_cpu_ms",
                what=f"{label}: processor time per call, start-up and end included",
                value=self.cpu_s / self.calls * 1e3,
                unit="ms",
                at_most=2.0 if name in MANAGED else None,
                beside=f"{self.cpu_s:.2f} s in all",
            )


MANAGED = ("pool", "serial", "batched")


def result_of(server: StrictServer, ran: Ran, *, calls: int, lost: int) -> Result:
    """Return W1's result from what the server saw and the account holds."""
    seen = server.stats()
    return Result(
        calls=calls,
        span_s=seen["last_s"] - seen["first_s"],
        whole_s=seen["last_s"] - ran.account.started_s,
        before_s=seen["first_s"] - ran.account.started_s,
        refused=sum(seen["refused"].values()),
        lost=lost,
        cpu_s=ran.account.cpu_s,
    )


def run_policy(workspace: Workspace, policy: str, calls_per_shard: int) -> Result:
    """Run W1 under a policy, on a server and a database of its own."""
    workspace.drop_db()
    with strict_server(*w1_options()) as server:
        command = phase_command(workspace, "5.2", policy, calls_per_shard, "--live")
        # 1: the run ended with trials that no reply scored; they are counted below
        ran = workspace.run(command, to={"IDEALLAB_BASE_URL": server.base_url}, may_end=(0, 1))
        ((scored,),) = workspace.rows("select count(*) from trials where status = 'scored'")
        calls = SHARDS * calls_per_shard
        return result_of(server, ran, calls=calls, lost=calls - scored)


def measure(*, tiny: bool) -> Iterator[Figure]:
    """Measure W1 under pool, serial and batched, and what a call costs beyond the start-up."""
    calls = TINY_CALLS if tiny else CALLS_PER_SHARD
    with open_workspace(questions=calls) as workspace:
        pool = run_policy(workspace, "pool", calls)
        yield from pool.figures("pool", "pool", targets=True)
        if tiny:
            return  # the rest is the same code again, and `serial` takes its time even with two calls
        short = run_policy(workspace, "pool", 1)
        if pool.cpu_s is not None and short.cpu_s is not None:
            yield Figure(
                name="pool_call_cpu_ms",
                what="pool: processor time of one more call",
                value=(pool.cpu_s - short.cpu_s) / (pool.calls - short.calls) * 1e3,
                unit="ms",
                at_most=2.0,
                beside=f"a run of {short.calls} calls took {short.cpu_s:.2f} s in all",
            )
        for policy in ("serial", "batched"):
            other = run_policy(workspace, policy, calls)
            yield from other.figures(
                policy, policy, targets=False, beside=f"{other.whole_s / pool.whole_s:.1f} times pool's time"
            )
