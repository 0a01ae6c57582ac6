"""Nights as cron runs them: one at a time, what a killed one left gone on with, a drop found, an empty environment."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from process_kit import ROOT, SECRETS, Ended, StrictProvider, Workspace, family, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

DOCUMENT = ROOT / "docs" / "nightly.md"
PLACEHOLDER = "/srv/bench"
SMALL = ("--models", "qwen2.5-3b-instruct", "--instances", "1")
SLOW = ("5.1", "--models", "qwen2.5-7b-instruct,qwen2.5-3b-instruct", "--instances", "2")
SLOW_TRIALS = 20


@pytest.fixture
def nights(workspace: Workspace) -> Workspace:
    """Return a workspace whose embedded provider is fast and whose drain is short."""
    workspace.edit_config("speed = 1 ", "speed = 60 ")
    workspace.edit_config("seed = 20250826 ", "drain_s = 0.5\nseed = 20250826 ")
    return workspace


def rows(workspace: Workspace) -> list[dict[str, Any]]:
    return workspace.rows("select * from nights order by started_at")


def test_a_planted_drop_is_found_the_night_after(nights: Workspace) -> None:
    """Two nights of the same configuration: the second is held against the first; a drop ends it with 4, told first."""
    # Given a model that fails often, and a night of it, with nothing to be held against
    config = nights.path / "phases.toml"
    config.write_text(config.read_text() + '\n[models."qwen2.5-3b-instruct".simulated]\nskill = 0.0\n')
    command = ("nightly", "5.5", "--models", "qwen2.5-3b-instruct", "--instances", "3")
    first = nights.run(*command)
    assert first.code == 0, first.err
    assert "COMPLETE, exit 0" in first.out.splitlines()[0]
    # And that night's results made out to be better than they were
    with closing(sqlite3.connect(nights.db)) as connection:
        lifted = connection.execute("update trials set level = 'full' where level = 'failure'").rowcount
        connection.commit()
    assert lifted >= 8
    # When the next night has run
    second = nights.run(*command, "--quiet")
    # Then its exit code, the first lines of its mail and its row tell of the drop
    assert second.code == 4, second.out + second.err
    lines = second.out.splitlines()
    assert lines[0].endswith("SIMULATED REGRESSED, exit 4")
    assert lines[2] == "What went wrong:"
    assert "5.5 fell: " in lines[3]
    assert_fits_one_screen(second.out)
    earlier, later = rows(nights)
    assert (earlier["status"], earlier["exit_code"], earlier["compared_with"]) == ("complete", 0, "{}")
    assert (later["status"], later["exit_code"]) == ("regressed", 4)
    assert "5.5 fell: " in later["reason"]
    runs = {row["batch_id"]: row["id"] for row in nights.rows("select id, batch_id from runs")}
    assert json.loads(later["compared_with"]) == {runs[later["id"]]: runs[earlier["id"]]}
    # And each line of the log has its time
    assert [line for line in second.err.splitlines() if not re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", line)] == []


def test_one_night_at_a_time_and_a_killed_one_is_gone_on_with(nights: Workspace) -> None:
    """The lock keeps a second night out and goes with its holder; the third runs what a killed one left and its own."""
    # Given a night that is under way
    nights.edit_config("speed = 60 ", "speed = 6 ")
    killed = nights.start("nightly", *SLOW)
    wait_until(lambda: nights.count("select count(*) from nights") == 1, "the row of the first night")
    # When another begins
    skipped = nights.run("nightly", *SLOW, "--wait", "0", "--json")
    # Then it ends with 75 and leaves a row, though the database is being written
    assert skipped.code == 75, skipped.err
    told = json.loads(skipped.out)
    assert (told["status"], told["runs"]) == ("skipped", [])
    assert f"(process {killed.pid}) was under way" in told["trouble"]
    assert [(row["status"], row["exit_code"]) for row in rows(nights)] == [("running", None), ("skipped", 75)]
    # When the one under way is killed outright, some of its trials scored
    wait_until(lambda: nights.count("select count(*) from trials where status = 'scored'") >= 2, "two scored trials")
    members = family(killed.pid)
    killed.send_signal(signal.SIGKILL)
    nights.finish(killed)
    scored = nights.count("select count(*) from trials where status = 'scored'")
    assert 0 < scored < SLOW_TRIALS
    # Then the next has the lock at once, runs the rest of the killed one's run, and then its own
    third = nights.run("nightly", *SLOW, "--wait", "0")
    assert third.code == 0, third.out + third.err
    assert f"kept {scored}, run {SLOW_TRIALS - scored}" in third.err
    dead, _, last = rows(nights)
    assert (dead["status"], dead["exit_code"]) == ("killed", None)
    assert (last["status"], last["exit_code"]) == ("complete", 0)
    runs = nights.rows("select id, batch_id, status from runs order by started_at")
    assert [(run["batch_id"], run["status"]) for run in runs] == [(dead["id"], "complete"), (last["id"], "complete")]
    assert json.loads(last["resumed"]) == [runs[0]["id"]]
    assert json.loads(last["compared_with"]) == {runs[1]["id"]: runs[0]["id"]}
    assert f"night {dead['id']} was killed" in third.out
    assert [member for member in members if member.is_running() and member.status() != "zombie"] == []


def test_a_night_waits_for_the_one_before_and_a_signal_ends_the_wait(nights: Workspace) -> None:
    """SIGTERM while waiting ends with 143 and a row; SIGTERM to the running one drains it, saved and resumable."""
    # Given a night under way, and one that waits for it
    nights.edit_config("speed = 60 ", "speed = 1 ")
    running = nights.start("nightly", *SLOW)
    wait_until(lambda: nights.count("select count(*) from calls") > 0, "a call of the first night")
    waiting = nights.start("nightly", *SLOW, "--wait", "1h")
    assert waiting.stderr is not None
    assert "is under way; waiting for it" in waiting.stderr.readline()
    # When both are told to stop
    waiting.send_signal(signal.SIGTERM)
    running.send_signal(signal.SIGTERM)
    waited, ran = nights.finish(waiting), nights.finish(running)
    # Then both say so
    assert (waited.code, ran.code) == (143, 143), waited.err + ran.err
    assert "5.1 was stopped by SIGTERM: " in ran.out
    assert "SIGTERM came while another night" in waited.out
    assert [(row["status"], row["exit_code"]) for row in rows(nights)] == [("interrupted", 143)] * 2
    assert nights.rows("select status from runs") == [{"status": "interrupted"}]


def test_at_the_deadline_a_night_drains_and_leaves_the_rest(nights: Workspace) -> None:
    """The running phase is drained, the next is not begun, exit 1; another configuration does not go on with it."""
    # Given work for longer than the deadline
    nights.edit_config("speed = 60 ", "speed = 1 ")
    # When the night has had its time
    cut = nights.run("nightly", "5.1", "5.4", *SMALL, "--deadline", "4s")
    # Then it ends incomplete, and says what is left
    assert cut.code == 1, cut.out + cut.err
    assert "5.1 was stopped by the deadline: " in cut.out
    assert "5.4 was not run: the deadline came first" in cut.out
    assert_fits_one_screen(cut.out)
    (row,) = rows(nights)
    assert (row["status"], row["exit_code"]) == ("incomplete", 1)
    runs = nights.rows("select id, phase, status from runs")
    assert [(run["phase"], run["status"]) for run in runs] == [("5.1", "interrupted")]
    # When a night of another configuration follows
    nights.edit_config("speed = 1 ", "speed = 60 ")
    other = nights.run("nightly", "5.1", *SMALL, "--deadline", "60")
    # Then it leaves that run alone, and says what is different
    assert other.code == 0, other.out + other.err
    note = f"{runs[0]['id']} stays unfinished, its configuration is another: simulator.speed: was 1.0, is 60.0"
    assert note in other.err
    assert "Notes:" in other.out
    assert nights.rows("select status from runs where id = ?", runs[0]["id"]) == [{"status": "interrupted"}]


def test_the_crontab_line_of_the_docs_runs_live_with_keys_from_the_env_file(
    nights: Workspace, strict_provider: Callable[..., StrictProvider]
) -> None:
    """As cron runs it: its few variables, another directory, secrets from `env_file`; the summary alone on stdout."""
    # Given a live phases.toml and a file with keys that only we may read
    provider = strict_provider("--limit", "0", "--latency", "0.01")
    one_phase(nights, 'backend = "live"')
    keys = nights.path / "keys.env"
    keys.write_text("".join(f"{k}={v}\n" for k, v in {**SECRETS, "IDEALLAB_BASE_URL": provider.base_url}.items()))
    keys.chmod(0o600)
    # When the documented line is run the way cron runs it
    line = block("crontab")[-1]
    assert "%" not in line
    command = re.fullmatch(r"(?:\S+ ){5}(.*)", line)
    assert command is not None
    cron = {"HOME": str(nights.path / "home"), "LOGNAME": "bench", "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"}
    ended = under_env_i(in_place(command[1], nights), **cron)
    # Then it went well, the log is in its file, and the state directory under HOME
    log = (nights.path / "nightly.log").read_text()
    assert (ended.code, ended.err) == (0, ""), log
    assert "COMPLETE, exit 0" in ended.out.splitlines()[0]
    assert_fits_one_screen(ended.out)
    assert "ended: complete" in log
    assert not any(secret in log + ended.out for secret in SECRETS.values())
    assert sum(provider.stats()["accepted"].values()) > 0
    assert (nights.path / "home" / ".local" / "state" / "benchrunner").is_dir()


def test_the_service_of_the_docs_runs_with_no_environment_at_all(nights: Workspace) -> None:
    """ExecStart under `env -i`, without HOME or PATH: the state directory is found through the user database."""
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    if not os.access(home, os.W_OK):
        pytest.skip(f"the home directory {home} cannot be written")
    # Given a phases.toml with one small phase
    one_phase(nights, 'backend = "simulated"')
    # When the service's command is run
    (start,) = [line.removeprefix("ExecStart=") for line in block("systemd-service") if line.startswith("ExecStart=")]
    ended = under_env_i(in_place(start, nights))
    # Then it went well
    assert ended.code == 0, ended.err
    assert "SIMULATED COMPLETE, exit 0" in ended.out.splitlines()[0]
    assert rows(nights)[0]["phases"] == '["5.2"]'


def test_systemd_takes_the_units_of_the_docs(workspace: Workspace) -> None:
    """`systemd-analyze verify` finds nothing to say about service and timer."""
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("systemd-analyze is not installed")
    # Given the units as they would be written, for a user and a program that exist here
    names = [workspace.path / f"benchrunner-nightly.{kind}" for kind in ("service", "timer")]
    user = pwd.getpwuid(os.getuid()).pw_name
    service = in_place("\n".join(block("systemd-service")), workspace)
    assert "User=bench\n" in service
    names[0].write_text(service.replace("User=bench\n", f"User={user}\n") + "\n")
    names[1].write_text("\n".join(block("systemd-timer")) + "\n")
    # When systemd looks at them
    said = subprocess.run([verify, "verify", *map(str, names)], capture_output=True, text=True, timeout=60)
    # Then it has no complaint about ours
    assert [line for line in said.stderr.splitlines() if "benchrunner" in line] == []
    assert said.returncode == 0, said.stderr


def one_phase(workspace: Workspace, backend: str) -> None:
    """Leave the night one phase of one model and one instance, on the given backend."""
    workspace.edit_config('backend = "simulated"', backend)
    workspace.edit_config('phases = "all" ', 'phases = ["5.2"] ')
    config = workspace.path / "phases.toml"
    head, middle, rest = config.read_text().partition('[phases."5.2"]')
    rest = rest.replace(
        '"qwen2.5-72b-instruct", "qwen2.5-32b-instruct", "qwen2.5-14b-instruct", "qwen2.5-7b-instruct",\n', "", 1
    ).replace("instances = 20", "instances = 1", 1)
    config.write_text(head + middle + rest)


def block(language: str) -> list[str]:
    """Return the lines of the document's one code block of that language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return str(found).rstrip("\n").split("\n")


def in_place(text: str, workspace: Workspace) -> str:
    """Put this installation's command and the workspace's files where the document has placeholders."""
    program = Path(sys.executable).with_name("benchrunner")
    assert f"{PLACEHOLDER}/venv/bin/benchrunner" in text
    return text.replace(f"{PLACEHOLDER}/venv/bin/benchrunner", str(program)).replace(PLACEHOLDER, str(workspace.path))


def under_env_i(command: str, **variables: str) -> Ended:
    """Run a shell command from the root directory with these variables and no others."""
    given = [f"{name}={value}" for name, value in variables.items()]
    ended = subprocess.run(
        ["env", "-i", *given, "/bin/sh", "-c", command], cwd="/", capture_output=True, text=True, timeout=60
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def assert_fits_one_screen(text: str) -> None:
    """A mail of one screen: 24 lines of 79 columns, plain ASCII."""
    lines = text.rstrip("\n").split("\n")
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 79
    assert all(line.isprintable() and line.isascii() for line in lines)
