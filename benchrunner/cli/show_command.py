"""`benchrunner show`: what one run came to."""

from __future__ import annotations

from pathlib import Path

import click

from benchrunner.cli.options import config_option, database_path, db_option, json_option


@click.command("show", short_help="Show what a run came to.")
@click.argument("run", required=False)
@json_option
@db_option
@config_option
def command(run: str | None, as_json: bool, db_path: Path | None, config_path: Path) -> None:
    """Show a run: scores per model and condition, load per key, what infrastructure took.

    RUN is a run's id or the beginning of one; the newest run when absent.

    \b
    Example:
      benchrunner show
    """
    import sys

    from benchrunner.reporting.console import console_for
    from benchrunner.reporting.summary import summarise
    from benchrunner.reporting.tables import show, summary_parts, to_json
    from benchrunner.store.queries import RunReader

    with RunReader.open(database_path(db_path, config_path)) as reader:
        summary = summarise(reader, run)
    if as_json:
        click.echo(to_json(summary))
    else:
        show(console_for(sys.stdout), summary_parts(summary))
