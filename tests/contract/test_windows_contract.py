"""What every holder of windows promises, in ordinary memory and in a shared file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from benchrunner.errors import RegistryError
from benchrunner.limits.local import LocalWindows, Windows
from benchrunner.limits.window import WIRE_SHARE
from benchrunner.records import Domain, Limit, LimitKind, Permit
from benchrunner.registry.shared_windows import SharedWindows
from benchrunner.testing import FakeClock

MARGIN_S = 0.008


def requests(amount: int, per_s: float = 1.0) -> Limit:
    return Limit(kind=LimitKind.REQUESTS, amount=amount, per_s=per_s)


def tokens(amount: int, per_s: float = 60.0) -> Limit:
    return Limit(kind=LimitKind.TOKENS, amount=amount, per_s=per_s)


def make_domain(name: str, *limits: Limit, spread_s: float = 0.0) -> Domain:
    return Domain(name=name, label=name.upper(), provider="ideallab", limits=limits, spread_s=spread_s)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(100.0)


@pytest.fixture(params=["local", "shared"])
def windows(request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path) -> Iterator[Windows]:
    held: Windows = LocalWindows(clock) if request.param == "local" else SharedWindows(tmp_path / "w.bin", clock)
    yield held
    held.close()


def test_an_idle_key_grants_its_limit_at_once_and_then_in_the_order_of_asking(windows: Windows):
    """Work-conserving and first come, first served."""
    # Given a key of 2 per second
    windows.register([make_domain("k", requests(2))])
    # When five callers ask
    permits = [windows.reserve(["k"]) for _ in range(5)]
    # Then two may send now, the others one window (and its margin) after those before them
    waits = [round(permit.not_before_mono_s - 100.0, 6) for permit in permits]
    assert waits == [0.0, 0.0, 1.008, 1.008, 2.016]
    assert sorted(permit.permit_id for permit in permits) == [permit.permit_id for permit in permits]


def test_a_permit_is_the_first_instant_that_suits_all_windows_of_all_its_domains(windows: Windows):
    """A call waits for its key and for its model's requests and tokens, whichever comes last."""
    # Given a key of 1 per second and a model of 100 tokens per minute
    windows.register([make_domain("k", requests(1)), make_domain("m", requests(72, 60.0), tokens(100))])
    # When three calls of 60, 60 and 30 tokens ask
    permits = [windows.reserve(["k", "m"], tokens=amount) for amount in (60, 60, 30)]
    # Then the second waits for the tokens, and the third goes between them as soon as the key allows
    waits = [round(permit.not_before_mono_s - 100.0, 6) for permit in permits]
    assert waits == [0.0, 60 + MARGIN_S, 1 + MARGIN_S]


def test_a_call_that_waits_for_another_domain_does_not_hold_up_its_key(windows: Windows):
    """A key's window may be used before a reservation far ahead."""
    # Given a key and a model that is used up for a minute
    windows.register([make_domain("k", requests(1)), make_domain("m", requests(1, 60.0))])
    windows.reserve(["k", "m"])
    assert windows.reserve(["k", "m"]).not_before_mono_s > 160.0
    # When a call of another model asks for the key, Then it has it as soon as the window allows
    assert pytest.approx(windows.reserve(["k"]).not_before_mono_s) == 100.0 + 1 + MARGIN_S


def test_a_permit_is_spent_at_its_instant_and_not_before(windows: Windows, clock: FakeClock):
    """Too early changes nothing; on time, the permit holds the instant of the send."""
    # Given a permit for an instant ahead
    windows.register([make_domain("k", requests(1))])
    windows.reserve(["k"])
    permit = windows.reserve(["k"])
    # When its holder asks too early, Then nothing changes
    assert (permit, False) == windows.spend(permit)
    # When it asks 2 ms late, Then it may send, and the send is stamped with that moment
    clock.sleep_s(permit.not_before_mono_s - clock.now_s() + 0.002)
    assert (replace(permit, not_before_mono_s=clock.now_s()), True) == windows.spend(permit)


