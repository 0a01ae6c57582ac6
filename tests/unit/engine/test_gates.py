"""What lets calls leave: permits from windows under a managed policy, a shard's own pace under `native`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pytest

from benchrunner.engine.calls import LEAD_S, HandBack, Pass
from benchrunner.engine.gates import PROMPT_S, THROTTLE_PAUSE_S, PaceGate, PermitGate
from benchrunner.limits.cap import FLOOR_PER_S, KEEP
from benchrunner.limits.local import LocalWindows
from benchrunner.limits.window import WIRE_SHARE
from benchrunner.records import Domain, Limit, LimitKind
from benchrunner.testing import FakeClock

MARGIN_S = 0.008


def requests(amount: int, per_s: float = 1.0) -> Limit:
    return Limit(kind=LimitKind.REQUESTS, amount=amount, per_s=per_s)


def make_domain(name: str, *limits: Limit, spread_s: float = 0.0) -> Domain:
    return Domain(name=name, label=name.upper(), provider="lab", limits=limits, spread_s=spread_s)


KEY, MODEL = make_domain("k", requests(10)), make_domain("m")


class Threads:
    """A worker's dialogue threads, in effect: what they share is a clock, windows and a gate."""

    def __init__(self, *domains: Domain) -> None:
        self.clock = FakeClock()
        self.windows = LocalWindows(self.clock)
        self.windows.register(domains)
        self.gate = PermitGate(self.windows, domains, self.clock)
        self.prepared_at_s: list[float] = []
        self.on_prepare: deque[Callable[[], None]] = deque()
        self.stop_at_s = float("inf")

    def prepare(self) -> None:
        self.prepared_at_s.append(self.clock.now_s())
        if self.on_prepare:
            self.on_prepare.popleft()()

    def stopped(self, seconds: float) -> bool:
        self.clock.sleep_s(min(seconds, max(0.0, self.stop_at_s - self.clock.now_s())))
        return self.clock.now_s() >= self.stop_at_s

    def wait(self, tokens: int = 0) -> Pass:
        return self.gate.wait(tokens, self.prepare, self.stopped)

    def used(self, name: str = "k") -> tuple[float, int]:
        """Return how many calls a domain's window counts, and how many are reserved ahead."""
        use = self.windows.snapshot([name])[0]
        return use.windows[0].used, use.waiting

    def paused_s(self, name: str) -> float:
        return self.windows.snapshot([name])[0].paused_for_s

    def cap_per_s(self, name: str) -> float | None:
        return self.windows.snapshot([name])[0].cap_per_s


def most_in_any(stamps: list[float], span_s: float) -> int:
    return max(sum(1 for other in stamps if stamp <= other < stamp + span_s) for stamp in stamps)


# --- permits --------------------------------------------------------------------------------------------------------


def test_no_second_ever_holds_more_than_the_limit() -> None:
    """Sixty calls on a key of ten per second: never eleven in a second, and hardly slower than the limit."""
    # Given / When
    threads = Threads(KEY, MODEL)
    sent = [threads.wait().sent_mono_s for _ in range(60)]
    # Then
    assert most_in_any(sent, 1.0) == 10
    assert sent[-1] - sent[0] == pytest.approx(5 * (1 + MARGIN_S))


def test_a_call_is_prepared_just_before_its_instant() -> None:
    """The connection is opened and the `sent` row committed when the call is near, not when it lines up."""
    # Given a key that is used up for a minute
    threads = Threads(make_domain("k", requests(1, 60.0)))
    threads.wait()
    # When the next call waits for it
    granted = threads.wait()
    # Then it is prepared the lead before its instant, and says how long it waited
    assert granted.sent_mono_s == pytest.approx(1060.0 + MARGIN_S)
    assert threads.prepared_at_s == pytest.approx([1000.0, 1060.0 + MARGIN_S - LEAD_S])
    assert granted.wait_s == pytest.approx(60.0 + MARGIN_S)


