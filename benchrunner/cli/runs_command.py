"""`benchrunner runs`: lists runs."""

from __future__ import annotations

from pathlib import Path

import click

from benchrunner.cli.numbers import Number
from benchrunner.cli.options import config_option, database_path, db_option, json_option


@click.command("runs", short_help="List the runs in runs.db.")
@click.option("--limit", type=Number(int, at_least=1), default=20, show_default=True, help="List the newest N.")
@json_option
@db_option
@config_option
def command(limit: int, as_json: bool, db_path: Path | None, config_path: Path) -> None:
    """List runs, newest first, with how far each came.

    \b
    Example:
      benchrunner runs --limit 5
    """
    import sys

    from benchrunner.reporting.console import console_for
    from benchrunner.reporting.runs_table import runs_table
    from benchrunner.reporting.tables import show, to_json
    from benchrunner.store.queries import RunReader

    with RunReader.open(database_path(db_path, config_path)) as reader:
        runs = reader.list_runs(limit)
    if as_json:
        click.echo(to_json(runs))
        return
    console = console_for(sys.stdout)
    show(console, [runs_table(runs, width=console.width)])