def test_behind_a_late_send_the_next_one_follows_at_a_safe_distance_and_keeps_its_turn(
    windows: Windows, clock: FakeClock
):
    """Lateness costs the key that lateness, not a slot; and it never brings two sends too close."""
    # Given three permits one after the other
    windows.register([make_domain("k", requests(1))])
    first, second, third = (windows.reserve(["k"]) for _ in range(3))
    # When the first leaves half a second late
    clock.sleep_s(0.5)
    sent, may_send = windows.spend(first)
    assert (may_send, sent.not_before_mono_s) == (True, 100.5)
    # Then the second, at its instant, is told to wait for the rest of the second and the network's share of the margin
    clock.sleep_s(second.not_before_mono_s - clock.now_s())
    pushed, may_send = windows.spend(second)
    margin_s = windows.snapshot()[0].margin_s
    assert (may_send, pushed.permit_id) == (False, second.permit_id)
    assert pushed.not_before_mono_s == pytest.approx(101.5 + margin_s * WIRE_SHARE)
    # And it is counted once: two wait, one was sent
    use = windows.snapshot()[0]
    assert (use.windows[0].used, use.waiting) == (1.0, 2)
    # And then it may go, still before the third, which keeps the distance in turn
    clock.sleep_s(pushed.not_before_mono_s - clock.now_s())
    assert windows.spend(pushed) == (pushed, True)
    clock.sleep_s(third.not_before_mono_s - clock.now_s())
    last, may_send = windows.spend(third)
    assert not may_send
    assert last.not_before_mono_s >= pushed.not_before_mono_s + 1.0


def test_a_permit_spent_after_a_pause_is_counted_once(windows: Windows):
    """The old entry goes when the new one is taken."""
    windows.register([make_domain("k", requests(5))])
    permit = windows.reserve(["k"])
    windows.pause("k", 3.0)
    taken, may_send = windows.spend(permit)
    use = windows.snapshot()[0]
    assert (may_send, taken.not_before_mono_s) == (False, 103.0)
    assert (use.windows[0].used, use.waiting) == (0.0, 1)


def test_a_late_sender_nobody_waits_behind_may_send_at_once(windows: Windows, clock: FakeClock):
    """The instant is only taken anew when it would hurt somebody."""
    # Given the only permit of a key
    windows.register([make_domain("k", requests(1))])
    permit = windows.reserve(["k"])
    # When its holder wakes ten seconds late
    clock.sleep_s(10.0)
    taken, may_send = windows.spend(permit)
    # Then it may send, and counts from now
    assert (may_send, taken.not_before_mono_s) == (True, 110.0)
    assert windows.reserve(["k"]).not_before_mono_s >= 111.0


def test_after_a_pause_the_waiting_do_not_all_go_at_once(windows: Windows, clock: FakeClock):
    """Permits taken before the pause are worth nothing during it, and line up behind it."""
    # Given six permits on a key of 2 per second
    windows.register([make_domain("k", requests(2))])
    permits = [windows.reserve(["k"]) for _ in range(6)]
    # When the provider asks for 5 seconds, and a shorter pause follows
    windows.pause("k", 5.0)
    windows.pause("k", 1.0)
    # Then every holder that comes is told to wait, at most two per window behind the pause
    taken = []
    for permit in permits:
        clock.sleep_s(permit.not_before_mono_s - clock.now_s())
        permit, may_send = windows.spend(permit)
        assert not may_send
        taken.append(round(permit.not_before_mono_s - 100.0, 6))
    assert taken == [5.0, 5.0, 6.008, 6.008, 7.016, 7.016]


def test_a_resumed_domain_grants_at_once(windows: Windows):
    """A pause can be taken back."""
    windows.register([make_domain("k", requests(2))])
    windows.pause("k", 30.0)
    assert windows.reserve(["k"]).not_before_mono_s == 130.0
    windows.resume("k")
    assert windows.reserve(["k"]).not_before_mono_s == 100.0


