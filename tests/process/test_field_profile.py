"""Runs in which much goes wrong, on the embedded provider and an outside one: the scores are those of clean runs."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from process_kit import ROOT, Workspace, wait_until

from benchrunner.records import InjectedFaults
from benchrunner.simulator.plan import SimulatedKey, SimulatedModelPlan, SimulatorPlan
from benchrunner.simulator.start import RunningSimulator, start_simulator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

FAULTY_PROVIDER = ROOT / "tests" / "servers" / "faulty_provider.py"
SCORES = """
    select model, prompt, difficulty, tool_success_rate, task_id, instance,
           level, workflow_score, phase2_score, quality_score, final_score, error_class, turns, tool_calls
    from trials where status = 'scored' order by model, prompt, difficulty, task_id, instance
"""
INFRASTRUCTURE = {"connection", "api_timeout", "empty_reply", "truncated_reply"}


def scores_of(workspace: Workspace) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Return by (model, prompt, difficulty, tool success rate, task, instance) what each scored trial came to."""
    rows = [tuple(row.values()) for row in workspace.rows(SCORES)]
    return {row[:6]: row[6:] for row in rows}


def outcomes_of(workspace: Workspace) -> Counter[str]:
    """Return how often a call ended how: its code where it has one, else its outcome."""
    rows = workspace.rows("select outcome, provider_code from calls")
    return Counter(row["provider_code"] or row["outcome"] for row in rows)


# --- the embedded provider ------------------------------------------------------------------------------------------


def test_a_run_in_the_field_scores_what_a_clean_one_does(workspace: Workspace) -> None:
    """Phase 5.2 under the field's faults, with a key that dies and single faults on top: the same, trial by trial."""
    # Given a clean run, twenty times as fast as life
    workspace.edit_config("speed = 1 ", "speed = 20 ")
    models = "qwen2.5-72b-instruct,qwen2.5-14b-instruct,qwen2.5-3b-instruct"
    run = ("phase", "5.2", "--instances", "1", "--models", models, "--quiet")
    clean = workspace.run(*run)
    assert clean.code == 0, clean.err
    expected = scores_of(workspace)
    assert len(expected) == 30
    workspace.db.unlink()
    # When the same is run in the field: a hidden bucket, lost tags; one key dies early on; some attempts are spoilt
    workspace.edit_config('profile = "clean"', 'profile = "field"')
    shares = {"reset": 0.02, "bad_gateway": 0.02, "torn_json": 0.02, "empty": 0.02, "cut_16": 0.05}
    faults = [word for name, share in shares.items() for word in ("--fault", f"{name}={share}")]
    field = workspace.run(*run, *faults, "--fault", "key_dies=key1@0.2-2.2")
    # Then much went wrong, the key was left alone, and every trial is scored as it was
    assert field.code == 0, field.err
    seen = outcomes_of(workspace)
    assert {"cut_short", "empty", "html", "not_json", "CE-003", "MPE-429"} <= set(seen), seen
    assert workspace.rows("select key_id, kind from key_events where kind = 'retire'") == [
        {"key_id": "key1", "kind": "retire"}
    ]
    assert scores_of(workspace) == expected
    # And the replies came without the closing tags that the gateway swallows
    assert workspace.count("select count(*) from trials where transcript not like '%unclosed%'") == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--fault", "rest=0.02"), 'no fault "rest"; did you mean "reset"?'),
        (("--fault", "key_dies=key9@1-3"), "there is no such key"),
        (("--fault", "reset=0.1", "--live"), "it does not go with --live"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_before_anything_starts(
    words: tuple[str, ...], said: str, workspace: Workspace
) -> None:
    """One sentence, exit 2, no database."""
    ended = workspace.run("phase", "5.1", *words)
    assert ended.code == 2
    assert said in ended.err
    assert not workspace.db.exists()


def test_a_run_with_faults_is_resumed_with_them(workspace: Workspace) -> None:
    """What --fault said belongs to the run: `resume` goes on with it, and finds nothing changed."""
    workspace.edit_config("speed = 1 ", "speed = 20 ")
    run = ("phase", "5.1", "--instances", "1", "--models", "qwen2.5-3b-instruct", "--quiet")
    # Given a run that lost trials to a provider that mostly says nothing
    ended = workspace.run(*run, "--fault", "empty=0.55")
    assert ended.code == 1, ended.err
    scored = scores_of(workspace)
    assert len(scored) < 5
    # When it is resumed, until another trial has come through
    nights = 0
    while len(scores_of(workspace)) == len(scored) and nights < 8:
        nights += 1
        resumed = workspace.run("resume", "--quiet")
        assert resumed.code in (0, 1), resumed.err
    # Then it was run under the same faults, which are other draws by now; what was scored is as it was
    (config,) = workspace.rows("select config from runs")
    assert orjson.loads(config["config"])["simulator"]["faults"]["empty"] == 0.55
    assert len(scores_of(workspace)) > len(scored)
    assert scored.items() <= scores_of(workspace).items()


# --- its process ----------------------------------------------------------------------------------------------------


def simulator_with(faults: InjectedFaults, *, speed: float = 1.0) -> RunningSimulator:
    key = SimulatedKey(secret="sk", key_id="key0", provider="lab", account="lab", limits=())
    model = SimulatedModelPlan(name="m", provider="lab", deployments=("m",), limits=())
    return start_simulator(
        SimulatorPlan(keys=(key,), models=(model,), seed=1, speed=speed, latency=False, faults=faults)
    )


def ask(running: RunningSimulator) -> socket.socket:
    """Return a connection on which a chat request was sent."""
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}]})
    port = int(running.origin.rpartition(":")[2])
    line = socket.create_connection(("127.0.0.1", port), timeout=10.0)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk\r\nContent-Length: {len(body)}"
    line.sendall(f"{head}\r\n\r\n".encode() + body)
    return line


