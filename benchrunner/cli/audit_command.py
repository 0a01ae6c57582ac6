"""`benchrunner audit`: whether a run's rows prove what its tables say."""

from __future__ import annotations

from pathlib import Path

import click

from benchrunner.cli.options import config_option, database_path, db_option, json_option, run_argument


@click.command("audit", short_help="Prove a run's scores and limits from its rows.")
@run_argument
@click.option("--tasks", type=click.Path(path_type=Path), metavar="FILE", help="Where the run's task file stands now.")
@json_option
@db_option
@config_option
def command(
    run: str | None, tasks: Path | None, as_json: bool, db_path: Path | None, config_path: Path
) -> int:
    """Derive every score anew from its transcript, and look again at whatever else the rows of a run can prove.

    RUN is a run's id or the beginning of one; the newest run when absent. Exit 0: everything holds; 1: the rows
    where it does not are listed; 2: there is no such run or database. docs/audit.md says what is looked at.

    \b
    Example:
      benchrunner audit
    """
    import sys

    from benchrunner.reporting.audit import audit
    from benchrunner.reporting.audit_tables import audit_parts
    from benchrunner.reporting.console import console_for
    from benchrunner.reporting.tables import show, to_json
    from benchrunner.store.audit_queries import AuditReader

    with AuditReader.open(database_path(db_path, config_path)) as reader:
        found = audit(reader, run, tasks_file=str(tasks) if tasks is not None else None)
    if as_json:
        click.echo(to_json(found))
    else:
        show(console_for(sys.stdout), audit_parts(found))
    return 0 if found.holds else 1
