"""Fakes and builders for tests of this program and of suites and policies written elsewhere.

    clock = FakeClock()
    state = RunState(run_id="r1", shards=[make_shard("s0", trials=3)], keys=[make_key("key0")],
                     policy=StubPolicy(), rules=Rules())
    commands = state.handle(Tick(), clock.now_s(), clock.utc())
    check_state(state)

Nothing here sleeps, draws random numbers or touches the world.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from benchrunner.clock import Clock, utc_text
from benchrunner.engine.books import SENT, KeySetup
from benchrunner.engine.calls import HandBack, Pass
from benchrunner.engine.state import RunState
from benchrunner.policies.base import Choice, Grant, KeyView, ShardView
from benchrunner.records import CallResult, ChatReply, ChatRequest, Key, Level, ModelEntry, Outcome, Shard, TrialScore

FAKE_EPOCH_S = 1_756_166_400.0
"""What a FakeClock calls "now" on the wall when it is made: 2025-08-26 00:00 UTC."""


class FakeClock:
    """A clock that moves only when somebody sleeps on it. Any thread may hold one."""

    def __init__(self, now_s: float = 1000.0, *, epoch_s: float = FAKE_EPOCH_S) -> None:
        """Start at `now_s` on the monotonic clock, `epoch_s` on the wall."""
        self._now_s = now_s
        self._ahead_s = epoch_s - now_s
        self._lock = threading.Lock()  # keeps every sleep in the sum when threads sleep at once
        self.slept: list[float] = []
        """Every sleep that moved the clock, in order."""

    def now_s(self) -> float:
        """Return the fake monotonic seconds."""
        return self._now_s

    def sleep_s(self, seconds: float) -> None:
        """Move the clock on by `seconds` and return at once; zero or less moves nothing."""
        if seconds > 0:
            with self._lock:
                self._now_s += seconds
                self.slept.append(seconds)

    def epoch_s(self) -> float:
        """Return the fake seconds since 1970."""
        return self._now_s + self._ahead_s

    def utc(self) -> str:
        """Return the fake wall-clock time as UTC ISO 8601 text."""
        return utc_text(self.epoch_s())


class StubPolicy:
    """The plainest policy: shards in order, each on the first key of its provider with a slot free."""

    name = "stub"

    def __init__(self, *, managed: bool = True, joins: bool = False, hands_on: bool = False) -> None:
        """`joins`: a key nobody waits for is put on the first running shard that has trials left."""
        self.managed, self.joins, self.hands_on = managed, joins, hands_on

    def choose(self, *, now_s: float, shards: tuple[ShardView, ...], keys: tuple[KeyView, ...]) -> Choice:
        """Return every grant that fits now."""
        load = {key.key_id: len(key.models) for key in keys}
        grants: list[Grant] = []

        def give(shard: ShardView, joining: bool) -> None:
            for key in keys:
                room = not key.slots or load[key.key_id] < key.slots
                if key.usable and room and key.provider == shard.provider and key.key_id not in shard.keys:
                    load[key.key_id] += 1
                    grants.append(Grant(shard_id=shard.shard_id, key_id=key.key_id, joining=joining))
                    return

        for shard in shards:
            if shard.pending and not shard.keys:
                give(shard, joining=False)
        for shard in shards:
            if self.joins and shard.pending and shard.keys:
                give(shard, joining=True)
        return Choice(grants=tuple(grants))


@dataclass(frozen=True, slots=True, kw_only=True)
class SentRequest:
    """One request as it reached a StubProvider."""

    request: ChatRequest
    deployment: str
    key_id: str
    at_mono_s: float


class StubProvider:
    """A ChatProvider that answers from a script: each `send` takes the next result, and as long as its latency."""

    def __init__(self, clock: Clock, script: Iterable[CallResult], *, departs_after_s: float = 0.0) -> None:
        """`departs_after_s`: how long a request is held up on its way from the caller to the network."""
        self._clock, self._script, self._departs_after_s = clock, iter(script), departs_after_s
        self.sent: list[SentRequest] = []
        """Every request, in the order they came."""
        self.warmed = 0
        """How often a connection was asked to be open."""

    def warm(self) -> None:
        """Count it."""
        self.warmed += 1

    def send(
        self,
        request: ChatRequest,
        *,
        model: ModelEntry,
        deployment: str,
        key: Key,
        timeout_s: float,
        departed: Callable[[float], None] | None = None,
    ) -> CallResult:
        """Return the next result of the script. Raises AssertionError when there is none left: a call too many."""
        result = next(self._script, None)
        if result is None:
            raise AssertionError(f"request {len(self.sent) + 1} is one more than the script has answers for")
        self._clock.sleep_s(self._departs_after_s)
        at_s = self._clock.now_s()
        if departed is not None:
            departed(at_s)
        self.sent.append(SentRequest(request=request, deployment=deployment, key_id=key.key_id, at_mono_s=at_s))
        self._clock.sleep_s(result.latency_s)
        return result

    def close(self) -> None:
        """Hold nothing."""


class StubGate:
    """A Gate without limits: lets every call leave at once, except while a throttle's pause lasts."""

    def __init__(self, clock: Clock, *, own_pause_s: float = 1.0) -> None:
        """`own_pause_s`: how long a throttle without a hint pauses."""
        self._clock, self._own_pause_s, self._paused_until_s = clock, own_pause_s, 0.0
        self.asked: list[int] = []
        """The tokens each call was estimated at."""
        self.passed: list[Pass] = []
        """Every call that was let through."""
        self.departures: list[float] = []
        self.settled: list[int] = []
        """The tokens of every correction."""
        self.throttles: list[tuple[str, float]] = []
        """Scope and hint of every throttle."""
        self.successes = 0

    def wait(self, tokens: int, prepare: Callable[[], None], stopped: Callable[[float], bool]) -> Pass:
        """Return when no pause lasts; raise HandBack when the worker is to stop."""
        self.asked.append(tokens)
        began_s = self._clock.now_s()
        if stopped(max(0.0, self._paused_until_s - began_s)):
            raise HandBack
        prepare()
        now_s = self._clock.now_s()
        self.passed.append(Pass(wait_s=now_s - began_s, sent_mono_s=now_s))
        return self.passed[-1]

    def departed(self, granted: Pass, at_mono_s: float) -> None:
        """Note the departure."""
        granted.sent_mono_s = at_mono_s
        self.departures.append(at_mono_s)

    def settle(self, granted: Pass, tokens: int) -> None:
        """Note the correction."""
        self.settled.append(tokens)

    def throttled(self, granted: Pass, scope: str, for_s: float) -> str:
        """Pause everything and return the scope for a label."""
        self.throttles.append((scope, for_s))
        self._paused_until_s = max(self._paused_until_s, self._clock.now_s() + (for_s or self._own_pause_s))
        return scope

    def succeeded(self, granted: Pass) -> None:
        """Count it."""
        self.successes += 1


