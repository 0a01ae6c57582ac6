"""`benchrunner resume`: goes on with a run that did not end complete."""

from __future__ import annotations

from pathlib import Path

import click

from benchrunner.cli.options import config_option, database_path, db_option, json_option


@click.command("resume", short_help="Run the rest of an unfinished run.")
@click.argument("run", required=False)
@click.option("--quiet", is_flag=True, help="Show no progress.")
@json_option
@db_option
@config_option
def command(run: str | None, quiet: bool, as_json: bool, db_path: Path | None, config_path: Path) -> int:
    """Run what is pending or invalid in RUN (the newest unfinished one when absent); what is scored stays.

    The config must still say what it said when the run began; the difference is shown where it does not.

    \b
    Example:
      benchrunner resume
    """
    from benchrunner.engine.forking import named_context

    named_context()  # first of all: its imports run beside ours

    from benchrunner.cli.resuming import request_for
    from benchrunner.cli.running import run_requests

    request, told = request_for(run, database_path(db_path, config_path), config_path)
    click.echo(told, err=True)
    return run_requests([request], quiet=quiet, as_json=as_json)
