"""`benchrunner report` as a user types it."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from benchrunner.cli.main import cli
from benchrunner.errors import StoreError, UsageError

sys.path.insert(0, str(Path(__file__).parents[1] / "store"))
sys.path.insert(0, str(Path(__file__).parents[1] / "reporting"))
from report_samples import record_grid


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with a runs.db of two simulated runs, worked in."""
    monkeypatch.chdir(tmp_path)
    record_grid(tmp_path / "runs.db", "g1")
    record_grid(tmp_path / "runs.db", "g2")
    return tmp_path


def report(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["report", *arguments], standalone_mode=False)


def test_the_newest_run_becomes_report_html(here: Path) -> None:
    """Nothing on stdout; stderr says what was written and that it is simulated. Again is no fault: it is a report."""
    for _ in range(2):
        result = report()
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr == "wrote report.html: 1 run (SIMULATED)\n"
    assert "<dd>g2</dd>" in (here / "report.html").read_text()
    assert sorted(path.name for path in here.iterdir() if not path.name.startswith("runs.db")) == ["report.html"]


def test_a_file_that_is_no_report_stays_as_it_is(here: Path) -> None:
    """Whatever it is called; the sentence names it."""
    (here / "report.html").write_text("<html>my own</html>")
    (here / "notes.md").write_text("# my own")
    for arguments, name in (((), "report.html"), (("-o", "notes.md"), "notes.md")):
        result = report(*arguments)
        assert isinstance(result.exception, UsageError)
        assert str(result.exception) == f"{name} is no benchrunner report and stays as it is; name another file with -o"
    assert (here / "report.html").read_text() == "<html>my own</html>"
    assert (here / "notes.md").read_text() == "# my own"


def test_markdown_goes_to_stdout_or_to_the_file_its_name_asks_for(here: Path) -> None:
    """--format md is for pipes; -o x.md needs no --format, and is written anew as a page is."""
    piped = report("g1", "--format", "md")
    assert piped.stdout.startswith("<!-- benchrunner report -->\n# Phase 9.1 Sample\n")
    for _ in range(2):
        assert report("g1", "-o", "x.md").exit_code == 0
    assert (here / "x.md").read_text() == piped.stdout


@pytest.mark.parametrize("arguments", [("--format", "md"), ("--format", "html"), ()], ids=" ".join)
def test_a_dash_is_stdout_for_either_form(here: Path, arguments: tuple[str, ...]) -> None:
    """As for every other program; the same bytes as in a file, and no file of that name, or of any."""
    piped = report("g1", "-o", "-", *arguments)
    assert (piped.exit_code, piped.stderr) == (0, "")
    assert [path.name for path in here.iterdir() if not path.name.startswith("runs.db")] == []
    name = "same.md" if "md" in arguments else "same.html"
    assert report("g1", "-o", name).exit_code == 0
    assert (here / name).read_bytes() == piped.stdout_bytes


def test_a_file_that_is_called_dash_can_be_named(here: Path) -> None:
    """./- is a path."""
    assert report("g1", "-o", "./-", "--format", "md").stdout == ""
    assert (here / "-").read_text().startswith("<!-- benchrunner report -->")


def test_an_empty_file_name_is_refused(here: Path) -> None:
    """It is a variable that is not set, not the directory worked in."""
    refused = report("-o", "").exception
    assert isinstance(refused, click.UsageError)
    assert refused.message == "the word after -o is empty; is a shell variable not set?"
    assert [path.name for path in here.iterdir() if not path.name.startswith("runs.db")] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("-o", "x.pdf"),
        ("-o", "X.PDF"),
        ("-o", "x.txt"),
        ("-o", "x.md", "--format", "html"),
        ("-o", "x.html", "--format", "md"),
        ("-o", "x.csv", "--format", "md"),
    ],
    ids=" ".join,
)
def test_a_name_that_means_another_form_is_refused(here: Path, arguments: tuple[str, ...]) -> None:
    """With what it may end in; nothing is written."""
    refused = report(*arguments).exception
    assert isinstance(refused, UsageError)
    assert str(refused).startswith(f"{arguments[1]}: a report is written as .html or .htm, or with --format md as .md,")
    assert ("prints the page as PDF" in str(refused)) == (arguments[1].lower() == "x.pdf")
    assert [path.name for path in here.iterdir() if not path.name.startswith("runs.db")] == []


@pytest.mark.parametrize(
    ("arguments", "head"),
    [
        (("-o", "x.htm"), "<!doctype html>"),
        (("-o", "phase-5.2"), "<!doctype html>"),
        (("-o", "x.html.tmp"), "<!doctype html>"),
        (("-o", "x.markdown"), "<!-- benchrunner report -->"),
        (("-o", "x.txt", "--format", "md"), "<!-- benchrunner report -->"),
        (("-o", "notes", "--format", "md"), "<!-- benchrunner report -->"),
    ],
    ids=str,
)
def test_the_name_says_the_form_and_endings_that_mean_nothing_are_taken(
    here: Path, arguments: tuple[str, ...], head: str
) -> None:
    """A dot in a run's or a temporary file's name is no form."""
    assert report("g1", *arguments).exit_code == 0
    assert (here / arguments[1]).read_text().lower().startswith(head.lower())


def test_several_runs_make_one_report_and_a_directory_gets_a_telling_name(here: Path) -> None:
    """The name holds the first run, how many more, and that they are simulated."""
    assert report("g1", "g2", "-o", ".").exit_code == 0
    page = (here / "report-g1-and-1-more-simulated.html").read_text()
    assert page.index('<h2 id="run-1">') < page.index('<h2 id="run-2">')


def test_an_unknown_run_and_a_missing_database_are_sentences(here: Path) -> None:
    """Nothing is written."""
    assert isinstance(report("x1").exception, StoreError)
    assert isinstance(report("--db", "nosuch.db").exception, StoreError)
    assert not (here / "report.html").exists()


def test_a_place_that_cannot_be_written_is_a_sentence(here: Path) -> None:
    """With the path and the system's reason."""
    result = report("-o", "nosuch/report.html")
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).startswith("cannot write nosuch/report.html")
