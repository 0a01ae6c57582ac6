"""From a phase that was asked for to a run that has ended: starts what a run needs, and ends it all again.

    config ─> embedded provider (simulated runs)  ┐ started first, each in its own process,
              fork server with the imports done   ┘ while this one plans
    plan ──> run directory, life lock, windows, Manager ──> runs.db: run, shards, trials, tasks ──> Supervisor

Everything started is registered with one exit stack and ended in reverse, whatever happens in between.
"""

from __future__ import annotations

import os
import secrets as random_secrets
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from benchrunner import __version__
from benchrunner.clock import SystemClock
from benchrunner.config.binding import Bound, resolve_live
from benchrunner.config.settings import Config
from benchrunner.config.snapshot import config_hash, config_json
from benchrunner.engine.backend import EmbeddedBackend
from benchrunner.engine.books import Rules, key_setup
from benchrunner.engine.crew import Crew
from benchrunner.engine.forking import named_context
from benchrunner.engine.leases import LeaseDesk
from benchrunner.engine.live import LiveFigures, ProgressView
from benchrunner.engine.local import LocalPool
from benchrunner.engine.outlook import forecast_at_launch, keys_at_speed, world_at_launch
from benchrunner.engine.ray_engine import check_placement, open_cluster
from benchrunner.engine.ray_engine import open_crew as open_ray_crew
from benchrunner.engine.run_dir import WINDOWS_NAME, RunDirectory, leases_dir
from benchrunner.engine.signals import StopSignals
from benchrunner.engine.supervisor import RunPlan, Supervisor
from benchrunner.limits.domains import key_domain, model_domain
from benchrunner.planning.forecast import World
from benchrunner.planning.load import static_load
from benchrunner.planning.sharding import PhasePlan, plan_phase
from benchrunner.policies import make_policy
from benchrunner.records import Domain, Key, ModelEntry, Phase, Provider, RunRecord, RunStatus
from benchrunner.registry.host import Host, start_host
from benchrunner.registry.key_locks import KeyLocks
from benchrunner.registry.service import KeyRow
from benchrunner.registry.shared_windows import SharedWindows
from benchrunner.registry.state_dir import windows_path as shared_windows_path
from benchrunner.store.writer import RunWriter
from benchrunner.suites import load_suite
from benchrunner.suites.base import Suite


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """A phase as it was asked for: the config with the command line's wishes already put in."""

    config: Config
    phase: Phase  # instances, models, stagger and policy as wished
    argv: str
    batch_id: str
    resume_of: str = ""  # the run to go on with
    done: frozenset[str] = frozenset()  # its trials that are scored
    last_fence: int = 0  # the highest its leases had
    wait_s: float = inf  # how long to wait for keys other runs hold, when nothing else can be done
    engine: str = "local"  # or "ray"
    address: str | None = None  # of the Ray cluster; None: as the config says


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a run ended. Instants are on the machine's monotonic clock; None: no call was made."""

    run_id: str
    status: RunStatus
    no_usable_key: bool
    held_elsewhere: bool  # what is left waits for keys other runs hold, and the wait ran out
    signal: int | None  # the signal that ended it
    first_call_mono_s: float | None
    last_reply_mono_s: float | None
    lower_bound_s: float  # what planning says no schedule could beat


def new_run_id(phase: str, utc: str) -> str:
    """Return a run id: sorts by time, names the phase, and ends in 16 random bits."""
    return f"{utc[:19].replace('-', '').replace(':', '')}-{phase}-{random_secrets.token_hex(2)}"


def _bind_live(request: RunRequest) -> Bound:
    return resolve_live(request.config, phases=[request.phase], environ=os.environ)


