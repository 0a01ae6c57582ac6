"""What a command does when stdout takes nothing: the work is done by then, and its exit code must still tell of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click


@contextmanager
def whatever_stdout_takes() -> Iterator[None]:
    """Print inside; a full disk or a reader that went away is told on stderr and changes nothing else."""
    try:
        yield
    except OSError as error:
        silence_stdout()
        if not isinstance(error, BrokenPipeError):
            click.echo(f"stdout takes nothing ({error.strerror}); `benchrunner show` tells what came of it", err=True)


def silence_stdout() -> None:
    """Have stdout swallow the rest, the interpreter's own flush at the end included."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
