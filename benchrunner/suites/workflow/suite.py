"""The `workflow` suite: multi-turn tool use over 30 simulated, unreliable tools."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from benchrunner.records import Task, Trial, TrialScore
from benchrunner.suites.base import Dialogue
from benchrunner.suites.workflow.dialogue import play
from benchrunner.suites.workflow.flaws import FLAW_GROUPS
from benchrunner.suites.workflow.library import Library
from benchrunner.suites.workflow.prompts import BASELINE, COT, PROMPTS
from benchrunner.suites.workflow.replay import replay
from benchrunner.suites.workflow.stop_rules import MAX_TURNS
from benchrunner.suites.workflow.tasks import (
    LENGTHS,
    TASK_TYPES,
    WorkflowTask,
    decode_task,
    encode_task,
    make_task,
)
from benchrunner.suites.workflow.wording import DIFFICULTIES

# Calls a trial takes per required tool (retries included) and besides them, as played by the simulated 32b model;
# tests/unit/simulator/test_behaviour_shapes.py holds the estimate against it.
CALLS_PER_TOOL: Final = 1.65
CALLS_BESIDES: Final = 1.3  # saying that it is done, and turns that came to nothing
CALLS_FOR_SEARCH: Final = 2.0
CALLS_FOR_FLAW: Final = 0.8

VERSION: Final = "2"  # of the generator, prompts and scores


class WorkflowSuite:
    """Every task, prompt and draw follows from the arguments and the task library, if there is one.

    Any process or thread may play dialogues; the library is read only by the process that asks for tasks.
    """

    name = "workflow"
    task_types: tuple[str, ...] = TASK_TYPES
    prompts: tuple[str, ...] = PROMPTS
    difficulties: tuple[str, ...] = DIFFICULTIES
    max_turns = MAX_TURNS

    def __init__(self, library: Library | None = None) -> None:
        """Draw tasks from `library`; None: make them."""
        self._library = library

    @property
    def version(self) -> str:
        """Return the version of prompts and scores, and what the library holds. Reads its files."""
        return VERSION if self._library is None else f"{VERSION}+{self._library.digest()}"

    def tasks(self, *, seed: int, phase: str, difficulty: str, task_type: str, count: int) -> tuple[Task, ...]:
        """Return `count` tasks. Generated ones have the same tools and inputs at every difficulty.

        Those of a library keep the wording their file holds, and say in their body which it states; the Task carries
        the difficulty that was asked for.
        """
        made = self._made(seed=seed, phase=phase, difficulty=difficulty, task_type=task_type, count=count)
        return tuple(
            Task(task_id=task.task_id, task_type=task_type, difficulty=difficulty, body=encode_task(task))
            for task in made
        )

    def _made(
        self, *, seed: int, phase: str, difficulty: str, task_type: str, count: int
    ) -> tuple[WorkflowTask, ...]:
        if self._library is None:
            return tuple(
                make_task(seed=seed, phase=phase, difficulty=difficulty, task_type=task_type, index=index)
                for index in range(count)
            )
        drawn = self._library.tasks(seed=seed, phase=phase, difficulty=difficulty, task_type=task_type, count=count)
        return tuple(task if task.difficulty else replace(task, difficulty=difficulty) for task in drawn)

    def expected_calls(self, *, prompt: str, task_type: str) -> float:
        """Return how many calls one trial is expected to take, at most the turn limit."""
        mean_length = self._library.mean_length(task_type) if self._library else None
        if mean_length is None:
            lengths = LENGTHS[task_type]
            mean_length = sum(length * share for length, share in lengths.items()) / sum(lengths.values())
        hardship = CALLS_FOR_SEARCH if prompt in (BASELINE, COT) else CALLS_FOR_FLAW if prompt in FLAW_GROUPS else 0.0
        return min(float(MAX_TURNS), CALLS_PER_TOOL * mean_length + CALLS_BESIDES + hardship)

    def dialogue(self, trial: Trial, task: Task, *, protocol: str = "text") -> Dialogue:
        """Return the dialogue of one trial, not yet started. Raises SuiteError when `task` is not this suite's."""
        return play(
            decode_task(task.body),
            prompt=trial.condition.prompt,
            tool_success_rate=trial.condition.tool_success_rate,
            trial_seed=trial.seed,
            protocol=protocol,
        )

    def rescore(self, trial: Trial, task: Task, transcript: str, *, protocol: str = "text") -> TrialScore:
        """Return the score derived anew. Raises SuiteError where the transcript parts from its replay."""
        return replay(
            task.body,
            transcript,
            prompt=trial.condition.prompt,
            tool_success_rate=trial.condition.tool_success_rate,
            trial_seed=trial.seed,
            protocol=protocol,
        )
