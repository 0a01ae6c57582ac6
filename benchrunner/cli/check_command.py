"""`benchrunner check`: is phases.toml right, and do the keys work?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchrunner.cli.completing import complete_models, complete_phases
from benchrunner.cli.durations import WRITTEN, Duration
from benchrunner.cli.options import config_option, json_option, split_names
from benchrunner.errors import UsageError

if TYPE_CHECKING:
    from benchrunner.config.settings import Config
    from benchrunner.engine.live_check import Probe

TIMEOUT_S = 30.0


@click.command("check", short_help="Check phases.toml, and with --live every key against its provider.")
@click.argument("names", metavar="[PHASE]...", nargs=-1, shell_complete=complete_phases)
@click.option("--live", is_flag=True, help="Send one small call per key, model and deployment.")
@click.option(
    "--models",
    callback=split_names,
    shell_complete=complete_models,
    metavar="A,B",
    help="With --live: only these models.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=Duration(above_0=True, at_most_s=86_400.0),
    help=f"With --live: most time for a call, waiting for limits included: {WRITTEN}.  [default: {TIMEOUT_S:g}]",
)
@click.option("--dry-run", is_flag=True, help="With --live: look at the variables and say what would be sent.")
@json_option
@config_option
def command(
    names: tuple[str, ...],
    live: bool,
    models: tuple[str, ...] | None,
    timeout_s: float | None,
    dry_run: bool,
    as_json: bool,
    config_path: Path,
) -> int:
    """Check the config and tell all its faults at once. Without --live nothing is called or written.

    With --live every key of the providers that the PHASEs need (all phases when absent) calls each of their models
    once, for at most 16 tokens of reply; how many calls that makes is said first. They keep within the limits, together
    with all that runs on this machine. Shown are status, latency and what the provider tells of its limits, and for
    what failed what it means and what to do. Exit codes with --live: 0 all answered; 1 some did not; 2 wrong input or a
    missing variable, nothing sent; 3 every key was refused or is out of quota; 75 only keys that other runs hold are
    left unchecked.

    \b
    Examples:
      benchrunner check
      benchrunner check --live
      benchrunner check 5.2 --live --models qwen2.5-7b-instruct --timeout 10
    """
    import os

    from benchrunner.config.load import load_config

    if not live and (models is not None or timeout_s is not None or dry_run or as_json):
        raise UsageError(
            "--models, --timeout, --dry-run and --json say more about --live; without it there is nothing to choose"
        )
    config = load_config(config_path, environ=os.environ)
    for name in names:
        config.phase(name)  # a misspelt one is told, whether or not anything is asked of it
    if live:
        patience_s = TIMEOUT_S if timeout_s is None else timeout_s
        return _check_live(config, names, models, timeout_s=patience_s, dry_run=dry_run, as_json=as_json)
    shown = ", ".join(phase.name for phase in config.phases)
    counts = ((config.providers, "provider"), (config.keys, "key"), (config.models, "model"))
    held = ", ".join(f"{len(them)} {noun}{'s' if len(them) != 1 else ''}" for them, noun in counts)
    click.echo(f"{config_path} is right: {held}, phases {shown}")
    return 0


def _check_live(
    config: Config,
    names: tuple[str, ...],
    models: tuple[str, ...] | None,
    *,
    timeout_s: float,
    dry_run: bool,
    as_json: bool,
) -> int:
    import sys

    from benchrunner.cli.live_check import live_parts, report_of
    from benchrunner.clock import SystemClock
    from benchrunner.engine.live_check import LiveCheck
    from benchrunner.engine.run_dir import leases_dir
    from benchrunner.registry.key_locks import KeyLocks
    from benchrunner.registry.shared_windows import SharedWindows
    from benchrunner.registry.state_dir import windows_path
    from benchrunner.reporting.console import console_for
    from benchrunner.reporting.tables import show, to_json

    probes = _probes(config, names, models)
    click.echo(_announcement(probes, timeout_s, dry_run=dry_run), err=True)
    if dry_run:
        return 0
    clock = SystemClock()
    windows = SharedWindows(windows_path(), clock)
    check = LiveCheck(probes, windows=windows, locks=KeyLocks(leases_dir()), clock=clock, timeout_s=timeout_s)
    progress = _Progress(len(probes)) if sys.stderr.isatty() and not as_json else None
    found = check.run(progress.tick if progress else lambda one: None)
    variables = {key.key_id: key.env for key in config.keys}
    where = f"in {config.run.env_file} or in the environment" if config.run.env_file else "in the environment"
    report = report_of(found, variables, where)
    if as_json:
        click.echo(to_json(report))
    else:
        show(console_for(sys.stdout), live_parts(report))
    return report.exit_code


def _probes(config: Config, names: tuple[str, ...], models: tuple[str, ...] | None) -> tuple[Probe, ...]:
    """Return the calls to make. Raises UsageError, and ConfigError naming every variable that is missing."""
    import os

    from benchrunner.config.binding import resolve_live
    from benchrunner.engine.live_check import plan_probes
    from benchrunner.errors import did_you_mean

    phases = [config.phase(name) for name in names] or list(config.phases)
    asked = list(dict.fromkeys(model for phase in phases for model in phase.models))
    for name in models or ():
        if name not in asked:
            raise UsageError(f'no model "{name}" in these phases; {did_you_mean(name, asked)}')
    providers, keys = resolve_live(config, phases=phases, models=models, environ=os.environ)
    wanted = [config.model(name) for name in asked if models is None or name in models]
    return plan_probes(providers, keys, wanted)


def _announcement(probes: tuple[Probe, ...], timeout_s: float, *, dry_run: bool) -> str:
    from benchrunner.engine.live_check import MAX_TOKENS, calls_per_key, longest_s
    from benchrunner.reporting.wording import duration_text

    shares = ", ".join(f"{key_id} {count}" for key_id, count in calls_per_key(probes).items())
    calls = "1 call" if len(probes) == 1 else f"{len(probes)} calls"
    return (
        f"{'would send' if dry_run else 'sending'} {calls} of at most {MAX_TOKENS} reply tokens ({shares}); "
        f"done within {duration_text(longest_s(probes, timeout_s))}"
    )


class _Progress:
    """A counter on a terminal, one line that is written over."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0

    def tick(self, one: object) -> None:
        """Count one answer."""
        self._done += 1
        last = self._done == self._total
        click.echo(f"\r{self._done} of {self._total} answered", nl=last, err=True)
