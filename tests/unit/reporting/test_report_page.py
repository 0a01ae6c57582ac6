"""The page: one file that needs nothing else, says in words what it draws, and takes no text for markup."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from recorded_run import planned
from report_samples import record_grid, report_of

from benchrunner.errors import UsageError
from benchrunner.records import Trial
from benchrunner.reporting.html import render_html
from benchrunner.store.writer import RunWriter

VOID = {"meta", "link", "br", "hr", "img", "input", "wbr"}


class Page(HTMLParser):
    """A page's elements, with their attributes, and whether every one was closed in turn."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"{tag} at {self.getpos()}")

    def of(self, attribute: str) -> Iterator[str]:
        """Yield every value of an attribute."""
        return (attributes[attribute] for _, attributes in self.elements if attribute in attributes)


def sometimes(trial: Trial) -> str:
    return {"t0": "failure", "t1": "invalid"}.get(trial.task_id, "full")


@pytest.fixture
def page(tmp_path: Path) -> str:
    """Return the page on runs of every shape, one of them with names that are markup."""
    path = tmp_path / "r.db"
    record_grid(path, "bars", models=("<script>alert(1)</script>", "m & m"), ends=sometimes)
    record_grid(path, "scale", models=("m-3b", "m-7b", "m-14b"), difficulties=("easy", "hard"), ends=sometimes)
    record_grid(path, "heat", prompts=("f_a", "f_b", "f_c", "f_d"), ends=sometimes)
    record_grid(path, "panels", models=tuple("abcde"), rates=(0.9, 0.5), ends=sometimes)
    return render_html(report_of(path, "bars", "scale", "heat", "panels"))


def test_the_page_is_whole_and_needs_nothing_else(page: str) -> None:
    """Well-formed; no script, style sheet, font or picture from anywhere; links only to itself."""
    read = Page(page)
    assert (read.wrong, read.open) == ([], [])
    assert {tag for tag, _ in read.elements} & {"script", "img", "iframe", "object", "embed"} == set()
    assert [value for value in read.of("href") if not value.startswith("#")] == ["data:,"]
    assert re.findall(r"url\(|@import|https?://", page) == []


def test_every_chart_says_what_it_shows_and_has_its_figures_as_a_table(page: str) -> None:
    """An image role with a name and a description that are there; a table under each figure."""
    read = Page(page)
    ids = set(read.of("id"))
    charts = [attributes for _, attributes in read.elements if attributes.get("role") == "img"]
    figures = [tag for tag, _ in read.elements if tag == "figure"]
    assert len(charts) == len(figures) == 4 * 5 + 1
    assert [one for one in charts if not {one["aria-labelledby"], one["aria-describedby"]} <= ids] == []
    assert [tag for tag, _ in read.elements].count("details") == len(figures)
    assert [name for name, times in Counter(read.of("id")).items() if times > 1] == []


def test_names_are_text_wherever_they_stand(page: str) -> None:
    """A model may be called anything; a provider's words are shown, not obeyed."""
    assert "<script>" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 3
    assert "HTTP 429 &lt;b&gt;" in page


def test_the_page_says_simulated_before_any_number(page: str) -> None:
    """In its title, in a banner, beside every run's name."""
    assert "(SIMULATED)" in page.partition("</title>")[0]
    assert 'role="note"><strong>SIMULATED</strong>' in page
    assert len(re.findall(r'<h2 id="run-\d">[^\n]*<span class="tag">SIMULATED</span>', page)) == 4


def test_a_page_is_the_same_every_time(tmp_path: Path) -> None:
    """No date, no chance: two pages on one run do not differ by a byte."""
    record_grid(tmp_path / "r.db", ends=sometimes)
    assert render_html(report_of(tmp_path / "r.db")) == render_html(report_of(tmp_path / "r.db"))


def test_without_jinja2_the_page_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence with the command, exit 2; Markdown needs nothing."""
    record_grid(tmp_path / "r.db")
    real = importlib.import_module

    def without_jinja2(name: str, package: str | None = None) -> object:
        if name == "jinja2":
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without_jinja2)
    with pytest.raises(UsageError, match=re.escape("pip install 'benchrunner[report]'")) as caught:
        render_html(report_of(tmp_path / "r.db"))
    assert caught.value.exit_code == 2


def test_a_run_nobody_has_worked_on_yet_has_a_page(tmp_path: Path) -> None:
    """No call, no lease, no score, no stored plan: no chart, and no figure that was not measured."""
    plan = planned()
    with RunWriter.open(tmp_path / "r.db") as writer:
        writer.add_run(plan.run, plan.shards, plan.trials, plan.tasks)
    text = render_html(report_of(tmp_path / "r.db"))
    assert 'role="img"' not in text
    assert "0 of 8 trials (0\u00a0%) are scored" in text
    assert "No request was sent." in text
