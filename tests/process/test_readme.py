"""README.md is run as it stands: every command of its console sessions, in order, in one workspace."""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import pytest
from doc_sessions import Reader, console_steps
from process_kit import ROOT, Workspace

README = ROOT / "README.md"

SCRIPTS = {"benchrunner": "benchrunner", "sqlite-utils": "sqlite_utils"}
"""What the README calls, and the module of this interpreter that answers to it."""

CLONE = "git clone "


def recipe(target: str) -> str:
    """Return the command that `make TARGET` ends with, as it is typed."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, flags=re.MULTILINE)
    assert found is not None, f"the Makefile has no rule for {target}"
    return found[1].splitlines()[-1].strip().replace("$(BIN)", ".venv/bin")


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(180)
def test_every_command_of_the_readme_works_and_shows_what_it_says(workspace: Workspace) -> None:
    """Each ends with exit 0; where the README shows output under a command, that is what it prints."""
    # Given a workspace whose run takes seconds: a fast provider
    workspace.edit_config("speed = 1 ", "latency = false\nspeed = 20 ")
    scripts = workspace.path / ".venv" / "bin"
    scripts.mkdir(parents=True)
    for name, module in SCRIPTS.items():
        (scripts / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        (scripts / name).chmod(0o755)
    # When its commands are typed one after the other, where there is a clone and what make installs is installed
    reader = Reader(workspace.path, workspace.env | {"PATH": f"{scripts}:{workspace.env['PATH']}"})
    steps = [step for step in console_steps(README.read_text(encoding="utf-8")) if not step.command.startswith(CLONE)]
    assert len(steps) >= 15
    for step in steps:
        # Then each works
        made = step.command.removeprefix("make ")
        reader.type(replace(step, command=recipe(made)) if made != step.command else step)
    assert "<html" in (workspace.path / "report.html").read_text(encoding="utf-8")[:500].lower()


def test_a_newcomer_gets_from_clone_to_a_report_page_in_three_commands() -> None:
    """The first session is clone, `make demo`, report; what it installs has what a report needs."""
    first = [step.command for step in console_steps(README.read_text(encoding="utf-8"))[:3]]
    assert first[0].startswith(CLONE)
    assert first[1:] == ["make demo", ".venv/bin/benchrunner report -o report.html"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (installed,) = re.findall(r"^\$\(VENV\)/\.installed:.*\n\t(.*)$", makefile, flags=re.MULTILINE)
    assert installed.endswith("pip install -q -e '.[report]'")


def test_every_file_the_readme_links_to_exists() -> None:
    """No link of the README leads nowhere."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README.read_text(encoding="utf-8"))
    assert links != []
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_two_commands_do_all_the_set_up() -> None:
    """The README promises `make demo` and `make test`, and the Makefile has both."""
    text = README.read_text(encoding="utf-8")
    assert "`make demo`" in text
    assert "`make test`" in text
    assert recipe("demo").startswith(".venv/bin/benchrunner phase ")
    assert ".venv/bin/pytest" in recipe("test")
