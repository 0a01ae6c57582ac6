"""What is left of a run: planned trials against what the store holds of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchrunner.planning.grid import TrialIdentity, identity_of
from benchrunner.records import Trial, TrialStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """What a resumed run has to do."""

    remaining: tuple[Trial, ...]  # in planned order
    kept: int  # scored before: they stay as they are
    in_flight: int  # of `remaining`: running when the run was cut, so their last calls may be billed twice
    strangers: tuple[TrialIdentity, ...]  # stored, but not planned: the configuration is not the run's


def plan_rest(planned: Sequence[Trial], stored: Mapping[TrialIdentity, TrialStatus]) -> Rest:
    """Return which planned trials are not scored yet; a trial the store does not know is pending."""
    remaining: list[Trial] = []
    in_flight = 0
    known: set[TrialIdentity] = set()
    for trial in planned:
        identity = identity_of(trial)
        known.add(identity)
        status = stored.get(identity, TrialStatus.PENDING)
        if status is not TrialStatus.SCORED:
            remaining.append(trial)
            in_flight += status is TrialStatus.RUNNING
    return Rest(
        remaining=tuple(remaining),
        kept=len(planned) - len(remaining),
        in_flight=in_flight,
        strangers=tuple(identity for identity in stored if identity not in known),
    )
