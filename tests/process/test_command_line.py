"""The command line as a user meets it: what it refuses, what it shows, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from process_kit import SECRETS, StrictProvider, Workspace, family, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

Provide = Callable[..., StrictProvider]

SMALL = ("phase", "5.2", "--live", "--instances", "1", "--models", "qwen2.5-7b-instruct,qwen2.5-3b-instruct")


def make_quick(workspace: Workspace) -> None:
    """Have the embedded provider answer at once and allow twenty times the requests."""
    workspace.edit_config("speed = 1 ", "latency = false\nspeed = 20 ")


def alive(process: psutil.Process) -> bool:
    """Return whether the process runs (a zombie nobody has reaped yet does not)."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def in_one_line(text: str) -> str:
    return " ".join(text.split())


# --- refused --------------------------------------------------------------------------------------------------------


def test_a_live_run_names_every_variable_it_lacks(workspace: Workspace) -> None:
    """A missing key is an error, never a silent simulation: all of them are named, nothing is written."""
    # Given an environment with one of three secrets, and no address
    del workspace.env["IDEALLAB_KEY_0"], workspace.env["IDEALLAB_KEY_2"]
    # When a live run is asked for
    ended = workspace.run(*SMALL)
    # Then it ends with all that is missing, and nobody's secret
    assert (ended.code, ended.out) == (2, "")
    for name in ("IDEALLAB_KEY_0", "IDEALLAB_KEY_2", "IDEALLAB_BASE_URL"):
        assert f"the variable {name} is not set" in ended.err
    assert "IDEALLAB_KEY_1" not in ended.err
    assert SECRETS["IDEALLAB_KEY_1"] not in ended.err
    # And no database was begun
    assert [path.name for path in workspace.path.glob("runs.db*")] == []


def damaged_page(path: Path) -> None:
    """Make a database with a table whose pages are overwritten."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table notes (text)")
        connection.executemany("insert into notes values (?)", [("x" * 500,)] * 200)
        connection.commit()
    content = bytearray(path.read_bytes())
    content[8_192:40_960] = b"\xa5" * (40_960 - 8_192)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: path.write_bytes(b"these are my notes, not a database\n" * 300), "it is not an SQLite database"),
        (damaged_page, "the database is damaged"),
    ],
    ids=["another file", "a damaged page"],
)
def test_a_corrupt_database_is_refused_before_any_call_and_left_as_it_is(
    make: Callable[[Path], None], sentence: str, workspace: Workspace, strict_provider: Provide
) -> None:
    """What may still be saved from the file is not made worse, and no call is paid for that could not be kept."""
    # Given a runs.db that is none, and a provider that counts what reaches it
    provider = strict_provider()
    workspace.env["IDEALLAB_BASE_URL"] = provider.base_url
    make(workspace.db)
    before = workspace.db.read_bytes()
    # When a run is asked for
    ended = workspace.run(*SMALL)
    # Then it is refused with the reason, nothing was sent, and the file is byte for byte what it was
    assert ended.code == 2
    assert sentence in ended.err
    assert provider.stats()["accepted"] == {}
    assert workspace.db.read_bytes() == before
    # And asking does not change it either
    assert workspace.run("show").code == 2
    assert workspace.db.read_bytes() == before


def test_a_place_that_cannot_be_written_is_refused_before_any_call(
    workspace: Workspace, strict_provider: Provide
) -> None:
    """A missing directory, a directory of that name, a file where a directory should be."""
    provider = strict_provider()
    workspace.env["IDEALLAB_BASE_URL"] = provider.base_url
    (workspace.path / "taken").mkdir()
    for place, sentence in (
        ("nowhere/runs.db", "there is no directory nowhere"),
        ("taken", "is a directory"),
        ("phases.toml/runs.db", "there is no directory phases.toml"),
    ):
        ended = workspace.run(*SMALL, "--db", place)
        assert (ended.code, sentence in ended.err) == (2, True), ended.err
    assert provider.stats()["accepted"] == {}
    assert not (workspace.path / "nowhere").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_read_only_directory_is_refused_before_any_call(workspace: Workspace, strict_provider: Provide) -> None:
    """SQLite keeps its log beside the database: the directory's rights are tried first."""
    provider = strict_provider()
    workspace.env["IDEALLAB_BASE_URL"] = provider.base_url
    closed = workspace.path / "closed"
    closed.mkdir(mode=0o555)
    ended = workspace.run(*SMALL, "--db", "closed/runs.db")
    assert (ended.code, "is not writable" in ended.err) == (2, True)
    assert provider.stats()["accepted"] == {}


# --- shown ----------------------------------------------------------------------------------------------------------


