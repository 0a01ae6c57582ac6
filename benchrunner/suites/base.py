"""What a suite is: a source of tasks, and a dialogue that knows no network."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

from benchrunner.records import ChatReply, ChatRequest, Task, Trial, TrialScore

Dialogue = Generator[ChatRequest, ChatReply, TrialScore]
"""Yields requests, is sent replies, returns the score. Infrastructure failures never reach it: the caller closes it."""


class Suite(Protocol):
    """A benchmark. Pure: everything random in it follows from the seeds it is handed."""

    name: str
    version: str  # changes whenever tasks, prompts or scores do
    task_types: tuple[str, ...]
    prompts: tuple[str, ...]
    difficulties: tuple[str, ...]
    max_turns: int

    def tasks(self, *, seed: int, phase: str, difficulty: str, task_type: str, count: int) -> tuple[Task, ...]:
        """Return `count` tasks in stable order; the same arguments give the same tasks, whatever the model.

        Raises SuiteError when the suite has fewer.
        """
        ...

    def expected_calls(self, *, prompt: str, task_type: str) -> float:
        """Return how many calls one trial is expected to take, for planning."""
        ...

    def dialogue(self, trial: Trial, task: Task, *, protocol: str = "text") -> Dialogue:
        """Return the dialogue of one trial, not yet started.

        `protocol` is how the model calls tools, "text" or "native"; a suite without tools takes no notice of it.
        """
        ...
