"""A phase's grid, laid out: which tasks, and which trials in which order. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from benchrunner.errors import SuiteError, UsageError, did_you_mean
from benchrunner.records import Condition, ModelEntry, Phase, Task, Trial
from benchrunner.suites.base import Suite

TaskKey = tuple[str, str]
"""(difficulty, task_id): a suite may word one task in several difficulties under one id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialIdentity:
    """What makes a trial the same trial in any invocation. Never contains the key, the shard or the run."""

    condition: Condition
    task_id: str
    instance: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The trials of a phase in order, not yet cut into shards (`shard_id` is ""), and their tasks."""

    tasks: Mapping[TaskKey, Task]
    trials: tuple[Trial, ...]


def identity_of(trial: Trial) -> TrialIdentity:
    """Return the trial's identity."""
    return TrialIdentity(condition=trial.condition, task_id=trial.task_id, instance=trial.instance)


def plan_grid(
    phase: Phase,
    models: Sequence[ModelEntry],
    suite: Suite,
    *,
    run_id: str,
    seed: int,
    instances: int | None = None,
) -> Grid:
    """Return the phase's trials for `models`: by model, prompt, difficulty, rate, task type, instance.

    Every model gets the same tasks: they follow from the seed, phase, difficulty and task type alone. `instances`
    None takes the phase's. Raises UsageError for fewer than one instance or no model, SuiteError when the suite does
    not know a word of the phase, or does not keep to what it was asked for.
    """
    count = phase.instances if instances is None else instances
    if count < 1:
        raise UsageError(f"--instances must be at least 1, not {count}")
    if not models:
        raise UsageError(f"phase {phase.name} has no model to run")
    _check_words(phase, suite)
    task_types = suite.task_types if phase.task_types is None else phase.task_types
    lists = {
        (difficulty, task_type): _task_list(suite, seed, phase.name, difficulty, task_type, count)
        for difficulty in phase.difficulties
        for task_type in task_types
    }
    trials: list[Trial] = []
    for condition in conditions_of(phase, models):
        for task_type in task_types:
            for instance, task in enumerate(lists[condition.difficulty, task_type]):
                trials.append(
                    Trial(
                        trial_id=f"{run_id}/{len(trials):05d}",
                        shard_id="",
                        condition=condition,
                        task_id=task.task_id,
                        task_type=task.task_type,
                        instance=instance,
                        seed=trial_seed(seed, phase.name, condition, task.task_id, instance),
                    )
                )
    return Grid(tasks=_by_key(phase, lists), trials=tuple(trials))


def conditions_of(phase: Phase, models: Sequence[ModelEntry]) -> Iterator[Condition]:
    """Yield the phase's conditions in stable order."""
    cells = product(models, phase.prompts, phase.difficulties, phase.tool_success_rates)
    for model, prompt, difficulty, rate in cells:
        yield Condition(model=model.name, prompt=prompt, difficulty=difficulty, tool_success_rate=rate)


def trial_seed(seed: int, phase: str, condition: Condition, task_id: str, instance: int) -> int:
    """Return the trial's own seed, 63 bits: equal wherever and whenever the same trial is planned."""
    identity = [
        seed,
        phase,
        condition.model,
        condition.prompt,
        condition.difficulty,
        float(condition.tool_success_rate),
        task_id,
        instance,
    ]
    # JSON, not joined text: no two identities may share a spelling.
    digest = hashlib.blake2b(json.dumps(identity).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _check_words(phase: Phase, suite: Suite) -> None:
    """Refuse words the suite does not have; a suite that lists none takes any."""
    asked = (
        ("prompt", phase.prompts, suite.prompts),
        ("difficulty", phase.difficulties, suite.difficulties),
        ("task type", phase.task_types or (), suite.task_types),
    )
    faults = [
        f'no {noun} "{word}"; {did_you_mean(word, known)}'
        for noun, words, known in asked
        for word in words
        if known and word not in known
    ]
    if faults:
        raise SuiteError(f"phase {phase.name} does not fit suite {suite.name}: {'. '.join(faults)}")


def _task_list(suite: Suite, seed: int, phase: str, difficulty: str, task_type: str, count: int) -> tuple[Task, ...]:
    tasks = suite.tasks(seed=seed, phase=phase, difficulty=difficulty, task_type=task_type, count=count)
    if len(tasks) != count:
        raise SuiteError(
            f"suite {suite.name} gave {len(tasks)} tasks of {task_type}, {difficulty}; {count} were asked for"
        )
    for task in tasks:
        if (task.task_type, task.difficulty) != (task_type, difficulty):
            raise SuiteError(
                f"suite {suite.name} gave task {task.task_id} of {task.task_type}, {task.difficulty}"
                f" where {task_type}, {difficulty} was asked for"
            )
    return tasks


def _by_key(phase: Phase, lists: Mapping[TaskKey, tuple[Task, ...]]) -> dict[TaskKey, Task]:
    """Return all tasks by difficulty and id. One id for two tasks would make two trials one."""
    tasks: dict[TaskKey, Task] = {}
    for listed in lists.values():
        for task in listed:
            if (task.difficulty, task.task_id) in tasks:
                raise SuiteError(f"phase {phase.name}: task id {task.task_id} stands twice in {task.difficulty}")
            tasks[task.difficulty, task.task_id] = task
    return tasks