def launch(
    request: RunRequest, view: ProgressView, clock: SystemClock, signals: StopSignals | None = None
) -> RunResult:
    """Run the phase to its end and return how that was.

    `signals`: those the caller has installed already, because it has more to do than this run; None: the run's own.

    Raises ConfigError, SuiteError, StateError or StoreError before anything is written or sent, SimulatorError when
    the embedded provider does not start, StoreError also when runs.db refuses a write later on.
    """
    config, phase = request.config, request.phase
    run_id = request.resume_of or new_run_id(phase.name, clock.utc())
    with ExitStack() as stack:
        signals = signals or stack.enter_context(StopSignals().installed())
        live = _bind_live(request) if config.run.backend == "live" else None
        local = request.engine == "local"
        context = named_context() if local else None
        backend = None if live else stack.enter_context(EmbeddedBackend(config, phase, sitting=request.last_fence))
        entries = config.phase_models(phase)
        models = {model.name: backend.at_speed(model) if backend else model for model in entries}
        suite = load_suite(config.run.suite, config.run.tasks)
        plan = plan_phase(phase, tuple(models.values()), suite, run_id=run_id, seed=config.run.seed)
        if not local:
            stack.enter_context(open_cluster(request.address or config.ray.address))
            check_placement(config, {model.provider for model in entries})
        run_dir = stack.enter_context(RunDirectory(run_id))
        # Behind all that may still find the request wrong: a run that is refused leaves no database behind.
        writer = stack.enter_context(RunWriter.open(config.run.db))
        providers, keys = live or (backend.bound() if backend else ((), ()))
        run = _run_plan(request, run_id, plan, providers, keys, models)
        crew = (
            open_local_crew(stack, request, run, context, run_dir, clock)
            if local
            else open_ray_crew(
                stack,
                config,
                run,
                note=_note(run),
                last_fence=request.last_fence,
                resumed=bool(request.resume_of),
            )
        )
        # While the embedded provider and the fork server are still starting.
        world = world_at_launch(config, plan, suite, models)
        if request.resume_of:
            writer.reopen_run(run_id, at=clock.utc(), shards=plan.shards)
        else:
            forecast_s = forecast_at_launch(world)
            record = _record(request, run_id, suite, clock)
            writer.add_run(record, plan.shards, plan.trials, tuple(plan.tasks.values()), forecast_s=forecast_s)
        if backend is not None:
            backend.wait_ready()
        bound = static_load(
            plan,
            tuple(models.values()),
            keys_at_speed(config),
            policy=phase.policy,
            batch_size=config.run.batch_size,
        )
        figures = _figures(request, run, crew, clock, bound.lower_bound_s, world)
        view.start()
        stack.callback(view.stop)
        supervisor = Supervisor(
            # What history says of a shard decides which is the longest; what is kept of it in runs.db stays the plan's.
            plan=replace(run, shards=world.shards, windows_path=crew.windows_path),
            writer=writer,
            desk=crew.desk,
            pool=crew.pool,
            view=view,
            figures=figures,
            clock=clock,
            signals=signals,
        )
        ended = supervisor.run()
        return RunResult(
            run_id=run_id,
            status=ended.status,
            no_usable_key=ended.no_usable_key,
            held_elsewhere=ended.held_elsewhere,
            signal=signals.first,
            first_call_mono_s=figures.first_call_s,
            last_reply_mono_s=figures.last_reply_s,
            lower_bound_s=bound.lower_bound_s,
        )


def _run_plan(
    request: RunRequest,
    run_id: str,
    plan: PhasePlan,
    providers: Sequence[Provider],
    keys: Sequence[Key],
    models: Mapping[str, ModelEntry],
) -> RunPlan:
    config, phase = request.config, request.phase
    simulated = config.run.backend == "simulated"
    return RunPlan(
        run_id=run_id,
        shards=plan.shards,
        trials={trial.trial_id: trial for trial in plan.trials},
        tasks=plan.tasks,
        done=request.done,
        providers={provider.name: provider for provider in providers},
        keys={key.key_id: key for key in keys},
        models=models,
        domains=domains_of(providers, keys, models),
        policy=make_policy(
            phase.policy,
            order=phase.order.value,
            stagger_s=phase.stagger_s / (config.simulator.speed if simulated else 1.0),
            batch_size=config.run.batch_size,
        ),
        rules=rules_of(config, request.wait_s),
        windows_path="",
        max_tries=config.run.max_tries,
        # Longer than the stall watch: a model that only gets refusals is parked whole, not trial by trial.
        patience_s=2 * config.run.stall_s,
        trial_timeout_s=config.run.trial_timeout_s,
        suite=config.run.suite,
        tasks_file=str(config.run.tasks or ""),
        one_turn=plan.one_turn,
    )


