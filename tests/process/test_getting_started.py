"""docs/getting-started.md is followed to the letter, with a provider on loopback in the place of the reader's own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
from doc_sessions import Reader, Step, console_steps, shows
from process_kit import ROOT, Workspace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

PAGE = ROOT / "docs" / "getting-started.md"
FAULTY_PROVIDER = ROOT / "tests" / "servers" / "faulty_provider.py"
ADDRESS = "https://api.example.com/v1"


@pytest.fixture
def provider_url() -> Iterator[str]:
    """The address of a provider that follows the plan it is shown, and never fails."""
    process = subprocess.Popen(
        [sys.executable, str(FAULTY_PROVIDER), "--latency", "0.05"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    process.terminate()
    process.wait(10)
    process.stdout.close()


def test_the_five_steps_lead_to_a_live_run_and_print_what_the_page_shows(
    workspace: Workspace, provider_url: str
) -> None:
    """Every command ends with 0 and prints what stands under it; the secret is shown nowhere."""
    # Given a reader in an empty directory
    (workspace.path / "phases.toml").unlink()
    reader = Reader(workspace.path, with_commands(workspace))
    secret = "sk-getting-started-0123"
    for step in console_steps(PAGE.read_text(encoding="utf-8")):
        # When each command is typed, and what the text between them asks for is done
        reader.type(replace(step, command=step.command.replace(ADDRESS, provider_url)))
        if step.command.startswith("cp keys.env.example"):
            edit(reader, "keys.env", "BENCH_KEY_0=", f"BENCH_KEY_0={secret}")
        if step.command == "benchrunner check":
            edit(reader, "phases.toml", "requests = 60, per_s = 60", "requests = 600, per_s = 60")
    # Then there is a live run, complete, and a page of it
    here = Workspace(path=reader.here, env=workspace.env)
    assert here.rows("select phase, backend, status from runs") == [
        {"phase": "first", "backend": "live", "status": "complete"}
    ]
    assert "<html" in (reader.here / "first.html").read_text(encoding="utf-8")[:500].lower()
    assert [command for command, printed in reader.transcript if secret in printed] == []
    assert secret not in (reader.here / "first.html").read_text(encoding="utf-8")


def with_commands(workspace: Workspace) -> dict[str, str]:
    """Return the environment with a `benchrunner` of this interpreter on the path."""
    scripts = workspace.path / "bin"
    scripts.mkdir()
    (scripts / "benchrunner").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m benchrunner "$@"\n')
    (scripts / "benchrunner").chmod(0o755)
    return workspace.env | {"PATH": f"{scripts}:{workspace.env['PATH']}"}


def edit(reader: Reader, name: str, old: str, new: str) -> None:
    path = reader.here / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_every_step_has_a_command() -> None:
    """Five steps, each with a block to type from."""
    parts = re.split(r"^## (\d)\. ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    numbers, texts = parts[1::2], parts[2::2]
    assert numbers == ["1", "2", "3", "4", "5"]
    assert [number for number, text in zip(numbers, texts, strict=True) if "```" not in text] == []


def test_what_a_page_shows_is_held_against_what_is_printed() -> None:
    """Numbers, ids and widths may differ; words, and lines that are not there, may not."""
    printed = "run 20261123T080024-first-f0bc: pool\n\nkey  calls\nkey0    83\nkey1     4\n"
    assert shows(("run 20250101T000000-first-0000: pool", "key calls", "key0 7", "key1 12"), printed)
    assert shows(("...", "key calls", "..."), printed)
    assert not shows(("run 20250101T000000-first-0000: serial", "..."), printed)
    assert not shows(("key calls", "key0 7", "key1 12"), printed)
    assert not shows(("...", "key0 7"), printed)
    assert not shows(("...", "key1 0"), printed)
    assert console_steps("```console\n$ a\nx\n$ b\n```\n") == [Step("a", ("x",)), Step("b", ())]
