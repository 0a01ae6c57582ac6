"""One small call per key, model and deployment: what `benchrunner check --live` finds out. Writes no database.

    main thread ── one thread per lane ── machine-wide lock on the key ── shared windows ── call ──> results queue
                   (a key has as many lanes as it serves models at once; the calls of a lane follow each other)

The calls keep every promise a run's calls keep: no key beyond its limit, no key serving more models than its slots,
both counted together with whatever runs on this machine. What the provider says of its limits is learned as in a run.
"""

from __future__ import annotations

import os
import queue
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from benchrunner.clock import WallClock
from benchrunner.engine.calls import CHARS_PER_TOKEN, HandBack
from benchrunner.engine.gates import PermitGate
from benchrunner.errors import BenchrunnerError
from benchrunner.limits.domains import key_domain, model_domain
from benchrunner.limits.local import Windows
from benchrunner.providers.probe import ProbingProvider
from benchrunner.records import CallResult, ChatRequest, Domain, DomainUse, Key, Message, ModelEntry, Outcome, Provider
from benchrunner.registry.key_locks import HeldBy, KeyLock, KeyLocks

MAX_TOKENS = 16
"""The longest reply asked for. A bare word is enough; some gateways refuse less than this."""

REQUEST = ChatRequest(
    messages=(Message(role="user", content="Reply with the word OK."),), max_tokens=MAX_TOKENS, temperature=0.0
)

AT_ONCE = 4
"""Models at once on a key without a bound: a check is no load test, and waits for slow models side by side."""

LOCK_POLL_S = 0.1
"""How often a key that another run holds is asked for again."""

GRACE_S = 2.0
"""How long after its bound a lane is still heard: looking up a host name cannot be interrupted, and is not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One call to make."""

    provider: Provider
    key: Key
    model: ModelEntry
    deployment: str


