"""What tables look like where there is no terminal, at 80 columns."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from benchrunner.records import RunStatus
from benchrunner.reporting.console import console_for
from benchrunner.reporting.runs_table import runs_table
from benchrunner.reporting.summary import ConditionSummary, RunSummary
from benchrunner.reporting.summary_tables import summary_parts
from benchrunner.reporting.tables import Column, show, table, to_json
from benchrunner.store.answers import KeyRow, LossRow, RunRow

RUN = RunRow(
    run_id="20250826-100000-k3f9",
    batch_id="b",
    phase="5.2",
    policy="batched",
    engine="local",
    backend="simulated",
    seed=7,
    version="0.1",
    started_at="2025-08-26T10:00:00.000000Z",
    ended_at=None,
    status=RunStatus.INTERRUPTED,
    planned=1000,
    scored=998,
    invalid=2,
    calls=12345,
    refused=0,
)
CONDITION = ConditionSummary(
    model="qwen2.5-72b-instruct",
    prompt="optimal",
    difficulty="very_easy",
    tool_success_rate=0.8,
    planned=100,
    scored=100,
    invalid=0,
    full=60,
    partial=5,
    failure=35,
    success_rate=0.65,
    success_low=0.5525,
    success_high=0.7364,
    success_worst=0.65,
    success_best=0.65,
    weighted_success_score=0.625,
    final_score=0.7,
    turns=9.5,
    coverage=1.0,
    low_coverage=False,
    rank=1,
)
LOST = replace(
    CONDITION,
    model="Llama-3.3-70B-Instruct",
    difficulty="medium",
    scored=0,
    invalid=100,
    full=0,
    partial=0,
    failure=0,
    success_rate=None,
    success_low=None,
    success_high=None,
    success_worst=0.0,
    success_best=1.0,
    weighted_success_score=None,
    final_score=None,
    turns=None,
    coverage=0.0,
    low_coverage=True,
    rank=None,
)
SUMMARY = RunSummary(
    run_id=RUN.run_id,
    phase="5.2",
    policy="pool",
    engine="local",
    backend="simulated",
    simulated=True,
    seed=7,
    version="0.1",
    status=RunStatus.INCOMPLETE,
    started_at="2025-08-26T10:00:00.000000Z",
    ended_at="2025-08-26T10:03:05.250000Z",
    wall_s=185.25,
    makespan_s=180.0,
    lower_bound_s=171.0,
    coverage_floor=0.9,
    planned=200,
    scored=100,
    invalid=100,
    calls=1001,
    refused=3,
    unanswered=1,
    conditions=(CONDITION, LOST),
    keys=(KeyRow(key_id="key0", calls=1001, refused=3, unanswered=1, peak_1s=10, mean_wait_window_s=0.125),),
    losses=(LossRow(model="Llama-3.3-70B-Instruct", cause="rate_limit", trials=100),),
)

SHOWN = """\
SIMULATED run 20250826-100000-k3f9: phase 5.2, policy pool, engine local
incomplete, backend simulated, seed 7, version 0.1
started 2025-08-26 10:00:00 UTC, ended 2025-08-26 10:03:05 UTC (3 min 05 s)
first request to last reply 3 min 00 s; lower bound 2 min 51 s, ratio 0.95
trials 100 of 200 scored, 100 invalid; calls 1001, 3 refused, 1 unanswered

Success, 95 % interval, prompt optimal, tools 0.8 (SIMULATED)
model                     scored inv full part fail   success  wtd turns rank
very_easy
  qwen2.5-72b-instruct   100/100   0   60    5   35 65% 55-74 0.62   9.5    1
medium
  Llama-3.3-70B-Instruct   0/100 100    0    0    0         -    -     -  low

Success if all trials not scored had failed, or succeeded; below 90 % coverage
not ranked (SIMULATED)
model                    missing worst   best coverage
medium
  Llama-3.3-70B-Instruct     100  0.0% 100.0%     0.0% low coverage

Lost to infrastructure, in no score (SIMULATED)
model                  cause      trials
Llama-3.3-70B-Instruct rate_limit    100

