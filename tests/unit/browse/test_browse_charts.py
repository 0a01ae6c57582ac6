"""The geometry of the charts."""

from __future__ import annotations

from benchrunner.browse.charts import MOST_BARS, LoadBar, load_chart, success_bars


def condition(**changed: object) -> dict[str, object]:
    row: dict[str, object] = {
        "model": "m", "prompt": "optimal", "difficulty": "easy", "tool_success_rate": 0.8,
        "planned": 10, "scored": 8, "full": 2, "partial": 4,
    }  # fmt: skip
    return row | changed


def test_a_bar_is_the_success_of_scored_trials_with_what_the_rest_could_make_of_it() -> None:
    """Invalid and unfinished trials widen the span and stay out of the rate."""
    # Given eight of ten trials scored, six of them successes
    (bar,) = success_bars([condition()])
    # Then
    assert (bar.rate, bar.full, bar.worst, bar.best) == (75.0, 25.0, 60.0, 80.0)
    assert bar.words == "m, optimal, easy, tools 0.8: 75 % of 8 scored trials, 10 planned"


def test_a_condition_nobody_scored_has_no_rate() -> None:
    """No rate is not a rate of zero."""
    (bar,) = success_bars([condition(scored=0, full=0, partial=0)])
    assert (bar.rate, bar.worst, bar.best) == (None, 0.0, 100.0)
    assert bar.words == "m, optimal, easy, tools 0.8: none of 10 trials scored"


def second(at: int, requests: int, refused: int = 0, key_id: str = "key0") -> dict[str, object]:
    text = f"2025-08-26T10:{at // 60:02d}:{at % 60:02d}Z"
    return {"key_id": key_id, "second": text, "requests": requests, "refused": refused}


def test_a_strip_has_a_bar_per_second_that_saw_a_request() -> None:
    """Bars stand where their second lies; the tallest of all keys fills the strip."""
    # Given four seconds, the second one without a request
    chart = load_chart([second(0, 5), second(2, 10, 2), second(3, 4, key_id="key1")], {})
    assert chart is not None
    # Then both strips share the time and the top
    one, two = chart.strips
    assert one.bars == (
        LoadBar(x=0.0, width=25.0, height=50.0, refused_height=0.0),
        LoadBar(x=50.0, width=25.0, height=100.0, refused_height=20.0),
    )
    assert two.bars == (LoadBar(x=75.0, width=25.0, height=40.0, refused_height=0.0),)
    assert (one.requests, one.refused, one.most) == (15, 2, 10)
    assert (chart.begins, chart.ends, chart.bar_s) == ("2025-08-26T10:00:00Z", "2025-08-26T10:00:03Z", 1)


def test_a_limit_is_drawn_where_it_fits_and_told_where_it_does_not() -> None:
    """A limit far above what was sent would press the bars flat."""
    # Given a key near its limit and one far below its own
    chart = load_chart([second(0, 8), second(0, 8, key_id="key1")], {"key0": 10.0, "key1": 500.0})
    assert chart is not None
    near, far = chart.strips
    # Then
    assert (near.limit_height, near.bars[0].height) == (100.0, 80.0)
    assert (far.limit_height, far.limit_per_s) == (None, 500.0)
    assert far.words == "key1: 8 requests, 0 refused, at most 8 in a clock second, its limit is 500 a second"


def test_a_long_run_is_shown_by_its_highest_seconds() -> None:
    """No more bars than a screen has room for, and no peak is averaged away."""
    # Given twenty minutes with one peak
    chart = load_chart([second(at, 9 if at == 601 else 1) for at in range(1200)], {})
    assert chart is not None
    # Then
    (strip,) = chart.strips
    assert (len(strip.bars), chart.bar_s) == (MOST_BARS, 5)
    assert [place for place, bar in enumerate(strip.bars) if bar.height == 100.0] == [120]


def test_without_requests_there_is_no_chart() -> None:
    """A run that has not begun has nothing to draw."""
    assert load_chart([], {"key0": 10.0}) is None