class Unsent(StrEnum):
    """Why a call was not made."""

    HELD = "held"  # another run of this machine has the key
    NO_ROOM = "no_room"  # the windows allow no call in time, or are paused
    TIMED_OUT = "timed_out"  # nothing was heard of it at all


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What came of one probe: a classified result, or why there is none."""

    probe: Probe
    result: CallResult | None
    unsent: Unsent | None
    note: str  # of a held key: who has it
    uses: tuple[DomainUse, ...] = ()  # where its windows had no room: how they stood
    wait_s: float  # for the windows
    headers: tuple[tuple[str, str], ...]


def plan_probes(
    providers: Sequence[Provider], keys: Sequence[Key], models: Sequence[ModelEntry]
) -> tuple[Probe, ...]:
    """Return the calls to make: each key with every deployment of every model that its provider serves."""
    places = {provider.name: provider for provider in providers}
    return tuple(
        Probe(provider=places[key.provider], key=key, model=model, deployment=deployment)
        for key in keys
        for model in models
        if model.provider == key.provider
        for deployment in model.deployments
    )


def lanes_of(probes: Sequence[Probe]) -> tuple[tuple[Probe, ...], ...]:
    """Return which probes follow each other: those of a key in as many lanes as it has slots, or in AT_ONCE.

    The probes of one model stay in one lane, so that a key never serves more models at once than it has slots.
    """
    lanes: dict[tuple[str, int], list[Probe]] = {}
    for probe in probes:
        models = list(dict.fromkeys(one.model.name for one in probes if one.key is probe.key))
        lane = models.index(probe.model.name) % (probe.key.slots or AT_ONCE)
        lanes.setdefault((probe.key.key_id, lane), []).append(probe)
    return tuple(tuple(lane) for lane in lanes.values())


def longest_s(probes: Sequence[Probe], timeout_s: float) -> float:
    """Return the most seconds the probes can take together, each being allowed `timeout_s`."""
    return timeout_s * max((len(lane) for lane in lanes_of(probes)), default=0)


class LiveCheck:
    """Makes the calls of one check."""

    def __init__(
        self,
        probes: Sequence[Probe],
        *,
        windows: Windows,
        locks: KeyLocks,
        clock: WallClock,
        timeout_s: float,
    ) -> None:
        """`timeout_s` bounds each call with all its waiting: for the key, for the windows, for the reply."""
        self._probes, self._windows, self._locks, self._clock = tuple(probes), windows, locks, clock
        self._timeout_s = timeout_s
        self._stop = threading.Event()
        self._found: queue.SimpleQueue[Found | BenchrunnerError] = queue.SimpleQueue()

    def run(self, heard: Callable[[Found], None]) -> tuple[Found, ...]:
        """Return what came of each probe, in their order, within `longest_s` and a grace. `heard` is told as they come.

        Ctrl-C ends it at once: calls under way are abandoned, and the kernel drops the locks with the process. Raises
        StateError where the machine's state directory cannot be used.
        """
        self._windows.register(tuple(dict.fromkeys(domain for probe in self._probes for domain in domains_of(probe))))
        deadline_s = self._clock.now_s() + longest_s(self._probes, self._timeout_s) + GRACE_S
        for lane in lanes_of(self._probes):
            # Daemons: a thread stuck in a name look-up must not keep the command from ending.
            threading.Thread(target=self._run_lane, args=(lane,), daemon=True).start()
        found: dict[int, Found] = {}
        try:
            while len(found) < len(self._probes):
                try:
                    one = self._found.get(timeout=max(0.0, deadline_s - self._clock.now_s()))
                except queue.Empty:
                    break
                if isinstance(one, BenchrunnerError):
                    raise one
                found[id(one.probe)] = one
                heard(one)
        finally:
            self._stop.set()
        return tuple(found.get(id(probe)) or _unsent(probe, Unsent.TIMED_OUT, "", 0.0) for probe in self._probes)

    def _run_lane(self, lane: tuple[Probe, ...]) -> None:
        try:
            self._serve(lane)
        except BenchrunnerError as error:  # of the machine's own state; the main thread says it
            self._found.put(error)

    def _serve(self, lane: tuple[Probe, ...]) -> None:
        key = lane[0].key
        began_s = self._clock.now_s()
        lock = self._take(key, began_s + self._timeout_s) if key.slots else None
        if isinstance(lock, HeldBy):
            # Whoever holds it does so for minutes: it is waited for once, not once for each call.
            for probe in lane:
                self._found.put(_unsent(probe, Unsent.HELD, lock.note, self._clock.now_s() - began_s))
            return
        try:
            for probe in lane:
                self._found.put(self._ask(probe, began_s + self._timeout_s))
                began_s = self._clock.now_s()
        finally:
            if lock is not None:
                lock.release()

    def _take(self, key: Key, deadline_s: float) -> KeyLock | HeldBy:
        while True:
            taken = self._locks.take(key, f"benchrunner check (process {os.getpid()})")
            if not isinstance(taken, HeldBy) or self._clock.now_s() >= deadline_s or self._stop.wait(LOCK_POLL_S):
                return taken

    def _ask(self, probe: Probe, deadline_s: float) -> Found:
        """Return what came of one probe: waits its turn in the windows, sends, and tells the windows how it went."""
        domains = domains_of(probe)
        gate = PermitGate(self._windows, domains, self._clock)
        # Opening the connection must leave time for the call: one that cannot be opened is tried twice.
        connect_s = min(probe.provider.connect_timeout_s, self._timeout_s / 2)
        provider = ProbingProvider(replace(probe.provider, connect_timeout_s=connect_s), clock=self._clock)
        began_s = self._clock.now_s()

        def stopped(seconds: float) -> bool:
            left_s = deadline_s - self._clock.now_s()
            return self._stop.wait(max(0.0, min(seconds, left_s))) or self._clock.now_s() >= deadline_s

        try:
            granted = gate.wait(int(REQUEST.characters / CHARS_PER_TOKEN) + MAX_TOKENS, provider.warm, stopped)
        except HandBack:
            provider.close()
            waited_s = self._clock.now_s() - began_s
            uses = self._windows.snapshot([domain.name for domain in domains])
            return replace(_unsent(probe, Unsent.NO_ROOM, "", waited_s), uses=uses)
        result = provider.send(
            REQUEST,
            model=probe.model,
            deployment=probe.deployment,
            key=probe.key,
            timeout_s=max(0.1, min(probe.provider.timeout_s, deadline_s - self._clock.now_s())),
            departed=lambda at_mono_s: gate.departed(granted, at_mono_s),
        )
        if result.reply is not None and result.reply.prompt_tokens is not None:
            gate.settle(granted, result.reply.prompt_tokens + (result.reply.completion_tokens or 0))
        if result.outcome is Outcome.RATE_LIMITED:
            gate.throttled(granted, result.scope, result.retry_after_s or 0.0)
        elif result.outcome is Outcome.OK:
            gate.succeeded(granted)
        headers = provider.limit_headers(probe.key.secret)
        provider.close()
        return Found(probe=probe, result=result, unsent=None, note="", wait_s=granted.wait_s, headers=headers)


def domains_of(probe: Probe) -> tuple[Domain, Domain]:
    """Return what the probe's call is counted over: its key, and its (account, model)."""
    return key_domain(probe.provider, probe.key), model_domain(probe.provider, probe.key.account, probe.model)


def _unsent(probe: Probe, why: Unsent, note: str, waited_s: float) -> Found:
    return Found(probe=probe, result=None, unsent=why, note=note, wait_s=waited_s, headers=())


def calls_per_key(probes: Sequence[Probe]) -> Counter[str]:
    """Return how many calls each key is to make."""
    return Counter(probe.key.key_id for probe in probes)
