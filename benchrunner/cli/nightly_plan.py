"""What a night is to run: asked for on the command line, else by [nightly]; refused here if anything is wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchrunner.cli.running import Wishes, wished_config, wished_phase
from benchrunner.config.binding import resolve_live
from benchrunner.config.settings import Config
from benchrunner.config.snapshot import config_hash
from benchrunner.errors import UsageError
from benchrunner.planning.sharding import plan_phase
from benchrunner.records import Phase
from benchrunner.suites import load_suite


@dataclass(frozen=True, slots=True, kw_only=True)
class NightPlan:
    """A night that can begin: everything that is wrong with config, suite or keys has been refused."""

    config: Config
    config_path: Path
    wishes: Wishes
    phases: tuple[Phase, ...]
    suite_version: str
    hashes: Mapping[str, str]  # by phase, the config hash its run will have
    deadline_s: float  # 0.0: none
    wait_s: float


def plan_night(
    names: Sequence[str],
    wishes: Wishes,
    *,
    config_path: Path,
    deadline_s: float | None,
    wait_s: float | None,
) -> NightPlan:
    """Return the night asked for; what is not asked for is as [nightly] says.

    Raises UsageError, ConfigError, SuiteError for what would come to light in the middle of the night otherwise.
    """
    config = wished_config(config_path, wishes)
    settings = config.nightly
    names = names or settings.phases
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise UsageError(f"phase {repeated} is asked for twice; a night runs each phase once")
    wishes = replace(
        wishes,
        policy=wishes.policy or settings.policy,
        wait_s=settings.wait_s if wait_s is None else wait_s,
    )
    phases = tuple(wished_phase(config, name, wishes) for name in names)
    if config.run.backend == "live":
        resolve_live(config, phases=phases, environ=os.environ)
    suite = load_suite(config.run.suite, config.run.tasks)
    for phase in phases:
        plan_phase(phase, config.phase_models(phase), suite, run_id="night", seed=config.run.seed)
    return NightPlan(
        config=config,
        config_path=config_path,
        wishes=wishes,
        phases=phases,
        suite_version=suite.version,
        hashes={phase.name: config_hash(config, phase, suite_version=suite.version) for phase in phases},
        deadline_s=settings.deadline_s if deadline_s is None else deadline_s,
        wait_s=wishes.wait_s,
    )
