"""The embedded provider as a process: strict at arrival, quick to start, gone with its parent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
import requests

from benchrunner.clock import SystemClock
from benchrunner.errors import SimulatorError
from benchrunner.records import Limit, LimitKind
from benchrunner.simulator import start
from benchrunner.simulator.plan import SimulatedKey, SimulatedModelPlan, SimulatorPlan
from benchrunner.simulator.start import RunningSimulator, launch, start_simulator

pytestmark = pytest.mark.slow

CLOCK = SystemClock()
PLAN = SimulatorPlan(
    keys=(
        SimulatedKey(
            secret="sk-0",
            key_id="key0",
            provider="lab",
            account="lab",
            limits=(Limit(kind=LimitKind.REQUESTS, amount=10, per_s=1.0),),
        ),
        SimulatedKey(secret="sk-az", key_id="azure", provider="azure", account="azure", limits=()),
    ),
    models=(
        SimulatedModelPlan(name="qwen2.5-7b-instruct", provider="lab", deployments=("q7",), limits=()),
        SimulatedModelPlan(name="DeepSeek-V3-0324", provider="azure", deployments=("V3", "V3-2"), limits=()),
    ),
    seed=7,
    latency=False,
)


@pytest.fixture
def simulator() -> Iterator[RunningSimulator]:
    with start_simulator(PLAN) as running:
        yield running
    assert not running.alive()


def _post(running: RunningSimulator, *, key: str = "sk-0", model: str = "q7", text: str = "hello") -> requests.Response:
    return requests.post(
        f"{running.base_url}/chat/completions",
        headers={"Authorization": f"Bearer {key}"},
        json={"model": model, "messages": [{"role": "user", "content": text}]},
        timeout=10.0,
    )


def _stats(running: RunningSimulator) -> Any:
    return requests.get(f"{running.origin}/stats", timeout=10.0).json()


def _until(happened: Callable[[], bool], timeout_s: float = 15.0) -> bool:
    """Return whether something happened before the deadline."""
    deadline_s = CLOCK.now_s() + timeout_s
    while not happened():
        if CLOCK.now_s() > deadline_s:
            return False
        CLOCK.sleep_s(0.02)
    return True


def test_eleventh_of_eleven_quick_requests_is_refused(simulator: RunningSimulator) -> None:
    """A key of 10 requests per second takes ten at once, refuses the next, and says when to come again."""
    # Given eleven connections, open and each with its request but the last byte sent
    body = b'{"model":"q7","messages":[{"role":"user","content":"hello"}]}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-0\r\nContent-Length: %d\r\n\r\n"
    port = int(simulator.origin.rpartition(":")[2])
    connections = [socket.create_connection(("127.0.0.1", port), timeout=10.0) for _ in range(11)]
    # When all are sent at once
    for connection in connections:
        connection.sendall(head % len(body) + body)
    answers = [connection.recv(65_536) for connection in connections]
    for connection in connections:
        connection.close()
    # Then exactly one is refused, with a wait of no more than the window
    assert Counter(answer.split()[1] for answer in answers) == {b"200": 10, b"429": 1}
    refusal = next(answer for answer in answers if answer.startswith(b"HTTP/1.1 429"))
    wait_ms = int(refusal.lower().split(b"retry-after-ms: ")[1].split(b"\r\n")[0])
    assert 0 < wait_ms <= 1001
    # And the counters say the same
    assert (_stats(simulator)["keys"]["key0"]["accepted"], _stats(simulator)["keys"]["key0"]["refused"]) == (10, 1)
    # And whoever waits that long is served
    CLOCK.sleep_s(wait_ms / 1000.0)
    assert _post(simulator).status_code == 200


def test_stranger_and_unknown_model_are_told_so(simulator: RunningSimulator) -> None:
    """An unknown key gets 401, an unknown model 404, both with an error body; neither takes room."""
    # Given / When
    stranger, unknown = _post(simulator, key="sk-stranger"), _post(simulator, model="huge")
    # Then
    assert (stranger.status_code, stranger.json()["error"]["code"]) == (401, "invalid_api_key")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    assert [window for window in _stats(simulator)["windows"] if window["fullest"]] == []


def test_deployments_answer_alike_and_as_the_seed_has_it() -> None:
    """A reply depends on seed and conversation only: not on the deployment, the process or the time."""

    def ask(seed: int) -> list[str]:
        with start_simulator(SimulatorPlan(keys=PLAN.keys, models=PLAN.models, seed=seed, latency=False)) as running:
            replies = [
                requests.post(
                    f"{running.origin}/openai/deployments/{deployment}/chat/completions?api-version=1",
                    headers={"api-key": "sk-az"},
                    json={"messages": [{"role": "user", "content": "Task: read a file"}]},
                    timeout=10.0,
                ).json()
                for deployment in ("V3", "V3-2")
            ]
        return [f"{reply['model']}: {reply['choices'][0]['message']['content']}" for reply in replies]

    # Given / When two processes of one seed are asked over two deployments each
    first, second = ask(7), ask(7)
    # Then all four answers are one
    assert len({*first, *second}) == 1
    assert first[0].startswith("DeepSeek-V3-0324: ")


def test_latency_is_the_models_own_divided_by_speed() -> None:
    """With latency on, a reply takes its time; speed divides it."""
    # Given a model of 1 s, at speed 4
    model = SimulatedModelPlan(
        name="m", provider="lab", deployments=("q7",), limits=(), latency_p50_s=1.0, latency_p95_s=1.0
    )
    with start_simulator(SimulatorPlan(keys=PLAN.keys, models=(model,), seed=1, speed=4.0)) as running:
        started_s = CLOCK.now_s()
        # When asked
        status = _post(running).status_code
        took_s = CLOCK.now_s() - started_s
    # Then it took a quarter of a second, far from the whole one
    assert status == 200
    assert 0.25 <= took_s < 0.9


def test_stop_does_not_wait_for_calls_in_flight() -> None:
    """A provider with minutes of latency still ends at once."""
    # Given a call that will take minutes
    model = SimulatedModelPlan(
        name="m", provider="lab", deployments=("q7",), limits=(), latency_p50_s=300.0, latency_p95_s=300.0
    )
    running = start_simulator(SimulatorPlan(keys=PLAN.keys, models=(model,), seed=1))
    ended: list[str] = []

    def call() -> None:
        try:
            ended.append(str(_post(running).status_code))
        except requests.RequestException:
            ended.append("hung up")

    caller = threading.Thread(target=call)
    caller.start()
    assert _until(lambda: _stats(running)["keys"]["key0"]["in_flight"] == {"m": 1})
    # When stopped
    running.stop()
    caller.join(10.0)
    # Then the process is gone, by its own doing, and the caller was let go
    assert (running.alive(), running._process.returncode) == (False, 0)
    assert ended in (["500"], ["hung up"])


def test_signals_for_the_group_do_not_end_it(simulator: RunningSimulator) -> None:
    """Ctrl-C and TERM are the supervisor's to handle: it still drains calls through this process."""
    # Given a running provider; When signalled
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(simulator.pid, number)
    # Then it still answers, and a terminal's signals would not even reach it
    assert _post(simulator).status_code == 200
    assert os.getpgid(simulator.pid) != os.getpgrp()


