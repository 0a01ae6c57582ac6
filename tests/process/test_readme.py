"""README.md is run as it stands: every command of its console sessions, in order, in one workspace."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from process_kit import ROOT, Workspace

README = ROOT / "README.md"

SCRIPTS = {"benchrunner": "benchrunner", "sqlite-utils": "sqlite_utils"}
"""What the README calls, and the module of this interpreter that answers to it."""


def console_sessions(text: str) -> list[tuple[str, list[str]]]:
    """Return (command, lines shown under it) for every `$ ` line of the console blocks, in order."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```console\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                assert found, f"a console block begins with output: {line!r}"
                found[-1][1].append(line)
    return found


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_every_command_of_the_readme_works_and_shows_what_it_says(workspace: Workspace) -> None:
    """Each ends with exit 0; where the README shows output under a command, that is what it prints."""
    # Given a workspace whose run takes seconds: a fast provider and one instance of each task type
    workspace.edit_config("speed = 1 ", "latency = false\nspeed = 20 ")
    workspace.edit_config("\ninstances = 20", "\ninstances = 1")
    scripts = workspace.path / ".venv" / "bin"
    scripts.mkdir(parents=True)
    for name, module in SCRIPTS.items():
        (scripts / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        (scripts / name).chmod(0o755)
    env = workspace.env | {"PATH": f"{scripts}:{workspace.env['PATH']}"}
    # When its commands are typed one after the other
    sessions = console_sessions(README.read_text(encoding="utf-8"))
    assert len(sessions) >= 5
    for command, shown in sessions:
        ended = subprocess.run(
            ["bash", "-c", command], cwd=workspace.path, env=env, capture_output=True, text=True, timeout=100
        )
        # Then each works
        assert ended.returncode == 0, f"$ {command}\n{ended.stderr}"
        if shown:
            assert ended.stdout.rstrip().splitlines() == shown, f"$ {command}"


def test_every_file_the_readme_links_to_exists() -> None:
    """No link of the README leads nowhere."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README.read_text(encoding="utf-8"))
    assert links != []
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_two_commands_do_all_the_set_up() -> None:
    """The README promises `make demo` and `make test`, and the Makefile has both."""
    (setup,) = re.findall(r"^```sh\n(.*?)^```$", README.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert [line.split("#")[0].strip() for line in setup.splitlines()] == ["make demo", "make test"]
    rules = {line.split(":")[0] for line in Path(ROOT / "Makefile").read_text(encoding="utf-8").splitlines()}
    assert {"demo", "test"} <= rules
