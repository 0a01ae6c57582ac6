"""How a learned cap reacts: to a first refusal, to a crowd, to a row, to answers, to an hour of peace."""

from __future__ import annotations

import pytest

from benchrunner.limits.cap import (
    CLOSE,
    CROWD_MOST,
    FIRST_GUESS,
    FLOOR_PER_S,
    FORGET_S,
    INF,
    KEEP,
    KEEP_REPEATED,
    NO_CAP,
    PROBE_LINE,
    RETURN_CALLS,
    TRUST,
    Cap,
    CapChange,
    clamp,
    cut_by_throttle,
    is_forgotten,
    is_news,
    raise_by_answer,
)


def throttle(cap: Cap, at_s: float, *, sent_s: float | None = None, observed: float = 8.0, limit: float = INF) -> Cap:
    return cut_by_throttle(
        cap,
        now_s=at_s,
        sent_s=at_s - 0.1 if sent_s is None else sent_s,
        paced=0,
        observed_per_s=observed,
        limit_per_s=limit,
    )


def answer(cap: Cap, calls: int, *, limit: float = INF) -> Cap:
    return raise_by_answer(cap, sent_s=cap.cut_at_s + 1.0, paced=calls, limit_per_s=limit)


def settled_at(per_s: float) -> Cap:
    """A cap whose remembered level is a measurement, not a guess."""
    return Cap(per_s=per_s, cut_to_per_s=KEEP * per_s, refused_per_s=per_s, calls=RETURN_CALLS, cut_at_s=10.0)


def test_the_first_refusal_of_an_unknown_domain_caps_it_below_what_was_sent() -> None:
    """Learned from nothing: the rate before it is all there is to go by, and it was too high."""
    cap = throttle(NO_CAP, 100.0, observed=8.0)
    assert (cap.per_s, cap.refused_per_s, cap.cut_at_s) == (KEEP_REPEATED * 8.0, FIRST_GUESS * 8.0, 100.0)
    assert cap.spacing_s == 1 / (KEEP_REPEATED * 8.0)


def test_a_configured_limit_is_believed_more_than_a_burst() -> None:
    """Somebody wrote the limit down: one refusal takes little of it, and what was sent beyond it does not count."""
    cap = throttle(NO_CAP, 100.0, observed=30.0, limit=10.0)
    assert (cap.per_s, cap.refused_per_s) == (KEEP * 10.0, 10.0)


def test_calls_that_were_on_their_way_cut_the_cap_once() -> None:
    """A crowd is one event; it only makes the way back longer, up to a bound."""
    # Given thirty calls in flight
    cap = throttle(NO_CAP, 100.0, sent_s=99.0)
    first = cap.per_s
    # When all of them are refused
    for i in range(29):
        cap = throttle(cap, 100.0 + i / 100, sent_s=99.0 + i / 1000)
    # Then the cap was cut once
    assert (cap.per_s, cap.cut_at_s, cap.crowd) == (first, 100.0, CROWD_MOST)


def test_a_refusal_in_a_row_cuts_more_and_keeps_the_memory() -> None:
    """Nothing got through since the last cut: the level was far too high, which says nothing of the one before."""
    once = throttle(settled_at(4.0), 100.0)
    twice = throttle(once, 102.0)
    assert once.per_s == KEEP * 4.0
    assert twice.per_s == pytest.approx(KEEP_REPEATED * once.per_s)
    assert twice.refused_per_s == once.refused_per_s


def test_a_row_of_refusals_stops_at_the_floor() -> None:
    """Something must find out when the provider recovers."""
    cap = NO_CAP
    for i in range(40):
        cap = throttle(cap, 100.0 + 60 * i)
    assert cap.per_s == FLOOR_PER_S


def test_a_limit_below_the_floor_is_kept_all_the_same() -> None:
    """A cap never exceeds what is configured, however little that is."""
    assert throttle(NO_CAP, 100.0, limit=0.01).per_s == 0.01


def test_one_refusal_moves_the_remembered_level_part_of_the_way() -> None:
    """Strangers make refusals come by chance: near the remembered level one of them is a noisy measurement."""
    cap = throttle(answer(throttle(settled_at(4.0), 100.0), 5), 105.0)
    level = answer(throttle(settled_at(4.0), 100.0), 5).per_s
    assert cap.refused_per_s == pytest.approx(4.0 ** (1 - TRUST) * level**TRUST)
    assert cap.per_s == pytest.approx(KEEP * level)


