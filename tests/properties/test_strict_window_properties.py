"""The judge's window against the definition of a limit, by brute force."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchrunner.simulator.strict_window import StrictWindow

arrivals = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 4)), max_size=40)


def _fullest(accepted: list[tuple[float, int]], per_s: float) -> int:
    """Return the most units in any closed window: a fullest one begins at an arrival."""
    return max(
        (sum(units for at_s, units in accepted if start <= at_s <= start + per_s) for start, _ in accepted), default=0
    )


@given(arrivals=arrivals, amount=st.integers(1, 8), per_s=st.integers(1, 10), in_order=st.booleans())
def test_window_accepts_exactly_what_fits(
    arrivals: list[tuple[int, int]], amount: int, per_s: int, in_order: bool
) -> None:
    """No window is ever overfull, and nothing that would fit is refused, in whatever order stamps come."""
    # Given a window and arrivals, in order of their stamps or not
    window = StrictWindow(amount=amount, per_s=float(per_s))
    accepted: list[tuple[float, int]] = []
    for at_s, units in sorted(arrivals) if in_order else arrivals:
        # When each is offered; Then it is accepted if and only if the definition allows it
        allowed = _fullest([*accepted, (float(at_s), units)], per_s) <= amount
        assert allowed == (window.wait_s(float(at_s), units) == 0.0)
        if allowed:
            window.add(float(at_s), units)
            accepted.append((float(at_s), units))
    assert _fullest(accepted, per_s) == window.fullest


@given(arrivals=arrivals, amount=st.integers(4, 8), per_s=st.integers(1, 10))
def test_wait_named_in_a_refusal_is_enough(arrivals: list[tuple[int, int]], amount: int, per_s: int) -> None:
    """Whoever waits as long as a refusal says, and is alone, is let in."""
    # Given a window offered arrivals in order
    window = StrictWindow(amount=amount, per_s=float(per_s))
    for at_s, units in sorted(arrivals):
        wait_s = window.wait_s(float(at_s), units)
        if wait_s == 0.0:
            window.add(float(at_s), units)
        else:
            # When one is refused; Then it fits once that time has passed
            assert window.wait_s(at_s + wait_s, units) == 0.0