def make_result(
    outcome: Outcome = Outcome.OK,
    *,
    text: str = "OK",
    latency_s: float = 0.5,
    http_status: int | None = None,
    provider_code: str = "",
    detail: str = "",
    retry_after_s: float | None = None,
    scope: str = "key",
) -> CallResult:
    """Return one attempt's result; there is a reply of 100 + 20 tokens where a provider would have sent one."""
    replied = outcome in (Outcome.OK, Outcome.TRUNCATED, Outcome.EMPTY)
    finish_reason = "length" if outcome is Outcome.TRUNCATED else "stop"
    shown = "" if outcome is Outcome.EMPTY else text
    return CallResult(
        outcome=outcome,
        latency_s=latency_s,
        reply=ChatReply(text=shown, finish_reason=finish_reason, prompt_tokens=100, completion_tokens=20)
        if replied
        else None,
        http_status=200 if replied else http_status,
        provider_code=provider_code,
        detail=detail,
        retry_after_s=retry_after_s,
        scope=scope,
    )


def make_key(
    key_id: str = "key0",
    *,
    provider: str = "ideallab",
    slots: int = 1,
    rate_per_s: float = 10.0,
    burst: float = float("inf"),
) -> KeySetup:
    """Return a key as RunState knows it."""
    return KeySetup(key_id=key_id, provider=provider, slots=slots, rate_per_s=rate_per_s, burst=burst)


