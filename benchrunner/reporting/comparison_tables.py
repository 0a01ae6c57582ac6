"""Renders a comparison for people: a line a condition, the outcome in words, and the trials that changed sides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

from rich.console import RenderableType
from rich.text import Text

from benchrunner.records import Level
from benchrunner.reporting.comparison import SAME_MODELS, SIGNIFICANT, ComparedRow, Comparison, Flip
from benchrunner.reporting.condition_names import condition_names, shared_words
from benchrunner.reporting.summary import Cell
from benchrunner.reporting.tables import Column, sectioned_table
from benchrunner.reporting.wording import backend_mark, counted, printable

FLIPS = 20
"""Changed trials that are listed where nobody asks for more."""


def comparison_parts(
    comparison: Comparison, *, flips: int = FLIPS, show_command: Callable[[str, str], str] | None = None
) -> list[RenderableType]:
    """Return header, table, verdict and changed trials, in reading order.

    `show_command` says, of side ("A" or "B") and trial id, what prints that trial's transcript.
    """
    parts: list[RenderableType] = [_header(comparison), _table(comparison), _verdict(comparison)]
    if comparison.flips and flips > 0:
        parts.append(_flips(comparison, flips, show_command or _plain_command(comparison)))
    return parts


def verdict_sentences(comparison: Comparison) -> list[str]:
    """Return what the comparison says, in plain words, the overall result first."""
    return [*_overall_sentences(comparison), *_row_sentences(comparison), *_score_sentences(comparison.overall)]


def verdict_of(row: ComparedRow) -> str:
    """Return `drop`, `gain`, or "" where chance explains the difference."""
    return "drop" if _dropped(row) else "gain" if _gained(row) else ""


def _dropped(row: ComparedRow) -> bool:
    return row.regression


def _gained(row: ComparedRow) -> bool:
    return row.significant and not row.regression


def _overall_sentences(comparison: Comparison) -> list[str]:
    row = comparison.overall
    pairs = counted(row.pairs, "trial")
    if not row.a_only + row.b_only:
        return [f"{_rate(row.rate_a)} of {pairs} succeeded in A and in B, and not one changed sides."]
    interval = ""
    if row.low is not None and row.high is not None:
        interval = f" (95 % interval {100 * row.low:+.1f} to {100 * row.high:+.1f})"
    rates = f"{_rate(row.rate_a)} of {pairs} succeeded in A and {_rate(row.rate_b)} of their pairs in B"
    said = [
        f"{rates}: {_points(row.difference)}{interval}.",
        f"{row.a_only} succeeded in A alone (lost), {row.b_only} in B alone (won).",
    ]
    adjusted = f", adjusted for {len(comparison.rows) + 1} comparisons" if len(comparison.rows) > 1 else ""
    chance = f"p, how often chance alone makes so large a difference, is {_p_words(row.p_adjusted)}{adjusted}"
    if row.significant:
        return [*said, f"This is a significant {verdict_of(row)} in success: {chance}; the limit is {SIGNIFICANT}."]
    said.append(f"This is no significant difference in success: {chance}; the limit is {SIGNIFICANT}.")
    if row.low is not None and row.low < 0:
        said.append(f"Nor is it proof of none: a drop of up to {-100 * row.low:.1f} points cannot be ruled out.")
    if _leaves_out_0(row.low, row.high):
        said.append("The interval leaves out 0 all the same: it is an estimate by resampling; the exact p decides.")
    return said


def _row_sentences(comparison: Comparison) -> list[str]:
    """Return what the rows say one by one; () where there is one only, or nothing changed in any."""
    rows = comparison.rows
    if len(rows) == 1 or not any(row.a_only + row.b_only for row in rows):
        return []
    sentences = []
    for went, hit in (("fell", _dropped), ("rose", _gained)):
        found = [f"{_row_name(row, comparison)} ({_points(row.difference)})" for row in rows if hit(row)]
        if found:
            sentences.append(f"Row by row, success {went} significantly in {'; '.join(found)}.")
    if sentences:
        return sentences
    least = _p_words(min(row.p_adjusted for row in rows))
    return [f"Row by row, none of the {len(rows)} differences above is significant: the smallest p is {least}."]


def _score_sentences(row: ComparedRow) -> list[str]:
    """Return what the scores say, set apart from the test of success: the two may well point different ways."""
    interval = ""
    if row.score_low is not None and row.score_high is not None:
        interval = f" (95 % interval {row.score_low:+.3f} to {row.score_high:+.3f})"
    means = f"{row.score_a:.3f} in A and {row.score_b:.3f} in B"
    what = "The mean score, how well trials went and not how many succeeded,"
    said = [f"{what} is {means}: {row.score_difference:+.3f}{interval}."]
    if not row.significant and _leaves_out_0(row.score_low, row.score_high):
        said.append("Its interval leaves out 0: scores seem to have moved; overall success did not beyond chance.")
    return [*said, "Scores are not tested: drop, gain and the exit code follow from success alone."]


def _leaves_out_0(low: float | None, high: float | None) -> bool:
    """Return whether an interval does, as it is shown: one that begins with +0.000 is not said to."""
    return low is not None and high is not None and (round(low, 3) > 0 or round(high, 3) < 0)


def _header(comparison: Comparison) -> Text:
    mark = f"{backend_mark(comparison.backend)} " if comparison.simulated else ""
    phases = dict.fromkeys((comparison.phase_a, comparison.phase_b))
    models = {(row.model_a, row.model_b) for row in comparison.rows}
    ((model_a, model_b), *others) = models
    told = (f": {model_a}", f": {model_b}") if not others and model_a != model_b else ("", "")
    lines = [
        f"A {comparison.run_a}{told[0]}",
        f"B {comparison.run_b}{told[1]}",
        f"paired by task and condition, {comparison.by}; left out: {comparison.left_out.sentence()}",
        *(f"note: {note}" for note in comparison.notes),
    ]
    head = f"{mark}comparison of two runs, phase {' and '.join(phases)}"
    return Text.assemble((head, "bold"), "\n", printable_lines(lines))


def printable_lines(lines: Sequence[str]) -> str:
    """Return the lines as one text, each without control characters."""
    return "\n".join(map(printable, lines))


def _table(comparison: Comparison) -> RenderableType:
    mark = f" ({backend_mark(comparison.backend)})" if comparison.simulated else ""
    cells = list(map(_cell, comparison.rows))
    names = condition_names(cells)
    pairings = list(dict.fromkeys(map(_models, comparison.rows)))
    crossed = comparison.by != SAME_MODELS
    sections: dict[str, list[Sequence[object]]] = {}
    for row in comparison.rows:
        # The name of two models is too long to stand in front of a line of figures.
        model, condition = _models(row), names[_cell(row)]
        heading, name = (model, condition or "all trials") if crossed else (condition, model)
        sections.setdefault("" if crossed and len(pairings) == 1 else heading, []).append(_cells(row, name))
    if len(comparison.rows) > 1:
        together = _cells(comparison.overall, "all together")
        if set(sections) == {""}:
            sections[""].append(together)
        else:
            sections["all conditions"] = [together]
    figures = ("pairs", "A %", "B %", "B-A", "95 %", "lost", "won", "p")
    columns = [
        Column(title="condition" if crossed else "model"),
        *(Column(title=title, numeric=True) for title in figures),
        Column(title=""),
    ]
    return sectioned_table(f"Success, B - A in points, p after Holm{shared_words(cells)}{mark}", columns, sections)


def _cells(row: ComparedRow, name: str) -> Sequence[object]:
    interval = None if row.low is None or row.high is None else f"{100 * row.low:+.1f} {100 * row.high:+.1f}"
    return (
        name,
        row.pairs,
        f"{100 * row.rate_a:.0f}",
        f"{100 * row.rate_b:.0f}",
        f"{100 * row.difference:+.1f}",
        interval,
        row.a_only,
        row.b_only,
        _p_text(row.p_adjusted),
        verdict_of(row),
    )


def _verdict(comparison: Comparison) -> Text:
    mark = f"{backend_mark(comparison.backend)} " if comparison.simulated else ""
    return Text.assemble((f"{mark}Overall: ", "bold"), printable_lines(verdict_sentences(comparison)))


def _flips(comparison: Comparison, most: int, show_command: Callable[[str, str], str]) -> Text:
    lost = sum(flip.lost for flip in comparison.flips)
    total = len(comparison.flips)
    title = f"Changed sides: {lost} lost (A alone succeeded), {total - lost} won (B alone)"
    if comparison.simulated:
        title += f" ({backend_mark(comparison.backend)})"
    lines = [f"the first {most} of {total}; --flips {total} lists all"] if total > most else []
    for flip in islice(comparison.flips, most):
        lines += _flip_lines(flip, show_command)
    return Text.assemble((title, "bold"), "\n", "\n".join(lines))


def _flip_lines(flip: Flip, show_command: Callable[[str, str], str]) -> list[str]:
    model = flip.model_a if flip.model_a == flip.model_b else f"{flip.model_a} -> {flip.model_b}"
    condition = f"{flip.prompt}, {flip.difficulty}, tools {flip.tool_success_rate:g}"
    levels = f"{_level(flip.level_a, flip.error_a)} -> {_level(flip.level_b, flip.error_b)}"
    return [
        printable(f"{'lost' if flip.lost else 'won '}  {flip.task_id} ({flip.task_type}), {levels}"),
        "      " + printable(f"{model}; {condition}"),
        f"        {show_command('A', flip.trial_a)}",
        f"        {show_command('B', flip.trial_b)}",
    ]


def _level(level: Level, error_class: str) -> str:
    return f"{level.value} ({error_class})" if level is Level.FAILURE and error_class else level.value


def _plain_command(comparison: Comparison) -> Callable[[str, str], str]:
    runs = {"A": comparison.run_a, "B": comparison.run_b}
    return lambda side, trial_id: f"benchrunner show {runs[side]} --trial {short_trial_id(runs[side], trial_id)}"


def short_trial_id(run_id: str, trial_id: str) -> str:
    """Return what a trial is called inside its run."""
    return trial_id.removeprefix(f"{run_id}/")


def _cell(row: ComparedRow) -> Cell:
    assert row.tool_success_rate is not None, "a row of one condition has its rate"
    return row.prompt, row.difficulty, row.tool_success_rate


def _models(row: ComparedRow) -> str:
    return row.model_a if row.model_a == row.model_b else f"{row.model_a} -> {row.model_b}"


def _row_name(row: ComparedRow, comparison: Comparison) -> str:
    """Return what a row is called where it stands alone: by what differs between the rows."""
    name = condition_names(map(_cell, comparison.rows))[_cell(row)]
    models = {_models(one) for one in comparison.rows}
    return ", ".join(part for part in ((_models(row) if len(models) > 1 else ""), name) if part)


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f} points"


def _p_text(p_value: float) -> str:
    return "<0.0001" if p_value < 0.0001 else f"{p_value:.4f}"


def _p_words(p_value: float) -> str:
    return "below 0.0001" if p_value < 0.0001 else f"{p_value:.4f}"


def _rate(rate: float) -> str:
    return f"{100 * rate:.1f} %"
