"""`benchrunner compare`: did a run do better or worse than another, and would chance explain it?"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click

from benchrunner.cli.completing import complete_runs
from benchrunner.cli.numbers import Number
from benchrunner.cli.options import config_option, database_path, db_option, json_option

REGRESSION = 4


def _model_pairs(
    context: click.Context, parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """Return the models to hold against each other. Raises BadParameter for what is no pair."""
    pairs = []
    for word in value:
        model_a, equals, model_b = (part.strip() for part in word.partition("="))
        if not (model_a and equals and model_b):
            raise click.BadParameter(f'"{word}" is not written MODEL_A=MODEL_B', context, parameter)
        pairs.append((model_a, model_b))
    return tuple(pairs)


@click.command("compare", short_help="Compare two runs trial by trial.")
@click.argument("run_a", metavar="A", shell_complete=complete_runs)
@click.argument("run_b", metavar="B", shell_complete=complete_runs)
@click.option(
    "--pair",
    "pairing",
    multiple=True,
    callback=_model_pairs,
    metavar="MODEL_A=MODEL_B",
    help="Hold this model of A against that model of B. May be repeated.  [default: models of one name]",
)
@click.option("--fail-on-regression", is_flag=True, help="Exit 4 when success dropped significantly.")
@click.option(
    "--flips",
    type=Number(int, at_least=0),
    help="List at most N of the trials that changed sides.  [default: 20; --json has all]",
)
@click.option(
    "--resamples",
    type=Number(int, at_least=100, at_most=1_000_000),
    default=10_000,
    show_default=True,
    help="Resamples of the bootstrap, 100 to 1,000,000.",
)
@click.option("--seed", type=Number(int), default=0, show_default=True, help="Seed of the bootstrap.")
@json_option
@db_option
@click.option(
    "--db-b",
    "db_b_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The database that holds B.  [default: the same]",
)
@config_option
def command(
    run_a: str,
    run_b: str,
    pairing: tuple[tuple[str, str], ...],
    fail_on_regression: bool,
    flips: int | None,
    resamples: int,
    seed: int,
    as_json: bool,
    db_path: Path | None,
    db_b_path: Path | None,
    config_path: Path,
) -> int:
    """Compare run B with run A, the base, over the trials that are scored in both.

    A and B are ids of runs, the beginnings of ones, or `newest`. Each trial of A stands against the same task under the
    same condition in B; trials that infrastructure took are left out and counted. docs/compare.md says what is tested.

    \b
    Examples:
      benchrunner compare 20251122 newest --fail-on-regression
      benchrunner compare newest newest --pair qwen2.5-72b-instruct=qwen2.5-32b-instruct
    """
    import sys
    from random import Random

    from benchrunner.reporting.comparison import compare_runs
    from benchrunner.reporting.comparison_tables import FLIPS, comparison_parts, short_trial_id
    from benchrunner.reporting.console import console_for
    from benchrunner.reporting.tables import show, to_json
    from benchrunner.store.queries import RunReader

    path_a = database_path(db_path, config_path)
    path_b = db_b_path if db_b_path is not None else path_a
    with ExitStack() as readers:
        reader_a = readers.enter_context(RunReader.open(path_a))
        reader_b = reader_a if path_b == path_a else readers.enter_context(RunReader.open(path_b))
        found = compare_runs(
            reader_a, run_a, reader_b, run_b, rng=Random(seed), resamples=resamples, pairing=pairing
        )
    if as_json:
        click.echo(to_json(found))
    else:
        sides = {"A": (found.run_a, db_path), "B": (found.run_b, db_b_path or db_path)}

        def shown_by(side: str, trial_id: str) -> str:
            run_id, database = sides[side]
            return _show_command(run_id, short_trial_id(run_id, trial_id), database)

        parts = comparison_parts(found, flips=FLIPS if flips is None else flips, show_command=shown_by)
        show(console_for(sys.stdout), parts)
    return REGRESSION if fail_on_regression and found.regressed else 0


def _show_command(run_id: str, trial_id: str, database: Path | None) -> str:
    """Return the command that prints a trial's transcript."""
    import shlex

    where = [] if database is None else ["--db", str(database)]
    return shlex.join(["benchrunner", "show", run_id, "--trial", trial_id, *where])