def make_shard(
    shard_id: str = "s0",
    *,
    trials: int = 3,
    position: int = 0,
    model: str = "",
    provider: str = "ideallab",
    key_id: str = "key0",
    group: int = 0,
    workers: int = 2,
) -> Shard:
    """Return a shard of `trials` trials called ``<shard_id>-t00`` and so on; `model` defaults to ``m-<shard_id>``."""
    return Shard(
        shard_id=shard_id,
        position=position,
        model=model or f"m-{shard_id}",
        provider=provider,
        key_id=key_id,
        label=f"label-{shard_id}",
        group=group,
        trial_ids=tuple(f"{shard_id}-t{number:02d}" for number in range(trials)),
        expected_calls=10.0 * trials,
        expected_call_s=1.0,
        workers=workers,
        pace_qps=2.0,
    )


def make_score(level: Level = Level.FULL) -> TrialScore:
    """Return the score of a finished dialogue of four turns."""
    worth = {Level.FULL: 1.0, Level.PARTIAL: 0.5, Level.FAILURE: 0.0}[level]
    return TrialScore(
        level=level,
        workflow_score=worth,
        phase2_score=worth,
        quality_score=worth,
        final_score=worth,
        error_class="" if level is Level.FULL else "other",
        turns=4,
        tool_calls=3,
        transcript="[]",
    )


def check_state(
    state: RunState, *, scored: AbstractSet[str] = frozenset(), invalid: AbstractSet[str] = frozenset()
) -> None:
    """Recount a run from its queues and workers; raise AssertionError where its own books differ.

    Every trial must stand in exactly one place: its shard's queue, the hands of one worker, or among the ended. The
    run keeps no list of ended trials, only numbers: pass what it reported as `scored` and `invalid` to have every
    trial accounted for by name.
    """
    held = Counter(trial_id for worker in state.workers.values() for trial_id in worker.running)
    for shard_id, shard in state.shards.items():
        mine = set(shard.shard.trial_ids)
        workers = [worker for worker in state.workers.values() if worker.shard_id == shard_id]
        running = [
            trial_id
            for worker in state.workers.values()
            for trial_id, of_shard in worker.running.items()
            if of_shard == shard_id
        ]
        places = Counter([*shard.pending, *running, *(mine & scored), *(mine & invalid)])
        _agree(f"workers of {shard_id}", sorted(worker.worker_id for worker in workers), sorted(shard.workers))
        _agree(f"running trials of {shard_id}", len(running), shard.running)
        _agree(f"trials of {shard_id} in two places", [], [trial for trial, times in places.items() if times > 1])
        _agree(f"strangers in {shard_id}", set(), set(places) - mine)
        ended = len(mine) - len(shard.pending) - len(running)
        _agree(f"ended trials of {shard_id}", ended, shard.scored + shard.invalid)
        if scored or invalid:
            _agree(f"trials of {shard_id} nowhere", set(), mine - set(places))
            _agree(f"scored of {shard_id}", len(mine & scored), shard.scored)
        if shard.status == "done":
            _agree(f"unfinished trials of {shard_id}, which is done", 0, len(shard.pending) + len(running))
        if state.ended is not None and shard.status == "running":
            raise AssertionError(f"{shard_id} is still called running after the run's end")
    for worker_id, worker in state.workers.items():
        _agree(f"name of {worker_id}", worker_id, worker.worker_id)
        if worker.released and worker.running and worker.stopping != SENT:
            raise AssertionError(f"{worker_id} runs {sorted(worker.running)} on a key it gave back")
    _agree("trials in two workers' hands", [], [trial_id for trial_id, times in held.items() if times > 1])
    if state.ended is not None:
        _agree("workers after the end", [], sorted(state.workers))


def _agree(what: str, expected: object, actual: object) -> None:
    if expected != actual:
        raise AssertionError(f"{what}: recounted {expected!r}, booked {actual!r}")
