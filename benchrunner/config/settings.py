"""The configuration as the rest of the program sees it: frozen records, every value settled.

The defaults stand in `schema.py` and nowhere else; that is why no field here has one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchrunner.errors import UsageError, did_you_mean
from benchrunner.records import InjectedFaults, KeyEntry, ModelEntry, Phase, Provider


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """The [run] table; docs/configuration.md says what each one does."""

    db: Path
    seed: int
    backend: str  # "simulated" | "live"
    suite: str
    tasks: Path | None
    env_file: Path | None
    batch_size: int
    max_tries: int
    trial_timeout_s: float
    shard_timeout_s: float
    stall_s: float
    drain_s: float
    restart_budget: int
    restart_window_s: float
    coverage_floor: float  # 0..1


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorSettings:
    """The [simulator] table: the embedded provider."""

    speed: float
    seed: int | None  # None: the run's
    latency: bool
    profile: str
    faults: InjectedFaults


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedModel:
    """What a model's `simulated` table says; None leaves the embedded provider's own value."""

    latency_s: float | None
    latency_p95_s: float | None
    skill: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NightlySettings:
    """The [nightly] table. It tells when and what to run, not how: it is in no run's config hash."""

    phases: tuple[str, ...]  # of the file, in order
    policy: str | None  # None: each phase's own
    deadline_s: float  # 0.0: none
    wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RaySettings:
    """The [engine.ray] table. It tells where, not what: it is in no run's config hash."""

    address: str | None  # None: a local cluster
    worker_cpus: float
    worker_memory_mb: int
    resources: Mapping[str, float]
    providers: Mapping[str, str]  # provider -> custom resource of the nodes it is reached from


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A phases.toml that was read and found right. Holds no secret.

    `providers` carry base_url as written, `${NAME}` and all; `binding.py` makes the usable ones.
    """

    path: Path
    run: RunSettings
    simulator: SimulatorSettings
    providers: tuple[Provider, ...]
    keys: tuple[KeyEntry, ...]
    models: tuple[ModelEntry, ...]
    simulated: Mapping[str, SimulatedModel]  # by model; only those with a `simulated` table
    phases: tuple[Phase, ...]
    nightly: NightlySettings
    ray: RaySettings

    def phase(self, name: str) -> Phase:
        """Return the phase of that name. Raises UsageError naming the nearest one."""
        for phase in self.phases:
            if phase.name == name:
                return phase
        raise UsageError(f'no phase "{name}" in {self.path}; {did_you_mean(name, (one.name for one in self.phases))}')

    def model(self, name: str) -> ModelEntry:
        """Return the model of that name. Raises UsageError naming the nearest one."""
        for model in self.models:
            if model.name == name:
                return model
        raise UsageError(f'no model "{name}" in {self.path}; {did_you_mean(name, (one.name for one in self.models))}')

    def phase_models(self, phase: Phase, only: Sequence[str] | None = None) -> tuple[ModelEntry, ...]:
        """Return the phase's models in its own order; `only` keeps those named, None keeps all.

        Raises UsageError when `only` is empty or names a model that the phase does not have.
        """
        if only is not None:
            if not only:
                raise UsageError("no model was named")
            for name in only:
                if name not in phase.models:
                    raise UsageError(f'phase {phase.name} has no model "{name}"; {did_you_mean(name, phase.models)}')
        return tuple(self.model(name) for name in phase.models if only is None or name in only)

    def keys_of(self, provider: str) -> tuple[KeyEntry, ...]:
        """Return the provider's keys in file order."""
        return tuple(key for key in self.keys if key.provider == provider)
