"""Options that several commands share: one spelling, one help text."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from benchrunner.cli.completing import complete_runs
from benchrunner.cli.durations import WRITTEN, Duration
from benchrunner.cli.numbers import Number
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
    live = click.option("--live", is_flag=True, help="Call the real providers.  [default: `backend` of the config]")
    return live(simulated(with_backend))  # type: ignore[return-value]


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


def engine_options(default: str) -> Callable[[FunctionT], FunctionT]:
    """Add --engine and --address; `default` says which engine it is where --engine is absent (None)."""

    def add(function: FunctionT) -> FunctionT:
        function = click.option(
            "--address",
            metavar="HOST:PORT",
            help="The Ray cluster, or auto.  [default: the config's, else a local one is started]",
        )(function)
        return click.option(
            "--engine",
            type=click.Choice(["local", "ray"]),
            help=f"What runs workers.  [default: {default}]",
        )(function)

    return add


def checked_engine(engine: str, address: str | None) -> str:
    """Return the engine. Raises UsageError for an address that it has no use for."""
    if address is not None and engine != "ray":
        raise UsageError("--address is a Ray cluster's; say --engine ray with it")
    return engine


def run_argument(function: FunctionT) -> FunctionT:
    """Add RUN as `run`: None where it is absent."""
    # Takes any number, so that a second run is met with a sentence instead of "unexpected extra argument".
    return click.argument("run", nargs=-1, metavar="[RUN]", callback=_one_run, shell_complete=complete_runs)(function)


def _one_run(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> str | None:
    if len(value) > 1:
        raise UsageError(
            f"{context.info_name} takes one run, not {len(value)} ({', '.join(value)}); "
            "compare takes two, report and export take several"
        )
    return value[0] if value else None


def instances_option(function: FunctionT) -> FunctionT:
    """Add --instances."""
    return click.option(
        "--instances",
        type=Number(int, at_least=1),
        help="Tasks per task type, at least 1.  [default: the phase's own]",
    )(function)


def suite_options(function: FunctionT) -> FunctionT:
    """Add --suite and --tasks."""
    function = click.option(
        "--tasks",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The suite's task file.  [default: the config's]",
    )(function)
    return click.option(
        "--suite",
        metavar="S",
        help="Who asks: workflow, jsonl or an installed suite.  [default: the config's]",
    )(function)


def seed_option(function: FunctionT) -> FunctionT:
    """Add --seed of a run."""
    return click.option(
        "--seed",
        type=Number(int, at_least=0, at_most=2**63 - 1),  # what a database column and JSON can hold
        help="What every random choice follows from.  [default: the config's]",
    )(function)


def wait_option(whom: str, default: str) -> Callable[[FunctionT], FunctionT]:
    """Add --wait as `wait_s`: how long to wait for `whom`; None where it is absent, which means `default`."""
    return click.option(
        "--wait",
        "wait_s",
        type=Duration(),
        help=f"Wait at most so long for {whom}: {WRITTEN}; 0: not at all.  [default: {default}]",
    )


def split_names(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Return the names of a comma-separated option, or None where it is absent. Raises UsageError for no name."""
    if value is None:
        return None
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    if not names:
        raise UsageError(f"{parameter.opts[0]} names nothing; write names with commas between, or leave it out")
    return names


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
    if value is None or value == str(STDOUT):
        return None if value is None else STDOUT
    path = Path(value)
    return path.absolute() if path == STDOUT else path  # ./- is a file
