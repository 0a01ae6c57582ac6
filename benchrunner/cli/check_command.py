"""`benchrunner check`: is phases.toml right?"""

from __future__ import annotations

from pathlib import Path

import click

from benchrunner.cli.options import config_option


@click.command("check", short_help="Check phases.toml, and with --live the keys' variables.")
@click.option("--live", is_flag=True, help="Also check that every key and address a live run needs is set.")
@config_option
def command(live: bool, config_path: Path) -> None:
    """Check the config and tell all its faults at once; nothing is called or written.

    \b
    Example:
      benchrunner check --live
    """
    import os

    from benchrunner.config.binding import resolve_live
    from benchrunner.config.load import load_config

    config = load_config(config_path, environ=os.environ)
    if live:
        resolve_live(config, phases=config.phases, environ=os.environ)
    trials = ", ".join(phase.name for phase in config.phases)
    click.echo(
        f"{config_path} is right: {len(config.providers)} providers, {len(config.keys)} keys, "
        f"{len(config.models)} models, phases {trials}"
    )
