"""Real runs held against each other: a drop that was planted is found, and nothing is found where nothing was."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from process_kit import Workspace

pytestmark = pytest.mark.slow

MODEL = "qwen2.5-7b-instruct"
GRID = 'difficulties = ["very_easy", "medium"]\ntask_types = "all"\ninstances = 20\ntool_success_rates = [0.8]\n'
SMALL = 'difficulties = ["very_easy"]\ntask_types = ["basic_task"]\ninstances = 120\ntool_success_rates = [0.5]\n'
ENTRY = f'[models."{MODEL}"]\n'


def run_once(workspace: Workspace) -> str:
    """Run the phase and return the run's id."""
    ran = workspace.run("phase", "5.2", "--models", MODEL, "--stagger", "0", "--quiet", "--json")
    assert ran.code == 0, ran.err
    return str(workspace.rows("select id from runs order by started_at desc limit 1")[0]["id"])


def test_a_planted_drop_is_found_and_equal_runs_are_called_equal(workspace: Workspace) -> None:
    """The same model with other draws of replies and latencies is no finding; one ten points worse is, and exits 4."""
    # Given a run, one of the same tasks in which the provider draws everything anew, and one with a worse model
    workspace.edit_config("speed = 1 ", "speed = 400 ")
    workspace.edit_config(GRID, SMALL)
    base = run_once(workspace)
    workspace.edit_config("[simulator]\n", "[simulator]\nseed = 8\n")
    equal = run_once(workspace)
    workspace.edit_config("[simulator]\nseed = 8\n", "[simulator]\n")
    workspace.edit_config(ENTRY, f"{ENTRY}simulated = {{ skill = 0.2 }}\n")
    worse = run_once(workspace)
    # When each is compared with the first
    calm = workspace.run("compare", base, equal, "--fail-on-regression", "--json")
    alarm = workspace.run("compare", base, "newest", "--fail-on-regression", "--json")
    # Then only the drop is one, by the size it was planted with; trials changed sides in both
    assert (calm.code, alarm.code) == (0, 4), calm.err + alarm.err
    found: dict[str, Any] = json.loads(alarm.out)
    nothing: dict[str, Any] = json.loads(calm.out)
    assert (found["run_b"], found["regressed"], nothing["regressed"]) == (worse, True, False)
    assert found["overall"]["pairs"] == nothing["overall"]["pairs"] == 120
    assert -0.15 < found["overall"]["difference"] < -0.05
    assert found["overall"]["low"] < found["overall"]["difference"] < found["overall"]["high"] < 0.0
    assert nothing["overall"]["low"] < 0.0 < nothing["overall"]["high"]
    assert len(nothing["flips"]) > 10
    assert found["left_out"] == nothing["left_out"] == dict.fromkeys(found["left_out"], 0)
    # And a flip leads to its transcript
    shown = workspace.run("show", "--trial", found["flips"][0]["trial_b"])
    assert shown.out.startswith(f"SIMULATED trial {found['flips'][0]['trial_b'].partition('/')[2]} of run {worse}\n")
    assert "--- turn 1 ---\nsystem:\n" in shown.out