def look(workspace: Workspace) -> dict[str, Any]:
    """Return what `benchrunner keys` shows now."""
    ended = workspace.run("keys", "--json")
    assert ended.code == 0, ended.err
    assert [secret for secret in SECRETS.values() if secret in ended.out] == []
    seen: dict[str, Any] = json.loads(ended.out)
    return seen


def test_keys_shows_a_run_s_leases_and_windows_from_another_terminal(
    workspace: Workspace, strict_provider: Provide
) -> None:
    """Who holds which key, and how full its windows are, while it happens; no secret among it."""
    # Given a run in the middle of its calls
    provider = strict_provider("--latency", "0.3")
    workspace.env["IDEALLAB_BASE_URL"] = provider.base_url
    process = workspace.start(*SMALL, "--policy", "pool")
    wait_until(lambda: workspace.count("select count(*) from calls where outcome = 'ok'") > 20, "20 replies")
    # When somebody looks
    seen = look(workspace)
    members = {member.pid for member in family(process.pid)}
    # Then the run's leases are there: a model on each key in use, held by a process of the run
    (run,) = seen["runs"]
    assert run["simulated"] is False
    assert [key["key_id"] for key in run["keys"]] == ["key0", "key1", "key2"]
    holders = [holder for key in run["keys"] for holder in key["holders"]]
    assert {holder["lease"]["model"] for holder in holders} <= {"qwen2.5-7b-instruct", "qwen2.5-3b-instruct"}
    assert holders != []
    assert {holder["pid"] for holder in holders} <= members
    # And the machine's windows count what they were sent, never more than the limit
    used = {domain["label"]: domain["windows"][0] for domain in seen["domains"] if domain["windows"]}
    assert {(window["amount"], window["per_s"]) for window in used.values()} == {(10, 1.0)}
    assert 0 < max(window["used"] for window in used.values()) <= 10
    # And when the run has ended there is no run to see
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    workspace.finish(process)
    assert look(workspace)["runs"] == []


def test_simulate_serves_any_client_until_it_is_told_to_end(workspace: Workspace) -> None:
    """The embedded provider alone: an OpenAI call is answered, a stranger gets 401, SIGTERM ends all of it."""
    # Given the provider on a free port
    workspace.env["PYTHONUNBUFFERED"] = "1"
    process = workspace.start("simulate", "--port", "0")
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first.startswith("SIMULATED provider: OpenAI routes at http://127.0.0.1:")
    base_url = first.split()[5].rstrip(",")
    members = family(process.pid)

    def ask(secret: str) -> requests.Response:
        return requests.post(
            f"{base_url}/chat/completions",
            headers={"Authorization": f"Bearer {secret}"},
            json={"model": "qwen2.5-7b-instruct", "messages": [{"role": "user", "content": "hello"}]},
            timeout=20,
        )

    # When a client calls with a key's name as its secret
    answer = ask("key0")
    # Then it is answered as OpenAI would
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["role"] == "assistant"
    assert answer.json()["usage"]["prompt_tokens"] > 0
    # And a stranger is not
    stranger = ask("sk-stranger")
    assert (stranger.status_code, stranger.json()["error"]["code"]) == (401, "invalid_api_key")
    # When it is told to end, Then it does, with everything it started
    process.send_signal(signal.SIGTERM)
    assert workspace.finish(process, 10.0).code == 0
    wait_until(lambda: not any(alive(member) for member in members), "the server gone", 5.0)


def test_plan_says_what_uncoordinated_processes_would_do_to_the_keys(workspace: Workspace) -> None:
    """5.2 under native: ten processes, 8, 8 and 4 of 10 requests per second, and which keys a burst may exceed."""
    ended = workspace.run("plan", "5.2", "--policy", "native", "--json")
    assert ended.code == 0, ended.err
    (outlook,) = json.loads(ended.out)
    (load,) = outlook["loads"]
    assert (load["policy"], load["processes"]) == ("native", 10)
    rows = [(key["key_id"], key["at_once"], key["asked_per_s"], key["limit_per_s"]) for key in load["keys"]]
    assert rows == [("key0", 4, 8.0, 10.0), ("key1", 4, 8.0, 10.0), ("key2", 2, 4.0, 10.0)]
    assert [warning.partition(":")[0] for warning in load["warnings"]] == [
        "bursts may exceed key0",
        "bursts may exceed key1",
    ]
    # And the same in words, and nothing was written
    said = in_one_line(workspace.run("plan", "5.2", "--policy", "native").out)
    assert "native: 10 processes at once" in said
    assert "bursts may exceed key0: 4 shards at 8 requests/s together, of 10" in said
    assert list(workspace.path.glob("runs.db*")) == []


