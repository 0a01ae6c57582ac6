"""The figures of a run while it runs, and the seam to whatever shows them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from benchrunner.engine.books import KeyState
from benchrunner.engine.messages import CallEnded
from benchrunner.engine.state import RunState
from benchrunner.records import DomainUse, Key, KeyProgress, Outcome, ProgressSnapshot, ShardProgress

RATE_OVER_S = 10.0


class ProgressView(Protocol):
    """What shows a run: a live display, plain lines, or nothing."""

    def start(self) -> None:
        """Begin to show."""
        ...

    def update(self, snapshot: ProgressSnapshot) -> None:
        """Show this state; called a few times a second from the supervisor's thread, must not block."""
        ...

    def line(self, text: str) -> None:
        """Tell one thing that happened."""
        ...

    def stop(self) -> None:
        """Leave the terminal as it was."""
        ...


def _health(key: KeyState, now_s: float) -> str:
    if key.retired:
        return "retired"
    if now_s < key.parked_until_s:
        return "parked"
    return "usable" if key.usable(now_s) else "held by another run"


class LiveFigures:
    """Counts calls per key and puts snapshots together."""

    def __init__(
        self,
        *,
        run_id: str,
        phase: str,
        policy: str,
        backend: str,
        keys: Mapping[str, Key],
        key_rates: Mapping[str, float],
        started_s: float,
        lower_bound_s: float,
        domains: Callable[[], Sequence[DomainUse]],
    ) -> None:
        """`domains` returns the keys' domains as they stand, labelled by key id; asked a few times a second."""
        self._run_id, self._phase, self._policy, self._backend = run_id, phase, policy, backend
        self._keys, self._rates, self._started_s = keys, key_rates, started_s
        self._lower_bound_s, self._domains = lower_bound_s, domains
        self._recent: dict[str, deque[float]] = {key_id: deque() for key_id in keys}
        self._refused: dict[str, int] = dict.fromkeys(keys, 0)
        self.calls = self.refused = self.tokens = 0
        self.first_call_s: float | None = None
        self.last_reply_s: float | None = None

    def sent(self, key_id: str, now_s: float) -> None:
        """Count a call that leaves."""
        self.calls += 1
        if self.first_call_s is None:
            self.first_call_s = now_s
        self._recent[key_id].append(now_s)

    def ended(self, key_id: str, message: CallEnded, now_s: float) -> None:
        """Count how a call ended."""
        self.last_reply_s = now_s
        self.tokens += (message.prompt_tokens or 0) + (message.completion_tokens or 0)
        if message.outcome is Outcome.RATE_LIMITED:
            self.refused += 1
            self._refused[key_id] += 1

    def snapshot(self, state: RunState, now_s: float) -> ProgressSnapshot:
        """Return the run as it stands at `now_s`."""
        shards = tuple(
            ShardProgress(
                label=s.shard.label,
                model=s.shard.model,
                status=s.status,
                scored=s.scored,
                invalid=s.invalid,
                running=s.running,
                total=s.total,
                keys=tuple(state.workers[w].key_id for w in s.workers if not state.workers[w].released),
            )
            for s in state.shards.values()
        )
        return ProgressSnapshot(
            run_id=self._run_id,
            phase=self._phase,
            policy=self._policy,
            backend=self._backend,
            elapsed_s=now_s - self._started_s,
            shards=shards,
            keys=self._key_rows(state, now_s),
            scored=sum(s.scored for s in shards),
            invalid=sum(s.invalid for s in shards),
            total=sum(s.total for s in shards),
            calls=self.calls,
            refused=self.refused,
            tokens=self.tokens,
            eta_s=self._eta_s(state),
            lower_bound_s=self._lower_bound_s,
        )

    def _key_rows(self, state: RunState, now_s: float) -> tuple[KeyProgress, ...]:
        paused = {use.label: use.paused_for_s for use in self._domains()}
        serving: dict[str, list[str]] = {key_id: [] for key_id in self._keys}
        for worker in state.workers.values():
            if not worker.released:
                serving[worker.key_id].append(state.shards[worker.shard_id].shard.model)
        rows = []
        for key_id in self._keys:
            recent = self._recent[key_id]
            while recent and recent[0] < now_s - RATE_OVER_S:
                recent.popleft()
            over_s = min(RATE_OVER_S, max(1.0, now_s - (self.first_call_s or now_s)))
            key = state.keys[key_id]
            rows.append(
                KeyProgress(
                    key_id=key_id,
                    requests_per_s=len(recent) / over_s,
                    limit_per_s=self._rates[key_id],
                    models=tuple(serving[key_id]),
                    paused_for_s=paused.get(key_id, 0.0),
                    refused=self._refused[key_id],
                    health=_health(key, now_s),
                )
            )
        return tuple(rows)

    def _eta_s(self, state: RunState) -> float | None:
        """Return the time the work left takes if every usable key is kept busy: capacity, not recent speed."""
        by_provider: dict[str, float] = {}
        for shard in state.shards.values():
            left_s = state.expected_s(shard)
            by_provider[shard.shard.provider] = by_provider.get(shard.shard.provider, 0.0) + left_s
        estimates = []
        for provider, left_s in by_provider.items():
            if not left_s:
                continue
            keys = [k for k in state.keys.values() if k.setup.provider == provider and not k.retired]
            if not keys:
                return None
            bounded = all(k.setup.slots for k in keys)
            active = [state.expected_s(s) for s in state.shards.values() if s.shard.provider == provider]
            estimates.append(left_s / len(keys) if bounded else max(active))
        return max(estimates, default=0.0)
