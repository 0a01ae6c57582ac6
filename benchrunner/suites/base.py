"""What a suite is: a source of tasks, and a dialogue that knows no network."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol, runtime_checkable

from benchrunner.records import ChatReply, ChatRequest, Task, Trial, TrialScore

Dialogue = Generator[ChatRequest, ChatReply, TrialScore]
"""Yields requests, is sent replies, returns the score. Infrastructure failures never reach it: the caller closes it."""


class Suite(Protocol):
    """A benchmark. Pure: everything random in it follows from the seeds it is handed."""

    name: str
    task_types: tuple[str, ...]
    prompts: tuple[str, ...]
    difficulties: tuple[str, ...]
    max_turns: int

    @property
    def version(self) -> str:
        """Return what changes whenever tasks, prompts or scores do. Asked of by whoever plans, never by a worker."""
        ...

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


@runtime_checkable
class Rescoring(Protocol):
    """What a suite offers besides where its scores can be derived anew; an audit asks for it."""

    def rescore(self, trial: Trial, task: Task, transcript: str, *, protocol: str = "text") -> TrialScore:
        """Return the score that follows from the transcript of a scored trial, by the rules of this version.

        Pure, like the dialogue. Raises SuiteError, with the place, where the transcript is none that a dialogue of
        this trial can leave.
        """
        ...
