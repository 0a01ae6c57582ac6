"""`benchrunner resume`: goes on with a run that did not end complete."""

from __future__ import annotations

from pathlib import Path

import click

from benchrunner.cli.options import (
    config_option,
    database_path,
    db_option,
    engine_options,
    json_option,
    run_argument,
    wait_option,
)


@click.command("resume", short_help="Run the rest of an unfinished run.")
@run_argument
@click.option(
    "--tasks",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The task file the run began with.  [default: the config's, else the one of its name here]",
)
@click.option("--force", is_flag=True, help="Go on although config or suite changed since.")
@wait_option("keys that other runs hold", "until they are free")
@engine_options("the engine that the run began with")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@json_option
@db_option
@config_option
def command(
    run: str | None,
    tasks: Path | None,
    force: bool,
    wait_s: float | None,
    engine: str | None,
    address: str | None,
    quiet: bool,
    as_json: bool,
    db_path: Path | None,
    config_path: Path,
) -> int:
    """Run what is pending or invalid in RUN (the newest unfinished one when absent); what is scored stays.

    RUN is a run's id or the beginning of one. Config and suite must still be what they were when the run began; the
    difference is shown where they are not.

    \b
    Example:
      benchrunner resume
    """
    if engine != "ray":
        from benchrunner.engine.forking import named_context

        named_context()  # first of all: its imports run beside ours

    from benchrunner.cli.resuming import request_for
    from benchrunner.cli.running import run_requests

    request, told = request_for(
        run,
        database_path(db_path, config_path),
        config_path,
        tasks=tasks,
        force=force,
        wait_s=float("inf") if wait_s is None else wait_s,
        engine=engine,
        address=address,
    )
    click.echo(told, err=True)
    return run_requests([request], quiet=quiet, as_json=as_json)
