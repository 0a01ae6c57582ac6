"""The command-line reference of docs/cli.md, made from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator

import click

from benchrunner.cli.main import cli

WIDTH = 100


def reference() -> str:
    """Return the help texts of all commands as Markdown, in the order a newcomer meets them."""
    return "\n".join(_sections("benchrunner", cli, None))


def _sections(title: str, command: click.Command, parent: click.Context | None) -> Iterator[str]:
    """Yield the command's section and, where it is a group, those of its subcommands."""
    yield _section(title, command, parent)
    if not isinstance(command, click.Group):
        return
    context = click.Context(command, info_name=title.rpartition(" ")[2], parent=parent)
    for name in command.list_commands(context):
        subcommand = command.get_command(context, name)
        assert subcommand is not None, f"{title} lists {name}, which there is not"
        yield from _sections(f"{title} {name}", subcommand, context)


def _section(title: str, command: click.Command, parent: click.Context | None) -> str:
    name = title.rpartition(" ")[2]
    context = click.Context(command, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH)
    lines = [line.rstrip() for line in command.get_help(context).splitlines()]
    return "\n".join([f"## {title}", "", "```text", *lines, "```", ""])
