"""docs/extending.md is true: its policy, provider and engine are run as they stand on the page."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from multiprocess.connection import wait

from benchrunner.clock import SystemClock
from benchrunner.engine import events as ev
from benchrunner.engine import messages as ms
from benchrunner.engine.books import Rules
from benchrunner.engine.state import RunState
from benchrunner.limits.domains import key_domain, model_domain
from benchrunner.records import (
    ChatRequest,
    Condition,
    Key,
    Lease,
    Message,
    ModelEntry,
    Outcome,
    Provider,
    Trial,
    TrialStatus,
)
from benchrunner.suites import load_suite
from benchrunner.testing import FakeClock, check_state, make_key, make_shard

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
MODEL = ModelEntry(name="m", provider="lab", key_id="key0", deployments=("m",), limits=())
SECRET = "sk-page-0123"


def on_the_page(name: str) -> ModuleType:
    """Return the code block that defines `name`, run as a module of its own."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    (source,) = (block for block in blocks if re.search(rf"^class {name}\b", block, flags=re.MULTILINE))
    module = ModuleType(f"page_{name}")
    exec(compile(source, f"{PAGE.name}:{name}", "exec"), module.__dict__)
    return module


# --- the policy -----------------------------------------------------------------------------------------------------


def test_the_pages_policy_starts_the_shortest_shards_first() -> None:
    """RunState takes it as it is: two keys go to the two shards that will be done first, the third waits."""
    # Given three shards of unequal size, and two keys
    clock = FakeClock()
    shards = [make_shard(f"s{n}", trials=trials, position=n) for n, trials in enumerate((9, 2, 4))]
    state = RunState(
        run_id="r1",
        shards=shards,
        keys=[make_key("key0"), make_key("key1")],
        policy=on_the_page("Shortest").Shortest(),
        rules=Rules(),
    )
    # When the run begins
    commands = state.handle(ev.Tick(), clock.now_s(), clock.utc())
    # Then
    started = [command.shard_id for command in commands if isinstance(command, ev.StartWorker)]
    assert started == ["s1", "s2"]
    check_state(state)


# --- the provider ---------------------------------------------------------------------------------------------------


class _Messages(BaseHTTPRequestHandler):
    """A service in the page's dialect."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        status, document = 200, {
            "model": asked["model"],
            "content": [{"type": "text", "text": asked["messages"][-1]["content"].upper()}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 7, "output_tokens": 2},
        }
        if self.headers["x-api-key"] != SECRET:
            said = f"invalid x-api-key {self.headers['x-api-key']}"
            status, document = 401, {"type": "error", "error": {"type": "authentication_error", "message": said}}
        payload = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def messages_url() -> Iterator[str]:
    """The address of a service in the page's dialect."""
    server = HTTPServer(("127.0.0.1", 0), _Messages)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    serving.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    serving.join()
    server.server_close()


def a_key(secret: str = SECRET) -> Key:
    return Key(key_id="key0", provider="lab", account="lab", secret=secret, fingerprint="f", limits=())


@pytest.mark.slow
def test_the_pages_provider_keeps_what_the_protocol_promises(messages_url: str) -> None:
    """A reply with its tokens; a refused key as auth, unquoted; a dead address as transient, without raising."""
    # Given the page's provider on a service of its dialect
    made: Any = on_the_page("MessagesProvider").MessagesProvider
    provider = made(Provider(name="lab", kind="messages", base_url=messages_url))
    departures: list[float] = []
    request = ChatRequest(messages=(Message(role="user", content="say it"),))

    def send(secret: str) -> Any:
        return provider.send(
            request, model=MODEL, deployment="m", key=a_key(secret), timeout_s=5.0, departed=departures.append
        )

    # When it is called with the right key and with a wrong one
    provider.warm()
    answered, refused = send(SECRET), send("sk-stranger")
    provider.close()
    # Then
    assert answered.outcome is Outcome.OK
    reply = answered.reply
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens, reply.served_model) == ("SAY IT", 7, 2, "m")
    assert (refused.outcome, refused.http_status, "sk-stranger" in refused.detail) == (Outcome.AUTH, 401, False)
    assert len(departures) == 2
    # And where nobody answers
    provider = made(Provider(name="lab", kind="messages", base_url="http://127.0.0.1:9"))
    provider.warm()
    assert send(SECRET).outcome is Outcome.TRANSIENT
    provider.close()


# --- the engine -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_pages_engine_serves_a_lease(tmp_path: Path) -> None:
    """Begin, an order, a call whose row is committed, a trial that ends, and an end that its sentinel tells."""
    # Given a worker of the page's pool, told to serve a shard on a port where nobody listens
    clock = SystemClock()
    place = Provider(name="lab", kind="openai", base_url="http://127.0.0.1:9/v1", connect_timeout_s=1.0)
    suite = load_suite("workflow")
    (task,) = suite.tasks(seed=1, phase="p", difficulty="easy", task_type="simple_task", count=1)
    trial = Trial(
        trial_id="r/t0", shard_id="r/s0", task_id=task.task_id, task_type=task.task_type, instance=0, seed=1,
        condition=Condition(model="m", prompt="optimal", difficulty="easy", tool_success_rate=0.8),
    )  # fmt: skip
    begin = ms.Begin(
        run_id="r", provider=place, key=a_key(), model=MODEL, windows_path=str(tmp_path / "windows.bin"),
        lease=Lease(key_id="key0", model="m", shard_id="r/s0", holder="r/s0/w0", fence=1),
        domains=(key_domain(place, a_key()), model_domain(place, "lab", MODEL)),
        pace_qps=2.0, max_tries=1, patience_s=10.0, trial_timeout_s=10.0, suite="workflow", tasks_file="",
    )  # fmt: skip
    pool = on_the_page("ThreadPool").ThreadPool()
    pool.prepare(1)
    worker = pool.take("lab")
    assert worker.send([begin, ms.Order(trial=trial, task=task)])
    # When each call it announces is let go, until its trial has ended
    heard: list[Any] = []
    deadline_s = clock.now_s() + 20.0
    while not any(isinstance(message, ms.TrialEnded) for message in heard) and clock.now_s() < deadline_s:
        for message in worker.receive() if wait([worker.pipe], 0.2) else ():
            heard.append(message)
            if isinstance(message, ms.Sending):
                worker.send([ms.Recorded(refs=(message.ref,))])
    # Then it said all there is to say, the trial is lost to the network and not to the model
    assert [type(message).__name__ for message in heard][:2] == ["Ready", "Sending"]
    (ended,) = (message for message in heard if isinstance(message, ms.TrialEnded))
    assert (ended.status, ended.cause) == (TrialStatus.INVALID, "connection")
    # And told to stop it ends, which its sentinel tells
    worker.send([ms.Stop(now=False)])
    assert wait([worker.sentinel], 10.0) == [worker.sentinel]
    assert worker.exit_code() == 0
    worker.close()
    pool.close()


def test_the_page_names_files_that_exist() -> None:
    """Every file in backticks is where the page says, new ones of its examples aside."""
    named = set(re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.(?:py|md))`", PAGE.read_text(encoding="utf-8")))
    root = PAGE.parents[1]
    assert named != set()
    places = (root, root / "benchrunner")
    assert sorted(name for name in named if not any((place / name).exists() for place in places)) == []
