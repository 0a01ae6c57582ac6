"""Options that several commands share: one spelling, one help text."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from benchrunner.errors import UsageError

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

DEFAULT_CONFIG = Path("phases.toml")


def config_option(function: FunctionT) -> FunctionT:
    """Add --config."""
    return click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path, dir_okay=False),
        default=DEFAULT_CONFIG,
        show_default=True,
        help="The file that says what there is to run.",
    )(function)


def db_option(function: FunctionT) -> FunctionT:
    """Add --db."""
    return click.option(
        "--db",
        "db_path",
        type=click.Path(path_type=Path, dir_okay=False),
        help="The database of runs.  [default: `db` of the config, else runs.db]",
    )(function)


def backend_options(function: FunctionT) -> FunctionT:
    """Add --live and --simulated as the one argument `backend`: None where neither is given; both are refused."""

    @functools.wraps(function)
    def with_backend(*arguments: Any, live: bool, simulated: bool, **others: Any) -> Any:
        if live and simulated:
            raise click.UsageError("--live calls the real providers, --simulated the embedded one: give one of them")
        return function(*arguments, backend="live" if live else "simulated" if simulated else None, **others)

    simulated = click.option("--simulated", is_flag=True, help="Call the embedded provider.")
    return click.option("--live", is_flag=True, help="Call the real providers.")(simulated(with_backend))  # type: ignore[return-value]


def json_option(function: FunctionT) -> FunctionT:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts on stdout.")(function)


def fault_option(function: FunctionT) -> FunctionT:
    """Add --fault."""
    return click.option(
        "--fault",
        "faults",
        multiple=True,
        metavar="NAME=SHARE",
        help="Let the embedded provider do this wrong (docs/simulator.md). May be repeated.",
    )(function)


def engine_options(function: FunctionT) -> FunctionT:
    """Add --engine and --address."""
    function = click.option(
        "--address",
        metavar="HOST:PORT",
        help="The Ray cluster, or auto.  [default: the config's, else a local one is started]",
    )(function)
    return click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        help="What runs workers.  [default: local; under resume the run's own]",
    )(function)


def checked_engine(engine: str, address: str | None) -> str:
    """Return the engine. Raises UsageError for an address that it has no use for."""
    if address is not None and engine != "ray":
        raise UsageError("--address is a Ray cluster's; say --engine ray with it")
    return engine


def split_names(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Return the names of a comma-separated option, or None where it is absent."""
    if value is None:
        return None
    return tuple(name.strip() for name in value.split(",") if name.strip())


def database_path(db_path: Path | None, config_path: Path = DEFAULT_CONFIG) -> Path:
    """Return where runs are kept: --db, else what the config says if there is one, else runs.db here."""
    if db_path is not None:
        return db_path
    if not config_path.exists():
        return Path("runs.db")
    import os

    from benchrunner.config.load import load_config

    return load_config(config_path, environ=os.environ).run.db


STDOUT = Path("-")


def output_file(context: click.Context, parameter: click.Parameter, value: str | None) -> Path | None:
    """Return what -o names: STDOUT for -, else a file or directory; None where it is not given. A click callback."""
    if value == "":  # a shell variable that is not set; as a path it would mean the directory worked in
        raise UsageError("-o names no file; leave it out, or name a file, a directory or - for stdout")
    if value is None or value == str(STDOUT):
        return None if value is None else STDOUT
    path = Path(value)
    return path.absolute() if path == STDOUT else path  # ./- is a file
