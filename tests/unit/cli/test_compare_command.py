"""`benchrunner compare`, and `show --trial` which its output leads to, as a user types them."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from benchrunner.cli.main import cli
from benchrunner.errors import StoreError, UsageError

sys.path.insert(0, str(Path(__file__).parents[1] / "store"))
sys.path.insert(0, str(Path(__file__).parents[1] / "reporting"))
from compared_runs import keep

OPTIMAL = ("m", "optimal")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with a runs.db in it, worked in: run `base`, and `worse` with a third of it lost."""
    monkeypatch.chdir(tmp_path)
    keep(tmp_path / "runs.db", "base", {OPTIMAL: "F" * 30})
    keep(tmp_path / "runs.db", "worse", {OPTIMAL: "F" * 20 + "x" * 10}, started_at="2025-08-27T10:00:00.000000Z")
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, standalone_mode=False)


def test_a_drop_is_told_and_exits_4_where_that_was_asked_for(here: Path) -> None:
    """Without --fail-on-regression the comparison itself succeeded: exit 0."""
    told, failed = run("compare", "base", "newest"), run("compare", "ba", "wor", "--fail-on-regression")
    assert (told.return_value, failed.return_value) == (0, 4)
    assert "This is a significant drop in success: p, " in told.stdout
    assert told.stdout == failed.stdout


def test_a_gain_does_not_exit_4(here: Path) -> None:
    """Better is no regression."""
    result = run("compare", "worse", "base", "--fail-on-regression")
    assert result.return_value == 0
    assert "This is a significant gain in success: p, " in result.stdout


def test_json_has_the_verdict_and_every_flip(here: Path) -> None:
    """Whatever --flips lists for people."""
    read = json.loads(run("compare", "base", "worse", "--json", "--flips", "1").stdout)
    assert (read["run_a"], read["run_b"], read["regressed"]) == ("base", "worse", True)
    assert len(read["flips"]) == 10


def test_the_links_under_a_flip_lead_to_its_transcripts(here: Path) -> None:
    """Each line can be typed as it stands, other databases included."""
    # Given a comparison across two databases
    keep(here / "my other.db", "worse", {OPTIMAL: "F" * 29 + "x"})
    result = run("compare", "base", "worse", "--db", "runs.db", "--db-b", "my other.db")
    # When its commands are typed
    commands = [shlex.split(line) for line in result.stdout.splitlines() if "benchrunner show" in line]
    shown = [run(*command[1:]) for command in commands]
    # Then they print the two trials
    assert [one.stdout.splitlines()[0] for one in shown] == [
        "SIMULATED trial 00029 of run base",
        "SIMULATED trial 00029 of run worse",
    ]
    assert "--- turn 1 ---\nuser:\nSay it\nreply:\nsaid\n" in shown[0].stdout


def test_a_whole_trial_id_names_its_run(here: Path) -> None:
    """`show --trial base/00003` needs no RUN; --json has the same trial."""
    assert "trial 00003 of run base" in run("show", "--trial", "base/00003").stdout
    assert json.loads(run("show", "base", "--trial", "00003", "--json").stdout)["trial_id"] == "base/00003"


def test_the_same_seed_prints_the_same_figures(here: Path) -> None:
    """Two people who compare the same runs read the same."""
    assert run("compare", "base", "worse").stdout == run("compare", "base", "worse", "--seed", "0").stdout


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("base", "nowhere"), StoreError),
        (("base", "base"), UsageError),
        (("base", "worse", "--pair", "m=other"), UsageError),
    ],
)
def test_what_cannot_be_compared_exits_2(here: Path, arguments: tuple[str, ...], error: type[Exception]) -> None:
    """With one sentence on what is the matter."""
    result = run("compare", *arguments)
    assert isinstance(result.exception, error)
    assert result.exception.exit_code == 2


@pytest.mark.parametrize("word", ["m", "=m", "m="])
def test_a_pair_is_written_with_two_models(here: Path, word: str) -> None:
    """A usage error that says how."""
    result = CliRunner().invoke(cli, ["compare", "base", "worse", "--pair", word])
    assert result.exit_code == 2
    assert "is not written MODEL_A=MODEL_B" in result.stderr
