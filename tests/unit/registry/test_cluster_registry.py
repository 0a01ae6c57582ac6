"""The registry of a cluster: leases that gate permits, workers that go, a registry that has to start anew."""

from __future__ import annotations

import pytest

from benchrunner.limits.blocks import Ask, News, Report, permits_of
from benchrunner.records import Domain, Lease, Limit, LimitKind
from benchrunner.registry.cluster import CLAIM_S, ClusterRegistry, KeyClaim
from benchrunner.registry.key_locks import HeldBy
from benchrunner.registry.service import KeyRow
from benchrunner.testing import FakeClock

KEY = "f00d"
DOMAIN = Domain(
    name=f"key:{KEY}", label="key0", provider="p", limits=(Limit(kind=LimitKind.REQUESTS, amount=10, per_s=2.0),)
)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def registry(clock: FakeClock) -> ClusterRegistry:
    held = ClusterRegistry(clock, name="r1")
    held.register([DOMAIN])
    return held


def claim(holder: str = "run1/s0/w0", worker: str = "actor1", *, counted: bool = True, above: int = 0) -> KeyClaim:
    return KeyClaim(
        row=KeyRow(key_id=KEY, provider="p"), model="m", shard_id="s0", holder=holder, worker=worker,
        note=f"run of {holder}", counted=counted, above_fence=above,
    )  # fmt: skip


def granted(answer: Lease | HeldBy) -> Lease:
    assert isinstance(answer, Lease)
    return answer


def wants(fence: int, calls: int = 1, *reports: Report, registry: str = "r1") -> Ask:
    return Ask(
        names=(DOMAIN.name,), key=KEY, fence=fence, wanted=((100, 0.0),) * calls, reports=reports, registry=registry
    )


def test_two_jobs_share_a_key_in_turns(registry: ClusterRegistry) -> None:
    """The second job is told who has the key, and gets it under a higher fence once it is free."""
    first = granted(registry.lease(claim()))
    assert registry.lease(claim("run2/s0/w0", "actor2")) == HeldBy("run of run1/s0/w0")
    # When the first lets go
    assert registry.release(KEY, first.fence)
    # Then the second has it
    assert granted(registry.lease(claim("run2/s0/w0", "actor2"))).fence > first.fence


def test_a_resumed_run_gets_fences_above_its_earlier_ones(registry: ClusterRegistry) -> None:
    """A run that was begun on another cluster goes on above the highest fence it has on record."""
    assert granted(registry.lease(claim(above=41))).fence == 42


def test_a_worker_that_is_gone_holds_nothing(registry: ClusterRegistry) -> None:
    """Its leases are free, and the run is no longer in progress."""
    granted(registry.lease(claim()))
    assert registry.holds_run("run1")
    assert not registry.holds_run("run")
    # When Ray says that its worker is gone
    assert [lease.holder for lease in registry.reap("actor1")] == ["run1/s0/w0"]
    # Then the next one is granted the key
    assert not registry.holds_run("run1")
    granted(registry.lease(claim("run2/s0/w0", "actor2")))


def test_an_unknown_worker_s_end_frees_nothing(registry: ClusterRegistry) -> None:
    """Workers that were never leased anything come and go."""
    granted(registry.lease(claim()))
    assert registry.reap("actor9") == ()


def test_nothing_is_granted_under_a_fence_that_is_not_held(registry: ClusterRegistry) -> None:
    """A worker that lost its lease, because its node was cut off, gets no more permits; its news still count."""
    lease = granted(registry.lease(claim()))
    asked = wants(lease.fence, 3)
    permits = permits_of(registry.exchange(asked), asked)
    registry.reap("actor1")
    # When it reports, and asks for more
    block = registry.exchange(wants(lease.fence, 3, *(Report(news=News.BACK, permit=one) for one in permits)))
    # Then it gets nothing, and what it gave back is back
    assert (block.fenced, block.slots) == (True, ())
    assert registry.snapshot([DOMAIN.name])[0].windows[0].used == 0


def test_uncounted_leases_take_no_slot(registry: ClusterRegistry) -> None:
    """Under `native` any number of workers hold a key at once."""
    granted(registry.lease(claim()))
    granted(registry.lease(claim("run1/s1/w1", "actor2", counted=False)))


def test_a_registry_started_anew_lets_every_window_pass_first(clock: FakeClock) -> None:
    """It does not know what was sent: nothing leaves before a whole window has gone by."""
    registry = ClusterRegistry(clock, name="r2", reborn=True)
    registry.register([DOMAIN])
    assert registry.restore(claim(), fence=7)
    block = registry.exchange(wants(7, 1, registry="r2"))
    assert block.slots == ()
    # When it is asked again in time
    clock.sleep_s(block.again_s)
    block = registry.exchange(wants(7, 1, registry="r2"))
    assert block.slots[0][1] >= 1000.0 + 2.0


def test_a_registry_started_anew_takes_leases_back_before_it_grants_any(clock: FakeClock) -> None:
    """Those who held keys show their leases; newcomers wait until they have had the time to."""
    registry = ClusterRegistry(clock, name="r2", reborn=True)
    registry.register([DOMAIN])
    # Given a newcomer that asks first, and a holder that is not fenced off before it could speak
    assert isinstance(registry.lease(claim("run2/s0/w0", "actor2")), HeldBy)
    assert not registry.exchange(wants(7, 1, registry="r2")).fenced
    # When the holder shows its lease, twice as its call was lost once
    assert registry.restore(claim(), fence=7)
    assert registry.restore(claim(), fence=7)
    clock.sleep_s(CLAIM_S)
    # Then it holds it still, and later ones come above it
    assert registry.lease(claim("run2/s0/w0", "actor2")) == HeldBy("run of run1/s0/w0")
    assert not registry.restore(claim("run3/s0/w0", "actor3"), fence=3)
    registry.release(KEY, 7)
    assert granted(registry.lease(claim("run2/s0/w0", "actor2"))).fence > 7


def test_news_of_another_registry_s_permits_is_not_booked(registry: ClusterRegistry, clock: FakeClock) -> None:
    """Their instants are of another clock, and would stand in this one's windows for hours."""
    lease = granted(registry.lease(claim()))
    asked = wants(lease.fence, 1)
    (permit,) = permits_of(registry.exchange(asked), asked)
    before = registry.snapshot([DOMAIN.name])[0].windows[0].used
    registry.exchange(wants(lease.fence, 0, Report(news=News.SENT, permit=permit, seconds=9_999.0), registry="r0"))
    assert registry.snapshot([DOMAIN.name])[0].windows[0].used == before
    # A pause, though, is a fact about the provider
    registry.exchange(wants(lease.fence, 0, Report(news=News.PAUSE, domain=DOMAIN.name, seconds=3.0), registry="r0"))
    assert registry.snapshot([DOMAIN.name])[0].paused_for_s == pytest.approx(3.0)


def test_registering_again_changes_nothing(registry: ClusterRegistry) -> None:
    """Every worker registers its domains; the registry's windows stay what they are."""
    lease = granted(registry.lease(claim()))
    registry.exchange(wants(lease.fence, 4))
    registry.register([DOMAIN])
    assert registry.snapshot([DOMAIN.name])[0].windows[0].used == 4
    assert registry.snapshot(["key:unknown"]) == ()
