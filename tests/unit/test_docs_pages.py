"""The pages under docs/ hold together: links lead somewhere, files that are named exist, every page is in the index."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from benchrunner.engine import messages

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md"])
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]+)(?:#([^)\s]*))?\)")
INNER = re.compile(r"\]\(#([^)\s]+)\)")


def text_of(page: Path) -> str:
    """Return the page without its code blocks, in which brackets mean something else."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors_of(page: Path) -> set[str]:
    """Return the names by which the page's headings are linked to."""
    headings = re.findall(r"^#+ (.*)$", text_of(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_of_a_page_leads_nowhere(page: Path) -> None:
    """Files are there, and so are the headings that are linked to."""
    text, wrong = text_of(page), []
    for target, anchor in LINK.findall(text):
        place = page.parent / target
        if not place.exists() or (anchor and anchor not in anchors_of(place)):
            wrong.append(f"{target}#{anchor}")
    wrong += [f"#{anchor}" for anchor in INNER.findall(text) if anchor not in anchors_of(page)]
    assert wrong == []


def test_every_page_is_in_the_index() -> None:
    """docs/README.md leads to every page; those of docs/decisions together."""
    linked = {target for target, _ in LINK.findall(text_of(DOCS / "README.md"))}
    assert sorted({page.name for page in DOCS.glob("*.md")} - linked - {"README.md"}) == []
    assert "decisions/" in linked


def test_every_file_that_the_architecture_names_exists() -> None:
    """Files are relative to the package, tests to the repository; rooms are directories."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[\w.]+/)*[\w]+\.py|[a-z]+/)`", text))
    assert len(named) > 40
    missing = [name for name in named if not any((base / name).exists() for base in (ROOT, ROOT / "benchrunner", DOCS))]
    assert sorted(missing) == []


def test_the_architecture_lists_every_message() -> None:
    """Each kind of message between supervisor and worker is in the table, and no other."""
    section = (DOCS / "architecture.md").read_text(encoding="utf-8").split("## Messages")[1].split("\n## ")[0]
    cells = {cell.strip() for line in section.splitlines() if line.startswith("| ") for cell in line.split("|")}
    listed = {cell.strip("`") for cell in cells if re.fullmatch(r"`\w+`", cell)}
    assert listed == {kind.__name__ for kind in get_args(messages.Message)}
