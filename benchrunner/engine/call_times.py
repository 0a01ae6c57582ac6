"""How long a model's calls take, as the config, earlier runs and this run's own replies have it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchrunner.records import Shard

PRIOR_CALLS = 5.0
"""So many of a model's calls in this run count as much as what history or the config expected of them."""


class CallTimes:
    """Seconds per call, by model. `note` adds a reply; the rest reads."""

    def __init__(self, shards: Iterable[Shard]) -> None:
        """Begin with what earlier runs measured of the shards' models."""
        self._took: dict[str, tuple[float, int]] = {}  # model -> seconds of its good calls in this run, and how many
        self._before = {shard.model: shard.measured_call_s for shard in shards if shard.measured_call_s is not None}
        self._known = dict(self._before)  # kept, as it is read for every shard of every question to the policy

    @property
    def known(self) -> Mapping[str, float]:
        """Return seconds per call of each model that was measured, in earlier runs or in this one."""
        return self._known

    def note(self, model: str, latency_s: float) -> None:
        """Count a good reply."""
        seconds, calls = self._took.get(model, (0.0, 0))
        self._took[model] = seconds + latency_s, calls + 1
        before_s = self._before.get(model)
        self._known[model] = (
            (seconds + latency_s) / (calls + 1) if before_s is None else self._weighed(model, before_s)
        )

    def expected_s(self, shard: Shard) -> float:
        """Return seconds per call of the shard's model: what was expected, corrected by this run's replies."""
        return self._weighed(shard.model, shard.expected_call_s)

    def _weighed(self, model: str, prior_s: float) -> float:
        seconds, calls = self._took.get(model, (0.0, 0))
        return (PRIOR_CALLS * prior_s + seconds) / (PRIOR_CALLS + calls)
