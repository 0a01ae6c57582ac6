"""What process tests share: a workspace of their own, an outside provider, the command line as a user runs it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[2]
STRICT_PROVIDER = ROOT / "tests" / "servers" / "strict_provider.py"
SECRETS = {"IDEALLAB_KEY_0": "test-secret-a", "IDEALLAB_KEY_1": "test-secret-b", "IDEALLAB_KEY_2": "test-secret-c"}


def wait_until(happened: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
    """Return once `happened()`; fail the test with `what` if it does not within `timeout_s`."""
    deadline_s = time.monotonic() + timeout_s
    while not happened():
        if time.monotonic() > deadline_s:
            pytest.fail(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.02)


@dataclass
class StrictProvider:
    """A running strict provider."""

    process: subprocess.Popen[str]
    port: int

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def stats(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/stats", timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
            return found


@pytest.fixture
def strict_provider() -> Iterator[Callable[..., StrictProvider]]:
    """Start outside providers; each argument becomes an option of tests/servers/strict_provider.py."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> StrictProvider:
        process = subprocess.Popen([sys.executable, str(STRICT_PROVIDER), *options], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return StrictProvider(process, int(process.stdout.readline()))

    yield start
    for process in started:
        process.terminate()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass
class Workspace:
    """A directory with the shipped phases.toml, a state directory of its own, and the commands run in it."""

    path: Path
    env: dict[str, str]
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def db(self) -> Path:
        return self.path / "runs.db"

    def edit_config(self, old: str, new: str) -> None:
        """Replace `old` in phases.toml, which must hold it."""
        config = self.path / "phases.toml"
        text = config.read_text()
        assert old in text
        config.write_text(text.replace(old, new))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `benchrunner ARGUMENTS` and return the process."""
        process = subprocess.Popen(
            [sys.executable, "-m", "benchrunner", *arguments],
            cwd=self.path,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.running.append(process)
        return process

    def run(self, *arguments: str, timeout_s: float = 100.0) -> Ended:
        """Run `benchrunner ARGUMENTS` to its end."""
        return self.finish(self.start(*arguments), timeout_s)

    def finish(self, process: subprocess.Popen[str], timeout_s: float = 100.0) -> Ended:
        """Return how a started command ended."""
        out, err = process.communicate(timeout=timeout_s)
        return Ended(process.returncode, out, err)

    def rows(self, sql: str, *parameters: object) -> list[dict[str, Any]]:
        """Return what a query on runs.db answers."""
        import sqlite3

        with contextlib.closing(sqlite3.connect(f"file:{self.db}?mode=ro", uri=True, timeout=10)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql, parameters)]

    def count(self, sql: str) -> int:
        """Return the number a `select count(...)` answers, 0 while there is no such table yet."""
        if not self.db.exists():
            return 0
        try:
            (row,) = self.rows(sql)
        except Exception as error:  # sqlite3.OperationalError: the schema is only just being made
            if "no such table" in str(error) or "unable to open" in str(error) or "locked" in str(error):
                return 0
            raise
        return int(next(iter(row.values())))


@contextlib.contextmanager
def short_name(directory: Path) -> Iterator[Path]:
    """Name the directory by a path that leaves room for a unix socket in it (107 bytes), however deep pytest put it."""
    with tempfile.TemporaryDirectory(prefix="b-", dir="/tmp") as place:
        link = Path(place) / "t"
        link.symlink_to(directory)
        yield link


def family(pid: int) -> list[psutil.Process]:
    """Return a process's descendants."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def workers_of(pid: int) -> list[psutil.Process]:
    """Return the worker processes under a supervisor that hold a connection to somebody: those that serve a shard."""
    found = []
    for process in family(pid):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.net_connections(kind="tcp") and process.num_threads() > 1:
                found.append(process)
    return found


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A fresh workspace; whatever of its commands still runs at the end is killed, and the test fails."""
    (tmp_path / "phases.toml").write_text((ROOT / "phases.toml").read_text())
    env = {name: value for name, value in os.environ.items() if not name.startswith(("IDEALLAB", "AZURE"))}
    env |= SECRETS | {"BENCHRUNNER_STATE_DIR": str(tmp_path / "state"), "NO_COLOR": "1", "COLUMNS": "100"}
    space = Workspace(path=tmp_path, env=env)
    yield space
    left = [process for process in space.running if process.poll() is None]
    for process in left:
        for child in family(process.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.send_signal(signal.SIGKILL)
        process.kill()
        process.communicate()
    assert left == [], "a command outlived its test"
