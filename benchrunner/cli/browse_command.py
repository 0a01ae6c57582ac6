"""`benchrunner browse`: runs.db as web pages."""

from __future__ import annotations

from pathlib import Path

import click

from benchrunner.cli.numbers import Number
from benchrunner.cli.options import config_option, database_path, db_option


@click.command("browse", short_help="Look at runs in a web browser.")
@click.option(
    "--port",
    type=Number(int, at_least=0, at_most=65535),
    help="Port to serve on; 0 takes a free one.  [default: 8001, or a free one where that is in use]",
)
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Address to serve under.")
@click.option("--open/--no-open", "opens", default=False, show_default=True, help="Open the page in a browser here.")
@db_option
@config_option
def command(port: int | None, host: str, opens: bool, db_path: Path | None, config_path: Path) -> None:
    """Serve runs.db as web pages until Ctrl-C: every run, its scores and load, every trial's dialogue turn by turn.

    Reads only, also while a run is writing. The pages are Datasette's, with ready queries and charts; nothing is loaded
    from the network, and only this machine is answered unless --host says otherwise. Needs the extra
    benchrunner[browse]. docs/browse.md describes the pages.

    \b
    Example:
      benchrunner browse --open
    """
    from benchrunner.browse.server import is_loopback, require_datasette, start_browse
    from benchrunner.engine.signals import StopSignals
    from benchrunner.errors import BenchrunnerError
    from benchrunner.store.queries import RunReader

    require_datasette()
    path = database_path(db_path, config_path)
    RunReader.open(path).close()  # what is wrong with the file is said here, not by a page
    with StopSignals().installed() as signals:
        with start_browse(path, host=host, port=port) as server:
            click.echo(f"{path} at {server.url} (read only); Ctrl-C ends it")
            if not is_loopback(host):
                click.echo(f"whoever reaches {host} can read every run", err=True)
            if opens:
                click.launch(server.url)
            while server.alive() and not signals.wait_s(1.0):
                pass
        if signals.first is None:
            raise BenchrunnerError("the server of the pages ended by itself; what it said stands above")
