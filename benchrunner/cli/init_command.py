"""`benchrunner init`: writes a commented phases.toml and keys.env.example."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("init", short_help="Write a commented phases.toml and keys.env.example here.")
@click.option("--force", is_flag=True, help="Overwrite what is there.")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), default=Path())
def command(directory: Path, force: bool) -> None:
    """Write phases.toml and keys.env.example into DIRECTORY (here when absent).

    \b
    Example:
      benchrunner init night-runs
    """
    from benchrunner.config.shipped import KEYS_EXAMPLE_FILE, PHASES_FILE, shipped_text
    from benchrunner.errors import UsageError

    names = (PHASES_FILE, KEYS_EXAMPLE_FILE)
    there = [name for name in names if (directory / name).exists()]
    if there and not force:
        raise UsageError(f"{' and '.join(there)} stand in {directory} already; --force overwrites")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name in names:
            (directory / name).write_text(shipped_text(name), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write into {directory}: {error.strerror}") from error
    click.echo(f"wrote {' and '.join(str(directory / name) for name in names)}")
