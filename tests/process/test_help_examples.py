"""The examples that `benchrunner tasks ... --help` shows, typed in order into an empty directory after `init`."""

from __future__ import annotations

import sys

import click
import pytest
from doc_sessions import Reader, Step
from process_kit import Workspace

from benchrunner.cli.tasks_command import command as tasks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def examples(command: click.Command) -> list[str]:
    """Return the lines to type that stand under `Example` in the command's help."""
    heading, *lines = [line.strip() for line in (command.help or "").split("\b\n", 1)[1].splitlines()]
    assert heading.startswith("Example")
    return [line for line in lines if line]


SHOWN = {"tasks": tasks, "tasks generate": tasks.commands["generate"], "tasks show": tasks.commands["show"]}
"""All but `tasks check`, whose examples read files of the field that we do not ship."""


@pytest.mark.parametrize("name", SHOWN)
def test_the_examples_of_a_help_text_work_when_typed_in_order(name: str, workspace: Workspace) -> None:
    """Each ends with 0 where only those before it were typed; every trial they ask for is scored."""
    # Given the shipped phases.toml with a fast provider, and a `benchrunner` on the path
    workspace.edit_config("speed = 1 ", "latency = false\nspeed = 20 ")
    scripts = workspace.path / "bin"
    scripts.mkdir()
    (scripts / "benchrunner").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m benchrunner "$@"\n')
    (scripts / "benchrunner").chmod(0o755)
    reader = Reader(workspace.path, workspace.env | {"PATH": f"{scripts}:{workspace.env['PATH']}"})
    # When they are typed one after the other
    typed = examples(SHOWN[name])
    for line in typed:
        # Then each works
        reader.type(Step(line, ()))
    # And those that run a phase ran it to its end
    phases = [line.split()[2] for line in typed if line.startswith("benchrunner phase ")]
    assert len(typed) >= 3
    if phases:
        assert workspace.rows("select phase, status from runs order by started_at") == [
            {"phase": phase, "status": "complete"} for phase in phases
        ]
