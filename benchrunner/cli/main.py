"""The `benchrunner` command: finds the subcommand asked for and turns errors into sentences and exit codes.

Only click is imported here: `benchrunner --help` answers in a tenth of a second, and each command brings in what it
needs when it runs.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys

import click

from benchrunner import __version__
from benchrunner.errors import BenchrunnerError

COMMANDS = (
    "init",
    "check",
    "plan",
    "phase",
    "resume",
    "runs",
    "show",
    "audit",
    "report",
    "compare",
    "export",
    "keys",
    "nightly",
    "tasks",
    "simulate",
    "browse",
    "completion",
)
"""In the order a newcomer meets them. Each is `command` in the file of its name."""


class CommandFiles(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return the command in the file of that name, or None."""
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"benchrunner.cli.{name}_command").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command when one is not known, and the place of a word that is empty."""
        if args and args[0] and args[0] not in COMMANDS and not args[0].startswith("-"):
            from benchrunner.errors import did_you_mean

            ctx.fail(f'no command "{args[0]}"; {did_you_mean(args[0], COMMANDS)}')
        if not ctx.resilient_parsing:  # completion looks at lines that are not finished
            _refuse_empty(ctx, args)
        return super().resolve_command(ctx, args)


@click.group(cls=CommandFiles, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="benchrunner")
def cli() -> None:
    """Run language-model benchmark phases over a few shared, rate-limited API keys.

    No key is ever sent more than its limit, no finished result is lost, and no infrastructure failure is counted as
    a model's failure. phases.toml says what to run, runs.db keeps what came of it.

    \b
    Example: the five Qwen sizes at two difficulties, keys leased from a pool
      benchrunner phase 5.2 --policy pool
    """


def _refuse_empty(ctx: click.Context, args: list[str]) -> None:
    """Raise UsageError for an empty word: mostly a shell variable that is not set, and never what somebody means.

    Taken as it stands it would be the newest run, the directory worked in, or the default of an option.
    """
    for before, word in zip(["benchrunner", *args], args, strict=False):
        name, equals, value = word.partition("=")
        if not word or (name.startswith("--") and equals and not value):
            named = before if not word else name
            _innermost(ctx, args).fail(f"the word after {named} is empty; is a shell variable not set?")


def _innermost(ctx: click.Context, args: list[str]) -> click.Context:
    """Return the context of the command that the words name: its usage is what helps whoever wrote them."""
    for word in args:
        command = ctx.command.get_command(ctx, word) if isinstance(ctx.command, click.Group) else None
        if command is None:
            break
        ctx = click.Context(command, info_name=word, parent=ctx)
    return ctx


def main() -> None:
    """Run the command line and exit with the documented code (docs/cli.md, "Exit codes")."""
    if os.name != "posix":
        click.echo("benchrunner runs on Linux and macOS only: it needs flock, unix sockets and fork servers", err=True)
        sys.exit(2)
    try:
        # Named, however it was started: `python -m benchrunner` would complete under another variable.
        code = cli(prog_name="benchrunner", standalone_mode=False)
    except click.exceptions.Abort as abort:
        # click also takes an EOFError for somebody at the keyboard; nobody is asked anything here, so it is a bug.
        if isinstance(abort.__cause__ or abort.__context__, EOFError):
            raise
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BenchrunnerError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        from benchrunner.cli.last_words import silence_stdout

        silence_stdout()  # the reader of our output went away (`| head`)
        sys.exit(0)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        from benchrunner.cli.last_words import silence_stdout

        silence_stdout()
        click.echo(f"Error: the output is not whole: {error.strerror}", err=True)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)
