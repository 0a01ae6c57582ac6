"""Shell completion: what is offered where, from files that may be missing, half-written or locked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from benchrunner.cli.main import cli
from benchrunner.store.writer import RunWriter

sys.path.insert(0, str(Path(__file__).parents[1] / "store"))
from recorded_run import planned

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with the shipped phases.toml, worked in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "phases.toml").write_text((ROOT / "phases.toml").read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


def offered(*line: str) -> dict[str, str | None]:
    """Return what is offered for the last word of the line, with its help."""
    *words, incomplete = line
    found = ShellComplete(cli, {}, "benchrunner", "_BENCHRUNNER_COMPLETE").get_completions(words, incomplete)
    return {item.value: item.help for item in found}


@pytest.mark.parametrize("command", ["phase", "plan", "check", "nightly"])
def test_phases_are_the_configs_own_with_their_titles(command: str) -> None:
    """Those on the line already are not offered again."""
    assert offered(command, "5.") == {
        "5.1": "Base comparison", "5.2": "Qwen scale effect", "5.3": "Flawed plans", "5.4": "Tool reliability",
        "5.5": "Prompt types",
    }  # fmt: skip
    assert list(offered(command, "5.1", "5.2", "5.")) == ["5.3", "5.4", "5.5"]


def test_a_config_named_on_the_line_is_the_one_that_is_read(here: Path) -> None:
    """--config is heeded; a config that is missing, or no TOML yet, offers nothing and says nothing."""
    (here / "night.toml").write_text('[phases.dawn]\ntitle = "Early"\n[phases.broken]\n')
    assert offered("phase", "--config", "night.toml", "") == {"dawn": "Early", "broken": ""}
    (here / "night.toml").write_text('[phases.dawn]\ntitle = "Ear')
    assert offered("phase", "--config", "night.toml", "") == {}
    assert offered("phase", "--config", "none.toml", "") == {}


def test_policies_and_models_are_offered_where_they_are_options() -> None:
    """Policies with what they do; models one after the other behind a comma, none twice."""
    assert list(offered("phase", "5.2", "--policy", "p")) == ["pool"]
    assert list(offered("phase", "--models", "qwen2.5-7b")) == ["qwen2.5-7b-instruct"]
    after_one = offered("phase", "--models", "DeepSeek-V3-0324,")
    assert "DeepSeek-V3-0324,DeepSeek-R1-0528" in after_one
    assert "DeepSeek-V3-0324,DeepSeek-V3-0324" not in after_one


@pytest.mark.parametrize("command", ["show", "audit", "resume", "export", "report", "compare"])
def test_runs_are_the_databases_newest(command: str, here: Path) -> None:
    """With phase, policy and status; nothing where there is no database, and none is made."""
    assert offered(command, "") == {}
    assert not (here / "runs.db").exists()
    plan = planned()
    with RunWriter.open(here / "runs.db") as writer:
        writer.add_run(plan.run, plan.shards, plan.trials, plan.tasks)
    run = plan.run
    assert offered(command, run.run_id[:2]) == {run.run_id: f"{run.phase}, {run.policy}, running"}
    assert offered(command, "zz") == {}
    (here / "runs.db").write_bytes(b"no database, only notes" * 100)
    assert offered(command, "") == {}


def test_runs_come_from_the_database_the_config_names(here: Path) -> None:
    """`db` is relative to the config; --db goes before it."""
    plan = planned()
    (here / "kept").mkdir()
    with RunWriter.open(here / "kept" / "nights.db") as writer:
        writer.add_run(plan.run, plan.shards, plan.trials, plan.tasks)
    (here / "kept" / "night.toml").write_text('[run]\ndb = "nights.db"\n')
    assert list(offered("show", "--config", "kept/night.toml", "")) == [plan.run.run_id]
    assert list(offered("show", "--db", "kept/nights.db", "")) == [plan.run.run_id]
    assert offered("show", "") == {}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_asks_this_program(shell: str) -> None:
    """It names the program and the variable by which it asks."""
    printed = CliRunner().invoke(cli, ["completion", shell], catch_exceptions=False).stdout
    assert f"_BENCHRUNNER_COMPLETE={shell}_complete" in printed


@pytest.mark.slow
def test_bash_completes_a_phase_with_the_printed_script(here: Path) -> None:
    """What a user sources does complete: bash itself is asked, with the program it would start."""
    # Given a bash that has sourced the script
    program = here / "benchrunner"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m benchrunner "$@"\n')
    program.chmod(0o755)
    script = f"""
        export PATH="{here}:$PATH"
        source <(benchrunner completion bash)
        COMP_WORDS=(benchrunner phase 5.) COMP_CWORD=2
        _benchrunner_completion benchrunner
        echo "${{COMPREPLY[@]}}"
    """
    # When a phase is asked for
    ended = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, cwd=here, check=True)
    # Then
    assert ended.stdout.split() == ["5.1", "5.2", "5.3", "5.4", "5.5"]


def test_suggestions_load_nothing_slow() -> None:
    """No config check, no HTTP, no tables: an answer between two keystrokes."""
    heavy = ("pydantic", "requests", "rich", "multiprocess", "sqlite_utils", "uvicorn", "psutil", "jinja2", "ray")
    program = (
        "import sys\n"
        "from click.shell_completion import ShellComplete\n"
        "from benchrunner.cli.main import cli\n"
        "asked = ShellComplete(cli, {}, 'benchrunner', '_BENCHRUNNER_COMPLETE')\n"
        "print([item.value for item in asked.get_completions(['phase'], '5.1')])\n"
        "asked.get_completions(['show'], '')\n"
        "asked.get_completions(['phase', '--policy'], '')\n"
        f"print([name for name in {heavy!r} if name in sys.modules])\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.splitlines() == ["['5.1']", "[]"]
