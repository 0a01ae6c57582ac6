"""A worker's gate over a registry in this process: real threads, a clock of its own on either side, real windows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from benchrunner.clock import SystemClock
from benchrunner.engine.block_gate import BlockGate
from benchrunner.engine.calls import HandBack, Pass
from benchrunner.errors import RegistryError
from benchrunner.limits.blocks import Ask, Block
from benchrunner.records import Domain, Lease, Limit, LimitKind
from benchrunner.registry.cluster import ClusterRegistry, KeyClaim
from benchrunner.registry.service import KeyRow

pytestmark = pytest.mark.slow

AMOUNT, PER_S = 20, 0.5
DOMAIN = Domain(
    name="key:a", label="key0", provider="p",
    limits=(Limit(kind=LimitKind.REQUESTS, amount=AMOUNT, per_s=PER_S),), margin_floor_s=0.005,
)  # fmt: skip


class Ahead(SystemClock):
    """The clock of a machine that was booted at another time."""

    def now_s(self) -> float:
        return super().now_s() + 86_400.0


@dataclass
class NearBlocks:
    """A registry next door, which may be lost."""

    registry: ClusterRegistry
    exchanges: int = 0
    lost: bool = False
    asked: list[Ask] = field(default_factory=list)

    def register(self, domains: object) -> None:
        self._reach()
        self.registry.register([DOMAIN])

    def exchange(self, ask: Ask) -> tuple[str, Block]:
        self._reach()
        self.exchanges += bool(ask.wanted)
        return self.registry.name, self.registry.exchange(ask)

    def _reach(self) -> None:
        if self.lost:
            raise RegistryError("the registry is being started anew")


def lease(registry: ClusterRegistry, holder: str = "r/s/w0") -> Lease:
    claim = KeyClaim(
        row=KeyRow(key_id="a", provider="p", slots=0), model="m", shard_id="s", holder=holder, worker=holder, note="",
        counted=True,
    )  # fmt: skip
    granted = registry.lease(claim)
    assert isinstance(granted, Lease)
    return granted


@contextmanager
def gate_over(blocks: NearBlocks, fence: int, clock: SystemClock | None = None) -> Iterator[BlockGate]:
    gate = BlockGate(blocks, [DOMAIN], clock or SystemClock(), key="a", fence=fence)
    yield gate
    gate.close()


def never(seconds: float) -> bool:
    SystemClock().sleep_s(seconds)
    return False


def send_all(
    gates: list[BlockGate], calls: int, *, prepare: Callable[[], None] = lambda: None, threads: int = 12
) -> list[float]:
    """Let threads of every gate send until there were so many calls; when each left, on the machine's clock."""
    left, lock = [], threading.Lock()
    remaining = iter(range(calls))

    def dialogue(gate: BlockGate) -> None:
        while True:
            with lock:
                if next(remaining, None) is None:
                    return
            passed = gate.wait(100, prepare, never)
            with lock:
                left.append(passed.sent_mono_s)

    started = [threading.Thread(target=dialogue, args=(gate,)) for gate in gates for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(30.0)
    return sorted(left)


def assert_within_the_limit(left: list[float]) -> None:
    """No span of a window holds more than its amount."""
    spans = [left[n + AMOUNT] - left[n] for n in range(len(left) - AMOUNT)]
    assert min(spans) >= PER_S


def test_threads_of_two_workers_keep_one_limit_with_few_exchanges() -> None:
    """Two workers on one key, their clock a day behind the registry's: the limit holds, and blocks serve several."""
    # Given a registry whose clock is a day ahead
    registry = ClusterRegistry(Ahead(), name="r1")
    blocks = NearBlocks(registry)
    blocks.register([])
    # When twelve threads of each of two workers send 100 calls
    with gate_over(blocks, lease(registry).fence) as one, gate_over(blocks, lease(registry, "r/s/w1").fence) as other:
        left = send_all([one, other], 100)
    # Then no window was overfull, and an exchange served several
    assert len(left) == 100
    assert_within_the_limit(left)
    assert blocks.exchanges < 80
    # And all of it is booked where the registry can see it
    assert registry.snapshot([DOMAIN.name])[0].granted >= 100


def test_slow_preparation_costs_no_limit() -> None:
    """Calls that are not ready when they thought they would be leave later, and count from then."""
    registry = ClusterRegistry(SystemClock(), name="r1")
    blocks = NearBlocks(registry)
    with gate_over(blocks, lease(registry).fence) as gate:
        left = send_all([gate], 60, prepare=lambda: SystemClock().sleep_s(0.08))
    assert len(left) == 60
    assert_within_the_limit(left)


def test_a_throttle_stops_every_worker_of_the_domain() -> None:
    """One worker is refused: the other's next call leaves after the pause."""
    registry = ClusterRegistry(SystemClock(), name="r1")
    blocks = NearBlocks(registry)
    clock = SystemClock()
    with gate_over(blocks, lease(registry).fence) as one, gate_over(blocks, lease(registry, "r/s/w1").fence) as other:
        refused = one.wait(100, lambda: None, never)
        assert one.throttled(refused, "key", 0.4) == "key0"
        paused_s = clock.now_s()
        other.wait(100, lambda: None, never)
    assert clock.now_s() - paused_s >= 0.38
    assert [change.label for change in refused.cap_changes] == ["key0"]


def test_who_is_told_to_stop_hands_back_and_its_permit_too() -> None:
    """A waiting call that is to stop raises HandBack, and leaves no mark in the window."""
    registry = ClusterRegistry(SystemClock(), name="r1")
    blocks = NearBlocks(registry)
    with gate_over(blocks, lease(registry).fence) as gate, pytest.raises(HandBack):
        gate.wait(100, lambda: None, lambda seconds: True)
    assert registry.snapshot([DOMAIN.name])[0].windows[0].used == 0
    assert registry.snapshot([DOMAIN.name])[0].waiting == 0


def test_who_is_told_to_stop_hands_back_though_its_lease_is_gone_by_then() -> None:
    """A key that was handed on is no crash of the worker that waits for one more permit: it was told to end first."""
    # Given a worker that is told to stop, and whose lease is released
    registry = ClusterRegistry(SystemClock(), name="r1")
    blocks = NearBlocks(registry)
    held = lease(registry)
    stopped = threading.Event()
    with gate_over(blocks, held.fence) as gate:
        for _ in range(AMOUNT):
            gate.wait(100, lambda: None, never)
        stopped.set()
        assert registry.release("a", held.fence)
        # When a call of it asks, and another once the gate knows / Then both are handed back
        for _ in range(2):
            with pytest.raises(HandBack):
                gate.wait(100, lambda: None, lambda seconds: stopped.wait(seconds))


def test_a_lost_lease_ends_the_worker() -> None:
    """A fence that is no longer held gets no permit: whoever waits for one is told, and so is everyone after."""
    registry = ClusterRegistry(SystemClock(), name="r1")
    blocks = NearBlocks(registry)
    with gate_over(blocks, lease(registry).fence) as gate:
        assert isinstance(gate.wait(100, lambda: None, never), Pass)
        registry.reap("r/s/w0")
        for _ in range(2):
            with pytest.raises(RegistryError, match="no longer"):
                gate.wait(100, lambda: None, never)


def test_a_registry_that_comes_back_is_gone_on_with() -> None:
    """Calls wait out its absence; its successor, with another clock, lets a whole window pass, then grants."""
    registry = ClusterRegistry(SystemClock(), name="r1")
    blocks = NearBlocks(registry)
    clock = SystemClock()
    with gate_over(blocks, (held := lease(registry)).fence) as gate:
        first = send_all([gate], AMOUNT)
        # When the registry is lost, and another takes the lease back half a second later
        blocks.lost = True

        def come_back() -> None:
            clock.sleep_s(0.5)
            successor = ClusterRegistry(Ahead(), name="r2", reborn=True)
            claim = KeyClaim(
                row=KeyRow(key_id="a", provider="p", slots=0), model="m", shard_id="s", holder=held.holder,
                worker=held.holder, note="", counted=True,
            )  # fmt: skip
            assert successor.restore(claim, held.fence)
            blocks.registry, blocks.lost = successor, False

        comes = threading.Thread(target=come_back)
        comes.start()
        second = send_all([gate], AMOUNT)
        comes.join()
    assert_within_the_limit(sorted([*first, *second]))
    assert second[0] - first[-1] >= PER_S
