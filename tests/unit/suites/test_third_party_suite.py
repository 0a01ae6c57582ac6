"""docs/suites.md is true: its example, installed as a package would be, is found, planned and played."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import invalidate_caches
from pathlib import Path

import pytest

from benchrunner.errors import SuiteError
from benchrunner.planning.sharding import plan_phase
from benchrunner.records import ChatReply, Level, ModelEntry, Phase, PhaseOrder, ShardOrder
from benchrunner.suites import ENTRY_POINT_GROUP, load_suite

PAGE = Path(__file__).parents[3] / "docs" / "suites.md"
MAX_LINES = 50


def block(language: str) -> str:
    """Return the page's only block in that language."""
    found: str
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return found


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the page's module and its metadata on the path, as pip would."""
    (tmp_path / "mental_sums.py").write_text(block("python"), encoding="utf-8")
    metadata = tmp_path / "mental_sums-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mental-sums\nVersion: 1.0\n")
    points = tomllib.loads(block("toml"))["project"]["entry-points"][ENTRY_POINT_GROUP]
    lines = [f"[{ENTRY_POINT_GROUP}]", *(f"{name} = {value}" for name, value in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    invalidate_caches()
    yield
    sys.modules.pop("mental_sums", None)


def a_phase() -> tuple[Phase, ModelEntry]:
    phase = Phase(
        name="5.5", title="t", models=("m",), prompts=("baseline", "cot"), difficulties=("easy",), task_types=None,
        instances=5, tool_success_rates=(0.8,), order=PhaseOrder.SERIAL, groups=(), stagger_s=0.0,
        shard_order=ShardOrder.MODELS, policy="pool",
    )  # fmt: skip
    return phase, ModelEntry(name="m", provider="p", key_id="k", deployments=("m",), limits=())


@pytest.mark.usefixtures("installed")
def test_the_pages_suite_is_found_planned_and_played() -> None:
    """An installed package's suite runs a shipped phase's words, and its dialogue scores a reply."""
    # Given the suite, found by the name of its entry point
    suite = load_suite("mental-sums")
    # When a phase is planned on it
    phase, model = a_phase()
    plan = plan_phase(phase, [model], suite, run_id="r", seed=1)
    # Then every condition has five tasks of each of its types
    assert len(plan.trials) == 2 * 2 * 5
    # And a trial is played: wrong at first, right at the second turn
    trial = plan.trials[0]
    task = plan.tasks[trial.condition.difficulty, trial.task_id]
    dialogue = suite.dialogue(trial, task)
    assert task.body in next(dialogue).messages[-1].content
    dialogue.send(ChatReply(text="no idea", finish_reason="stop"))
    left, sign, right = task.body.split()
    answer = int(left) + int(right) if sign == "+" else int(left) * int(right)
    with pytest.raises(StopIteration) as end:
        dialogue.send(ChatReply(text=f" {answer}\n", finish_reason="stop"))
    assert (end.value.value.level, end.value.value.final_score, end.value.value.turns) == (Level.PARTIAL, 0.5, 2)


@pytest.mark.usefixtures("installed")
def test_an_installed_suite_is_among_the_names_that_there_are() -> None:
    """A misspelt name is met with all that can be meant, brought ones included."""
    with pytest.raises(SuiteError, match=r"there is jsonl, mental-sums, workflow; did you mean 'mental-sums'"):
        load_suite("mental-sum")


def test_the_page_keeps_its_example_short() -> None:
    """A suite is a page of code."""
    assert len(block("python").splitlines()) <= MAX_LINES
