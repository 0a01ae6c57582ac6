"""SIGKILL of any process of a run, at any moment: nothing scored is lost or doubled, the next command works at once.

`BENCHRUNNER_KILLS=100 pytest tests/process/test_kills.py -s` does it a hundred times; the suite does it a few.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from process_kit import StrictProvider, Workspace, family, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

Provide = Callable[..., StrictProvider]

KILLS = int(os.environ.get("BENCHRUNNER_KILLS", "8"))
SEED = 20261123
RUN = ("phase", "5.2", "--live", "--instances", "2", "--models", "qwen2.5-7b-instruct,qwen2.5-3b-instruct")
TRIALS = 40
ENDED_AS_DOCUMENTED = {0, 1, -signal.SIGKILL}


def test_a_killed_manager_is_replaced(workspace: Workspace, strict_provider: Provide) -> None:
    """SIGKILL of the Manager: a new one takes over, leases are granted anew under higher fences, the run completes."""
    # Given a run whose workers hold leases
    provider = strict_provider("--limit", "20")
    workspace.env["IDEALLAB_BASE_URL"] = provider.base_url
    workspace.edit_config("limits = [{ requests = 10, per_s = 1 }]", "limits = [{ requests = 20, per_s = 1 }]")
    process = workspace.start(*RUN, "--policy", "pool")
    wait_until(lambda: workspace.count("select count(*) from calls where outcome = 'ok'") > 20, "20 replies")
    # When the Manager is killed
    manager_of(process.pid).send_signal(signal.SIGKILL)
    # Then the run goes on under a new one, and no lease is left open
    ended = workspace.finish(process)
    assert ended.code == 0, ended.err
    assert "a new one takes over" in ended.err
    assert workspace.rows("select status, count(*) n from trials group by status") == [
        {"status": "scored", "n": TRIALS}
    ]
    lost = workspace.rows("select key_id, fence from leases where reason = 'manager_lost'")
    assert lost != []
    for lease in lost:
        query = "select max(fence) m from leases where key_id = ?"
        assert workspace.rows(query, lease["key_id"])[0]["m"] > lease["fence"]
    assert workspace.count("select count(*) from leases where released_at is null") == 0


@pytest.mark.alone
def test_any_process_may_be_killed_at_any_moment(workspace: Workspace, strict_provider: Provide) -> None:
    """Random kills, seeded: no lease stays taken, no window is forgotten, no scored trial is lost or doubled."""
    rng = random.Random(SEED)
    provider = strict_provider("--limit", "30", "--latency", "0.15")
    workspace.env["IDEALLAB_BASE_URL"] = provider.base_url
    workspace.edit_config("limits = [{ requests = 10, per_s = 1 }]", "limits = [{ requests = 30, per_s = 1 }]")
    scored: dict[str, Any] = {}
    victims: dict[str, int] = {}
    kills = 0
    while kills < KILLS:
        process = workspace.start(*next_command(workspace))
        while kills < KILLS and (victim := choose_victim(process, rng)) is not None:
            victims[victim[0]] = victims.get(victim[0], 0) + 1
            kills += 1
            for member in victim[1]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.send_signal(signal.SIGKILL)
        members = family(process.pid)
        ended = workspace.finish(process)
        assert ended.code in ENDED_AS_DOCUMENTED, ended.err
        gone = time.monotonic() + 5.0
        while any(is_alive(member) for member in members):
            assert time.monotonic() < gone, "a process of the run outlived its supervisor by five seconds"
            time.sleep(0.02)
        assert_no_lock_is_held(workspace.path / "state" / "leases")
        scored = assert_nothing_lost(workspace, scored)
    # At last: what is unfinished ends complete, and no window was forgotten in all that time
    for _ in range(5):
        if workspace.run(*next_command(workspace)).code == 0:
            break
    assert_nothing_lost(workspace, scored)
    newest = workspace.rows("select id, status from runs order by started_at desc limit 1")[0]
    assert newest["status"] == "complete"
    count = "select count(*) n from trials where run_id = ? and status = 'scored'"
    assert workspace.rows(count, newest["id"]) == [{"n": TRIALS}]
    # A forgotten window lets a whole second's requests through twice, thirty refusals at each kill of a supervisor.
    # One that reaches a busy provider a few milliseconds late is no such thing.
    seen = provider.stats()
    assert sum(seen["refused"].values()) <= sum(seen["accepted"].values()) / 100
    print(f"\n{kills} kills: " + ", ".join(f"{n} {what}" for what, n in sorted(victims.items())))


def next_command(workspace: Workspace) -> tuple[str, ...]:
    """Return what a user would type now: resume if something is unfinished, else a new run."""
    if workspace.count("select count(*) from runs where status <> 'complete'"):
        return ("resume",)
    return (*RUN, "--policy", "pool")


def choose_victim(process: subprocess.Popen[str], rng: random.Random) -> tuple[str, list[psutil.Process]] | None:
    """Wait a random while, then return what to kill and what it is; None when the command has ended."""
    try:
        process.wait(rng.uniform(0.05, 1.5))
        return None
    except subprocess.TimeoutExpired:
        pass
    try:
        supervisor = psutil.Process(process.pid)
        children = supervisor.children(recursive=True)
    except psutil.NoSuchProcess:
        return None
    kind = rng.choice(["child", "child", "child", "supervisor", "everything"])
    if kind == "everything":
        return kind, [supervisor, *children]
    if kind == "supervisor" or not children:
        return "supervisor", [supervisor]
    return kind, [rng.choice(children)]


def manager_of(pid: int) -> psutil.Process:
    """Return the Manager: the process that listens on the run's unix socket."""
    for member in family(pid):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if any(str(c.laddr).endswith(".sock") for c in member.net_connections(kind="unix") if c.laddr):
                return member
    raise AssertionError("no process of the run listens on a unix socket")


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def assert_no_lock_is_held(directory: Path) -> None:
    for path in directory.glob("*.lock"):
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises BlockingIOError where it is held


def assert_nothing_lost(workspace: Workspace, before: dict[str, Any]) -> dict[str, Any]:
    """Return every scored trial; those scored before must stand as they stood."""
    if not workspace.db.exists():
        return before
    try:
        rows = workspace.rows("select id, level, ended_at, transcript from trials where status = 'scored'")
    except sqlite3.OperationalError:
        return before  # killed before the schema was made: then nothing can have been scored
    now = {row["id"]: (row["level"], row["ended_at"], row["transcript"]) for row in rows}
    assert {trial: now.get(trial) for trial in before} == before
    return now
