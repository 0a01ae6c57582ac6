"""`benchrunner keys`: every key now, machine-wide."""

from __future__ import annotations

import click

from benchrunner.cli.options import json_option


@click.command("keys", short_help="Show every key now, machine-wide.")
@click.option("--all", "show_all", is_flag=True, help="Also what is idle now, but was used since this machine started.")
@json_option
def command(show_all: bool, as_json: bool) -> None:
    """Show who holds which key, how full its windows are, and what is paused, for all runs on this machine.

    Reads only, and costs a running phase nothing.

    \b
    Example, from another terminal:
      benchrunner keys
    """
    import sys

    from benchrunner.cli.keyring import key_parts, look
    from benchrunner.reporting.console import console_for
    from benchrunner.reporting.tables import show, to_json

    seen = look(idle_too=show_all)
    if as_json:
        click.echo(to_json(seen))
        return
    show(console_for(sys.stdout), key_parts(seen))
