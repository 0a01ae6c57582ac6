"""Whatever happens to a cap, it stays between floor and limit, and reacts in the right direction."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchrunner.limits.cap import FLOOR_PER_S, NO_CAP, Cap, clamp, cut_by_throttle, raise_by_answer
from benchrunner.limits.local import LocalWindows
from benchrunner.records import Domain, Limit, LimitKind
from benchrunner.testing import FakeClock

ROUNDING = 1e-9

limits = st.one_of(st.just(float("inf")), st.floats(0.001, 1_000.0))
steps = st.lists(
    st.tuples(st.sampled_from(["throttle", "late throttle", "answer", "limit"]), st.floats(0.0, 100.0), limits),
    max_size=60,
)


@given(observed=st.floats(0.001, 10_000.0), limit_per_s=limits, story=steps)
def test_a_cap_stays_at_or_below_the_limit_and_never_stops_probing(
    observed: float, limit_per_s: float, story: list[tuple[str, float, float]]
) -> None:
    """Never above what is configured, never below one call in half a minute; a throttle never raises, an answer never
    lowers.
    """
    cap, now_s, paced = NO_CAP, 1000.0, 0
    for what, passed_s, new_limit in story:
        now_s += passed_s
        before = cap
        if what == "limit":
            limit_per_s = new_limit
            cap = clamp(cap, limit_per_s)
        elif what == "answer":
            paced += 7
            cap = raise_by_answer(cap, sent_s=now_s, paced=paced, limit_per_s=limit_per_s)
            assert cap.per_s >= before.per_s
        else:
            sent_s = now_s if what == "throttle" else cap.cut_at_s
            cap = cut_by_throttle(
                cap, now_s=now_s, sent_s=sent_s, paced=paced, observed_per_s=observed, limit_per_s=limit_per_s
            )
            assert cap.per_s <= before.per_s
            if before.learned and sent_s <= before.cut_at_s:
                assert cap.per_s == before.per_s
        if cap.learned:
            assert min(FLOOR_PER_S, limit_per_s) <= cap.per_s <= limit_per_s


@given(level=st.floats(0.1, 100.0), fewer=st.integers(1, 400), more=st.integers(0, 400), crowd=st.integers(1, 4))
def test_more_calls_without_a_throttle_never_mean_a_lower_cap(level: float, fewer: int, more: int, crowd: int) -> None:
    """The curve only rises, and passes the remembered level only after the way back."""
    cap = Cap(per_s=0.85 * level, cut_to_per_s=0.85 * level, refused_per_s=level, crowd=crowd, cut_at_s=0.0)
    low = raise_by_answer(cap, sent_s=1.0, paced=fewer, limit_per_s=float("inf"))
    high = raise_by_answer(cap, sent_s=1.0, paced=fewer + more, limit_per_s=float("inf"))
    assert cap.per_s <= low.per_s <= high.per_s


acts = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.sampled_from([0.0, 0.0, 0.003, 0.4])),
        st.tuples(st.just("reserve"), st.just(0.0)),
        st.tuples(st.just("give back"), st.just(0.0)),
        st.tuples(st.just("throttle"), st.sampled_from([0.0, 1.0])),
        st.tuples(st.just("pass"), st.sampled_from([0.1, 2.0, 40.0])),
    ),
    max_size=60,
)


@given(story=acts, limited=st.booleans())
def test_sends_of_a_capped_domain_keep_its_spacing(story: list[tuple[str, float]], limited: bool) -> None:
    """Two sends are never closer than the cap at the later one says, whatever was reserved, withdrawn or paused."""
    # Given a domain whose cap was learned
    clock = FakeClock(1_000.0)
    windows = LocalWindows(clock)
    limit = Limit(kind=LimitKind.REQUESTS, amount=20, per_s=1.0)
    windows.register([Domain(name="m", label="M", provider="p", limits=(limit,) if limited else ())])
    windows.note_refusal("m", clock.now_s())
    waiting = [windows.reserve(["m"]) for _ in range(3)]
    last_s = float("-inf")
    for what, how in story:
        waiting.sort(key=lambda permit: permit.not_before_mono_s)
        if what == "reserve":
            waiting.append(windows.reserve(["m"]))
        elif what == "pass":
            clock.sleep_s(how)
        elif what == "throttle":
            windows.pause("m", how)
            windows.note_refusal("m", clock.now_s())
        elif waiting and what == "give back":
            windows.give_back(waiting.pop())
        elif waiting:
            # When the first in the queue comes for its permit, at its instant or later
            clock.sleep_s(waiting[0].not_before_mono_s + how - clock.now_s())
            cap_per_s = windows.snapshot(["m"])[0].cap_per_s
            permit, may_send = windows.spend(waiting.pop(0))
            if not may_send:
                waiting.append(permit)
                continue
            # Then it leaves a spacing after the one before
            assert cap_per_s is not None
            assert clock.now_s() - last_s >= 1.0 / cap_per_s - ROUNDING
            last_s = clock.now_s()
            windows.note_answer(permit)