def stats_of(running: RunningSimulator) -> dict[str, Any]:
    with urllib.request.urlopen(f"{running.origin}/stats", timeout=5) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def test_a_reset_is_one_on_the_wire() -> None:
    """The client's kernel says "connection reset by peer", and the provider goes on answering others."""
    with simulator_with(InjectedFaults(reset=1.0)) as running:
        for _ in range(3):
            with ask(running) as line, pytest.raises(ConnectionResetError):
                line.recv(1)
        stats = stats_of(running)
        assert stats["faults"] == {"reset": 3}
        assert (stats["keys"]["key0"]["failed"], stats["keys"]["key0"]["in_flight"]) == (3, {})


def test_a_hang_sends_nothing_and_ends() -> None:
    """Not a byte until its time is over, then an orderly close; at speed 600 that is 0.3 s."""
    with simulator_with(InjectedFaults(hang=1.0), speed=600.0) as running, ask(running) as line:
        began_s = time.monotonic()
        assert line.recv(1) == b""
        assert time.monotonic() - began_s >= 0.25


def test_a_caller_that_leaves_a_hang_is_no_longer_in_flight() -> None:
    """Three minutes of a hang are not counted against a model that nobody waits for."""
    with simulator_with(InjectedFaults(hang=1.0)) as running:
        line = ask(running)
        wait_until(lambda: stats_of(running)["keys"]["key0"]["in_flight"] == {"m": 1}, "the call in flight")
        line.close()
        wait_until(lambda: stats_of(running)["keys"]["key0"]["in_flight"] == {}, "the call gone")


# --- an outside provider --------------------------------------------------------------------------------------------


Provide = Callable[..., int]


@pytest.fixture
def faulty_provider() -> Iterator[Provide]:
    """Start outside providers and return their ports; the arguments are options of tests/servers/faulty_provider.py."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> int:
        process = subprocess.Popen([sys.executable, str(FAULTY_PROVIDER), *options], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return int(process.stdout.readline())

    yield start
    for process in started:
        process.terminate()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


def test_an_outside_provider_s_faults_decide_no_score(workspace: Workspace, faulty_provider: Provide) -> None:
    """Resets, 503s, hangs, empty, HTML and torn replies at 2 % each: no level differs from a run without them."""
    # Given the same phase against a provider that never fails
    run = ("phase", "5.2", "--live", "--instances", "1", "--quiet", "--models")
    models = "qwen2.5-14b-instruct,qwen2.5-7b-instruct,qwen2.5-3b-instruct"
    keys = "\n\n[[providers.ideallab.keys]]"
    workspace.edit_config(f"timeout_s = 150{keys}", f"timeout_s = 3{keys}")
    workspace.edit_config("limits = [{ requests = 10, per_s = 1 }]", "limits = [{ requests = 60, per_s = 1 }]")
    workspace.env["IDEALLAB_BASE_URL"] = f"http://127.0.0.1:{faulty_provider()}/v1"
    healthy = workspace.run(*run, models)
    assert healthy.code == 0, healthy.err
    expected = scores_of(workspace)
    assert {level for level, *_ in expected.values()} == {"full", "partial", "failure"}
    workspace.db.unlink()
    # When it runs against one that fails at 2 % each
    names = ("reset", "unavailable", "hang", "empty", "html", "torn")
    port = faulty_provider(*(word for name in names for word in (f"--{name}", "0.02")))
    workspace.env["IDEALLAB_BASE_URL"] = f"http://127.0.0.1:{port}/v1"
    ended = workspace.run(*run, models)
    # Then all of it happened, and was seen for what it is
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats", timeout=5) as answer:
        did = json.load(answer)
    assert all(did.get(name, 0) > 0 for name in names), did
    seen = outcomes_of(workspace)
    codes = {"reset": "reset", "empty": "empty", "html": "html", "torn": "not_json"}
    assert {name: seen[code] for name, code in codes.items()} == {name: did[name] for name in codes}
    assert seen["read_timeout"] >= did["hang"]  # more where this machine is too busy to answer within three seconds
    # And every trial is scored as without faults, or invalid by what the provider did
    assert ended.code in (0, 1)
    scored = scores_of(workspace)
    assert scored.items() <= expected.items()
    lost = workspace.rows("select status, error_class from trials where status <> 'scored'")
    assert all(row["status"] == "invalid" and row["error_class"] in INFRASTRUCTURE for row in lost)
    assert len(scored) + len(lost) == len(expected) == 30
