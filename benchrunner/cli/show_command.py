"""`benchrunner show`: what one run came to, or one of its trials."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchrunner.cli.options import config_option, database_path, db_option, json_option, run_argument

if TYPE_CHECKING:
    from benchrunner.store.queries import RunReader


@click.command("show", short_help="Show what a run came to.")
@run_argument
@click.option("--trial", "trial_id", metavar="ID", help="Print this trial's result and its transcript turn by turn.")
@json_option
@db_option
@config_option
def command(
    run: str | None, trial_id: str | None, as_json: bool, db_path: Path | None, config_path: Path
) -> None:
    """Show a run: scores per model and condition, load per key, what infrastructure took.

    RUN is a run's id or the beginning of one; the newest run when absent.

    \b
    Examples:
      benchrunner show
      benchrunner show 20251122 --trial 00012
    """
    import sys

    from benchrunner.reporting.console import console_for
    from benchrunner.reporting.summary import summarise
    from benchrunner.reporting.summary_tables import summary_parts
    from benchrunner.reporting.tables import show, to_json
    from benchrunner.store.queries import RunReader

    with RunReader.open(database_path(db_path, config_path)) as reader:
        if trial_id is not None:
            _show_trial(reader, run, trial_id, as_json=as_json)
            return
        summary = summarise(reader, run)
    if as_json:
        click.echo(to_json(summary))
    else:
        show(console_for(sys.stdout), summary_parts(summary))


def _show_trial(reader: RunReader, run: str | None, trial_id: str, *, as_json: bool) -> None:
    """Print one trial of the run; a whole trial id names its run itself."""
    import sys

    from benchrunner.reporting.console import console_for
    from benchrunner.reporting.tables import show, to_json
    from benchrunner.reporting.trial_view import trial_parts

    found = reader.find_run(run or trial_id.rpartition("/")[0] or None)
    trial = reader.ended_trial(found.run_id, trial_id)
    if as_json:
        click.echo(to_json(trial))
    else:
        show(console_for(sys.stdout), trial_parts(trial, simulated=found.backend == "simulated"))
