"""A phase by function calling, from the command line to the exported table."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import orjson
import pytest

if TYPE_CHECKING:
    from process_kit import Workspace

pytestmark = pytest.mark.slow


def test_a_phase_runs_by_function_calling_and_its_table_holds(workspace: Workspace) -> None:
    """`protocol = "native"` in the model's table is all it takes; every call of the dialogues is a function call."""
    # Given one model that calls functions, and another that writes tags
    workspace.edit_config("speed = 1 ", "speed = 50 ")
    workspace.edit_config('[models."qwen2.5-14b-instruct"]\n', '[models."qwen2.5-14b-instruct"]\nprotocol = "native"\n')
    # When a phase has run and is exported
    models = "qwen2.5-14b-instruct,qwen2.5-32b-instruct"
    ran = workspace.run("phase", "5.2", "--models", models, "--instances", "1", "--stagger", "0")
    assert ran.code == 0, ran.err
    exported = workspace.run("export", "-o", "t.csv")
    checked = workspace.run("export", "--check", "t.csv")
    # Then all trials are scored, each model spoke its own protocol, and the table is whole
    assert (exported.code, checked.code) == (0, 0), exported.err + checked.out
    variants: dict[str, set[str]] = {}
    for row in workspace.rows("select model, transcript from trials where status = 'scored'"):
        said = {turn["variant"].partition("+")[0] for turn in orjson.loads(row["transcript"]) if turn["actions"]}
        variants.setdefault(row["model"], set()).update(said)
    assert variants["qwen2.5-14b-instruct"] == {"native"}
    assert "native" not in variants["qwen2.5-32b-instruct"]
    with (workspace.path / "t.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert len(table) == 2 * 2 * 5
    assert {row["attempted"] for row in table} == {"1"}
    # And nothing was refused or lost on the way
    assert workspace.rows("select distinct outcome from calls") == [{"outcome": "ok"}]
