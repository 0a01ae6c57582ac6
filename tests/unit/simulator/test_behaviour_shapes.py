"""The shapes that the phases must show: played out between the suite and the simulated models, without a network.

Seeds are fixed, so nothing here is left to luck; the gaps asked for are smaller than those found.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import pytest

from benchrunner.records import Condition, Level, Trial
from benchrunner.simulator.behaviour import simulated_model
from benchrunner.suites.workflow import WorkflowSuite
from benchrunner.suites.workflow.flaws import FLAW_GROUPS
from benchrunner.suites.workflow.simulation import call_rng

SUITE = WorkflowSuite()
SEED = 20250826
SIZES = ("3b", "7b", "14b", "32b", "72b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What 200 trials came to."""

    full: float
    weighted: float
    turns: dict[str, float]  # mean, by task type


@cache
def cell(size: str, prompt: str, difficulty: str = "easy", rate: float = 0.8, instances: int = 40) -> Cell:
    name = f"qwen2.5-{size}-instruct"
    model = simulated_model(name, seed=SEED)
    condition = Condition(model=name, prompt=prompt, difficulty=difficulty, tool_success_rate=rate)
    levels: list[Level] = []
    turns: dict[str, float] = {}
    for task_type in SUITE.task_types:
        tasks = SUITE.tasks(seed=SEED, phase="5.2", difficulty=difficulty, task_type=task_type, count=instances)
        for instance, task in enumerate(tasks):
            trial = Trial(
                trial_id=task.task_id,
                shard_id="s",
                condition=condition,
                task_id=task.task_id,
                task_type=task_type,
                instance=instance,
                # Keyed without the rate: the draws are shared, so that rates are compared and not luck.
                seed=call_rng(SEED, f"{name}/{prompt}/{difficulty}/{task.task_id}", instance).getrandbits(62),
            )
            dialogue = SUITE.dialogue(trial, task)
            request = next(dialogue)
            while True:
                try:
                    request = dialogue.send(model.reply(request.messages))
                except StopIteration as end:
                    levels.append(end.value.level)
                    turns[task_type] = turns.get(task_type, 0.0) + end.value.turns / instances
                    break
    full = levels.count(Level.FULL) / len(levels)
    return Cell(full=full, weighted=full + 0.5 * levels.count(Level.PARTIAL) / len(levels), turns=turns)


@pytest.mark.parametrize("difficulty", ["very_easy", "medium"])
def test_bigger_is_better(difficulty: str) -> None:
    """Phase 5.2: the weighted success grows with every step in size, and by more than half in all."""
    weighted = [cell(size, "optimal", difficulty).weighted for size in SIZES]
    assert weighted == sorted(weighted)
    assert weighted[-1] - weighted[0] > 0.15
    assert cell("72b", "optimal", difficulty).full > 1.5 * cell("3b", "optimal", difficulty).full


@pytest.mark.parametrize("size", ["3b", "32b"])
def test_a_plan_beats_no_plan(size: str) -> None:
    """Phase 5.5: optimal is clearly above baseline and cot."""
    optimal = cell(size, "optimal").weighted
    assert optimal > cell(size, "baseline").weighted + 0.1
    assert optimal > cell(size, "cot").weighted + 0.1


@pytest.mark.parametrize("flaw", FLAW_GROUPS)
def test_flaws_cost(flaw: str) -> None:
    """Phase 5.3: every flaw lowers the full success."""
    assert cell("32b", flaw).full < cell("32b", "optimal").full - 0.05


def test_less_reliable_tools_cost() -> None:
    """Phase 5.4: success falls with every step of the tool success rate."""
    weighted = [cell("32b", "optimal", rate=rate).weighted for rate in (0.5, 0.6, 0.7, 0.8, 0.9)]
    assert weighted == sorted(weighted)
    assert weighted[-1] - weighted[0] > 0.15


@pytest.mark.parametrize("prompt", ["optimal", "baseline", "flawed_logical_inconsistency"])
def test_the_planned_number_of_calls_is_near_what_is_played(prompt: str) -> None:
    """expected_calls lies within a quarter of what the 32b model takes, for each task type."""
    played = cell("32b", prompt).turns
    for task_type in SUITE.task_types:
        assert SUITE.expected_calls(prompt=prompt, task_type=task_type) == pytest.approx(played[task_type], rel=0.25)
