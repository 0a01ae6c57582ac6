"""Permits by the block: what an exchange grants, how far ahead, what becomes of what is told."""

from __future__ import annotations

import pytest

from benchrunner.errors import RegistryError
from benchrunner.limits.blocks import (
    GATHER_SHARE,
    HORIZON_S,
    HORIZON_SHARE,
    LATE_SHARE,
    LONGEST_LATE_S,
    MOST_SLOTS,
    Ask,
    Block,
    BlockWindows,
    ClockFit,
    News,
    OwnLog,
    Report,
    permits_of,
)
from benchrunner.records import Domain, Limit, LimitKind, Permit
from benchrunner.testing import FakeClock

TEN = Domain(
    name="key:a", label="key0", provider="p",
    limits=(Limit(kind=LimitKind.REQUESTS, amount=10, per_s=1.0),), margin_floor_s=0.015, margin_ceiling_s=0.060,
)  # fmt: skip
FREE = Domain(name="model:b", label="p/m", provider="p", limits=())


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def windows(clock: FakeClock) -> BlockWindows:
    held = BlockWindows(clock)
    held.register([TEN, FREE])
    return held


def ask(calls: int = 0, *reports: Report, lead_s: float = 0.0, names: tuple[str, ...] = (TEN.name,)) -> Ask:
    return Ask(names=names, key="a", fence=1, wanted=((100, lead_s),) * calls, reports=reports)


def draw(windows: BlockWindows, calls: int) -> tuple[Block, list[Permit]]:
    asked = ask(calls)
    block = windows.exchange(asked)
    return block, list(permits_of(block, asked))


def test_one_exchange_serves_a_whole_window(windows: BlockWindows, clock: FakeClock) -> None:
    """As many slots come as the window holds, at once; the rest is told when to ask again."""
    # When thirty calls wait
    block, permits = draw(windows, 30)
    # Then ten get their instants, and the others are to come back before the window opens again
    assert [permit.not_before_mono_s for permit in permits] == [clock.now_s()] * 10
    opens_s = 1.0 + 0.015
    assert block.again_s == pytest.approx(opens_s - HORIZON_S + GATHER_SHARE * HORIZON_S)


def test_a_slot_lies_no_further_ahead_than_the_horizon(windows: BlockWindows, clock: FakeClock) -> None:
    """Asked again in time, a worker has its slots before they are due; asked too early, it gets none."""
    first, _ = draw(windows, 20)
    # When it asks at once, nothing is granted, and nothing is counted
    nothing, _ = draw(windows, 10)
    assert nothing.slots == ()
    # But when it was told to
    clock.sleep_s(first.again_s)
    again, permits = draw(windows, 10)
    assert len(again.slots) == 10
    assert all(0.0 < permit.not_before_mono_s - clock.now_s() <= HORIZON_S for permit in permits)


def test_the_horizon_is_never_longer_than_the_window(clock: FakeClock) -> None:
    """Of a window of a tenth of a second, a block reaches a tenth of a second: a lost one costs one window."""
    quick = Domain(
        name="key:q", label="q", provider="p", limits=(Limit(kind=LimitKind.REQUESTS, amount=2, per_s=0.1),),
        margin_floor_s=0.0,
    )  # fmt: skip
    windows = BlockWindows(clock)
    windows.register([quick])
    block = windows.exchange(ask(30, names=(quick.name,)))
    assert max(slot[1] for slot in block.slots) - clock.now_s() <= 0.11


def test_an_answer_is_bounded(windows: BlockWindows) -> None:
    """However many wait, an answer holds so many slots and no more."""
    block = windows.exchange(ask(MOST_SLOTS + 50, names=(FREE.name,)))
    assert len(block.slots) == MOST_SLOTS


def test_a_call_that_needs_time_gets_a_later_slot(windows: BlockWindows, clock: FakeClock) -> None:
    """No slot is due before its caller can be ready."""
    block = windows.exchange(ask(3, lead_s=0.05))
    assert {slot[1] for slot in block.slots} == {clock.now_s() + 0.05}


def test_what_comes_back_is_granted_to_the_next(windows: BlockWindows, clock: FakeClock) -> None:
    """An unspent permit leaves the window at once."""
    _, permits = draw(windows, 10)
    # When three are handed back, with the question for three more
    block = windows.exchange(ask(3, *(Report(news=News.BACK, permit=permit) for permit in permits[:3])))
    # Then there is room for three
    assert [slot[1] for slot in block.slots] == [clock.now_s()] * 3


def test_a_late_send_keeps_those_behind_it_at_their_distance(windows: BlockWindows, clock: FakeClock) -> None:
    """A call counts from when it really left."""
    _, permits = draw(windows, 10)
    # Given ten calls that left 8 ms after their instants
    clock.sleep_s(0.008)
    windows.exchange(ask(0, *(Report(news=News.SENT, permit=permit, seconds=0.008) for permit in permits)))
    # When the next window's are asked for
    clock.sleep_s(0.7)
    block, _ = draw(windows, 1)
    # Then it is a window, and its margin, after they left
    assert block.slots[0][1] >= permits[0].not_before_mono_s + 0.008 + 1.0 + 0.015


def test_a_late_send_is_known_before_a_slot_it_could_meet_is_granted(windows: BlockWindows) -> None:
    """Granted ahead, used late and told of late: all of it together is less than the window."""
    block, _ = draw(windows, 1)
    shortest_s = 1.0
    ahead_s = min(HORIZON_S, HORIZON_SHARE * shortest_s)
    assert block.late_s == LATE_SHARE * shortest_s
    assert ahead_s + 2 * block.late_s <= 0.75 * shortest_s