def test_a_permit_given_back_is_free_for_the_next_and_a_spent_one_is_not(windows: Windows):
    """Giving back withdraws what was not sent, and never a send."""
    # Given a key of 1 per second whose permit was given back
    windows.register([make_domain("k", requests(1))])
    windows.give_back(windows.reserve(["k"]))
    # When the next one is spent and then given back by mistake
    permit, may_send = windows.spend(windows.reserve(["k"]))
    assert may_send
    windows.give_back(permit)
    # Then the send still counts
    assert windows.reserve(["k"]).not_before_mono_s >= 101.0


def test_settling_frees_what_was_not_used_and_charges_what_was(windows: Windows):
    """The reply's usage replaces the estimate."""
    # Given a model of 100 tokens a minute and a call estimated at 90
    windows.register([make_domain("m", tokens(100))])
    permit, _ = windows.spend(windows.reserve(["m"], tokens=90))
    assert windows.reserve(["m"], tokens=50).not_before_mono_s > 160.0
    # When it used 20
    windows.settle(permit, 20)
    # Then 30 more fit now, and not 60
    assert windows.reserve(["m"], tokens=30).not_before_mono_s == 100.0
    assert windows.reserve(["m"], tokens=60).not_before_mono_s > 160.0


def test_a_waiting_permit_is_hastened_when_room_was_made_and_left_alone_otherwise(windows: Windows, clock: FakeClock):
    """Who waits for tokens that were never used need not wait to the end; nobody loses a place by asking."""
    # Given two calls that wait for an estimate of 90 of 100 tokens
    windows.register([make_domain("m", tokens(100))])
    sent, _ = windows.spend(windows.reserve(["m"], tokens=90))
    first, second = windows.reserve(["m"], tokens=50), windows.reserve(["m"], tokens=60)
    # When they ask before anything changed, Then they keep what they have
    assert (first, second) == (windows.hasten(first), windows.hasten(second))
    # When the call turns out to have used 20
    windows.settle(sent, 20)
    clock.sleep_s(1.0)
    # Then the first may go now, and the second a window after it
    hastened = windows.hasten(first)
    assert (101.0, first.permit_id) == (hastened.not_before_mono_s, hastened.permit_id)
    assert (hastened, True) == windows.spend(hastened)
    assert pytest.approx(windows.hasten(second).not_before_mono_s) == 161.0 + MARGIN_S


def test_an_estimate_beyond_the_whole_limit_does_not_wait_for_ever(windows: Windows):
    """It goes out when the window is empty."""
    windows.register([make_domain("m", tokens(400))])
    windows.reserve(["m"], tokens=1)
    assert pytest.approx(windows.reserve(["m"], tokens=5_000).not_before_mono_s) == 160.0 + MARGIN_S


def test_registering_again_changes_nothing(windows: Windows):
    """Every worker registers what it uses."""
    domain = make_domain("k", requests(1))
    windows.register([domain])
    windows.reserve(["k"])
    before = windows.snapshot()
    windows.register([domain, domain])
    assert before == windows.snapshot()


@pytest.mark.parametrize(
    "limits",
    [(requests(1),), (requests(1), tokens(1_000)), (requests(1, 1.5), requests(50, 60.0))],
    ids=["amount", "another window", "another length"],
)
def test_new_limits_keep_the_past_and_void_unspent_permits(windows: Windows, limits: tuple[Limit, ...]):
    """A limit that shrinks counts what went out before; instants granted under the old one are taken anew."""
    # Given a key of 3 per second: one call sent, two reserved, one paused neighbour
    windows.register([make_domain("k", requests(3)), make_domain("other", requests(1))])
    windows.spend(windows.reserve(["k"]))
    waiting = [windows.reserve(["k"]), windows.reserve(["k"])]
    # When its limit becomes 1 per second
    windows.register([make_domain("k", *limits)])
    # Then neither may go now, and they do not go together
    taken = [windows.spend(permit) for permit in waiting]
    assert [may_send for _, may_send in taken] == [False, False]
    first, second = (permit.not_before_mono_s for permit, _ in taken)
    assert first >= 101.0
    assert second >= first + 1.0
    # And the windows are as told, the count of permits goes on
    use = windows.snapshot(["k"])[0]
    assert [(limit.kind, limit.amount, limit.per_s) for limit in limits] == [
        (window.kind, window.amount, window.per_s) for window in use.windows
    ]
    assert use.granted == 3