def test_killed_parent_takes_the_provider_along() -> None:
    """SIGKILL of the launching process leaves no orphan."""
    # Given a parent process that started a provider
    script = textwrap.dedent(
        """
        import sys, time
        from benchrunner.simulator.plan import SimulatorPlan
        from benchrunner.simulator.start import start_simulator
        running = start_simulator(SimulatorPlan.from_json(sys.stdin.buffer.readline()))
        print(running.pid, flush=True)
        time.sleep(60)
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdin is not None
    assert parent.stdout is not None
    with parent.stdin, parent.stdout:
        parent.stdin.write(PLAN.to_json() + b"\n")
        parent.stdin.flush()
        child = psutil.Process(int(parent.stdout.readline()))
        # When the parent is killed
        parent.kill()
        parent.wait()
    # Then the provider ends by itself

    def gone() -> bool:
        try:
            return not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    assert _until(gone)


def test_taken_port_is_a_sentence() -> None:
    """Asking for a port that is in use fails before any process is spawned."""
    # Given a taken port
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        # When / Then
        with pytest.raises(SimulatorError, match=rf"cannot listen on 127\.0\.0\.1:{port}"):
            launch(PLAN, port=port)


def test_asked_port_is_the_one_it_listens_on(simulator: RunningSimulator) -> None:
    """`--port N` means N, also right after the last user of it has gone."""
    # Given a port that has just been used
    port = int(simulator.origin.rpartition(":")[2])
    assert _post(simulator).status_code == 200
    simulator.stop()
    # When another provider asks for it; Then it has it
    with start_simulator(PLAN, port=port) as second:
        assert f"http://127.0.0.1:{port}/v1" == second.base_url
        assert _post(second).status_code == 200


def test_provider_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies at start is an error with its last words, and leaves nothing behind."""
    # Given an interpreter environment in which the server cannot be imported
    monkeypatch.setenv("PYTHONHOME", "/nonexistent")
    before = set(psutil.Process().children())
    # When started; Then
    with pytest.raises(SimulatorError, match=r"ended at start: .*(encodings|Python)"):
        start_simulator(PLAN)
    assert before == set(psutil.Process().children())


def test_provider_that_is_never_ready_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that hangs ends at its deadline, and the process is killed."""
    # Given a process that never says a word, nor listens to its stdin
    monkeypatch.setattr(start, "STOP_TIMEOUT_S", 0.1)
    real = subprocess.Popen

    def hang(arguments: list[str], **options: Any) -> subprocess.Popen[bytes]:
        return real(["/bin/sh", "-c", "exec sleep 60"], **options)

    monkeypatch.setattr(subprocess, "Popen", hang)
    running = launch(PLAN)
    # When waited for; Then
    with pytest.raises(SimulatorError, match=r"was not ready after 0\.2 s"):
        running.wait_ready(0.2)
    assert not running.alive()