def test_a_stopped_call_gives_its_permit_back() -> None:
    """What was reserved and is not sent is free for others at once."""
    # Given a call that waits for its key
    threads = Threads(make_domain("k", requests(1)))
    threads.wait()
    threads.stop_at_s = 1000.5
    # When its worker is told to stop meanwhile
    with pytest.raises(HandBack):
        threads.wait()
    # Then nothing is reserved any more, and it was never prepared
    assert (threads.used(), threads.prepared_at_s) == ((1.0, 0), [1000.0])


def test_a_call_stopped_while_it_is_prepared_does_not_leave() -> None:
    """Its key may be another model's by then: the stop is minded until the permit is spent."""
    # Given a call whose preparation lasts until its worker has been told to stop
    threads = Threads(make_domain("k", requests(1)))
    threads.stop_at_s = 1000.0 + 0.01
    threads.on_prepare.append(lambda: threads.clock.sleep_s(0.02))
    # Then it is handed back, and its permit too
    with pytest.raises(HandBack):
        threads.wait()
    assert (threads.used(), len(threads.prepared_at_s)) == ((0.0, 0), 1)


def test_a_call_whose_preparation_fails_gives_its_permit_back() -> None:
    """Whatever goes wrong between the permit and the send, the window is not left counting a call that never was."""
    threads = Threads(KEY)

    def fail() -> None:
        raise HandBack

    threads.on_prepare.append(fail)
    with pytest.raises(HandBack):
        threads.wait()
    assert threads.used() == (0.0, 0)


def test_a_call_prepared_too_late_takes_its_instant_anew() -> None:
    """A database that is slow to commit makes a call late, never a window overfull."""
    # Given a key of one per second, a call for its free instant, and another process that sends meanwhile
    threads = Threads(make_domain("k", requests(1)))

    def slowly() -> None:
        threads.clock.sleep_s(2.0)
        other, may_send = threads.windows.spend(threads.windows.reserve(["k"]))
        assert may_send, "the other process is on time"
        assert other.not_before_mono_s == 1002.0

    threads.on_prepare.append(slowly)
    # When the call comes out of its preparation two seconds late
    granted = threads.wait()
    # Then it leaves a second after the other, and is counted once
    assert granted.sent_mono_s == pytest.approx(1003.0 + MARGIN_S * WIRE_SHARE)
    assert threads.used() == (1.0, 0)
    # And what made it late taught the margin nothing: this machine wakes as punctually as before
    assert threads.windows.snapshot(["k"])[0].margin_s == MARGIN_S


def test_a_pause_that_comes_while_a_call_waits_is_waited_for() -> None:
    """A permit from before the pause is worth nothing: the call lines up behind it."""
    threads = Threads(KEY)
    threads.on_prepare.append(lambda: threads.windows.pause("k", 7.0))
    assert threads.wait().sent_mono_s == 1007.0
    assert threads.used() == (1.0, 0)


def test_a_call_that_waits_long_takes_room_that_is_made_meanwhile() -> None:
    """Tokens that were estimated and not used, and a pause taken back, are not slept through."""
    # Given a call that waits a minute for the estimate of the one before it
    tokens = Limit(kind=LimitKind.TOKENS, amount=100, per_s=60.0)
    threads = Threads(make_domain("k"), make_domain("m", tokens))
    before = threads.wait(tokens=90)
    naps = iter(range(10))

    def stopped(seconds: float) -> bool:
        threads.clock.sleep_s(seconds)
        if next(naps) == 3:
            threads.gate.settle(before, 20)
        return False

    # When the first turns out to have used little, some seconds on
    granted = threads.gate.wait(50, threads.prepare, stopped)
    # Then the second goes at its next look, not a minute later
    assert 1003.0 < granted.sent_mono_s <= 1005.0


def test_a_call_held_up_on_its_way_counts_from_its_departure() -> None:
    """The provider counts arrivals: those behind a late one keep their distance from when it really left."""
    # Given a call that leaves 0.4 s after it was let through
    threads = Threads(make_domain("k", requests(1)))
    late = threads.wait()
    threads.clock.sleep_s(0.4)
    threads.gate.departed(late, threads.clock.now_s())
    # When the next one goes
    following = threads.wait()
    # Then it is a whole window behind the departure
    assert late.sent_mono_s == 1000.4
    assert following.sent_mono_s >= late.sent_mono_s + 1.0