def test_a_limit_that_allows_nothing_is_a_mistake(windows: Windows):
    """Zero per second would be a wait without end."""
    with pytest.raises(ValueError, match="allows nothing"):
        windows.register([make_domain("k", requests(0))])


def test_a_domain_nobody_registered_is_named_with_those_that_are(windows: Windows):
    """A wrong name is an error, not an unlimited call."""
    windows.register([make_domain("k", requests(1))])
    with pytest.raises(RegistryError, match="no domain 'j' is registered; the windows hold k"):
        windows.reserve(["j"])


def test_a_domain_without_limits_still_pauses(windows: Windows):
    """An Azure key has no quota of its own, and can be throttled all the same."""
    windows.register([make_domain("k")])
    assert [windows.reserve(["k"], tokens=10).not_before_mono_s for _ in range(3)] == [100.0] * 3
    windows.pause("k", 2.0)
    assert windows.reserve(["k"]).not_before_mono_s == 102.0


def test_lateness_and_refusals_widen_the_margin_and_time_narrows_it_again(windows: Windows, clock: FakeClock):
    """Margins are learned from how late sends leave, and from refusals while a window is full."""

    def margin_s() -> float:
        return windows.snapshot(["k"])[0].margin_s

    # Given a key whose senders wake 12 ms late a few times
    windows.register([make_domain("k", requests(1))])
    for _ in range(4):
        permit = windows.reserve(["k"])
        clock.sleep_s(permit.not_before_mono_s - clock.now_s() + 0.012)
        windows.spend(permit)
    late = margin_s()
    assert MARGIN_S < late <= 0.060
    # When a caller that was held up on purpose comes, Then nothing is learned
    permit = windows.reserve(["k"])
    clock.sleep_s(permit.not_before_mono_s - clock.now_s() + 0.3)
    windows.spend(permit, learn_drift=False)
    assert late == margin_s()
    # When punctual sends follow for a while, Then the margin goes back to its floor
    for _ in range(40):
        permit = windows.reserve(["k"])
        clock.sleep_s(permit.not_before_mono_s - clock.now_s())
        windows.spend(permit)
    assert margin_s() == MARGIN_S
    # When the provider refuses with the window full, Then it widens; with an empty window it does not
    windows.note_refusal("k", clock.now_s())
    refused = margin_s()
    assert refused > MARGIN_S
    clock.sleep_s(5.0)
    windows.note_refusal("k", clock.now_s())
    assert refused == margin_s()


def test_a_call_counted_from_its_departure_holds_back_those_behind_it(windows: Windows, clock: FakeClock):
    """The provider counts arrivals: who left late counts from then, and the next keeps its distance from that."""
    # Given two permits of a key of 1 per second, the first spent at once and held up 0.4 s on its way to the network
    windows.register([make_domain("k", requests(1))])
    first, _ = windows.spend(windows.reserve(["k"]))
    second = windows.reserve(["k"])
    clock.sleep_s(0.4)
    # When its departure is told
    departed = windows.depart(first, 100.4)
    # Then its permit says so
    assert departed == replace(first, not_before_mono_s=100.4)
    # And the second, at the instant it was given, is told to wait for the rest
    clock.sleep_s(second.not_before_mono_s - clock.now_s())
    pushed, may_send = windows.spend(second)
    assert not may_send
    assert pushed.not_before_mono_s >= 101.4
    # And then it may go
    clock.sleep_s(pushed.not_before_mono_s - clock.now_s())
    assert windows.spend(pushed) == (pushed, True)