def test_news_told_twice_counts_a_call_twice_and_never_less(windows: BlockWindows, clock: FakeClock) -> None:
    """An exchange whose answer was lost is made again: the window is fuller than need be, never emptier."""
    _, permits = draw(windows, 5)
    told = [Report(news=News.SENT, permit=permit) for permit in permits]
    windows.exchange(ask(0, *told))
    windows.exchange(ask(0, *told))
    (use,) = windows.snapshot([TEN.name])
    assert use.windows[0].used == 10


def test_a_pause_voids_what_was_granted_before(windows: BlockWindows, clock: FakeClock) -> None:
    """After a throttle the generation rises, and no slot is due before the pause ends."""
    before, _ = draw(windows, 2)
    after = windows.exchange(ask(1, Report(news=News.PAUSE, domain=TEN.name, seconds=0.3)))
    assert after.generation > before.generation
    assert after.slots[0][1] >= clock.now_s() + 0.3


def test_a_refusal_cuts_the_cap_and_answers_raise_it(windows: BlockWindows, clock: FakeClock) -> None:
    """What throttles teach is learned once for the whole cluster."""
    _, permits = draw(windows, 10)
    windows.exchange(ask(0, *(Report(news=News.SENT, permit=permit) for permit in permits)))
    block = windows.exchange(ask(0, Report(news=News.REFUSED, permit=permits[-1], domain=TEN.name)))
    assert block.paced
    assert [change.label for change in block.changes] == ["key0"]
    (use,) = windows.snapshot([TEN.name])
    cut_per_s = use.cap_per_s
    assert cut_per_s is not None
    # When calls leave at that pace, and are answered
    for _ in range(30):
        block, permits = draw(windows, 1)
        clock.sleep_s(max(0.0, permits[0].not_before_mono_s - clock.now_s()) if permits else block.again_s)
        windows.exchange(
            ask(0, *(Report(news=news, permit=one) for one in permits for news in (News.SENT, News.ANSWERED)))
        )
    (use,) = windows.snapshot([TEN.name])
    assert use.cap_per_s is None or use.cap_per_s > cut_per_s


def test_tokens_are_settled_after_the_reply(clock: FakeClock) -> None:
    """A permit is charged its estimate, then what the reply used."""
    budget = Domain(
        name="key:t", label="t", provider="p", limits=(Limit(kind=LimitKind.TOKENS, amount=1_000, per_s=60.0),)
    )
    windows = BlockWindows(clock)
    windows.register([budget])
    asked = ask(2, names=(budget.name,))
    permits = permits_of(windows.exchange(asked), asked)
    left = [Report(news=News.SENT, permit=permit) for permit in permits]
    windows.exchange(
        ask(0, *left, *(Report(news=News.SETTLED, permit=one, tokens=30) for one in permits), names=(budget.name,))
    )
    (use,) = windows.snapshot([budget.name])
    assert use.windows[0].used == 60


def test_where_nothing_is_limited_slots_are_due_now_and_last(windows: BlockWindows, clock: FakeClock) -> None:
    """A domain without windows grants at once, and its slots may be used a while."""
    block = windows.exchange(ask(20, names=(FREE.name,)))
    assert {slot[1] for slot in block.slots} == {clock.now_s()}
    assert (block.late_s, block.guard_s, block.again_s) == (LONGEST_LATE_S, 0.0, 0.0)


def test_an_unknown_domain_is_an_error(windows: BlockWindows) -> None:
    """A registry that was started anew has to be told of domains first."""
    with pytest.raises(RegistryError, match="no domain"):
        windows.exchange(ask(1, names=("key:nobody",)))


def test_an_own_log_keeps_ten_a_second_whatever_the_slots_say() -> None:
    """Ten may leave; the eleventh waits for the first to be a window and the guard away."""
    log = OwnLog([TEN])
    for n in range(10):
        assert log.wait_s(100.0 + n / 100, 0.005) == 0.0
        log.note(100.0 + n / 100)
    assert log.wait_s(100.5, 0.005) == pytest.approx(0.505)
    # And one that was held up on its way counts from when it left
    log.move(100.0, 100.2)
    assert log.wait_s(101.006, 0.005) == pytest.approx(0.009)


def test_an_own_log_forgets_what_is_past() -> None:
    """A worker's memory does not grow with the calls it makes."""
    log = OwnLog([TEN])
    for n in range(10_000):
        log.note(float(n))
    assert len(log._stamps) < 20


def test_a_clock_fit_believes_the_quickest_exchange() -> None:
    """The other clock is known to within half the least way there and back."""
    fit = ClockFit()
    # Given a clock that is 5,000 s ahead, asked once slowly and once quickly
    fit.note(10.0, 5_010.19, 10.2)
    assert abs(fit.ahead_s - 5_000.0) <= fit.error_s == pytest.approx(0.1)
    fit.note(11.0, 5_011.0005, 11.001)
    # Then the quick answer counts, also after a slow one
    assert fit.ahead_s == pytest.approx(5_000.0)
    fit.note(12.0, 5_012.4, 12.5)
    assert fit.error_s == pytest.approx(0.000_5)


def test_a_clock_fit_forgets_what_is_old() -> None:
    """Clocks drift: an exchange of two minutes ago, however quick, says little."""
    fit = ClockFit()
    fit.note(10.0, 5_010.0, 10.001)
    fit.note(130.0, 5_130.016, 130.02)
    assert fit.error_s == pytest.approx(0.01)
