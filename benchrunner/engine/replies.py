"""Which providers and models still reply, as a run's calls and trials show; those that do not are given up. Pure.

    provider: trials lost to the connection, one after another, and no answer in between  -> unreachable
    model:    trials lost for a minute, and no reply in between: its own server is down  -> silent
    provider: two of its models silent one after another, and no reply in between        -> unreachable
    model:    refusals for `stall_s`, and no good reply in between                       -> refused
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum

from benchrunner.records import Outcome, Shard

UNREACHABLE_AFTER = 3
"""Trials lost to the connection with no answer in between, after which a provider counts as unreachable."""

SILENT_FOR_S = 60.0
"""For how long a model's trials must be lost, with no reply in between, before it is given up. A provider may answer
for it ("503") and serve its other models; a shorter outage is what second chances are for."""

UNREACHABLE_CAUSES = frozenset({"connection", "api_timeout"})


SILENT_MODELS = 2
"""Models given up one after another, with no reply of any in between, after which their provider is."""


class GivenUp(Enum):
    """What does not reply any more."""

    PROVIDER = "provider"
    MODEL = "model"


@dataclass(slots=True)
class _Silence:
    """A model's trials lost in a row."""

    since_s: float
    last_s: float = 0.0
    trials: int = 0


class Replies:
    """Who replies. The `note_` methods and `take_refused` change it; the rest reads."""

    def __init__(self, *, stall_s: float) -> None:
        """Begin with everybody replying. `stall_s`: how long a model may get nothing but refusals."""
        self._stall_s = stall_s
        self._lost: dict[str, int] = {}  # provider -> trials lost to the connection since its last answer
        self._silent: dict[str, _Silence] = {}  # by model, since its last reply
        self._silent_models: dict[str, int] = {}  # provider -> models given up since its last reply
        self._unreachable: set[str] = set()
        self._refused_since_s: dict[str, float] = {}  # model -> its first refusal since its last good reply

    @property
    def unreachable(self) -> AbstractSet[str]:
        """Return the providers that are given up, for the rest of the run."""
        return self._unreachable

    def note_call(self, shard: Shard, outcome: Outcome, now_s: float, *, answered: bool) -> None:
        """Count what a call of the shard came to; `answered`: a server said something, if only that it cannot."""
        if outcome is Outcome.OK:
            self._refused_since_s.pop(shard.model, None)
        elif outcome is Outcome.RATE_LIMITED:
            self._refused_since_s.setdefault(shard.model, now_s)
        if outcome is not Outcome.TRANSIENT:  # a refusal is a reply too
            self._silent.pop(shard.model, None)
            self._silent_models[shard.provider] = 0
        if answered or outcome is not Outcome.TRANSIENT:
            self._lost[shard.provider] = 0

    def note_lost(self, shard: Shard, cause: str, now_s: float) -> GivenUp | None:
        """Count a trial that `cause` ended; return what is given up from now on, None: nothing more than before."""
        provider, model = shard.provider, shard.model
        if cause not in UNREACHABLE_CAUSES or provider in self._unreachable:
            return None
        self._lost[provider] = self._lost.get(provider, 0) + 1
        silence = self._silent.get(model)
        if silence is None or now_s - silence.last_s >= SILENT_FOR_S:  # nothing was asked meanwhile: it tells nothing
            silence = self._silent[model] = _Silence(since_s=now_s)
        silence.trials, silence.last_s = silence.trials + 1, now_s
        if self._lost[provider] >= UNREACHABLE_AFTER:
            self._unreachable.add(provider)
            return GivenUp.PROVIDER
        if silence.trials < UNREACHABLE_AFTER or now_s - silence.since_s < SILENT_FOR_S:
            return None
        del self._silent[model]
        models = self._silent_models[provider] = self._silent_models.get(provider, 0) + 1
        if models < SILENT_MODELS:
            return GivenUp.MODEL
        self._unreachable.add(provider)
        return GivenUp.PROVIDER

    def take_refused(self, now_s: float) -> list[tuple[str, float]]:
        """Return the models that got nothing but refusals for too long, each with how long; they start afresh."""
        if not self._refused_since_s:
            return []  # as at nearly every trial's end
        refused_s = {model: now_s - since_s for model, since_s in self._refused_since_s.items()}
        taken = [(model, for_s) for model, for_s in refused_s.items() if for_s >= self._stall_s]
        for model, _ in taken:
            del self._refused_since_s[model]
        return taken
