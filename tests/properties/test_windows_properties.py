"""No window is ever overfull at the instants of the sends, whatever the callers do."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from benchrunner.limits import window
from benchrunner.limits.local import LocalWindows
from benchrunner.records import Domain, Limit, LimitKind, Permit
from benchrunner.testing import FakeClock

ROUNDING_S = 1e-9

limits = st.builds(
    Limit,
    kind=st.sampled_from(LimitKind),
    amount=st.integers(1, 6),
    per_s=st.sampled_from([0.1, 1.0, 2.5]),
)


def domain_named(name: str) -> st.SearchStrategy[Domain]:
    return st.builds(
        Domain,
        name=st.just(name),
        label=st.just(name),
        provider=st.just("p"),
        limits=st.lists(limits, min_size=1, max_size=2).map(tuple),
        margin_floor_s=st.sampled_from([0.0, 0.008]),
        margin_ceiling_s=st.sampled_from([0.008, 0.06]),
    )


domain_pairs = st.tuples(domain_named("k"), domain_named("m"))
routes = st.sampled_from([("k",), ("m",), ("k", "m")])
LATE_S = st.sampled_from([0.0, 0.0, 0.001, 0.005, 0.02, 0.059, 0.5, 9.0])
reserve = st.tuples(st.just("reserve"), routes, st.integers(0, 8))
spend = st.tuples(st.just("spend"), st.integers(0, 2), LATE_S)
acts = st.lists(
    st.one_of(
        reserve,
        reserve,
        spend,
        spend,
        spend,
        st.tuples(st.just("hasten"), st.integers(0, 20), st.just(0)),
        st.tuples(st.just("give back"), st.integers(0, 20), st.just(0)),
        st.tuples(st.just("pause"), st.sampled_from("km"), st.sampled_from([0.05, 1.0, 4.0])),
        st.tuples(st.just("resume"), st.sampled_from("km"), st.just(0)),
        st.tuples(st.just("refusal"), st.sampled_from("km"), st.just(0)),
        st.tuples(st.just("pass"), st.sampled_from([0.0, 0.01, 0.3, 1.0, 8.0]), st.just(0)),
    ),
    min_size=10,
    max_size=50,
)


class Story:
    """Callers on one LocalWindows, and every send they made."""

    def __init__(self, pair: tuple[Domain, Domain]) -> None:
        self.clock = FakeClock(5_000.0)
        self.windows = LocalWindows(self.clock)
        self.domains = {domain.name: domain for domain in pair}
        self.windows.register(pair)
        self.waiting: list[Permit] = []
        self.sent: list[Permit] = []
        self.paused_until = {"k": 0.0, "m": 0.0}

    def run(self, steps: list[tuple]) -> None:
        self.waiting = [self.windows.reserve(route, tokens=3) for route in (("k",), ("k", "m")) * 4]
        for name, what, how in steps:
            if name == "reserve":
                self.waiting.append(self.windows.reserve(what, tokens=how))
            elif name == "pass":
                self.clock.sleep_s(what)
            elif name == "pause":
                self.windows.pause(what, how)
                self.paused_until[what] = max(self.paused_until[what], self.clock.now_s() + how)
            elif name == "resume":
                self.windows.resume(what)
                self.paused_until[what] = 0.0
            elif name == "refusal":
                self.windows.note_refusal(what, self.clock.now_s())
            elif self.waiting:
                self.waiting.sort(key=lambda permit: permit.not_before_mono_s)
                self.touch(name, what % len(self.waiting), how)

    def touch(self, name: str, index: int, late_s: float) -> None:
        if name == "give back":
            self.windows.give_back(self.waiting.pop(index))
        elif name == "hasten":
            self.waiting[index] = self.windows.hasten(self.waiting[index])
        else:
            due_s = self.waiting[index].not_before_mono_s + late_s
            self.clock.sleep_s(due_s - self.clock.now_s())
            self.spend(index)

    def spend(self, index: int) -> None:
        permit, may_send = self.windows.spend(self.waiting[index])
        if may_send:
            assert self.clock.now_s() == permit.not_before_mono_s
            assert all(self.clock.now_s() >= self.paused_until[name] for name in permit.domains)
            self.waiting.pop(index)
            self.sent.append(permit)
        else:
            assert permit.not_before_mono_s > self.clock.now_s()
            self.waiting[index] = permit

    def send_the_rest(self) -> None:
        for _ in range(1_000):
            if not self.waiting:
                return
            index = min(range(len(self.waiting)), key=lambda i: self.waiting[i].not_before_mono_s)
            self.clock.sleep_s(self.waiting[index].not_before_mono_s - self.clock.now_s())
            self.spend(index)
        raise AssertionError(f"{len(self.waiting)} calls never went out")

    def check(self) -> None:
        for domain in self.domains.values():
            for limit in domain.limits:
                of_requests = limit.kind is LimitKind.REQUESTS
                sends = [
                    (permit.not_before_mono_s, 1 if of_requests else min(permit.tokens, limit.amount))
                    for permit in self.sent
                    if domain.name in permit.domains
                ]
                for instant, _ in sends:
                    used = sum(n for at, n in sends if instant - limit.per_s + ROUNDING_S < at <= instant)
                    assert used <= limit.amount, f"{used} in {limit} up to {instant}"


@given(pair=domain_pairs, steps=acts)
@settings(max_examples=300, deadline=None)
def test_no_window_is_ever_overfull_when_the_calls_leave(pair: tuple[Domain, Domain], steps: list[tuple]):
    """For any limits, arrivals, late wake-ups, pauses and withdrawals, every span holds at most its limit."""
    # Given callers who do as they please
    story = Story(pair)
    story.run(steps)
    # When those still waiting are sent at their instants
    story.send_the_rest()
    # Then no span of any window held more than its limit, and no call went out in a pause
    story.check()


@given(pair=domain_pairs, steps=acts)
@settings(max_examples=150, deadline=None)
def test_a_log_too_small_for_its_calls_still_lets_no_window_be_overfull(
    pair: tuple[Domain, Domain], steps: list[tuple]
):
    """Merged and dropped entries cost throughput; the limit holds, and everybody gets through."""
    # Given the same callers, and logs that keep hardly more entries apart than the limit has
    with patch.object(window, "MIN_CAPACITY", 3):
        story = Story(pair)
    story.run(steps)
    # When those still waiting are sent, Then every window holds
    story.send_the_rest()
    story.check()


@given(domain=domain_named("k"), arrivals=st.lists(st.sampled_from([0.0, 0.01, 0.4, 1.0, 3.0]), max_size=60))
@settings(max_examples=150, deadline=None)
def test_equal_calls_are_granted_in_the_order_of_asking_and_never_later_than_needed(
    domain: Domain, arrivals: list[float]
):
    """First come, first served; a call waits only if going any earlier would overfill a window."""
    # Given equal calls of three tokens arriving at any pace
    clock = FakeClock(5_000.0)
    windows = LocalWindows(clock)
    windows.register([domain])
    margin_s = windows.snapshot()[0].margin_s
    instants: list[float] = []
    for gap_s in arrivals:
        clock.sleep_s(gap_s)
        # When one asks
        at_s = windows.reserve(["k"], tokens=3).not_before_mono_s
        # Then it is not before the one before it
        assert not instants or at_s >= instants[-1]
        # And if it waits, some window was full until just then
        if at_s > clock.now_s():
            assert any(_full_just_before(at_s, instants, limit, margin_s) for limit in domain.limits)
        instants.append(at_s)


def _full_just_before(at_s: float, instants: list[float], limit: Limit, margin_s: float) -> bool:
    amount = 1 if limit.kind is LimitKind.REQUESTS else min(3, limit.amount)
    just_before = at_s - 1e-6
    active = sum(amount for stamp in instants if just_before - limit.per_s - margin_s < stamp)
    return active + amount > limit.amount


@given(pair=domain_pairs, steps=acts)
@settings(max_examples=60, deadline=None)
def test_an_idle_domain_grants_at_once(pair: tuple[Domain, Domain], steps: list[tuple]):
    """When everything has left the windows, the next call need not wait, whatever happened before."""
    # Given a history that is over
    story = Story(pair)
    story.run(steps)
    story.send_the_rest()
    story.clock.sleep_s(60.0)
    # When a call comes, Then it goes now
    assert story.clock.now_s() == story.windows.reserve(("k", "m"), tokens=7).not_before_mono_s
