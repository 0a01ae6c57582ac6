"""Trials into shards: the parts of a phase that run under one lease at a time. Pure.

One shard per model and condition group. A condition group is one combination of prompt, difficulty and rate, or, in
a phase with `groups`, one group of prompts with everything they are crossed with. A model with `shards = n` has each
of its condition groups cut in n by instance, so that every part holds every task type: 20 instances become 7, 7, 6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchrunner.planning.grid import Grid, TaskKey, plan_grid
from benchrunner.records import Condition, ModelEntry, Phase, Shard, ShardOrder, Task, Trial
from benchrunner.suites.base import Suite

_ONLY = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class PhasePlan:
    """A phase ready to run: shards in order, their trials with `shard_id` filled in, and the trials' tasks."""

    phase: Phase
    tasks: Mapping[TaskKey, Task]
    trials: tuple[Trial, ...]
    shards: tuple[Shard, ...]
    one_turn: bool  # every dialogue is one request and its reply

    def task_of(self, trial: Trial) -> Task:
        """Return the trial's task."""
        return self.tasks[trial.condition.difficulty, trial.task_id]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A shard to be: what `parts` of one model's condition group hold."""

    model: ModelEntry
    group: int
    number: int  # 0-based part of the group
    parts: int
    trials: list[Trial]


def plan_phase(
    phase: Phase,
    models: Sequence[ModelEntry],
    suite: Suite,
    *,
    run_id: str,
    seed: int,
    instances: int | None = None,
) -> PhasePlan:
    """Return the phase laid out and cut into shards. Raises what `plan_grid` raises."""
    grid = plan_grid(phase, models, suite, run_id=run_id, seed=seed, instances=instances)
    return plan_shards(phase, models, suite, grid, run_id=run_id)


def plan_shards(phase: Phase, models: Sequence[ModelEntry], suite: Suite, grid: Grid, *, run_id: str) -> PhasePlan:
    """Return the grid's trials cut into shards; every trial is in exactly one."""
    groups = condition_groups(phase)
    parts = _parts(models, groups, grid)
    # Stable sorts: within a model, groups and their parts keep their order; within a condition, models do.
    if phase.shard_order is ShardOrder.CONDITIONS:
        parts.sort(key=lambda part: part.group)
    calls = {
        (prompt, task_type): suite.expected_calls(prompt=prompt, task_type=task_type)
        for prompt, task_type in {(trial.condition.prompt, trial.task_type) for trial in grid.trials}
    }
    shards: list[Shard] = []
    shard_of: dict[str, str] = {}
    for position, part in enumerate(parts):
        shard_id = f"{run_id}/s{position:02d}"
        shard_of.update((trial.trial_id, shard_id) for trial in part.trials)
        shards.append(
            Shard(
                shard_id=shard_id,
                position=position,
                model=part.model.name,
                provider=part.model.provider,
                key_id=part.model.key_id,
                label=_label(phase, part),
                group=part.group,
                trial_ids=tuple(trial.trial_id for trial in part.trials),
                expected_calls=sum(calls[trial.condition.prompt, trial.task_type] for trial in part.trials),
                expected_call_s=part.model.expected_call_s,
                workers=part.model.workers,
                pace_qps=part.model.pace_qps,
            )
        )
    trials = tuple(replace(trial, shard_id=shard_of[trial.trial_id]) for trial in grid.trials)
    one_turn = suite.max_turns == 1
    return PhasePlan(phase=phase, tasks=grid.tasks, trials=trials, shards=tuple(shards), one_turn=one_turn)


def condition_groups(phase: Phase) -> dict[tuple[str, str, float], int]:
    """Return the number of the condition group that each (prompt, difficulty, rate) of the phase belongs to."""
    cells = [
        (prompt, difficulty, rate)
        for prompt in phase.prompts
        for difficulty in phase.difficulties
        for rate in phase.tool_success_rates
    ]
    if not phase.groups:
        return {cell: number for number, cell in enumerate(cells)}
    number_of = {prompt: number for number, group in enumerate(phase.groups) for prompt in group}
    return {cell: number_of[cell[0]] for cell in cells}


def _cell(condition: Condition) -> tuple[str, str, float]:
    return condition.prompt, condition.difficulty, condition.tool_success_rate


def _parts(models: Sequence[ModelEntry], groups: Mapping[tuple[str, str, float], int], grid: Grid) -> list[_Part]:
    entry = {model.name: model for model in models}
    held: dict[tuple[str, int], list[Trial]] = {
        (model.name, group): [] for model in models for group in dict.fromkeys(sorted(groups.values()))
    }
    for trial in grid.trials:
        held[trial.condition.model, groups[_cell(trial.condition)]].append(trial)
    parts: list[_Part] = []
    for (name, group), trials in held.items():
        cut = _cut(trials, entry[name].shards)
        parts.extend(
            _Part(model=entry[name], group=group, number=number, parts=len(cut), trials=one)
            for number, one in enumerate(cut)
        )
    return parts


def _cut(trials: list[Trial], ways: int) -> list[list[Trial]]:
    """Return the trials in at most `ways` parts of consecutive instances, none empty, sizes as even as they can be."""
    instances = 1 + max(trial.instance for trial in trials)
    ways = min(ways, instances)
    size, larger = divmod(instances, ways)
    part_of = [number for number in range(ways) for _ in range(size + (number < larger))]
    cut: list[list[Trial]] = [[] for _ in range(ways)]
    for trial in trials:
        cut[part_of[trial.instance]].append(trial)
    return cut


def _label(phase: Phase, part: _Part) -> str:
    """Return what tells the shard from the model's others: only what the phase varies."""
    words: list[str] = []
    first = part.trials[0].condition
    if phase.groups:
        words.append(f"group {part.group + 1}")
    else:
        if len(phase.prompts) > 1:
            words.append(first.prompt)
        if len(phase.difficulties) > 1:
            words.append(first.difficulty)
        if len(phase.tool_success_rates) > 1:
            words.append(f"{first.tool_success_rate:g}")
    if part.parts > 1:
        words.append(f"part {part.number + 1} of {part.parts}")
    return "/".join(words) or _ONLY
