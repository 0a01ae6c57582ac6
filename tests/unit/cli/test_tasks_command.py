"""`benchrunner tasks`: what it prints, writes and refuses."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from benchrunner.cli.main import cli
from benchrunner.cli.reference import reference
from benchrunner.errors import SuiteError, UsageError
from benchrunner.suites.workflow.suite import WorkflowSuite
from benchrunner.suites.workflow.tasks import decode_task

CONFLICT = ["network_fetcher", "data_processing_validator", "data_processing_parser"]
LACKING = ["file_operations_reader", "data_processing_validator"]


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run where there is no phases.toml and nothing is in the way."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> Result:
    """Run the command; errors of ours come out as themselves, for main to put into words."""
    return CliRunner().invoke(cli, ["tasks", *words], catch_exceptions=False)


def task(number: int, tools: list[str], task_type: str = "api_integration") -> dict[str, object]:
    return {
        "instance_id": f"task_{number}", "task_type": task_type, "description": f"Do {number}.", "inputs": {},
        "expected_outputs": {}, "required_tools": tools, "difficulty_level": "easy",
    }  # fmt: skip


def write_library(path: Path, *tasks: dict[str, object]) -> None:
    path.write_bytes(orjson.dumps({"tasks": tasks}))


def test_check_counts_what_a_library_holds(tmp_path: Path) -> None:
    """One line a type and one for all; conflicts, missing prerequisites and wordings in words."""
    # Given
    write_library(
        tmp_path / "lib.json", task(0, CONFLICT), task(1, CONFLICT), task(2, LACKING, task_type="simple_task")
    )
    # When
    printed = run("check", "lib.json").stdout
    # Then
    assert "lib.json: 3 tasks over 4 tools" in printed
    assert [line.split() for line in printed.splitlines() if line.startswith(("api_", "simple_", "all"))] == [
        ["simple_task", "1", "0", "1", "1", "1"],
        ["api_integration", "2", "2", "0", "2", "1"],
        ["all", "3", "2", "1", "3", "2"],
    ]
    assert "order_conflict: 2 tasks" in printed
    assert "missing_prerequisite: 1 tasks" in printed
    assert "difficulty_level: easy 3" in printed


def test_check_speaks_json(tmp_path: Path) -> None:
    """Scripts read one flat object."""
    write_library(tmp_path / "lib.json", task(0, CONFLICT))
    found = orjson.loads(run("check", "lib.json", "--json").stdout)
    assert found["file"] == "lib.json"
    assert (found["tasks"], found["order_conflict"], found["missing_prerequisite"]) == (1, 1, 0)
    assert found["by_type"]["api_integration"]["order_conflict"] == 1


def test_check_refuses_a_wrong_file_with_every_fault(tmp_path: Path) -> None:
    """Exit code 2, and all places in one message."""
    write_library(tmp_path / "lib.json", task(0, ["file_reader"]), task(0, ["parser"]))
    with pytest.raises(SuiteError) as caught:
        run("check", "lib.json")
    assert (caught.value.exit_code, str(caught.value).count("\n")) == (2, 3)


def test_check_resolves_a_registrys_aliases_and_writes_the_library_clean(tmp_path: Path) -> None:
    """What names tools by numbered aliases becomes a library that phases take; nothing is overwritten."""
    # Given
    alias = {"canonical_name": "network_fetcher", "is_canonical": False}
    (tmp_path / "tools.json").write_bytes(orjson.dumps({"network_fetcher": {}, "network_fetcher_9": alias}))
    write_library(tmp_path / "old.json", task(0, ["network_fetcher_9"]))
    # When
    printed = run("check", "old.json", "--registry", "tools.json", "-o", "new.json").stdout
    # Then
    assert "aliases: 1 tasks" in printed
    assert orjson.loads(run("check", "new.json", "--json").stdout)["renamed_tool"] == 0
    with pytest.raises(UsageError, match=r"new\.json is there already"):
        run("check", "old.json", "--registry", "tools.json", "-o", "new.json")


def test_check_names_tools_that_no_phase_could_simulate(tmp_path: Path) -> None:
    """A registry may know tools which the suite does not."""
    (tmp_path / "tools.json").write_bytes(orjson.dumps({"teleporter": {}}))
    write_library(tmp_path / "lib.json", task(0, ["teleporter"]))
    assert "no phase can use their tasks: teleporter" in run("check", "lib.json", "--registry", "tools.json").stdout


def test_check_counts_questions(tmp_path: Path) -> None:
    """A .jsonl file is one of questions."""
    (tmp_path / "q.jsonl").write_text('{"id": 1, "prompt": "?", "expected": 4, "scorer": "number"}\n')
    assert run("check", "q.jsonl").stdout == "q.jsonl: 1 questions; scorers: number 1\n"
    assert orjson.loads(run("check", "q.jsonl", "--json").stdout) == {
        "file": "q.jsonl", "questions": 1, "scorers": {"number": 1},
    }  # fmt: skip
    with pytest.raises(UsageError, match="are for task libraries"):
        run("check", "q.jsonl", "--registry", "tools.json")


def test_generate_writes_what_check_accepts(tmp_path: Path) -> None:
    """The field's form and shares; the same seed writes the same bytes, on stdout or into a file."""
    # Given / When
    assert run("generate", "--difficulty", "hard", "--count", "63", "--seed", "7", "-o", "hard.json").exit_code == 0
    # Then
    found = orjson.loads(run("check", "hard.json", "--json").stdout)
    assert {name: tally["tasks"] for name, tally in found["by_type"].items()} == {
        "simple_task": 4, "basic_task": 15, "data_pipeline": 19, "api_integration": 17, "multi_stage_pipeline": 8,
    }  # fmt: skip
    assert found["difficulties"] == {"hard": 63}
    again = run("generate", "--difficulty", "hard", "--count", "63", "--seed", "7").stdout_bytes
    assert again == (tmp_path / "hard.json").read_bytes()


