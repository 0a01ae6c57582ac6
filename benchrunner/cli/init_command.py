"""`benchrunner init`: writes a commented phases.toml and keys.env.example."""

from __future__ import annotations

from pathlib import Path

import click

from benchrunner.cli.numbers import Number
from benchrunner.cli.options import split_names


@click.command("init", short_help="Write a commented phases.toml and keys.env.example here.")
@click.option("--base-url", metavar="URL", help="Write them for the service at this address instead.")
@click.option("--models", callback=split_names, metavar="A,B", help="With --base-url: the models' names there.")
@click.option("--keys", type=Number(int), default=1, show_default=True, help="With --base-url: how many keys.")
@click.option(
    "--kind",
    type=click.Choice(["openai", "azure"]),
    default="openai",
    show_default=True,
    help="With --base-url: the service's dialect.",
)
@click.option("--force", is_flag=True, help="Overwrite what is there.")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), default=Path())
@click.pass_context
def command(
    context: click.Context,
    directory: Path,
    base_url: str | None,
    models: tuple[str, ...] | None,
    keys: int,
    kind: str,
    force: bool,
) -> None:
    """Write phases.toml and keys.env.example into DIRECTORY (here when absent).

    As shipped they hold five phases over two providers and run on the embedded provider, without a key. With --base-url
    they are for a service of yours: its address up to and without /chat/completions (azure: without /openai), its
    models, a small phase `first` and a larger one, backend live.

    \b
    Examples:
      benchrunner init night-runs
      benchrunner init my-runs --base-url https://api.openai.com/v1 --models gpt-4o-mini,gpt-4o
    """
    import shlex

    from benchrunner.config.shipped import KEYS_EXAMPLE_FILE, PHASES_FILE, shipped_text
    from benchrunner.config.starter import Service, starter_files
    from benchrunner.errors import UsageError

    given = [name for name in ("models", "keys", "kind") if _was_given(context, name)]
    if base_url is None and given:
        raise UsageError(f"--{given[0]} describes the service of --base-url, which is missing")
    if base_url is None:
        texts = (shipped_text(PHASES_FILE), shipped_text(KEYS_EXAMPLE_FILE))
    else:
        texts = starter_files(Service(kind=kind, base_url=base_url, models=models or (), keys=keys))
    names = (PHASES_FILE, KEYS_EXAMPLE_FILE)
    there = [str(directory / name) for name in names if (directory / name).exists()]
    if there and not force:
        are = "is" if len(there) == 1 else "are"
        raise UsageError(f"{' and '.join(there)} {are} there already; --force overwrites")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in zip(names, texts, strict=True):
            (directory / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write into {directory}: {error.strerror}") from error
    click.echo(f"wrote {' and '.join(str(directory / name) for name in names)}")
    if base_url is not None:
        inside = f"cd {shlex.quote(str(directory))} && " if directory != Path() else ""
        copied = f"{inside}cp {KEYS_EXAMPLE_FILE} keys.env && chmod 600 keys.env"
        click.echo(f"next: {copied}; put the secrets in; benchrunner check --live")


def _was_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
