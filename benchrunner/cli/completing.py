"""What the shell offers where a phase, a run, a policy or models are to be typed. Must answer between two keystrokes.

phases.toml is read here without being checked: a file that is being edited is wrong most of the time, and its phases
are wanted all the same. Where there is nothing to offer nothing is said, least of all in the middle of a line.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

MOST_RUNS = 30


def complete_phases(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the config's phases that begin so, with their titles; those already on the line are left out."""
    typed = context.params.get(parameter.name or "") or ()
    return [
        CompletionItem(name, help=_text(body, "title"))
        for name, body in _tables(context, "phases").items()
        if name.startswith(incomplete) and name not in typed
    ]


def complete_runs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the newest runs of the database whose ids begin so, with phase, policy and status."""
    from benchrunner.errors import StoreError
    from benchrunner.store.run_names import newest_runs

    try:
        runs = newest_runs(_database(context), incomplete, most=MOST_RUNS)
    except StoreError:
        return []  # the command itself will say what is wrong with the file
    return [CompletionItem(run_id, help=told) for run_id, told in runs]


def complete_policies(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the policies that begin so, with what each does."""
    from benchrunner.policies import POLICIES

    return [CompletionItem(name, help=told) for name, told in POLICIES.items() if name.startswith(incomplete)]


def complete_models(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the config's models that begin as the last name of a comma-separated list does."""
    before, comma, last = incomplete.rpartition(",")
    typed = before.split(",")
    return [
        CompletionItem(f"{before}{comma}{name}")
        for name in _tables(context, "models")
        if name.startswith(last) and name not in typed
    ]


def _config(context: click.Context) -> dict[str, Any]:
    import tomllib

    from benchrunner.cli.options import DEFAULT_CONFIG

    try:
        return tomllib.loads(_config_path(context, DEFAULT_CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _config_path(context: click.Context, default: Path) -> Path:
    named = context.params.get("config_path")
    return Path(named) if named else default


def _tables(context: click.Context, name: str) -> dict[str, Any]:
    found = _config(context).get(name)
    return found if isinstance(found, dict) else {}


def _text(body: object, name: str) -> str:
    found = body.get(name) if isinstance(body, dict) else None
    return found if isinstance(found, str) else ""


def _database(context: click.Context) -> Path:
    from benchrunner.cli.options import DEFAULT_CONFIG

    named = context.params.get("db_path")
    if named:
        return Path(named)
    told = _text(_tables(context, "run"), "db") or "runs.db"
    return _config_path(context, DEFAULT_CONFIG).parent / os.path.expandvars(told)