def test_a_refusal_far_below_the_remembered_level_is_believed() -> None:
    """The limit is another one now."""
    fallen = Cap(per_s=1.0, cut_to_per_s=0.9, refused_per_s=4.0, calls=5.0, cut_at_s=10.0)
    assert throttle(fallen, 100.0).refused_per_s == 1.0


def test_the_refusal_after_a_bold_probe_is_believed() -> None:
    """A probe that was far above the old level may have overshot the new one by as much."""
    # Given a cap that was refused at twice the level remembered
    bold = throttle(Cap(per_s=8.0, cut_to_per_s=3.4, refused_per_s=4.0, calls=90.0, cut_at_s=10.0), 100.0)
    assert (bold.refused_per_s, bold.guessed) == (8.0, 1.0)
    # When it is refused just below that
    again = throttle(answer(bold, 5), 110.0)
    # Then that is the level now, and a measurement
    assert (again.refused_per_s, again.guessed) == (answer(bold, 5).per_s, 0.0)


def test_the_way_back_is_fast_first_gentle_at_the_old_level_and_bold_beyond() -> None:
    """Half of a cut is made up for in a fifth of the way; the old level is reached at its end; far beyond, it races."""
    cap = throttle(settled_at(4.0), 100.0)
    way = [answer(cap, round(RETURN_CALLS * part)).per_s for part in (0.22, 1.0, 1.5, 2.0, 3.0, 4.0)]
    assert way[0] > (4.0 + KEEP * 4.0) / 2
    assert way[1] == pytest.approx(4.0)
    assert way[2] == pytest.approx(4.0 * (1 + PROBE_LINE / 2))
    assert way[3] < CLOSE * 4.0
    assert way[4] > 1.5 * 4.0
    assert way[5] > 3 * way[3]


def test_a_crowd_makes_the_way_back_longer() -> None:
    """Each refused call is to be paid for with as many answered ones."""
    one = throttle(settled_at(4.0), 100.0)
    two = throttle(one, 100.1, sent_s=99.95)
    assert answer(two, 2 * RETURN_CALLS).per_s == pytest.approx(answer(one, RETURN_CALLS).per_s)


def test_an_answer_to_a_call_from_before_the_cut_changes_nothing() -> None:
    """What was served before says nothing about whether the cut was deep enough."""
    cap = throttle(settled_at(4.0), 100.0)
    assert raise_by_answer(cap, sent_s=99.5, paced=50, limit_per_s=INF) == cap
    assert raise_by_answer(NO_CAP, sent_s=99.5, paced=50, limit_per_s=INF) == NO_CAP


def test_a_cap_grows_up_to_the_configured_limit_and_shrinks_with_it() -> None:
    """At or below, always."""
    cap = throttle(NO_CAP, 100.0, limit=10.0)
    grown = answer(cap, 500, limit=10.0)
    assert grown.per_s == 10.0
    assert clamp(grown, 2.0).per_s == 2.0
    assert clamp(grown, 20.0) == grown
    assert clamp(NO_CAP, 2.0) == NO_CAP


def test_an_hour_without_a_refusal_forgets_the_cap() -> None:
    """Quotas and neighbours change."""
    cap = throttle(NO_CAP, 100.0)
    assert [is_forgotten(cap, 100.0 + age_s) for age_s in (0.0, FORGET_S - 1, FORGET_S)] == [False, False, True]
    assert not is_forgotten(NO_CAP, 1e9)


@pytest.mark.parametrize(
    ("per_s", "told_per_s", "news"),
    [(INF, INF, False), (2.0, INF, True), (INF, 2.0, True), (1.7, 2.0, False), (2.4, 2.0, False), (1.5, 2.0, True),
     (2.6, 2.0, True)],
)  # fmt: skip
def test_only_what_is_more_than_noise_is_told(per_s: float, told_per_s: float, news: bool) -> None:
    """A quarter more or less than what was last said; learning and forgetting always."""
    assert is_news(Cap(per_s=per_s, told_per_s=told_per_s)) == news


def test_a_change_reads_like_a_sentence() -> None:
    """What stands in key_events is for people."""
    cut = CapChange(label="lab/72b", before_per_s=2.4, after_per_s=1.2, cause="a throttle")
    forgotten = CapChange(label="lab/72b", before_per_s=1.2345, after_per_s=INF, cause="an hour without a throttle")
    assert cut.detail == "2.4 -> 1.2 requests/s after a throttle"
    assert forgotten.detail == "1.23 requests/s -> no cap after an hour without a throttle"
