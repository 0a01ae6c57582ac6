"""The figures of a run while it runs, and the seam to whatever shows them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from benchrunner.engine.books import ShardState
from benchrunner.engine.bottleneck import Waits, binding_text, fullness
from benchrunner.engine.messages import CallEnded
from benchrunner.engine.rations import waits_for_key
from benchrunner.engine.state import RunState
from benchrunner.engine.time_left import TimeLeft
from benchrunner.planning.forecast import World
from benchrunner.records import (
    DomainUse,
    Key,
    KeyEvent,
    KeyProgress,
    LimitKind,
    Outcome,
    ProgressSnapshot,
    ShardProgress,
    StoreEvent,
    TrialDone,
    TrialStatus,
    WindowProgress,
)

RATE_OVER_S = 10.0


class ProgressView(Protocol):
    """What shows a run: a live display, plain lines, or nothing."""

    wants_every_s: float
    """How often it has a use for the run's figures; inf: never. They cost a millisecond, and now and then twenty."""

    def start(self) -> None:
        """Begin to show."""
        ...

    def update(self, snapshot: ProgressSnapshot) -> None:
        """Show this state; called every `wants_every_s` from the supervisor's thread, must not block."""
        ...

    def line(self, text: str) -> None:
        """Tell one thing that happened."""
        ...

    def stop(self) -> None:
        """Leave the terminal as it was."""
        ...


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
        world: World,
    ) -> None:
        """`domains` returns the run's domains as they stand; asked a few times a second. `world`: its forecast's."""
        self._run_id, self._phase, self._policy, self._backend = run_id, phase, policy, backend
        self._keys, self._rates, self._started_s = keys, key_rates, started_s
        self._lower_bound_s, self._domains = lower_bound_s, domains
        self._managed = world.policy.managed
        self._time_left = TimeLeft(world)
        self._recent: dict[str, deque[float]] = {key_id: deque() for key_id in keys}
        self._kept_s = {key_id: max([RATE_OVER_S, *(limit.per_s for limit in keys[key_id].limits)]) for key_id in keys}
        self._waits = {key_id: Waits() for key_id in keys}
        self._refused: dict[str, int] = dict.fromkeys(keys, 0)
        self._reasons: dict[str, str] = {}  # a key or domain's label -> why it was last paused, parked or retired
        self._causes: Counter[str] = Counter()
        self.calls = self.refused = self.tokens = 0
        self.first_call_s: float | None = None
        self.last_reply_s: float | None = None

    def sent(self, key_id: str, now_s: float, *, trial_id: str = "", turn: int = 0) -> None:
        """Count a call that leaves, the `turn`-th (from 0) of its trial."""
        self.calls += 1
        if self.first_call_s is None:
            self.first_call_s = now_s
        self._recent[key_id].append(now_s)
        if trial_id:
            self._time_left.call_leaves(trial_id, turn)

    def ended(self, key_id: str, message: CallEnded, now_s: float, *, model: str = "") -> None:
        """Count how a call ended."""
        self.last_reply_s = now_s
        self._waits[key_id].note(message.wait_window_s, now_s)
        self.tokens += (message.prompt_tokens or 0) + (message.completion_tokens or 0)
        if message.outcome is Outcome.RATE_LIMITED:
            self.refused += 1
            self._refused[key_id] += 1
            if message.paused_domain:
                self._reasons[message.paused_domain] = _refusal(message)
        elif message.outcome is Outcome.OK and model:
            labels = key_id, f"{self._keys[key_id].account}/{model}"
            self._time_left.call_took(model, message.latency_s, labels, now_s)

    def note(self, event: StoreEvent) -> None:
        """Take from what is being stored what the figures need: why trials are lost, and what parked a key."""
        match event:
            case TrialDone(status=TrialStatus.INVALID):
                self._causes[event.error_class or "unknown"] += 1
            case KeyEvent(kind="park" | "retire"):
                self._reasons[event.subject] = event.detail
            case _:
                pass

    def snapshot(self, state: RunState, now_s: float) -> ProgressSnapshot:
        """Return the run as it stands at `now_s`."""
        serving = _keys_of_shards(state)
        shards = tuple(
            ShardProgress(
                label=s.shard.label,
                model=s.shard.model,
                status=_standing(state, s),
                scored=s.scored,
                invalid=s.invalid,
                running=s.running,
                total=s.total,
                keys=serving.get(s.shard.shard_id, ()),
            )
            for s in state.shards.values()
        )
        uses = {use.label: use for use in self._domains()}
        keys = tuple(self._key_row(key_id, state, uses, now_s) for key_id in self._keys)
        goes_on = not _starts_no_more(state)
        return ProgressSnapshot(
            run_id=self._run_id,
            phase=self._phase,
            policy=self._policy,
            backend=self._backend,
            elapsed_s=now_s - self._started_s,
            shards=shards,
            keys=keys,
            scored=sum(s.scored for s in shards),
            invalid=sum(s.invalid for s in shards),
            total=sum(s.total for s in shards),
            calls=self.calls,
            refused=self.refused,
            tokens=self.tokens,
            eta_s=self._time_left.seconds(state, uses, now_s) if goes_on else None,
            lower_bound_s=self._lower_bound_s,
            top_cause=max(self._causes, key=lambda cause: self._causes[cause], default=""),
            binding=binding_text(state, keys, self._waits, managed=self._managed, now_s=now_s) if goes_on else "",
            stopping_s=state.drain_left_s(now_s),
        )

    def _key_row(self, key_id: str, state: RunState, uses: Mapping[str, DomainUse], now_s: float) -> KeyProgress:
        recent = self._recent[key_id]
        while recent and recent[0] < now_s - self._kept_s[key_id]:
            recent.popleft()
        over_s = min(RATE_OVER_S, max(1.0, now_s - (self.first_call_s or now_s)))
        serving = tuple(
            state.shards[worker.shard_id].shard.model
            for worker in state.workers.values()
            if worker.key_id == key_id and not worker.released
        )
        account = self._keys[key_id].account
        places = [(model, f"{account}/{model}") for model in dict.fromkeys(serving)]
        mine = [use for label in (key_id, *(label for _, label in places)) if (use := uses.get(label)) is not None]
        row = KeyProgress(
            key_id=key_id,
            requests_per_s=_since(recent, now_s - RATE_OVER_S) / over_s,
            limit_per_s=self._rates[key_id],
            models=serving,
            paused_for_s=0.0,
            refused=self._refused[key_id],
            health="usable",
            windows=self._windows(key_id, places, uses, now_s),
            cap_per_s=min((use.cap_per_s for use in mine if use.cap_per_s is not None), default=None),
            waiting=uses[key_id].waiting if key_id in uses else 0,
        )
        return self._stopped(row, places, state, uses, now_s)

    def _windows(
        self, key_id: str, places: Sequence[tuple[str, str]], uses: Mapping[str, DomainUse], now_s: float
    ) -> tuple[WindowProgress, ...]:
        own = uses[key_id].windows if key_id in uses else ()
        if not self._managed:  # nobody counts for all: what this run sent is all there is to see
            own = tuple(
                replace(one, used=float(_since(self._recent[key_id], now_s - one.per_s)))
                for one in own
                if one.kind is LimitKind.REQUESTS
            )
            return tuple(WindowProgress(model="", use=one) for one in own)
        of_models = [
            WindowProgress(model=model, use=one)
            for model, label in places
            if label in uses
            for one in uses[label].windows
        ]
        return (*(WindowProgress(model="", use=one) for one in own), *sorted(of_models, key=fullness, reverse=True))

    def _stopped(
        self,
        row: KeyProgress,
        places: Sequence[tuple[str, str]],
        state: RunState,
        uses: Mapping[str, DomainUse],
        now_s: float,
    ) -> KeyProgress:
        """Return the row with what keeps the key from serving, and why."""
        key_id, key = row.key_id, state.keys[row.key_id]
        if key.retired:
            return replace(row, health="retired", reason=key.retired)
        if now_s < key.parked_until_s:
            reason = self._reasons.get(key_id, "")
            return replace(row, health="parked", reason=reason, parked_for_s=key.parked_until_s - now_s)
        # `denied_by` stands until the key was had again: between two tries it is no more ours than before.
        if key.denied_by and not row.models:
            return replace(row, health="held", reason=f"by {key.denied_by}")
        pauses = [(uses[at].paused_for_s, at) for _, at in places if at in uses]
        if key_id in uses and uses[key_id].paused_for_s > 0:
            return replace(row, paused_for_s=uses[key_id].paused_for_s, reason=self._reasons.get(key_id, ""))
        if pauses and min(pauses)[0] > 0:
            paused_for_s, label = min(pauses)
            return replace(row, paused_for_s=paused_for_s, reason=self._reasons.get(label, ""))
        return row