def open_local_crew(
    stack: ExitStack, request: RunRequest, run: RunPlan, context: Any, run_dir: RunDirectory, clock: SystemClock
) -> Crew:
    """Return the crew of a run on this machine."""
    # The embedded provider's keys are private to their run, and so are their windows.
    private = request.config.run.backend == "simulated"
    windows_path = run_dir.path / WINDOWS_NAME if private else shared_windows_path()
    windows = SharedWindows(windows_path, clock)
    stack.callback(windows.close)
    windows.register(tuple(dict.fromkeys(domain for pair in run.domains.values() for domain in pair)))
    desk = _open_desk(request, run, context, run_dir)
    stack.callback(desk.close)
    pool = LocalPool(context)
    stack.callback(pool.close)
    pool.prepare(len(run.shards))
    names = sorted({domain.name for pair in run.domains.values() for domain in pair})
    return Crew(
        pool=pool, desk=desk, key_domains=lambda: windows.snapshot(names), windows_path=str(windows_path)
    )


def _note(run: RunPlan) -> str:
    return f"run {run.run_id} (process {os.getpid()})"


def _open_desk(request: RunRequest, run: RunPlan, context: Any, run_dir: RunDirectory) -> LeaseDesk:
    run_dir.note_keys(run.keys.values())
    rows = [KeyRow(key_id=key.key_id, provider=key.provider, slots=key.slots) for key in run.keys.values()]

    def start_manager(last_fence: int) -> Host:
        host = start_host(
            context,
            keys=rows,
            socket_dir=run_dir.socket_dir(),
            life_lock=run_dir.lock.path,
            last_fence=last_fence,
        )
        run_dir.open_door(host)
        return host

    return LeaseDesk(
        start=start_manager,
        keys=run.keys,
        counted=run.policy.managed,
        # Nobody else could hold a key of the embedded provider.
        locks=KeyLocks(leases_dir()) if request.config.run.backend == "live" else None,
        note=_note(run),
        last_fence=request.last_fence,
    )


def _figures(
    request: RunRequest,
    run: RunPlan,
    crew: Crew,
    clock: SystemClock,
    lower_bound_s: float,
    world: World,
) -> LiveFigures:
    return LiveFigures(
        run_id=run.run_id,
        phase=request.phase.name,
        policy=request.phase.policy,
        backend=request.config.run.backend,
        keys=run.keys,
        key_rates={key_id: key_setup(key).rate_per_s for key_id, key in run.keys.items()},
        started_s=clock.now_s(),
        lower_bound_s=lower_bound_s,
        domains=crew.key_domains,
        world=world,
    )


def domains_of(
    providers: Sequence[Provider], keys: Sequence[Key], models: Mapping[str, ModelEntry]
) -> dict[tuple[str, str], tuple[Domain, ...]]:
    """Return, by (key_id, model), the domains a call is counted over: the key's, the (account, model)'s."""
    places = {provider.name: provider for provider in providers}
    return {
        (key.key_id, model.name): (
            key_domain(places[key.provider], key),
            model_domain(places[key.provider], key.account, model),
        )
        for key in keys
        for model in models.values()
        if model.provider == key.provider
    }


def rules_of(config: Config, wait_s: float) -> Rules:
    """Return the run's bounds as RunState takes them."""
    run = config.run
    return Rules(
        restarts=run.restart_budget,
        restart_window_s=run.restart_window_s,
        shard_timeout_s=run.shard_timeout_s,
        drain_s=run.drain_s,
        stall_s=run.stall_s,
        wait_s=wait_s,
    )


def _record(request: RunRequest, run_id: str, suite: Suite, clock: SystemClock) -> RunRecord:
    config, phase = request.config, request.phase
    return RunRecord(
        run_id=run_id,
        batch_id=request.batch_id,
        phase=phase.name,
        policy=phase.policy,
        engine=request.engine,
        backend=config.run.backend,
        seed=config.run.seed,
        config_hash=config_hash(config, phase, suite_version=suite.version),
        config=config_json(config, phase, suite_version=suite.version),
        version=__version__,
        argv=request.argv,
        started_at=clock.utc(),
    )
