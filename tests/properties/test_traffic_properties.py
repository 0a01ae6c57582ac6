"""Whatever the instants of a run's requests, they are read to the microsecond and the fullest second is found."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from benchrunner.store.overlaps import instants_us, peak

EPOCH = datetime(1970, 1, 1)
BORDERS = (datetime(2025, 12, 31, 23, 59, 59), datetime(2024, 2, 29, 23, 59, 58, 999_999), datetime(2026, 3, 1))

near_a_border = st.builds(
    lambda border, shift: border + timedelta(microseconds=shift),
    st.sampled_from(BORDERS),
    st.integers(-2_500_000, 2_500_000),
)
anywhere = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31))


@given(st.lists(near_a_border | anywhere, max_size=40))
def test_instants_and_peak_agree_with_the_plain_way(moments: list[datetime]) -> None:
    """Across minutes, leap days and years; two exactly a second apart share no second."""
    # Given instants as the store writes them, in any order
    texts = " ".join(moment.isoformat(timespec="microseconds") + "Z" for moment in moments)
    # When they are read
    found = instants_us(texts)
    # Then each is exact, and the peak is that of looking from every instant on
    expected = sorted((moment - EPOCH) // timedelta(microseconds=1) for moment in moments)
    assert found == expected
    fullest = max((sum(first <= one < first + 1_000_000 for one in expected) for first in expected), default=0)
    assert peak(found, 1_000_000) == fullest
