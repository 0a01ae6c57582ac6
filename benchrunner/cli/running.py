"""What `phase` and `resume` share: wishes put into the config, runs in order, one exit code for all of them."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import IO

import click

from benchrunner.cli.last_words import whatever_stdout_takes
from benchrunner.clock import SystemClock
from benchrunner.config.injected import with_faults
from benchrunner.config.load import load_config
from benchrunner.config.settings import Config
from benchrunner.engine.launch import RunRequest, RunResult, launch, new_run_id
from benchrunner.engine.live import ProgressView
from benchrunner.policies import make_policy
from benchrunner.records import Phase, ProgressSnapshot, RunStatus
from benchrunner.reporting.plain import PlainProgress

COMPLETE, INCOMPLETE, NO_KEY, HELD_ELSEWHERE = 0, 1, 3, 75


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the command line asked for beside the config; None: as the config says."""

    policy: str | None = None
    instances: int | None = None
    models: tuple[str, ...] | None = None
    backend: str | None = None
    stagger_s: float | None = None
    suite: str | None = None
    tasks: Path | None = None
    seed: int | None = None
    db: Path | None = None
    wait_s: float = inf
    faults: tuple[str, ...] = ()  # of the embedded provider: "reset=0.02"
    engine: str = "local"
    address: str | None = None  # of the Ray cluster


def wished_config(config_path: Path, wishes: Wishes) -> Config:
    """Return the config with the wishes about the run put in. Raises ConfigError, UsageError."""
    config = load_config(config_path, environ=os.environ)
    run = config.run
    wished = replace(
        config,
        run=replace(
            run,
            backend=wishes.backend or run.backend,
            suite=wishes.suite or run.suite,
            tasks=wishes.tasks or run.tasks,
            seed=run.seed if wishes.seed is None else wishes.seed,
            db=wishes.db or run.db,
        ),
    )
    return with_faults(wished, wishes.faults)


def wished_phase(config: Config, name: str, wishes: Wishes) -> Phase:
    """Return the phase with the wishes about it put in. Raises UsageError for what does not exist or fit."""
    phase = config.phase(name)
    policy = make_policy(wishes.policy or phase.policy, order=phase.order.value, stagger_s=0.0).name
    return replace(
        phase,
        policy=policy,
        instances=phase.instances if wishes.instances is None else wishes.instances,
        stagger_s=phase.stagger_s if wishes.stagger_s is None else wishes.stagger_s,
        models=tuple(model.name for model in config.phase_models(phase, wishes.models)),
    )


def run_phases(names: Sequence[str], wishes: Wishes, *, config_path: Path, quiet: bool, as_json: bool) -> int:
    """Run the phases in order and return the exit code: the first run's that did not end complete."""
    config = wished_config(config_path, wishes)
    phases = [wished_phase(config, name, wishes) for name in names]
    clock = SystemClock()
    batch_id = new_run_id("batch", clock.utc())
    requests = [
        RunRequest(
            config=config,
            phase=phase,
            argv=shlex.join(sys.argv[1:]),
            batch_id=batch_id,
            wait_s=wishes.wait_s,
            engine=wishes.engine,
            address=wishes.address,
        )
        for phase in phases
    ]
    return run_requests(requests, quiet=quiet, as_json=as_json)


def run_requests(requests: Sequence[RunRequest], *, quiet: bool, as_json: bool) -> int:
    """Run each request, print its summary, and return the exit code of the whole."""
    clock = SystemClock()
    worst = COMPLETE
    for request in requests:
        result = launch(request, make_view(quiet=quiet), clock)
        show_result(request.config.run.db, result, as_json=as_json)
        code = exit_code(result)
        worst = worst or code
        if result.status is RunStatus.INTERRUPTED:
            break
    return worst


def exit_code(result: RunResult) -> int:
    """Return the documented exit code of a run's end."""
    if result.status is RunStatus.COMPLETE:
        return COMPLETE
    if result.status is RunStatus.INTERRUPTED:
        return 128 + (result.signal or signal.SIGINT)
    if result.held_elsewhere:
        return HELD_ELSEWHERE
    return NO_KEY if result.no_usable_key else INCOMPLETE


class EventsOnly(PlainProgress):
    """Plain lines without figures: what `--quiet` leaves is what went wrong."""

    wants_every_s = inf

    def __init__(self, stream: IO[str]) -> None:
        """Write to `stream`."""
        super().__init__(stream, SystemClock())

    def update(self, snapshot: ProgressSnapshot) -> None:
        """Show nothing."""

    def stop(self) -> None:
        """Show nothing."""


def make_view(*, quiet: bool) -> ProgressView:
    """Return the live display on a terminal, plain lines elsewhere, only what went wrong when quiet."""
    if quiet:
        return EventsOnly(sys.stderr)
    if not sys.stderr.isatty():
        return PlainProgress(sys.stderr, SystemClock())
    from benchrunner.reporting.console import console_for
    from benchrunner.reporting.progress import LiveProgress

    console = console_for(sys.stderr)
    if console.is_dumb_terminal:  # an editor's shell: nothing on it can be overwritten
        return PlainProgress(sys.stderr, SystemClock())
    return LiveProgress(console, SystemClock())


def show_result(db: Path, result: RunResult, *, as_json: bool) -> None:
    """Print the run's summary on stdout."""
    # Here and not above: tables are drawn once a run has ended, and must not delay its first call.
    from benchrunner.reporting.console import console_for
    from benchrunner.reporting.summary import summarise
    from benchrunner.reporting.summary_tables import summary_parts
    from benchrunner.reporting.tables import show, to_json
    from benchrunner.store.queries import RunReader

    with RunReader.open(db) as reader:
        summary = summarise(reader, result.run_id, lower_bound_s=result.lower_bound_s)
    with whatever_stdout_takes():
        if as_json:
            click.echo(to_json(summary))
        else:
            show(console_for(sys.stdout), summary_parts(summary))
