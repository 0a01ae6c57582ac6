"""`benchrunner completion`: prints what makes a shell complete commands, phases, runs and policies."""

from __future__ import annotations

import click

PROGRAM = "benchrunner"


@click.command("completion", short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print a script that makes SHELL complete commands, options, phases, run ids, policies and models.

    Phases and models are those of phases.toml here (or of --config on the line), runs those of its database.

    \b
    Examples, for the shell you are in and for all to come:
      source <(benchrunner completion bash)
      benchrunner completion bash > ~/.local/share/bash-completion/completions/benchrunner
      benchrunner completion zsh > ~/.zfunc/_benchrunner
      benchrunner completion fish > ~/.config/fish/completions/benchrunner.fish
    """
    from click.shell_completion import get_completion_class

    from benchrunner.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None, f"click knows no {shell}"
    click.echo(kind(cli, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE").source())
