"""Crashes of a run's workers: which trial is to blame, and when there were too many to go on. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping

from benchrunner.engine.books import Rules


class Crashes:
    """Crashes by trial and in time. `note` adds one; the rest reads."""

    def __init__(self, rules: Rules) -> None:
        """Begin with none. Of the rules, `crashes_per_trial` and the restart budget count here."""
        self._rules = rules
        self._of_trial: dict[str, int] = {}
        self._recent_s: deque[float] = deque()  # when they were, of the last `restart_window_s`

    @property
    def of_trial(self) -> Mapping[str, int]:
        """Return how many crashes each trial was running at; a trial that was at none is not in it."""
        return self._of_trial

    @property
    def too_many(self) -> bool:
        """Return whether the last crash was one more than the restart budget forgives."""
        return len(self._recent_s) > self._rules.restarts

    def note(self, running: Collection[str], now_s: float) -> str | None:
        """Count the crash of a worker that was running these trials; return the one that is to blame.

        None: it cannot be told, or the trial gets another chance.
        """
        for trial_id in running:
            self._of_trial[trial_id] = self._of_trial.get(trial_id, 0) + 1
        self._recent_s.append(now_s)
        while self._recent_s and self._recent_s[0] <= now_s - self._rules.restart_window_s:
            self._recent_s.popleft()
        if len(running) != 1:  # only a trial that was alone is surely to blame: thirty innocent ones die with it
            return None
        (alone,) = running
        return alone if self._of_trial[alone] >= self._rules.crashes_per_trial else None
