"""`benchrunner plan`: what a phase will ask of each key, and how long it will take, before the first call."""

from __future__ import annotations

from pathlib import Path

import click

from benchrunner.cli.completing import complete_models, complete_phases, complete_policies
from benchrunner.cli.options import config_option, instances_option, json_option, split_names, suite_options


@click.command("plan", short_help="Show shards, load per key, and how long a phase will take.")
@click.argument("names", metavar="PHASE...", nargs=-1, required=True, shell_complete=complete_phases)
@click.option("--policy", shell_complete=complete_policies, help="Show this policy only.  [default: all four]")
@instances_option
@click.option(
    "--models",
    callback=split_names,
    shell_complete=complete_models,
    metavar="A,B",
    help="Only these models of the phase.",
)
@suite_options
@json_option
@config_option
def command(
    names: tuple[str, ...],
    policy: str | None,
    instances: int | None,
    models: tuple[str, ...] | None,
    suite: str | None,
    tasks: Path | None,
    as_json: bool,
    config_path: Path,
) -> None:
    """Show what a phase asks of each key and how long it will take under each policy; nothing is called or written.

    A PHASE is one that phases.toml names (as shipped 5.1 to 5.5).

    \b
    Example: how ten processes that do not know of each other load the keys
      benchrunner plan 5.2 --policy native
    """
    import sys

    from benchrunner.cli.planning import PhaseOutlook, outlook, outlook_parts
    from benchrunner.cli.running import Wishes
    from benchrunner.reporting.console import console_for
    from benchrunner.reporting.tables import show, to_json

    wishes = Wishes(policy=policy, instances=instances, models=models, suite=suite, tasks=tasks)
    found: list[PhaseOutlook] = outlook(names, wishes, config_path)
    if as_json:
        click.echo(to_json(found))
        return
    console = console_for(sys.stdout)
    show(console, [part for phase in found for part in outlook_parts(phase)])
