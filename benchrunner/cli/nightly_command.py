"""`benchrunner nightly`: for cron and timers."""

from __future__ import annotations

from pathlib import Path

import click

from benchrunner.cli.completing import complete_models, complete_phases, complete_policies
from benchrunner.cli.durations import WRITTEN, Duration
from benchrunner.cli.options import (
    backend_options,
    checked_engine,
    config_option,
    db_option,
    engine_options,
    fault_option,
    instances_option,
    json_option,
    seed_option,
    split_names,
    suite_options,
    wait_option,
)


@click.command("nightly", short_help="Run phases every night, one night at a time, and tell what got worse.")
@click.argument("names", metavar="[PHASE]...", nargs=-1, shell_complete=complete_phases)
@click.option(
    "--policy",
    shell_complete=complete_policies,
    help="native, serial (A), batched (B) or pool (C).  [default: the config's]",
)
@click.option(
    "--deadline",
    "deadline_s",
    type=Duration(),
    help=f"Stop this long after the start: {WRITTEN}; 0: never.  [default: the config's]",
)
@wait_option("another night, and for keys that other runs hold", "the config's")
@instances_option
@click.option(
    "--models",
    callback=split_names,
    shell_complete=complete_models,
    metavar="A,B",
    help="Only these models of the phases.",
)
@backend_options
@engine_options("local")
@suite_options
@seed_option
@fault_option
@click.option("--quiet", is_flag=True, help="Log only what went wrong in a run, no figures.")
@json_option
@db_option
@config_option
def command(
    names: tuple[str, ...],
    policy: str | None,
    deadline_s: float | None,
    wait_s: float | None,
    instances: int | None,
    models: tuple[str, ...] | None,
    backend: str | None,
    engine: str | None,
    address: str | None,
    suite: str | None,
    tasks: Path | None,
    seed: int | None,
    faults: tuple[str, ...],
    quiet: bool,
    as_json: bool,
    db_path: Path | None,
    config_path: Path,
) -> int:
    """Go on with what last night left, run PHASEs (those of [nightly] when absent), and compare with the night before.

    A summary of one screen goes to stdout, a log with a time on each line to stderr. docs/nightly.md has a crontab
    line and a systemd timer. Exit codes, of which the first that fits is given: 2 wrong input, nothing started; 130 or
    143 interrupted; 3 no usable key left; 75 another night was under way, or other runs held the keys, and --wait ran
    out; 1 something was not scored or not run; 4 all was scored, and a model did significantly worse than the night
    before; 0 all was scored, and none did.

    \b
    Examples:
      benchrunner nightly
      benchrunner nightly 5.1 5.2 --deadline 6h --wait 30m
    """
    from benchrunner.cli.nightly import run_night
    from benchrunner.cli.nightly_plan import plan_night
    from benchrunner.cli.running import Wishes

    wishes = Wishes(
        policy=policy,
        instances=instances,
        models=models,
        backend=backend,
        suite=suite,
        tasks=tasks,
        seed=seed,
        faults=faults,
        db=db_path,
        engine=checked_engine(engine or "local", address),
        address=address,
    )
    plan = plan_night(names, wishes, config_path=config_path, deadline_s=deadline_s, wait_s=wait_s)
    return run_night(plan, quiet=quiet, as_json=as_json)