@pytest.mark.alone
def test_a_simulated_run_says_so_everywhere(workspace: Workspace) -> None:
    """`--json` prints one document on stdout; it, the progress on stderr and the database all say simulated."""
    make_quick(workspace)
    ended = workspace.run("phase", "5.2", "--json", "--instances", "1")
    assert ended.code == 0, ended.err
    summary = json.loads(ended.out)
    assert (summary["backend"], summary["simulated"], summary["status"]) == ("simulated", True, "complete")
    assert (summary["planned"], summary["scored"], summary["invalid"], summary["refused"]) == (50, 50, 0, 0)
    assert {condition["model"] for condition in summary["conditions"]} == {
        f"qwen2.5-{size}-instruct" for size in ("72b", "32b", "14b", "7b", "3b")
    }
    assert "SIMULATED 5.2 pool:" in ended.err
    assert workspace.rows("select backend, policy, status from runs") == [
        {"backend": "simulated", "policy": "pool", "status": "complete"}
    ]
    assert "SIMULATED" in workspace.run("show").out
    # And its keys were private to it: nothing of them is left on the machine
    assert look(workspace) == {"domains": [], "runs": []}


def test_the_groups_of_one_model_run_at_once_under_native(workspace: Workspace) -> None:
    """5.3's own mode: models in turn, the three flaw groups of one model side by side on its static key."""
    make_quick(workspace)
    model = ("--models", "qwen2.5-7b-instruct")
    ended = workspace.run("phase", "5.3", "--policy", "native", *model, "--instances", "1", "--quiet")
    assert ended.code == 0, ended.err
    leases = workspace.rows("select shard_id, key_id, granted_at, released_at from leases")
    assert len({lease["shard_id"] for lease in leases}) == 3
    assert {lease["key_id"] for lease in leases} == {"key0"}
    assert max(lease["granted_at"] for lease in leases) < min(lease["released_at"] for lease in leases)
    assert workspace.rows("select status, count(*) n from trials group by 1") == [{"status": "scored", "n": 35}]


def test_a_temporary_directory_too_deep_for_a_socket_is_told_in_a_sentence(workspace: Workspace) -> None:
    """The kernel takes 107 bytes of socket path: a longer one is the user's to shorten, not a traceback."""
    deep = workspace.path / ("d" * 100)
    deep.mkdir()
    workspace.env["TMPDIR"] = str(deep)
    ended = workspace.run("phase", "5.2", "--instances", "1", "--quiet")
    assert ended.code == 2
    assert "set TMPDIR to a short" in in_one_line(ended.err)
    assert "Traceback" not in ended.err
    assert list(deep.iterdir()) == []


def test_a_run_keeps_its_exit_code_when_stdout_takes_nothing(workspace: Workspace) -> None:
    """A full disk behind stdout is told on stderr; 1 would say that trials are missing, and none is."""
    make_quick(workspace)
    for arguments, code, told in (
        (("phase", "5.2", "--instances", "1", "--quiet"), 0, "stdout takes nothing"),
        (("runs",), 2, "the output is not whole"),
    ):
        with open("/dev/full", "w") as full:
            ended = subprocess.run(
                [sys.executable, "-m", "benchrunner", *arguments],
                cwd=workspace.path, env=workspace.env, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
            )  # fmt: skip
        assert (ended.returncode, told in ended.stderr, "Traceback" in ended.stderr) == (code, True, False)


def test_resume_finds_the_task_file_where_it_was(workspace: Workspace) -> None:
    """What a run that was left says to type works as it stands, although the run began with --tasks FILE."""
    # Given a run on a file of questions, all of whose calls failed
    make_quick(workspace)
    workspace.edit_config("seed = 20250826", "max_tries = 1\nseed = 20250826")
    (workspace.path / "q.jsonl").write_text('{"id": "q1", "prompt": "What is 17 + 25?", "expected": 42}\n')
    ended = workspace.run(
        "phase", "5.2", "--suite", "jsonl", "--tasks", "q.jsonl", "--instances", "1", "--fault", "unavailable=1",
        "--models", "qwen2.5-7b-instruct",
    )  # fmt: skip
    assert ended.code == 1, ended.err
    # When it is resumed as advised / Then it goes on with that file
    resumed = workspace.run("resume")
    assert resumed.code == 1, resumed.err
    assert "resuming" in resumed.err
    assert workspace.count("select count(*) from calls") > workspace.count("select count(*) from trials")
    # And one that changed is not taken for it, with or without --force; nor is there one when it is gone
    (workspace.path / "q.jsonl").write_text('{"id": "q1", "prompt": "What is 17 + 26?", "expected": 43}\n')
    for words in (("resume",), ("resume", "--force")):
        changed = workspace.run(*words)
        assert (changed.code, "--tasks FILE" in changed.err) == (2, True)
    (workspace.path / "q.jsonl").unlink()
    gone = workspace.run("resume")
    assert (gone.code, "--tasks FILE" in gone.err) == (2, True)