def test_a_call_that_left_promptly_keeps_its_entry() -> None:
    """Within a millisecond nothing is corrected: it would cost every call a critical section for nothing."""
    threads = Threads(make_domain("k", requests(1)))
    prompt = threads.wait()
    permit = prompt.permit
    threads.gate.departed(prompt, 1000.0 + PROMPT_S / 2)
    assert (prompt.sent_mono_s, prompt.permit) == (1000.0 + PROMPT_S / 2, permit)


def test_tokens_are_settled_of_calls_that_left_late_too() -> None:
    """A corrected departure does not lose the entry whose estimate is to be corrected."""
    # Given a model of 100 tokens a minute, and a call of 90 that left half a second late
    threads = Threads(make_domain("k"), make_domain("m", Limit(kind=LimitKind.TOKENS, amount=100, per_s=60.0)))
    granted = threads.wait(tokens=90)
    threads.clock.sleep_s(0.5)
    threads.gate.departed(granted, 1000.5)
    # When its reply says 20
    threads.gate.settle(granted, 20)
    # Then 80 more may leave now
    assert threads.used("m") == (20.0, 0)
    assert threads.wait(tokens=80).sent_mono_s == 1000.5


# --- throttles ------------------------------------------------------------------------------------------------------


def test_a_throttle_pauses_the_domain_it_names() -> None:
    """`key` pauses the key, `model` the (account, model) pair for every key; a word nobody knows means the key."""
    for scope, paused in (("key", "k"), ("model", "m"), ("galaxy", "k")):
        threads = Threads(KEY, MODEL)
        granted = threads.wait()
        threads.clock.sleep_s(0.1)
        assert threads.gate.throttled(granted, scope, 4.0) == paused.upper()
        assert {name: threads.paused_s(name) for name in "km"} == {"k": 0.0, "m": 0.0, paused: 4.0}
        assert threads.wait().sent_mono_s == 1004.1


def throttle_once(threads: Threads, name: str = "k") -> float:
    """Send a call, have it throttled 0.1 s later without a hint, and return how long that paused."""
    granted = threads.wait()
    threads.clock.sleep_s(0.1)
    threads.gate.throttled(granted, "key", 0.0)
    return threads.paused_s(name)


def test_throttles_in_a_row_without_a_hint_space_the_calls_ever_wider_up_to_half_a_minute() -> None:
    """Each pauses for a second; the learned cap does the rest, so a provider that never answers is asked ever less."""
    threads = Threads(KEY)
    pauses, gaps = [], []
    last_s = threads.clock.now_s()
    for _ in range(14):
        pauses.append(throttle_once(threads))
        sent_s = threads.clock.now_s() - 0.1
        gaps.append(sent_s - last_s)
        last_s = sent_s
    assert pauses == pytest.approx([THROTTLE_PAUSE_S] * 14)
    assert gaps[0] == 0.0
    assert gaps[1:] == sorted(gaps[1:])
    assert gaps[-1] == pytest.approx(1 / FLOOR_PER_S)


def test_an_answer_lets_the_cap_grow_back_at_once() -> None:
    """A provider that answers again is not punished for yesterday."""
    # Given a key that was refused six times in a row
    threads = Threads(KEY)
    for _ in range(6):
        throttle_once(threads)
    cut = threads.cap_per_s("k")
    # When a few calls are answered
    for _ in range(5):
        threads.gate.succeeded(threads.wait())
    # Then most of the way back to where the row began is behind it
    grown = threads.cap_per_s("k")
    assert cut is not None
    assert grown is not None
    assert grown > 4 * cut


def test_ten_calls_refused_at_once_are_one_throttle() -> None:
    """A burst that meets a closed door is one event: it pauses a second and cuts the cap once."""
    # Given ten calls in flight
    threads = Threads(KEY)
    burst = [threads.wait() for _ in range(10)]
    threads.clock.sleep_s(0.3)
    # When all of them are refused
    for granted in burst:
        threads.gate.throttled(granted, "key", 0.0)
    # Then the key pauses once, and one cut is told
    assert threads.paused_s("k") == pytest.approx(THROTTLE_PAUSE_S)
    assert threads.cap_per_s("k") == 10 * KEEP
    assert [change.detail for granted in burst for change in granted.cap_changes] == [
        "none -> 8.5 requests/s after a throttle"
    ]


