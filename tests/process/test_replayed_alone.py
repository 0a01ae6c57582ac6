"""A trial repeats alone: prompts, tool outcomes and scores follow from the seed and its identity, not from its run."""

from __future__ import annotations

from typing import Any

import pytest
from process_kit import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

TRIALS = """
    select difficulty, task_id, instance, level, workflow_score, phase2_score, quality_score, final_score, turns,
           tool_calls, transcript
    from trials where model = ? and instance = 0 order by difficulty, task_id
"""


def trials_of(workspace: Workspace, model: str) -> list[dict[str, Any]]:
    return workspace.rows(TRIALS, model)


def test_a_trial_replayed_alone_is_the_same_trial(workspace: Workspace) -> None:
    """Another policy, fewer models and fewer instances: what remains is word for word what it was in the full run."""
    # Given a run of two models with two instances each
    workspace.edit_config("speed = 1 ", "speed = 20 ")
    full = workspace.run("phase", "5.2", "--models", "qwen2.5-14b-instruct,qwen2.5-7b-instruct", "--instances", "2")
    assert full.code == 0, full.err
    expected = trials_of(workspace, "qwen2.5-7b-instruct")
    workspace.db.unlink()
    # When one of them runs alone, once each, under another policy
    alone = workspace.run("phase", "5.2", "--models", "qwen2.5-7b-instruct", "--instances", "1", "--policy", "serial")
    # Then prompts, tool outcomes, replies and scores are the same
    assert alone.code == 0, alone.err
    assert len(expected) == 10
    assert expected == trials_of(workspace, "qwen2.5-7b-instruct")