def test_generate_overwrites_only_by_force(tmp_path: Path) -> None:
    """A file that is there stays as it is."""
    (tmp_path / "lib.json").write_text("mine")
    with pytest.raises(UsageError, match="nothing was written"):
        run("generate", "--count", "1", "-o", "lib.json")
    assert (tmp_path / "lib.json").read_text() == "mine"
    assert run("generate", "--count", "1", "-o", "lib.json", "--force").exit_code == 0
    assert (tmp_path / "lib.json").read_text() != "mine"


def test_generate_takes_the_configs_seed(tmp_path: Path) -> None:
    """Without --seed it is the one that phases would take."""
    CliRunner().invoke(cli, ["init"], catch_exceptions=False)
    config = tmp_path / "phases.toml"
    config.write_text(config.read_text().replace("seed = 20250826", "seed = 5"))
    assert run("generate", "--count", "3").stdout == run("generate", "--count", "3", "--seed", "5").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--difficulty", "eazy"), 'did you mean "easy"'), (("--count", "0"), "at least 1, not 0")],
)
def test_generate_refuses_what_cannot_be(words: tuple[str, ...], said: str) -> None:
    """A misspelt difficulty is met with the nearest."""
    with pytest.raises(UsageError, match=said):
        run("generate", *words)


def test_show_prints_a_librarys_task_with_prompt_and_plan(tmp_path: Path) -> None:
    """All of the task, the messages a trial starts with, and the plan with its worth."""
    write_library(tmp_path / "lib.json", task(0, CONFLICT), task(1, LACKING))
    printed = run("show", "task_1", "--tasks", "lib.json", "--prompt", "baseline", "--plan").stdout
    assert '"task_id": "task_1"' in printed
    assert printed.index("--- system") < printed.index("--- user") < printed.rindex("Do 1.")
    assert "required order" in printed


def test_show_finds_the_generated_task_a_phase_would_ask() -> None:
    """An id out of runs.db is shown as it was asked, at any of the difficulties."""
    # Given a task that phase 5.2 asks
    asked = WorkflowSuite().tasks(seed=9, phase="5.2", difficulty="medium", task_type="data_pipeline", count=20)[-1]
    # When
    printed = run("show", asked.task_id, "--phase", "5.2", "--difficulty", "medium", "--seed", "9").stdout
    # Then
    assert orjson.loads(printed)["description"] == decode_task(asked.body).description


def test_show_says_where_it_looked(tmp_path: Path) -> None:
    """An unknown id or prompt is a sentence."""
    write_library(tmp_path / "lib.json", task(0, CONFLICT))
    with pytest.raises(SuiteError, match=r"for phase 5\.1 and seed 20250826"):
        run("show", "task_zz")
    with pytest.raises(SuiteError, match='did you mean "task_0"'):
        run("show", "task_O", "--tasks", "lib.json")
    with pytest.raises(UsageError, match='did you mean "optimal"'):
        run("show", "task_0", "--tasks", "lib.json", "--prompt", "optimum")


def test_the_reference_shows_the_subcommands_of_a_group() -> None:
    """docs/cli.md holds every command, however deep."""
    titles = [line for line in reference().splitlines() if line.startswith("## benchrunner tasks")]
    assert titles == [
        "## benchrunner tasks", "## benchrunner tasks check", "## benchrunner tasks generate",
        "## benchrunner tasks show",
    ]  # fmt: skip