def _starts_no_more(state: RunState) -> bool:
    """Return whether the run hands out no further trial: it was told to stop, gave up, or has ended."""
    return state.ended is not None or state.stopping


def _standing(state: RunState, one: ShardState) -> str:
    """Return how the shard stands for whoever watches.

    The books call one whose key was taken away `running` until it is done; it waits all the same.
    """
    if not waits_for_key(one, state.workers):
        return one.status
    return "left" if _starts_no_more(state) else "waiting"


def _refusal(message: CallEnded) -> str:
    """Return which refusal it was: its code first, for what follows may be cut off, then the provider's words."""
    words = message.detail.removeprefix(f"HTTP {message.http_status}: ")
    code = message.provider_code or (f"HTTP {message.http_status}" if message.http_status else "")
    return words if code in words[: len(code)] else " ".join(filter(None, (code, words)))


def _keys_of_shards(state: RunState) -> dict[str, tuple[str, ...]]:
    """Return the keys each shard's trials are on: also those whose worker went on to another shard meanwhile."""
    keys: dict[str, dict[str, None]] = {}
    for worker in state.workers.values():
        if not worker.released:
            for shard_id in worker.shard_ids:
                keys.setdefault(shard_id, {})[worker.key_id] = None
    return {shard_id: tuple(found) for shard_id, found in keys.items()}


def _since(instants: deque[float], from_s: float) -> int:
    """Return how many of the instants, oldest first, are no older than `from_s`."""
    count = 0
    for at_s in reversed(instants):
        if at_s < from_s:
            break
        count += 1
    return count