def test_a_reply_to_a_call_from_before_the_throttle_does_not_raise_the_cap() -> None:
    """What was served before the door closed says nothing about whether it is open again."""
    # Given two throttles, and a slow call that had left before them
    threads = Threads(KEY)
    slow = threads.wait()
    throttle_once(threads)
    throttle_once(threads)
    cut = threads.cap_per_s("k")
    # When the slow one is answered
    threads.gate.succeeded(slow)
    # Then the cap stays
    assert threads.cap_per_s("k") == cut


def test_a_refusal_within_our_own_limit_widens_the_margin() -> None:
    """Arrivals bunched up on the way: the domain's sends are kept further apart from then on."""
    threads = Threads(make_domain("k", requests(2)))
    threads.wait()
    refused = threads.wait()
    threads.gate.throttled(refused, "key", 0.5)
    assert threads.windows.snapshot(["k"])[0].margin_s > MARGIN_S


# --- pace -----------------------------------------------------------------------------------------------------------


class Pacer:
    """A shard under `native`: its gate, its clock, and a stop that may come."""

    def __init__(self, pace_qps: float) -> None:
        self.clock = FakeClock()
        self.gate = PaceGate(pace_qps, self.clock)
        self.stop_at_s = float("inf")
        self.meanwhile: list[tuple[float, Callable[[], object]]] = []  # what happens at an instant

    def stopped(self, seconds: float) -> bool:
        self.clock.sleep_s(seconds)
        while self.meanwhile and self.meanwhile[0][0] <= self.clock.now_s():
            self.meanwhile.pop(0)[1]()
        return self.clock.now_s() >= self.stop_at_s

    def wait(self) -> Pass:
        return self.gate.wait(0, lambda: None, self.stopped)


def test_a_shard_under_native_paces_itself_evenly() -> None:
    """Two per second are half a second apart, from the first on, however many threads ask."""
    pacer = Pacer(2.0)
    assert [pacer.wait().sent_mono_s for _ in range(5)] == pytest.approx([1000.0, 1000.5, 1001.0, 1001.5, 1002.0])


def test_a_pause_between_calls_is_not_made_up_for_with_a_burst() -> None:
    """The pace is a distance between sends, not an average."""
    pacer = Pacer(2.0)
    pacer.wait()
    pacer.clock.sleep_s(10.0)
    assert [pacer.wait().sent_mono_s for _ in range(3)] == pytest.approx([1010.0, 1010.5, 1011.0])


def test_a_throttle_holds_the_shard_for_the_hint_or_a_second() -> None:
    """It names no domain, since it consults none: only this shard holds back."""
    pacer = Pacer(10.0)
    granted = pacer.wait()
    assert pacer.gate.throttled(granted, "model", 3.0) == ""
    assert pacer.wait().sent_mono_s == pytest.approx(1003.0)
    pacer.gate.throttled(granted, "key", 0.0)
    assert pacer.wait().sent_mono_s == pytest.approx(1004.0)


def test_a_throttle_holds_back_those_who_have_their_turn_already() -> None:
    """A call that waits for its turn when the hold comes takes a new one behind it, and the pace is kept."""
    # Given a call whose turn is at 1000.5
    pacer = Pacer(2.0)
    first = pacer.wait()
    # When the shard is held for five seconds meanwhile
    pacer.meanwhile.append((1000.4, lambda: pacer.gate.throttled(first, "key", 5.0)))
    pacer.clock.sleep_s(0.1)
    # Then it goes when the hold is over, and the next one an interval after it
    assert [pacer.wait().sent_mono_s, pacer.wait().sent_mono_s] == pytest.approx([1005.47, 1005.97])


def test_a_stopped_shard_sends_nothing_more() -> None:
    """The stop is minded while a turn is waited for."""
    pacer = Pacer(0.1)
    pacer.wait()
    pacer.stop_at_s = 1005.0
    with pytest.raises(HandBack):
        pacer.wait()
