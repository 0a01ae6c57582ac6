"""`benchrunner phase`: runs phases."""

from __future__ import annotations

from pathlib import Path

import click

from benchrunner.cli.completing import complete_models, complete_phases, complete_policies
from benchrunner.cli.durations import Duration
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


@click.command("phase", short_help="Run phases.")
@click.argument("names", metavar="PHASE...", nargs=-1, required=True, shell_complete=complete_phases)
@click.option(
    "--policy",
    shell_complete=complete_policies,
    help="native, serial (A), batched (B) or pool (C).  [default: the phase's own]",
)
@instances_option
@click.option(
    "--models",
    callback=split_names,
    shell_complete=complete_models,
    metavar="A,B",
    help="Only these models of the phase.",
)
@backend_options
@engine_options("local")
@click.option(
    "--stagger",
    type=Duration(at_most_s=86_400.0),
    help="Time between launches under native: 15 (seconds), 90s or 2m.  [default: the phase's own]",
)
@suite_options
@seed_option
@wait_option("keys that other runs hold", "until they are free")
@fault_option
@click.option("--quiet", is_flag=True, help="Show no progress.")
@json_option
@db_option
@config_option
def command(
    names: tuple[str, ...],
    policy: str | None,
    instances: int | None,
    models: tuple[str, ...] | None,
    backend: str | None,
    engine: str | None,
    address: str | None,
    stagger: float | None,
    suite: str | None,
    tasks: Path | None,
    seed: int | None,
    faults: tuple[str, ...],
    wait_s: float | None,
    quiet: bool,
    as_json: bool,
    db_path: Path | None,
    config_path: Path,
) -> int:
    """Run one or more phases, one run each, in order. A PHASE is one that phases.toml names (as shipped 5.1 to 5.5).

    Progress goes to stderr, the summary to stdout. Ctrl-C drains: running trials may finish, the rest is left for
    `benchrunner resume`; a second Ctrl-C ends the run at once. Exit codes: 0 every trial scored; 1 some invalid or
    not run; 2 wrong input, nothing started; 3 no usable key left; 75 other runs hold the keys and --wait ran out;
    130 or 143 interrupted.

    \b
    Examples:
      benchrunner phase 5.2 --policy pool
      benchrunner phase 5.1 5.4 --instances 2 --models qwen2.5-7b-instruct,qwen2.5-3b-instruct
      benchrunner phase 5.2 --policy native --stagger 1 --instances 1
      benchrunner phase 5.2 --engine ray --address auto
      benchrunner phase 5.2 --instances 1 --fault reset=0.02 --fault key_dies=key1@1-3
    """
    engine = checked_engine(engine or "local", address)
    if engine == "local":
        from benchrunner.engine.forking import named_context

        named_context()  # first of all: its imports run beside ours

    from benchrunner.cli.running import Wishes, run_phases

    wishes = Wishes(
        policy=policy,
        instances=instances,
        models=models,
        backend=backend,
        stagger_s=stagger,
        suite=suite,
        tasks=tasks,
        seed=seed,
        faults=faults,
        db=db_path,
        wait_s=float("inf") if wait_s is None else wait_s,
        engine=engine,
        address=address,
    )
    return run_phases(names, wishes, config_path=config_path, quiet=quiet, as_json=as_json)
