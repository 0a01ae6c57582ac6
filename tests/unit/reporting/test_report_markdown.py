"""The report as Markdown."""

from __future__ import annotations

from pathlib import Path

from report_samples import record_grid, report_of

from benchrunner.reporting.report_markdown import escaped, render_markdown


def test_markdown_has_the_pages_words_and_tables(tmp_path: Path) -> None:
    """Every row has as many cells as its heading; the simulated mark stands first."""
    record_grid(tmp_path / "r.db", "g1", prompts=("baseline", "cot"))
    record_grid(tmp_path / "r.db", "g2", ends=lambda trial: "invalid" if trial.task_id == "t0" else "full")
    text = render_markdown(report_of(tmp_path / "r.db", "g1", "g2"))
    lines = text.splitlines()
    assert lines[:2] == ["<!-- benchrunner report -->", "# Phase 9.1: 2 runs"]
    assert lines[3].startswith("> **SIMULATED.** These are results of")
    assert "| m-3b | **100 % \\[51–100\\]** | **100 % \\[51–100\\]** |" in lines
    assert "| m-7b | api\\_timeout | 1 |" in lines
    assert "| 9.1 Sample | complete | 1.1 s | 10 s | 4 s | -60 % |" in lines
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("| ")]
    assert len(tables) >= 10
    widths = [{line.replace("\\|", "").count("|") for line in table} for table in tables]
    assert [width for width in widths if len(width) != 1] == []


def test_nothing_in_a_name_is_taken_for_markdown() -> None:
    """Bars would end a cell, tags and brackets would become elements, a line break would end the row."""
    assert escaped("a|b_c <i>[x](y)\n`z`") == "a\\|b\\_c \\<i\\>\\[x\\](y) \\`z\\`"