def test_a_late_departure_widens_the_margin(windows: Windows, clock: FakeClock):
    """How late bytes leave is how unevenly they arrive: the next ones are spaced for it."""
    windows.register([make_domain("k", requests(1))])
    for _ in range(4):
        permit = windows.reserve(["k"])
        while not (spent := windows.spend(permit))[1]:
            permit = spent[0]
            clock.sleep_s(permit.not_before_mono_s - clock.now_s())
        clock.sleep_s(0.02)
        windows.depart(spent[0], clock.now_s())
    assert windows.snapshot(["k"])[0].margin_s > MARGIN_S


def test_a_permit_whose_departure_moved_it_can_still_be_settled(windows: Windows, clock: FakeClock):
    """The correction of the tokens finds the entry where its departure put it, behind others that left in between."""
    # Given two calls of 40 of 100 tokens, the first of which leaves after the second
    windows.register([make_domain("m", tokens(100))])
    first, _ = windows.spend(windows.reserve(["m"], tokens=40))
    clock.sleep_s(0.1)
    second, _ = windows.spend(windows.reserve(["m"], tokens=40))
    clock.sleep_s(0.1)
    moved = windows.depart(first, clock.now_s())
    # When both turn out to have used 10 and 30
    windows.settle(moved, 10)
    windows.settle(second, 30)
    # Then the window counts 40, and 60 more may go
    assert windows.snapshot()[0].windows[0].used == 40.0
    assert windows.reserve(["m"], tokens=60).not_before_mono_s == clock.now_s()
    # And the second's 30 come back a window after it left, before the moved one's 10
    clock.sleep_s(160.15 - clock.now_s())
    assert windows.snapshot()[0].windows[0].used == 10.0 + 60.0


def test_a_burst_on_an_idle_key_is_spread(windows: Windows):
    """Threads that wake at one instant hold each other up: neighbours of a burst are kept a little apart."""
    # Given an idle key of 5 per second
    windows.register([make_domain("k", requests(5), spread_s=0.004)])
    # When seven calls ask at once
    permits = [windows.reserve(["k"]) for _ in range(7)]
    # Then five go one after the other, and the next two follow a window behind the first two: spread once, not again
    waits = [round(permit.not_before_mono_s - 100.0, 6) for permit in permits]
    assert waits == [0.0, 0.004, 0.008, 0.012, 0.016, 1.0 + MARGIN_S, 1.004 + MARGIN_S]


def test_spreading_costs_a_busy_key_nothing(windows: Windows):
    """Behind the first burst only the window counts: thirty calls end when they would without the spread."""
    # Given one key that spreads and one that does not
    windows.register([make_domain("spread", requests(5), spread_s=0.004), make_domain("dense", requests(5))])
    # When thirty calls ask for each
    last = {name: [windows.reserve([name]) for _ in range(30)][-1].not_before_mono_s for name in ("spread", "dense")}
    # Then the last one of the spread key comes later by the spread of one burst and no more
    assert last["spread"] == pytest.approx(last["dense"] + 4 * 0.004)


def test_a_lone_call_is_not_spread(windows: Windows, clock: FakeClock):
    """Who comes when nobody just left goes at once."""
    windows.register([make_domain("k", requests(5), spread_s=0.004)])
    windows.reserve(["k"])
    clock.sleep_s(0.01)
    assert windows.reserve(["k"]).not_before_mono_s == clock.now_s()


def test_a_burst_behind_a_pause_is_spread_and_resuming_begins_it_anew(windows: Windows, clock: FakeClock):
    """The end of a pause is an idle key's first instant; a pause taken back leaves no spread lying ahead."""
    # Given a paused key on which three calls line up
    windows.register([make_domain("k", requests(5), spread_s=0.004)])
    windows.pause("k", 10.0)
    behind = [windows.reserve(["k"]) for _ in range(3)]
    assert [round(permit.not_before_mono_s - 100.0, 6) for permit in behind] == [10.0, 10.004, 10.008]
    for permit in behind:
        windows.give_back(permit)
    # When the pause is taken back, Then the next burst is spread from now, not from where that one ended
    windows.resume("k")
    fresh = [windows.reserve(["k"]) for _ in range(2)]
    assert [round(permit.not_before_mono_s - clock.now_s(), 6) for permit in fresh] == [0.0, 0.004]


