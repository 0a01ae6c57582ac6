"""`benchrunner keys`: every key now, machine-wide."""

from __future__ import annotations

import click

from benchrunner.cli.durations import Duration
from benchrunner.cli.options import json_option

EVERY_S = 2.0


@click.command("keys", short_help="Show every key now, machine-wide.")
@click.option("--all", "show_all", is_flag=True, help="Also what is idle now, but was used since this machine started.")
@click.option("--watch", is_flag=True, help="Look again and again, in place, until Ctrl-C.")
@click.option(
    "--every",
    "every_s",
    type=Duration(at_least_s=0.2, at_most_s=86_400.0),
    help=f"Time between two looks of --watch: 2 (seconds), 30s or 5m.  [default: {EVERY_S:g}]",
)
@json_option
def command(show_all: bool, watch: bool, every_s: float | None, as_json: bool) -> int:
    """Show who holds which key, how full its windows are, and what is paused, for all runs on this machine.

    Reads only, and costs a running phase nothing. Windows of one name are told apart by their provider, or by the
    beginning of their identity (whole in --json). Where its output is no terminal, --watch writes one block after the
    other, each under the time it was looked at. Ctrl-C ends it with 0.

    \b
    Examples, from another terminal:
      benchrunner keys
      benchrunner keys --watch
    """
    import sys

    from benchrunner.cli.keyring import key_parts, look
    from benchrunner.errors import UsageError
    from benchrunner.reporting.console import console_for
    from benchrunner.reporting.tables import show, to_json

    if every_s is not None and not watch:
        raise UsageError("--every says how often --watch looks; add --watch")
    if as_json and watch:
        raise UsageError("--json is one look, for scripts; leave out --watch and look as often as you like")
    if watch:
        from benchrunner.cli.watching import watch_in

        return watch_in(console_for(sys.stdout), lambda: key_parts(look(idle_too=show_all)), every_s or EVERY_S)
    seen = look(idle_too=show_all)
    if as_json:
        click.echo(to_json(seen))
    else:
        show(console_for(sys.stdout), key_parts(seen))
    return 0
