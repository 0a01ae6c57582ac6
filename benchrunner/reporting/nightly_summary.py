"""A night on one screen: what went wrong first, then a line a run. Plain text, for a mail that cron sends. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from benchrunner.reporting.nightly_report import NightReport, RunReport, trouble_of
from benchrunner.reporting.wording import SIMULATED, duration_text, printable

WIDTH = 79
LINES = 24
TROUBLE_LINES = 12
NOTE_LINES = 5
SENTENCE_LINES = 3
RUN_WIDTH = 28


def summary_text(report: NightReport) -> str:
    """Return the night in at most `LINES` lines of at most `WIDTH` ASCII characters, without colour."""
    head, last = _head(report), _last(report)
    sentences = [one for one in (report.trouble, *(said for run in report.runs for said in trouble_of(run))) if one]
    wrong = _part("What went wrong:", [line for one in sentences for line in _sentence(one)], TROUBLE_LINES)
    notes = _part("Notes:", [line for note in report.notes for line in _sentence(note)], NOTE_LINES)
    room = LINES - len(head) - len(wrong) - len(notes) - len(last)
    return "\n".join(line[:WIDTH] for line in [*head, *wrong, *_run_lines(report, room), *notes, *last])


def _head(report: NightReport) -> list[str]:
    mark = f" {SIMULATED}" if report.simulated else ""
    began, ended = report.started_at[:16].replace("T", " "), report.ended_at[11:16]
    return [f"benchrunner nightly {began} - {ended} UTC:{mark} {report.status.upper()}, exit {report.exit_code}"]


def _last(report: NightReport) -> list[str]:
    fell = next((run for run in report.runs if run.drops), None)
    if fell is not None:
        return [_plain(f"More: benchrunner compare {fell.compared_with} {fell.run_id}")]
    shown = next((run for run in report.runs if trouble_of(run) and run.run_id), None)
    return [] if shown is None else [_plain(f"More: benchrunner show {shown.run_id}")]


def _run_lines(report: NightReport, most: int) -> list[str]:
    began = [_run_line(run) for run in report.runs if run.run_id]
    titles = _row("run", "ended", "scored", "success", "before", "took")
    return ["", titles, *_at_most(began, most - 2)] if began else []


def _run_line(run: RunReport) -> str:
    return _row(
        _plain(run.run_id),
        run.end.value,
        f"{run.scored}/{run.planned}",
        _percent(run.success_rate),
        _percent(run.success_before),
        duration_text(run.took_s),
    )


def _row(run: str, ended: str, scored: str, success: str, before: str, took: str) -> str:
    name = run if len(run) <= RUN_WIDTH else f"{run[: RUN_WIDTH - 2]}.."
    return f"{name:<{RUN_WIDTH}}{ended:<10} {scored:>11} {success:>8} {before:>7} {took:>11}"


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.1f} %"


def _part(title: str, lines: Sequence[str], most: int) -> list[str]:
    return ["", title, *_at_most(lines, most - 2)] if lines else []


def _plain(text: str) -> str:
    return printable(text).encode("ascii", "replace").decode()


def _sentence(text: str) -> list[str]:
    lines = wrap(_plain(text), WIDTH, initial_indent="  ", subsequent_indent="    ") or ["  -"]
    if len(lines) > SENTENCE_LINES:
        lines = [*lines[: SENTENCE_LINES - 1], f"{lines[SENTENCE_LINES - 1][: WIDTH - 4]} ..."]
    return lines


def _at_most(lines: Sequence[str], most: int) -> list[str]:
    if len(lines) <= most:
        return list(lines)
    return [*lines[: most - 1], f"  ... and {len(lines) - most + 1} more lines; --json tells all"]