def test_a_snapshot_tells_what_is_used_waiting_and_paused(windows: Windows, clock: FakeClock):
    """`benchrunner keys` shows what everybody on this machine does."""
    windows.register([make_domain("k", requests(2)), make_domain("a", tokens(100))])
    for _ in range(5):
        windows.reserve(["k"])
    windows.pause("a", 3.0)
    clock.sleep_s(0.5)
    a, k = windows.snapshot()
    assert (a.name, a.label, a.provider, a.paused_for_s, a.granted) == ("a", "A", "ideallab", 2.5, 0)
    assert (k.windows[0].used, k.waiting, k.paused_for_s, k.granted) == (2.0, 3, 0.0, 5)
    assert (k,) == windows.snapshot(["k"])


def test_many_domains_fit(windows: Windows):
    """The buffer grows with what is registered, and entries survive its growth."""
    windows.register([make_domain("first", requests(1, 60.0))])
    windows.reserve(["first"])
    for i in range(40):
        windows.register([make_domain(f"m{i}", requests(1_000, 60.0), tokens(400_000))])
    assert windows.reserve(["first", "m39"], tokens=10).not_before_mono_s > 160.0
    assert len(windows.snapshot()) == 41


# --- learned caps -----------------------------------------------------------------------------------------------------


def send_one(windows: Windows, clock: FakeClock, *names: str) -> Permit:
    """Reserve, wait and spend."""
    permit, may_send = windows.reserve(names), False
    while not may_send:
        clock.sleep_s(permit.not_before_mono_s - clock.now_s())
        permit, may_send = windows.spend(permit)
    return permit


def refuse_burst(windows: Windows, clock: FakeClock, name: str) -> None:
    """Send ten calls at once and have the last one refused."""
    for _ in range(10):
        refused = send_one(windows, clock, name)
    clock.sleep_s(0.1)
    windows.note_refusal(name, refused.not_before_mono_s)


def test_a_refusal_caps_a_domain_without_limits_and_spaces_its_calls(windows: Windows, clock: FakeClock):
    """Learned from nothing; those who had leave already are held to it, too."""
    # Given ten calls a second for a while, and two more that wait for their instant
    windows.register([make_domain("k", requests(10)), make_domain("m")])
    assert windows.snapshot(["m"])[0].cap_per_s is None
    for _ in range(100):
        refused = send_one(windows, clock, "k", "m")
        clock.sleep_s(0.1)
    waiting = [windows.reserve(["k", "m"]) for _ in range(3)]
    # When the last of them is refused
    change = windows.note_refusal("m", refused.not_before_mono_s)
    # Then the domain has a cap below what was sent, and that is told
    cap_per_s = windows.snapshot(["m"])[0].cap_per_s
    assert cap_per_s == pytest.approx(6.0, rel=0.1)
    assert change is not None
    assert (change.label, change.after_per_s, change.before_per_s) == ("M", cap_per_s, float("inf"))
    # And the waiting leave a spacing apart
    sent = []
    for permit in waiting:
        may_send = False
        while not may_send:
            clock.sleep_s(permit.not_before_mono_s - clock.now_s())
            permit, may_send = windows.spend(permit)
        sent.append(permit.not_before_mono_s)
    gaps = [later - earlier for earlier, later in pairwise(sent)]
    assert gaps == pytest.approx([1 / cap_per_s] * 2)
    # And another domain of the same key is as free as before
    assert windows.snapshot(["k"])[0].cap_per_s is None


def test_one_crowd_cuts_a_cap_once(windows: Windows, clock: FakeClock):
    """All in flight when the door closed are one event."""
    windows.register([make_domain("k", requests(10))])
    crowd = [send_one(windows, clock, "k") for _ in range(10)]
    clock.sleep_s(0.3)
    told = [windows.note_refusal("k", permit.not_before_mono_s) for permit in crowd]
    assert [change is None for change in told] == [False] + [True] * 9
    assert windows.snapshot(["k"])[0].cap_per_s == 8.5


