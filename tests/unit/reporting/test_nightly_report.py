"""What a night came to, and how it is told on one screen."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import replace

import pytest

from benchrunner.reporting.nightly_report import Drop, NightReport, RunEnd, RunReport, night_verdict, trouble_of
from benchrunner.reporting.nightly_summary import LINES, WIDTH, summary_text
from benchrunner.store.nights import NightStatus

DROP = Drop(
    model="qwen2.5-7b-instruct",
    prompt="optimal",
    difficulty="easy",
    tool_success_rate=0.8,
    pairs=100,
    rate_before=0.72,
    rate_now=0.58,
    low=-0.22,
    high=-0.06,
    p_adjusted=0.0031,
)
DONE = RunReport(
    phase="5.1",
    run_id="20251123T020003-5.1-ab12",
    resumed=False,
    end=RunEnd.COMPLETE,
    planned=800,
    scored=800,
    success_rate=0.58,
    took_s=723.0,
)
FELL = replace(DONE, compared_with="20251122T020003-5.1-cd34", success_before=0.72, pairs=800, drops=(DROP,))
NOT_RUN = RunReport(phase="5.5", run_id="", resumed=False, end=RunEnd.NOT_RUN, error="the deadline")


def ended(end: RunEnd, **values: object) -> RunReport:
    return replace(DONE, end=end, **values)  # type: ignore[arg-type]


def reported(runs: Sequence[RunReport], **values: object) -> NightReport:
    status, code = night_verdict(runs, None)
    report = NightReport(
        night_id="20251123T020000-night-ef56",
        started_at="2025-11-23T02:00:00.000000Z",
        ended_at="2025-11-23T02:41:00.000000Z",
        status=status,
        exit_code=code,
        simulated=False,
        runs=tuple(runs),
    )
    return replace(report, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("runs", "stopped", "verdict"),
    [
        ([DONE], None, (NightStatus.COMPLETE, 0)),
        ([DONE, FELL], None, (NightStatus.REGRESSED, 4)),
        ([FELL, ended(RunEnd.INCOMPLETE)], None, (NightStatus.INCOMPLETE, 1)),
        ([FELL, ended(RunEnd.DEADLINE), NOT_RUN], None, (NightStatus.INCOMPLETE, 1)),
        ([ended(RunEnd.INCOMPLETE), ended(RunEnd.FAILED)], None, (NightStatus.FAILED, 1)),
        ([ended(RunEnd.FAILED), ended(RunEnd.HELD)], None, (NightStatus.INCOMPLETE, 75)),
        ([ended(RunEnd.HELD), ended(RunEnd.NO_KEY)], None, (NightStatus.NO_KEY, 3)),
        ([ended(RunEnd.NO_KEY), ended(RunEnd.STOPPED)], signal.SIGTERM, (NightStatus.INTERRUPTED, 143)),
        ([DONE, NOT_RUN], signal.SIGINT, (NightStatus.INTERRUPTED, 130)),
        # A signal that came when all was done took nothing away
        ([FELL], signal.SIGTERM, (NightStatus.REGRESSED, 4)),
    ],
)
def test_the_gravest_thing_that_happened_names_the_night(
    runs: list[RunReport], stopped: int | None, verdict: tuple[NightStatus, int]
) -> None:
    """A signal, no key, keys held, something undone, a drop, complete: the first that fits, whatever the order."""
    assert night_verdict(runs, stopped) == verdict
    assert night_verdict(runs[::-1], stopped) == verdict


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (DONE, ()),
        (
            FELL,
            (
                "5.1 fell: qwen2.5-7b-instruct, optimal, easy, 0.8: 72.0 % -> 58.0 % "
                "(-14.0 points, 95 % -22.0 to -6.0, p 0.0031, 100 pairs)",
            ),
        ),
        (
            ended(RunEnd.INCOMPLETE, scored=780, invalid=15, losses=(("timeout", 12), ("empty", 3))),
            ("5.1 is incomplete: 780 of 800 scored, 15 invalid (timeout 12, empty 3), 5 not run",),
        ),
        (
            ended(RunEnd.STOPPED, resumed=True, scored=10, error="SIGTERM"),
            ("5.1 (resumed) was stopped by SIGTERM: 10 of 800 scored, 790 not run",),
        ),
        (ended(RunEnd.FAILED, error="the disk is full"), ("5.1 failed: the disk is full",)),
        (NOT_RUN, ("5.5 was not run: the deadline came first",)),
    ],
)
def test_what_went_wrong_is_a_sentence(run: RunReport, said: tuple[str, ...]) -> None:
    """Each says which phase, what happened, and how much it cost."""
    assert trouble_of(run) == said


def test_a_good_night_is_told_in_four_lines() -> None:
    """Header, titles, a line a run; nothing about trouble there was not."""
    assert summary_text(reported([replace(DONE, success_before=0.575)])).splitlines() == [
        "benchrunner nightly 2025-11-23 02:00 - 02:41 UTC: COMPLETE, exit 0",
        "",
        "run                         ended           scored  success  before        took",
        "20251123T020003-5.1-ab12    complete       800/800   58.0 %  57.5 % 12 min 03 s",
    ]


def test_what_went_wrong_comes_first() -> None:
    """Above the runs, the drop with its figures; at the end the command that tells more."""
    # Given a night with a drop, one phase that did not come to its turn, and a note
    text = summary_text(reported([FELL, NOT_RUN], notes=("night N was killed",)))
    lines = text.splitlines()
    # Then trouble, runs, notes and the next command stand in this order
    places = [lines.index(one) for one in ("What went wrong:", "Notes:")]
    table = next(number for number, line in enumerate(lines) if line.startswith("run "))
    assert places[0] == 2
    assert places[0] < table < places[1]
    assert "  5.1 fell: qwen2.5-7b-instruct, optimal, easy, 0.8: 72.0 % -> 58.0 % (-14.0" in lines
    assert lines[-1] == "More: benchrunner compare 20251122T020003-5.1-cd34 20251123T020003-5.1-ab12"


def test_a_simulated_night_is_marked() -> None:
    """No simulated result goes unmarked into a mail."""
    assert "SIMULATED" in summary_text(reported([DONE], simulated=True)).splitlines()[0]
    assert "SIMULATED" not in summary_text(reported([DONE])).splitlines()[0]


def test_a_skipped_night_says_why() -> None:
    """Nothing was run, and the reason is the whole message."""
    why = "nothing was run: another night (process 4711) was under way, and it did not end within 30 min 00 s (--wait)"
    text = summary_text(reported([], status=NightStatus.SKIPPED, exit_code=75, trouble=why))
    assert text.splitlines()[0].endswith("SKIPPED, exit 75")
    assert "process 4711" in text


def test_the_worst_night_fits_one_screen_and_leaves_the_worst_in_sight() -> None:
    """Forty drops, nine phases, endless errors: 24 lines of 79 columns, and what is left out is counted."""
    # Given a night on which everything went wrong
    runs = [
        replace(FELL, drops=(DROP,) * 40),
        *(ended(RunEnd.FAILED, error="e" * 3000 + " \x1b[31m\n" + "ü" * 90) for _ in range(9)),
    ]
    text = summary_text(reported(runs, notes=("n" * 900, "another " * 80)))
    # Then it fits, in ASCII without control characters, and says that there is more
    lines = text.splitlines()
    assert len(lines) <= LINES == 24
    assert max(map(len, lines)) <= WIDTH == 79
    assert text.isascii()
    assert "\x1b" not in text
    assert "5.1 fell: qwen2.5-7b-instruct" in lines[3]
    assert any("more lines; --json tells all" in line for line in lines)
