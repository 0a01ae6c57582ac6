"""The embedded provider as a run's backend: started early, bound to the config's providers, private to the run."""

from __future__ import annotations

import secrets as random_secrets
from dataclasses import replace
from types import TracebackType

from benchrunner.config.binding import Bound, bind, used_providers
from benchrunner.config.settings import Config, SimulatedModel
from benchrunner.records import ModelEntry, Phase
from benchrunner.simulator.plan import SimulatedKey, SimulatedModelPlan, SimulatorPlan, scaled_limits
from benchrunner.simulator.start import RunningSimulator, launch

_SILENT = SimulatedModel(latency_s=None, latency_p95_s=None, skill=None)


def simulator_plan(config: Config, providers: tuple[str, ...], secrets: dict[str, str]) -> SimulatorPlan:
    """Return what the embedded provider is to be: the keys and models of `providers` as the config has them."""
    return SimulatorPlan(
        keys=tuple(
            SimulatedKey(
                secret=secrets[key.key_id],
                key_id=key.key_id,
                provider=key.provider,
                account=key.account,
                limits=key.limits,
            )
            for key in config.keys
            if key.provider in providers
        ),
        models=tuple(
            _model_plan(model, config.simulated.get(model.name, _SILENT))
            for model in config.models
            if model.provider in providers
        ),
        seed=config.simulator.seed if config.simulator.seed is not None else config.run.seed,
        speed=config.simulator.speed,
        latency=config.simulator.latency,
        profile=config.simulator.profile,
        faults=config.simulator.faults,
    )


def _model_plan(model: ModelEntry, simulated: SimulatedModel) -> SimulatedModelPlan:
    return SimulatedModelPlan(
        name=model.name,
        provider=model.provider,
        deployments=model.deployments,
        limits=model.limits,
        skill=simulated.skill,
        latency_p50_s=simulated.latency_s,
        latency_p95_s=simulated.latency_p95_s,
    )


class EmbeddedBackend:
    """An embedded provider of one run. Begins to start when made; its address is known at once."""

    def __init__(self, config: Config, phase: Phase, *, sitting: int = 0) -> None:
        """Start it for the phase's providers, with secrets nobody else knows.

        A resumed run names another `sitting` than before, or the faults that spoilt its trials would all come again.
        """
        self._config = config
        self._providers = used_providers(config, phases=[phase])
        self._secrets = {
            key.key_id: f"sim-{random_secrets.token_hex(12)}" for key in config.keys if key.provider in self._providers
        }
        plan = simulator_plan(config, self._providers, self._secrets)
        self._running: RunningSimulator = launch(replace(plan, sitting=sitting))

    def bound(self) -> Bound:
        """Return the providers and keys to call it by, whether or not it answers yet.

        Limits are as they hold at the simulator's speed.
        """
        kinds = {provider.name: provider.kind for provider in self._config.providers}
        urls = {name: base_url(self._running, kinds[name]) for name in self._providers}
        providers, keys = bind(self._config, urls, self._secrets)
        speed = self._config.simulator.speed
        return providers, tuple(replace(key, limits=scaled_limits(key.limits, speed)) for key in keys)

    def wait_ready(self) -> None:
        """Return once it answers. Raises SimulatorError if it does not start."""
        self._running.wait_ready()

    def at_speed(self, model: ModelEntry) -> ModelEntry:
        """Return the model entry as it is at the simulator's speed: limits and pace times it, latency divided by it."""
        speed = self._config.simulator.speed
        return replace(
            model,
            limits=scaled_limits(model.limits, speed),
            pace_qps=model.pace_qps * speed,
            expected_call_s=model.expected_call_s / speed,
        )

    def __enter__(self) -> EmbeddedBackend:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.stop()


def base_url(running: RunningSimulator, kind: str) -> str:
    """Return what `base_url` of a provider of this kind would be in phases.toml."""
    return running.origin if kind == "azure" else running.base_url


