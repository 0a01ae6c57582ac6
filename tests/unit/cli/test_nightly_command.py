"""What `benchrunner nightly` refuses before it begins, and how durations are written."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

import benchrunner.cli.nightly_runs
from benchrunner.cli.durations import Duration
from benchrunner.cli.main import main
from benchrunner.cli.nightly_plan import plan_night
from benchrunner.cli.running import Wishes

ROOT = Path(__file__).parents[3]


@dataclass
class Refused:
    """What a command said and how it ended."""

    code: int
    err: str


Refuse = Callable[..., Refused]


@pytest.fixture
def refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Run `nightly` in a directory with the shipped phases.toml; a run that is started fails the test."""
    (tmp_path / "phases.toml").write_text((ROOT / "phases.toml").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for name in ("IDEALLAB_BASE_URL", "IDEALLAB_KEY_0", "IDEALLAB_KEY_1", "IDEALLAB_KEY_2"):
        monkeypatch.delenv(name, raising=False)

    def launched(*_: object) -> None:
        pytest.fail("a run was started")

    monkeypatch.setattr(benchrunner.cli.nightly_runs, "launch", launched)

    def run(*arguments: str) -> Refused:
        monkeypatch.setattr(sys, "argv", ["benchrunner", "nightly", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return Refused(int(ended.value.code or 0), capsys.readouterr().err)

    return run


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("5.9",), 'no phase "5.9" in phases.toml; did you mean'),
        (("5.1", "5.2", "5.1"), "phase 5.1 is asked for twice; a night runs each phase once"),
        (("5.2", "--models", "gpt-7"), 'phase 5.2 has no model "gpt-7"'),
        (("5.2", "--policy", "poll"), "no policy 'poll'; did you mean pool?"),
        (("--deadline", "6 hours"), "'6 hours' is no duration; write 90 (seconds), 45s, 30m or 1h30m"),
        (("--wait", "-3"), "no duration"),
        (("5.2", "--live"), "IDEALLAB_KEY_0"),
        (("--config", "elsewhere.toml"), "elsewhere.toml: there is no such file"),
    ],
)
def test_what_is_wrong_is_told_before_the_night_begins(
    refuse: Refuse, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    """Exit code 2, a sentence, and nothing written: no database, no row, no lock."""
    refused = refuse(*arguments)
    assert refused.code == 2
    assert sentence in refused.err
    assert [path.name for path in tmp_path.iterdir()] == ["phases.toml"]


def test_a_night_is_as_the_file_says_unless_told_otherwise(tmp_path: Path) -> None:
    """The command line goes before [nightly], which goes before each phase's own."""
    # Given a file with a table of its own
    shipped = (ROOT / "phases.toml").read_text(encoding="utf-8")
    table = '[nightly]\nphases = ["5.5", "5.2"]\npolicy = "serial"\ndeadline_s = 7\nwait_s = 8\n'
    config = tmp_path / "phases.toml"
    config.write_text(shipped.split("[nightly]")[0] + table, encoding="utf-8")
    # When nothing, and when everything is asked for
    as_written = plan_night((), Wishes(), config_path=config, deadline_s=None, wait_s=None)
    asked = plan_night(("5.1",), Wishes(policy="B", instances=3), config_path=config, deadline_s=0.0, wait_s=60.0)
    # Then
    assert [(phase.name, phase.policy) for phase in as_written.phases] == [("5.5", "serial"), ("5.2", "serial")]
    assert (as_written.deadline_s, as_written.wait_s) == (7.0, 8.0)
    assert [(phase.name, phase.policy, phase.instances) for phase in asked.phases] == [("5.1", "batched", 3)]
    assert (asked.deadline_s, asked.wait_s) == (0.0, 60.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90.0),
        ("0", 0.0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("45s", 45.0),
        ("30m", 1800.0),
        ("90M", 5400.0),
        ("6h", 21600.0),
        ("1h30m", 5400.0),
    ],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    """A number alone is seconds; units stand once each, the largest first."""
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "h", "6d", "30m1h", "1h1h", "1e3", "-5", "6h x", "nan", "inf", "5 m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(click.BadParameter, match="is no duration"):
        Duration().convert(text, None, None)
