"""`benchrunner export` as a user types it."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from benchrunner.cli.main import cli
from benchrunner.errors import UsageError
from benchrunner.reporting.results_table import COLUMNS
from benchrunner.store.writer import RunWriter

sys.path.insert(0, str(Path(__file__).parents[1] / "store"))
from recorded_run import FAILED_SCORE, planned, scored


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with a runs.db of one simulated run, worked in."""
    monkeypatch.chdir(tmp_path)
    plan = planned()
    with RunWriter.open(tmp_path / "runs.db") as writer:
        writer.add_run(plan.run, plan.shards, plan.trials, plan.tasks)
        writer.record([scored(trial, FAILED_SCORE) for trial in plan.trials[:-1]])
    return tmp_path


def export(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["export", *arguments], standalone_mode=False)


def test_the_table_goes_to_stdout_and_every_remark_to_stderr(here: Path) -> None:
    """So that it can be piped; that the results are simulated is said either way."""
    result = export()
    assert result.exit_code == 0
    assert len(list(csv.reader(result.stdout.splitlines()))) == 1 + 4
    assert "SIMULATED" in result.stderr
    assert "SIMULATED" not in result.stdout
    assert "1 trial has not ended and is in no row" in result.stderr


def test_the_output_names_its_format_and_a_directory_gets_a_telling_name(here: Path) -> None:
    """-o table.json is JSON; -o . is a name with the run's id and `simulated`."""
    assert export("r1", "-o", "table.json").return_value == 0
    assert (here / "table.json").read_text().startswith('{\n  "metadata"')
    assert export("r1", "-o", ".").return_value == 0
    assert (here / "results-r1-simulated.csv").is_file()


def test_a_table_is_checked_and_a_damaged_one_exits_1(here: Path) -> None:
    """The faults stand on stdout, one a line."""
    # Given a table, and one in which a rate was edited
    export("-o", "t.csv")
    sound = (here / "t.csv").read_text()
    (here / "bad.csv").write_text(sound.replace(",0.0,0.0,1.0,", ",1.36,0.0,1.0,", 1))
    # When / Then
    good, bad = export("--check", "t.csv"), export("--check", "bad.csv")
    assert (good.return_value, good.stdout) == (0, "t.csv: 4 rows, all identities hold\n")
    assert bad.return_value == 1
    assert "success_rate is 1.36, outside 0 to 1" in bad.stdout


def test_check_takes_nothing_beside_its_file(here: Path) -> None:
    """A usage error, nothing done."""
    result = export("r1", "--check", "t.csv")
    assert isinstance(result.exception, UsageError)


NO_HEADER = "f is no results table: no line at its top names the columns (docs/results-table.md lists them)"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{\n  "metadata": {}}', "f is JSON; only CSV can be checked, as `benchrunner export -o x.csv` writes it"),
        ("PAR1\x15", "f is Parquet; only CSV can be checked, as `benchrunner export -o x.csv` writes it"),
        ("", NO_HEADER),
        ("a,b\n1,2\n", NO_HEADER),
        (
            ",".join(COLUMNS[:44]),
            f"f is no results table: it lacks 6 of 50 columns: {', '.join(COLUMNS[44:48])} and 2 more",
        ),
    ],
    ids=["json", "parquet", "empty", "other", "cut"],
)
def test_a_file_that_is_no_table_is_refused_in_one_line(content: str, said: str, here: Path) -> None:
    """What it is, or what it lacks; never a list of fifty columns."""
    (here / "f").write_text(content)
    result = export("--check", "f")
    assert isinstance(result.exception, UsageError)
    assert str(result.exception) == said


def test_a_directory_that_is_not_there_is_named(here: Path) -> None:
    """It is the directory that is missing, not the file that was to be made."""
    result = export("-o", "nowhere/t.csv")
    assert str(result.exception) == f"cannot write nowhere/t.csv: there is no directory {here.resolve() / 'nowhere'}"


def test_a_dash_is_stdout_and_no_name_is_refused(here: Path) -> None:
    """What scripts say; an unset variable behind -o must not put a file somewhere."""
    assert export("-o", "-").stdout == export().stdout
    result = export("-o", "")
    assert isinstance(result.exception, click.UsageError)
    assert "the word after -o is empty" in str(result.exception)
    assert sorted(path.name for path in here.iterdir() if not path.name.startswith("runs.db")) == []
