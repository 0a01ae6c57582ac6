"""Renders a comparison for people: a line a condition, the outcome in words, and the trials that changed sides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

from rich.console import RenderableType
from rich.text import Text

from benchrunner.records import Level
from benchrunner.reporting.comparison import SAME_MODELS, ComparedRow, Comparison, Flip
from benchrunner.reporting.summary import Cell
from benchrunner.reporting.tables import Column, condition_names, sectioned_table, shared_words
from benchrunner.reporting.wording import backend_mark, printable

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
    overall = comparison.overall
    sentences = _overall_sentences(overall)
    several = len(comparison.rows) > 1
    for kind, hit in (("drop", _dropped), ("gain", _gained)):
        found = [row for row in comparison.rows if hit(row)]
        if several and found:
            listed = "; ".join(f"{_row_name(row, comparison)} {_points(row.difference)}" for row in found)
            sentences.append(f"Significant {kind}{'s' if len(found) > 1 else ''} in {listed}.")
    if several and not any(row.significant for row in comparison.rows):
        sentences.append("No condition alone differs significantly.")
    score = f"Mean score {overall.score_a:.3f} -> {overall.score_b:.3f}, {overall.score_difference:+.3f}"
    if overall.score_low is not None and overall.score_high is not None:
        score += f" (95 % interval {overall.score_low:+.3f} to {overall.score_high:+.3f})"
    return [*sentences, score + "."]


def verdict_of(row: ComparedRow) -> str:
    """Return `drop`, `gain`, or "" where chance explains the difference."""
    return "drop" if _dropped(row) else "gain" if _gained(row) else ""


def _dropped(row: ComparedRow) -> bool:
    return row.regression


def _gained(row: ComparedRow) -> bool:
    return row.significant and not row.regression


def _overall_sentences(row: ComparedRow) -> list[str]:
    rates = f"{_count(row.pairs, 'pair')}: success {100 * row.rate_a:.1f} % in A, {100 * row.rate_b:.1f} % in B"
    if not row.a_only + row.b_only:
        return [f"{rates}, not one trial changed sides.", "No difference."]
    interval = ""
    if row.low is not None and row.high is not None:
        interval = f" (95 % interval {100 * row.low:+.1f} to {100 * row.high:+.1f})"
    changed = f"{row.a_only} lost, {row.b_only} won, adjusted p {_p_text(row.p_adjusted)}"
    said = [f"{rates}.", f"{_points(row.difference)}{interval}; {changed}."]
    if row.significant:
        return [*said, f"A significant {verdict_of(row)}."]
    if row.low is not None and row.low < 0:
        return [*said, f"No significant difference; a drop of up to {-100 * row.low:.1f} points cannot be ruled out."]
    return [*said, "No significant difference."]


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
    return Text.assemble((f"{mark}Overall, ", "bold"), printable_lines(verdict_sentences(comparison)))


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


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
