"""Why a run begins no more trials, and how far its stop has gone. Pure.

    asked to stop     ──> DRAIN: running trials may end ──(`drain_s`)──> NOW: they are handed back
    asked to, again   ──> KILL: workers are killed, whatever stood here before
    too many crashes  ──> BUDGET: they are handed back, and nobody interrupted the run
"""

from __future__ import annotations

from enum import StrEnum


class _Step(StrEnum):
    DRAIN = "drain"
    NOW = "now"
    KILL = "kill"
    BUDGET = "budget"


class Stopping:
    """The stop of a run, which is true once there is one. It never goes back."""

    def __init__(self, *, drain_s: float) -> None:
        """Begin with none."""
        self._drain_s = drain_s
        self._step: _Step | None = None
        self._drains_until_s = 0.0

    def __bool__(self) -> bool:
        """Return whether no trial is begun any more."""
        return self._step is not None

    @property
    def asked_for(self) -> bool:
        """Return whether somebody asked for it, rather than the crashes."""
        return self._step is not None and self._step is not _Step.BUDGET

    @property
    def at_once(self) -> bool:
        """Return whether every worker is to end now, whatever it runs."""
        return self._step is _Step.NOW or self._step is _Step.KILL

    def drain_left_s(self, now_s: float) -> float | None:
        """Return how long running trials may still go on, 0.0: they are ended now; None: there is no stop."""
        if not self:
            return None
        return max(0.0, self._drains_until_s - now_s) if self._step is _Step.DRAIN else 0.0

    def drain(self, now_s: float) -> bool:
        """Stop for somebody who asked; return whether that is new."""
        if self:
            return False
        self._step, self._drains_until_s = _Step.DRAIN, now_s + self._drain_s
        return True

    def give_up(self) -> bool:
        """Stop for too many crashes; return whether that is new."""
        if self:
            return False
        self._step = _Step.BUDGET
        return True

    def kill(self) -> None:
        """Stop at once."""
        self._step = _Step.KILL

    def end_drain(self, now_s: float) -> bool:
        """Go on to the next step if running trials have had their time; return whether that is new."""
        if self._step is not _Step.DRAIN or now_s < self._drains_until_s:
            return False
        self._step = _Step.NOW
        return True
