"""`benchrunner export`: the results table as a file, and the check of one."""

from __future__ import annotations

from pathlib import Path

import click

from benchrunner.cli.completing import complete_runs
from benchrunner.cli.options import STDOUT, config_option, database_path, db_option, output_file
from benchrunner.errors import UsageError


@click.command("export", short_help="Write the results table as CSV, JSON or Parquet.")
@click.argument("runs", nargs=-1, metavar="[RUN]...", shell_complete=complete_runs)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "json", "parquet"]),
    help="What to write.  [default: as the name of -o ends, else csv]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    callback=output_file,
    help="File to write, a directory to put a fitting name in, or - for stdout.  "
    "[default: stdout; for parquet: here]",
)
@click.option(
    "--check",
    "checked",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.csv",
    help="Write nothing; tell which sums and rates of this CSV table do not hold. Exit 1 if there is one.",
)
@db_option
@config_option
def command(
    runs: tuple[str, ...],
    kind: str | None,
    output: Path | None,
    checked: Path | None,
    db_path: Path | None,
    config_path: Path,
) -> int:
    """Write the field's results table, one line per model, prompt, tool success rate, difficulty and task type.

    RUN is a run's id or the beginning of one; the newest run when absent. The trials of several runs are put together.
    Trials that infrastructure took are counted apart and are in no rate. docs/results-table.md explains the columns.
    Parquet needs the extra benchrunner[parquet].

    \b
    Examples:
      benchrunner export --format csv -o results.csv
      benchrunner export --check results.csv
    """
    if checked is not None:
        if runs or output or kind:
            raise UsageError("--check takes a file and neither runs nor another option")
        return _check(checked)

    from benchrunner.reporting.export import ExportFormat, collect, render, write_table
    from benchrunner.reporting.wording import counted
    from benchrunner.store.queries import RunReader

    wanted = ExportFormat(kind or _kind_of(output))
    with RunReader.open(database_path(db_path, config_path)) as reader:
        export = collect(reader, runs)
    content = render(export, wanted)
    if output is None and wanted is ExportFormat.PARQUET:
        output = Path()
    if export.simulated:
        click.echo("SIMULATED: these are results of the embedded provider's models, not of real ones", err=True)
    if export.not_ended:
        have, are = ("has", "is") if export.not_ended == 1 else ("have", "are")
        said = f"{have} not ended and {are} in no row; `benchrunner resume` goes on"
        click.echo(f"{counted(export.not_ended, 'trial')} {said}", err=True)
    if output is None or output == STDOUT:
        click.echo(content, nl=False)
        return 0
    path = output / export.file_name(wanted) if output.is_dir() else output
    write_table(path, content)
    click.echo(f"wrote {path}: {counted(len(export.rows), 'row')}", err=True)
    return 0


def _kind_of(output: Path | None) -> str:
    ending = output.suffix.removeprefix(".").lower() if output is not None else ""
    return ending if ending in ("json", "parquet") else "csv"


def _check(path: Path) -> int:
    from benchrunner.reporting.export import read_csv
    from benchrunner.reporting.table_check import check_table
    from benchrunner.reporting.wording import counted

    rows = read_csv(path)
    faults = check_table(rows)
    for fault in faults:
        click.echo(fault)
    broken = f"{len(faults)} broken {'identity' if len(faults) == 1 else 'identities'}"
    click.echo(f"{path}: {counted(len(rows), 'row')}, {broken if faults else 'all identities hold'}")
    return 1 if faults else 0
