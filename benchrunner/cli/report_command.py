"""`benchrunner report`: runs as a page to read, print or send."""

from __future__ import annotations

from pathlib import Path

import click

from benchrunner.cli.completing import complete_runs
from benchrunner.cli.options import STDOUT, config_option, database_path, db_option, output_file


@click.command("report", short_help="Write runs as a page or as Markdown.")
@click.argument("runs", nargs=-1, metavar="[RUN]...", shell_complete=complete_runs)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["html", "md"]),
    help="What to write.  [default: md if -o ends in .md or .markdown, else html]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    callback=output_file,
    help="File to write, a directory to put a fitting name in, or - for stdout.  "
    "[default: report.html; for md: stdout]",
)
@db_option
@config_option
def command(
    runs: tuple[str, ...], kind: str | None, output: Path | None, db_path: Path | None, config_path: Path
) -> None:
    """Write a report: results with their intervals, charts, what each key carried, what infrastructure took.

    RUN is a run's id or the beginning of one; the newest run when absent. Several runs (one a phase) make one report.
    The page is one file that needs no network; writing it needs the extra benchrunner[report], Markdown needs nothing.
    A file that is no report of benchrunner is never overwritten, and a name that means another form (x.pdf) is refused.

    \b
    Examples:
      benchrunner report
      benchrunner report RUN_A RUN_B -o phases.html
      benchrunner report --format md >> notes.md
    """
    from benchrunner.reporting.report import collect_report
    from benchrunner.reporting.report_files import ReportFormat, format_of, may_write, place_for, write_report
    from benchrunner.store.queries import RunReader

    to_stdout = output == STDOUT
    file = None if to_stdout else output
    wanted = format_of(file, ReportFormat(kind) if kind else None)
    if file is not None and not file.is_dir():
        may_write(file)  # before the work, not after it
    with RunReader.open(database_path(db_path, config_path)) as reader:
        report = collect_report(reader, runs)
    if wanted is ReportFormat.MD:
        from benchrunner.reporting.report_markdown import render_markdown as render
    else:
        from benchrunner.reporting.html import render_html as render
    path = None if to_stdout else place_for(report, wanted, file)
    content = render(report).encode()  # UTF-8 whatever the terminal's locale: the page says that it is
    if path is None:
        click.echo(content, nl=False)
        return
    write_report(path, content)
    said = " (SIMULATED)" if report.simulated else ""
    click.echo(f"wrote {path}: {len(report.runs)} run{'s' if len(report.runs) != 1 else ''}{said}", err=True)