Keys (SIMULATED)
key  calls refused no answer most in any 1 s mean wait
key0  1001       3         1              10    0.12 s
"""


def _text(*parts: object, width: int = 80) -> str:
    stream = io.StringIO()
    show(console_for(stream, width=width), parts)  # type: ignore[arg-type]
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def test_a_run_is_shown_as_it_always_was() -> None:
    """The whole text of `show` at 80 columns: header, conditions, bounds, losses, keys, each marked SIMULATED."""
    assert _text(*summary_parts(SUMMARY)) == SHOWN


def test_every_table_of_a_simulated_run_says_so_and_of_a_live_run_none() -> None:
    """A table cut out of its page still tells what it was measured on."""
    # Given the same summary, simulated and live
    live = replace(SUMMARY, backend="live", simulated=False)
    # When both are shown
    simulated_text, live_text = _text(*summary_parts(SUMMARY)), _text(*summary_parts(live))
    # Then each of the header and the four tables is marked, or none
    assert simulated_text.count("SIMULATED") == 5
    assert "SIMULATED" not in live_text
    assert "backend live" in live_text


def test_a_complete_run_has_no_tables_about_what_is_missing() -> None:
    """Nothing lost, nothing said of it."""
    complete = replace(SUMMARY, conditions=(CONDITION,), losses=())
    assert "had failed" not in _text(*summary_parts(complete))
    assert "Lost" not in _text(*summary_parts(complete))


def test_the_runs_list_fits_eighty_columns_and_tells_more_on_wide_ones() -> None:
    """One line a run."""
    assert _text(runs_table([RUN])) == (
        "1 run\n"
        "run                  phase policy  backend   status        scored inv calls ref\n"
        "20250826-100000-k3f9 5.2   batched SIMULATED interrupted 998/1000   2   12k   0\n"
    )
    assert "2025-08-26 10:00" in _text(runs_table([RUN], width=120), width=120)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """However long the names, lines fold; no number is cut."""
    # Given a summary with the longest prompt there is, in two prompts
    long = replace(CONDITION, prompt="flawed_contradictory_instructions")
    summary = replace(SUMMARY, conditions=(long, LOST), losses=())
    # When it is shown
    lines = _text(*summary_parts(summary), width=width).splitlines()
    # Then every line fits
    assert max(map(len, lines)) <= width


def test_the_longest_condition_and_the_longest_model_stand_whole_at_eighty_columns() -> None:
    """Names are what rows are told apart by: none is folded, and every row is one line."""
    # Given the longest prompt and model names there are, in full figures
    long = replace(LOST, prompt="flawed_contradictory_instructions", scored=100)
    long = replace(long, success_rate=1.0, success_low=0.96, success_high=1.0)
    summary = replace(SUMMARY, conditions=(CONDITION, long), losses=())
    # When the run is shown at 80 columns
    lines = _text(*summary_parts(summary)).splitlines()
    # Then the names and the figures are whole
    assert "flawed_contradictory_instructions, medium" in lines
    (row,) = [line for line in lines if "Llama" in line]
    assert "  Llama-3.3-70B-Instruct 100/100 100" in row
    assert "100% 96-100" in row


def test_one_model_alone_has_no_rank_to_show() -> None:
    """A ranking of one says nothing, and the column is left out."""
    # Given a run of one model under two conditions, all scored
    other = replace(CONDITION, difficulty="medium")
    alone = replace(SUMMARY, conditions=(CONDITION, other), losses=())
    assert "rank" not in _text(*summary_parts(alone))
    # When a part of it is lost, the mark is shown
    lost = replace(other, scored=50, low_coverage=True, coverage=0.5, rank=None)
    assert "low coverage" in _text(*summary_parts(replace(alone, conditions=(CONDITION, lost))))


def test_words_of_strangers_cannot_steer_the_terminal_or_the_markup() -> None:
    """Brackets stay brackets, control characters go, a line stays a line."""
    made = table("t [bold]", [Column(title="a"), Column(title="n", numeric=True)], [("[red]\x1b[2Jx\ny", None)])
    assert _text(made) == "t [bold]\na            n\n[red] [2Jx y -\n"


def test_without_a_terminal_there_is_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe or NO_COLOR gets plain text: no escape at all, bold included."""
    # Given a stream that is no terminal, and one that is, with NO_COLOR
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    # When a table with a bold title is printed on both
    for stream in (io.StringIO(), terminal):
        console_for(stream, width=80).print(runs_table([RUN]))
        # Then neither has an escape in it
        assert "\x1b" not in stream.getvalue()
        assert "SIMULATED" in stream.getvalue()
    # And without NO_COLOR the terminal's title is bold
    monkeypatch.delenv("NO_COLOR")
    console_for(terminal, width=80).print(runs_table([RUN]))
    assert "\x1b[1m" in terminal.getvalue()


def test_json_of_a_list_of_records_is_a_list() -> None:
    """`runs --json` is what the records are."""
    assert to_json([RUN]).startswith('[\n  {\n    "run_id": "20250826-100000-k3f9"')
