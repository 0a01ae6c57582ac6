"""Where a benchmark runs commands: a temporary directory with its config, its questions, its state, its database.

Nothing here reaches beyond loopback, and everything is gone when the block ends: files, servers, commands.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.accounting import Account
from benchrunner.config.shipped import shipped_text

ROOT = Path(__file__).parents[1]
STRICT_PROVIDER = ROOT / "tests" / "servers" / "strict_provider.py"
SECRETS = {f"IDEALLAB_KEY_{n}": f"bench-secret-{n}" for n in range(3)}
SHIPPED_LIMIT = "limits = [{ requests = 10, per_s = 1 }]"
COMMAND_TIMEOUT_S = 300.0

LATENCIES_S = {
    "qwen2.5-72b-instruct": 1.2,
    "qwen2.5-32b-instruct": 0.9,
    "qwen2.5-14b-instruct": 0.6,
    "qwen2.5-7b-instruct": 0.4,
    "qwen2.5-3b-instruct": 0.3,
}
"""W1's median latencies; log-normal about them with SIGMA."""

SIGMA = 0.3
BROAD = ("qwen2.5-72b-instruct", "qwen2.5-32b-instruct", "qwen2.5-14b-instruct")
"""Three models on three different keys: what keeps every key at one long shard."""


class CommandFailed(Exception):
    """A command of a benchmark ended as it must not; there is no figure to print."""


@dataclass(slots=True)
class StrictServer:
    """A running strict provider."""

    process: subprocess.Popen[str]
    port: int

    @property
    def base_url(self) -> str:
        """Return where the openai dialect is served."""
        return f"http://127.0.0.1:{self.port}/v1"

    def stats(self) -> dict[str, Any]:
        """Return what arrived so far."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/stats", timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a command ended, and what it took."""

    account: Account
    out: str
    err: str


@dataclass(slots=True)
class Workspace:
    """One temporary directory and the commands run in it."""

    path: Path
    env: dict[str, str]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def db(self) -> Path:
        """Return the database of its runs."""
        return self.path / "runs.db"

    @property
    def tasks(self) -> Path:
        """Return the file of questions."""
        return self.path / "questions.jsonl"

    def edit_config(self, old: str, new: str) -> None:
        """Replace `old` in phases.toml, which must hold it."""
        config = self.path / "phases.toml"
        text = config.read_text()
        if old not in text:
            raise CommandFailed(f"the shipped phases.toml no longer holds {old!r}")
        config.write_text(text.replace(old, new))

    def write_questions(self, count: int) -> None:
        """Write `count` questions, all of whose answers are OK."""
        rows = (
            {"id": f"q{n}", "prompt": f"Question {n}: answer with the word OK and nothing else.", "expected": "OK"}
            for n in range(count)
        )
        self.tasks.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def start(self, command: Sequence[str], *, to: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start `command` under the accounting wrapper, and return the wrapper's process."""
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.accounting", str(self.path / "account.json"), *command],
            cwd=self.path,
            env={**self.env, **(to or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that whatever is left of it can be ended as one group
        )
        self.started.append(process)
        return process

    def finish(self, process: subprocess.Popen[str], *, may_end: tuple[int, ...] = (0,)) -> Ran:
        """Return how a started command ended. Raises CommandFailed for an exit code not in `may_end`."""
        out, err = process.communicate(timeout=COMMAND_TIMEOUT_S)
        account = Account.read(self.path / "account.json")
        if account.exit_code not in may_end:
            raise CommandFailed(f"{process.args!r} ended with {account.exit_code}:\n{err[-2000:]}")
        return Ran(account=account, out=out, err=err)

    def run(
        self, command: Sequence[str], *, to: Mapping[str, str] | None = None, may_end: tuple[int, ...] = (0,)
    ) -> Ran:
        """Run `command` to its end."""
        return self.finish(self.start(command, to=to), may_end=may_end)

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Return what a query on the database answers."""
        with closing(sqlite3.connect(f"file:{self.db}?mode=ro", uri=True, timeout=10)) as connection:
            return connection.execute(sql, parameters).fetchall()

    def drop_db(self) -> None:
        """Forget every run, so that the next one finds no history."""
        for path in self.path.glob("runs.db*"):
            path.unlink()


def benchrunner(*arguments: str) -> list[str]:
    """Return the command line of `benchrunner ARGUMENTS`."""
    return [sys.executable, "-m", "benchrunner", *arguments]


def phase_command(workspace: Workspace, phase: str, policy: str, calls: int, *more: str) -> list[str]:
    """Return the command that asks each of a phase's shards `calls` of the workspace's questions."""
    return benchrunner(
        "phase", phase, "--policy", policy, "--suite", "jsonl", "--tasks", str(workspace.tasks),
        "--instances", str(calls), "--quiet", *more,
    )  # fmt: skip


@contextmanager
def open_workspace(*, questions: int) -> Iterator[Workspace]:
    """Return a fresh workspace with the shipped config and so many questions."""
    with TemporaryDirectory(prefix="benchrunner-bench-") as directory, ExitStack() as stack:
        path = Path(directory)
        (path / "phases.toml").write_text(shipped_text("phases.toml"))
        env = {name: value for name, value in os.environ.items() if not name.startswith(("IDEALLAB", "AZURE"))}
        env.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's second command finds its modules compiled
        env |= SECRETS | {
            "BENCHRUNNER_STATE_DIR": str(path / "state"),
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "NO_COLOR": "1",
            "HOME": str(path),  # peers keep traces and caches there
            "XDG_DATA_HOME": str(path / "data"),
            "XDG_CACHE_HOME": str(path / "cache"),
        }
        workspace = Workspace(path=path, env=env)
        stack.callback(_end_all, workspace.started)
        workspace.write_questions(questions)
        yield workspace


def _end_all(started: Sequence[subprocess.Popen[str]]) -> None:
    for process in started:
        if process.poll() is None:  # only when the benchmark itself was broken off
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@contextmanager
def strict_server(*options: str) -> Iterator[StrictServer]:
    """Return a strict provider in a process of its own; the options are tests/servers/strict_provider.py's."""
    process = subprocess.Popen([sys.executable, str(STRICT_PROVIDER), *options], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield StrictServer(process=process, port=int(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def w1_options() -> list[str]:
    """Return the strict provider's options for W1: ten requests per second and key, latencies by model."""
    latencies = [option for model, s in LATENCIES_S.items() for option in ("--latency-of", f"{model}={s}")]
    return ["--limit", "10", "--per-s", "1", "--sigma", str(SIGMA), *latencies]


def add_broad_phase(workspace: Workspace, *, dialogues: int) -> None:
    """Add phase "broad" to the config: one shard on each of three keys without limits, so many dialogues in all."""
    workspace.edit_config(SHIPPED_LIMIT, "limits = []")
    workspace.edit_config("workers = 30", f"workers = {dialogues // len(BROAD)}")
    models = ", ".join(f'"{model}"' for model in BROAD)
    with (workspace.path / "phases.toml").open("a") as config:
        config.write(
            f'\n[phases.broad]\ntitle = "Three long shards"\nmodels = [{models}]\nprompts = ["optimal"]\n'
            'difficulties = ["easy"]\ninstances = 1\ntool_success_rates = [0.8]\norder = "concurrent"\n'
            'policy = "pool"\n'
        )
