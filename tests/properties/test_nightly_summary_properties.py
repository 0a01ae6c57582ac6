"""The night's summary fits one screen, whatever happened."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from benchrunner.reporting.nightly_report import Drop, NightReport, RunEnd, RunReport, night_verdict
from benchrunner.reporting.nightly_summary import LINES, WIDTH, summary_text

RATES = st.floats(0, 1)
LETTERS = st.sampled_from("abcdefgh 0123456789.-é\u2028\x1b\n\t")
COUNTS = st.integers(0, 10**7)
DROPS = st.builds(
    Drop,
    model=st.text(LETTERS, max_size=60),
    prompt=st.text(LETTERS, max_size=40),
    difficulty=st.text(LETTERS, max_size=20),
    tool_success_rate=st.none() | RATES,
    pairs=COUNTS,
    rate_before=RATES,
    rate_now=RATES,
    low=st.none() | st.floats(-1, 1),
    high=st.none() | st.floats(-1, 1),
    p_adjusted=RATES,
)
RUNS = st.builds(
    RunReport,
    phase=st.text(LETTERS, min_size=1, max_size=40),
    run_id=st.text(LETTERS, max_size=80),
    resumed=st.booleans(),
    end=st.sampled_from(RunEnd),
    error=st.text(LETTERS, max_size=200),
    planned=COUNTS,
    scored=COUNTS,
    invalid=COUNTS,
    losses=st.lists(st.tuples(st.text(LETTERS, max_size=30), COUNTS), max_size=8).map(tuple),
    success_rate=st.none() | RATES,
    took_s=st.none() | st.floats(0, 1e6),
    compared_with=st.text(LETTERS, max_size=30),
    success_before=st.none() | RATES,
    drops=st.lists(DROPS, max_size=5).map(tuple),
)


@settings(max_examples=40, deadline=None)
@given(
    runs=st.lists(RUNS, max_size=14),
    notes=st.lists(st.text(LETTERS, max_size=200), max_size=6).map(tuple),
    trouble=st.text(LETTERS, max_size=200),
    simulated=st.booleans(),
)
def test_a_summary_fits_one_screen(
    runs: list[RunReport], notes: tuple[str, ...], trouble: str, simulated: bool
) -> None:
    """At most 24 lines of at most 79 printable ASCII characters, the verdict in the first."""
    status, code = night_verdict(runs, None)
    text = summary_text(
        NightReport(
            night_id="20251123T020000-night-ef56",
            started_at="2025-11-23T02:00:00.000000Z",
            ended_at="2025-11-24T02:41:00.000000Z",
            status=status,
            exit_code=code,
            simulated=simulated,
            runs=tuple(runs),
            trouble=trouble,
            notes=notes,
        )
    )
    lines = text.split("\n")
    assert len(lines) <= LINES
    assert [line for line in lines if len(line) > WIDTH or not (line.isascii() and line.isprintable())] == []
    assert lines[0].endswith(f"{status.upper()}, exit {code}")