def test_answers_at_the_caps_pace_raise_it_and_others_do_not(windows: Windows, clock: FakeClock):
    """A cap that nobody leans on stays where it is."""
    windows.register([make_domain("k", requests(10))])
    refuse_burst(windows, clock, "k")
    refuse_burst(windows, clock, "k")
    cut = windows.snapshot(["k"])[0].cap_per_s
    assert cut == pytest.approx(5.1)
    # Given calls that come far apart, When they are answered, Then nothing is known about the cap
    for _ in range(5):
        clock.sleep_s(20.0)
        windows.note_answer(send_one(windows, clock, "k"))
    assert windows.snapshot(["k"])[0].cap_per_s == cut
    # Given calls as fast as they may, Then it grows, is told, and ends at the limit
    told = []
    for _ in range(200):
        told += windows.note_answer(send_one(windows, clock, "k"))
    assert {(change.label, change.cause) for change in told} == {("K", "calls without a throttle")}
    assert windows.snapshot(["k"])[0].cap_per_s == 10.0


def test_a_cap_that_was_not_needed_for_an_hour_is_forgotten(windows: Windows, clock: FakeClock):
    """The next call is free, and that is told."""
    windows.register([make_domain("m")])
    refuse_burst(windows, clock, "m")
    clock.sleep_s(3_600.0)
    (change,) = windows.note_answer(send_one(windows, clock, "m"))
    assert change.after_per_s == float("inf")
    assert windows.snapshot(["m"])[0].cap_per_s is None
    assert [windows.reserve(["m"]).not_before_mono_s for _ in range(3)] == [clock.now_s()] * 3


def test_new_limits_keep_the_cap_below_them(windows: Windows, clock: FakeClock):
    """What was learned survives a change of the configuration, at or below the new limit."""
    windows.register([make_domain("k", requests(10))])
    refuse_burst(windows, clock, "k")
    for limits, cap_per_s in (((requests(20),), 8.5), ((requests(1, 2.0), requests(50, 60.0)), 0.5)):
        windows.register([make_domain("k", *limits)])
        assert windows.snapshot(["k"])[0].cap_per_s == cap_per_s


def test_a_queue_behind_a_cap_is_first_come_first_served(windows: Windows, clock: FakeClock):
    """Places in the pace are reserved like any other, and a place given back is free."""
    windows.register([make_domain("m")])
    refuse_burst(windows, clock, "m")
    cap_per_s = windows.snapshot(["m"])[0].cap_per_s
    assert cap_per_s is not None
    queue = [windows.reserve(["m"]) for _ in range(4)]
    waits = [permit.not_before_mono_s - clock.now_s() for permit in queue]
    assert waits == pytest.approx([place / cap_per_s for place in range(4)])
    assert windows.snapshot(["m"])[0].waiting == 3
    windows.give_back(queue[1])
    assert windows.reserve(["m"]).not_before_mono_s == queue[1].not_before_mono_s


def test_a_domain_starts_with_a_wide_margin_that_settles(windows: Windows, clock: FakeClock):
    """Whoever registers a domain may be one of many cold processes: its margin starts wide, and settles in seconds."""
    # Given a key whose cold margin is thrice its floor
    cold = replace(make_domain("k", requests(1)), margin_floor_s=0.01, cold_margin_s=0.03)
    windows.register([cold])

    def margin_s() -> float:
        return windows.snapshot(["k"])[0].margin_s

    # Then its margin is that at first
    assert margin_s() == pytest.approx(0.03)
    # When punctual sends follow for a while, Then it settles at the floor
    for _ in range(30):
        permit = windows.reserve(["k"])
        clock.sleep_s(permit.not_before_mono_s - clock.now_s())
        windows.spend(permit)
    assert margin_s() == pytest.approx(0.01)
    # And the next worker that registers it finds it wide again
    windows.register([cold])
    assert margin_s() == pytest.approx(0.03)
