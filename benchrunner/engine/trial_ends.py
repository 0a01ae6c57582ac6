"""How a trial ends: what is kept of it, and whether it is run once more. Pure."""

from __future__ import annotations

import json

from benchrunner.engine.events import TrialFinished
from benchrunner.records import TrialDone, TrialStatus

CHANCES = 2
"""How often a trial that infrastructure spoiled is run before it is left invalid (resume runs it again)."""

SECOND_CHANCE = frozenset({"connection", "api_timeout", "empty_reply", "truncated_reply", "harness"})


class Spoiled:
    """How often infrastructure spoiled each trial."""

    def __init__(self) -> None:
        """Begin with none."""
        self._times: dict[str, int] = {}

    def note(self, trial_id: str, cause: str) -> bool:
        """Count that `cause` spoiled the trial; return whether it is worth running again."""
        times = self._times[trial_id] = self._times.get(trial_id, 0) + 1
        return cause in SECOND_CHANCE and times < CHANCES


def reported(event: TrialFinished, at: str) -> TrialDone:
    """Return what is kept of a trial whose end a worker reported."""
    return TrialDone(
        trial_id=event.trial_id,
        status=event.status,
        ended_at=at,
        score=event.score,
        error_class=event.cause,
        turns=event.turns,
        transcript="[]" if event.score else json.dumps([{"lost": event.cause, "detail": event.detail}]),
    )


def lost_to_crashes(trial_id: str, at: str) -> TrialDone:
    """Return what is kept of a trial that crashes its workers."""
    return TrialDone(trial_id=trial_id, status=TrialStatus.INVALID, ended_at=at, error_class="harness")
