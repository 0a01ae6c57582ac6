"""`benchrunner check --live` against real servers: every way a key, a model or an address can be wrong."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from process_kit import ROOT, Workspace, wait_until

from benchrunner.config.binding import fingerprint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

PICKY_PROVIDER = ROOT / "tests" / "servers" / "picky_provider.py"


@dataclass
class Picky:
    """A running picky provider."""

    port: int

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def stats(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/stats", timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
            return found


@pytest.fixture
def picky() -> Iterator[Picky]:
    """A provider that answers by key and model."""
    process = subprocess.Popen([sys.executable, str(PICKY_PROVIDER)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield Picky(int(process.stdout.readline()))
    process.kill()
    process.wait(10)
    process.stdout.close()


def lab(workspace: Workspace, base_url: str, secrets: dict[str, str], models: list[str], *, requests: int = 50) -> None:
    """Write a phases.toml with one provider: its keys by secret, its models by name."""
    keys = "".join(
        f'\n[[providers.lab.keys]]\nid = "{key_id}"\nenv = "LAB_{key_id.upper()}"\n'
        f"limits = [{{ requests = {requests}, per_s = 1 }}]\n"
        for key_id in secrets
    )
    entries = "".join(f'\n[models."{name}"]\nprovider = "lab"\nkey = "{next(iter(secrets))}"\n' for name in models)
    (workspace.path / "phases.toml").write_text(
        f'[run]\n[providers.lab]\nkind = "openai"\nbase_url = "{base_url}"\n{keys}{entries}\n'
        f'[phases."one"]\nmodels = {json.dumps(models)}\nprompts = ["optimal"]\ndifficulties = ["easy"]\n'
    )
    workspace.env |= {f"LAB_{key_id.upper()}": secret for key_id, secret in secrets.items()}


def checked(workspace: Workspace, *options: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code of a check and what it says to scripts."""
    ended = workspace.run("check", "--live", "--json", *options)
    assert ended.out, ended.err
    return ended.code, json.loads(ended.out)


def statuses(report: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {(call["key"], call["deployment"]): call["status"] for call in report["checked"]}


def test_good_keys_are_called_once_per_model_within_their_slots(workspace: Workspace, picky: Picky) -> None:
    """Exit 0; one small call per key and model, one model at a time on a key, limits told, the count said first."""
    # Given two good keys and three models
    lab(workspace, picky.base_url, {"a": "good-secret-a", "b": "good-secret-b"}, ["m1", "m2", "other"])
    # When they are checked
    ended = workspace.run("check", "--live")
    # Then all is fine, and said to be
    assert ended.code == 0, ended.err
    assert ended.err.startswith("sending 6 calls of at most 16 reply tokens (a 3, b 3); done within 1 min 30 s")
    assert "6 of 6 calls were answered as they should" in ended.out
    assert "59/60 requests left" in ended.out
    # And a model that calls itself something else is pointed out
    assert "the reply calls itself elsewhere-9b" in ended.out
    # And the provider saw just that
    seen = picky.stats()
    assert seen["calls"] == {"good-secret-a": 3, "good-secret-b": 3}
    assert seen["max_tokens"] == [16]
    assert seen["most_models"] == {"good-secret-a": 1, "good-secret-b": 1}
    # And no secret is shown, though a header held it; nothing is left behind but the machine's own state
    assert "good-secret" not in ended.out + ended.err
    assert not workspace.db.exists()


def test_each_way_a_key_can_be_wrong_has_its_own_words(workspace: Workspace, picky: Picky) -> None:
    """Invalid as 400 or 401, out of quota, throttled: told apart, with what to do; one good key makes it exit 1."""
    # Given
    secrets = {"k400": "bad400-x1", "k401": "bad401-x2", "poor": "broke-x3", "hot": "busy-x4", "good": "fine-x5"}
    lab(workspace, picky.base_url, secrets, ["m1"])
    # When
    code, report = checked(workspace)
    # Then
    assert code == 1
    assert {key: status for (key, _), status in statuses(report).items()} == {
        "k400": "bad key", "k401": "bad key", "poor": "no quota", "hot": "throttled", "good": "ok",
    }  # fmt: skip
    by_key = {call["key"]: call for call in report["checked"]}
    assert by_key["k400"]["http_status"] == 400
    assert "correct LAB_K400" in by_key["k400"]["todo"]
    assert (by_key["hot"]["retry_after_s"], by_key["hot"]["limits"]) == (2.0, {"retry-after": "2"})
    assert by_key["good"]["limits"]["x-ratelimit-reset-requests"] == "1s"
    assert by_key["good"]["limits"]["x-ratelimit-key"] == "***"
    assert [secret for secret in secrets.values() if secret in json.dumps(report)] == []


def test_no_usable_key_at_all_is_exit_3(workspace: Workspace, picky: Picky) -> None:
    """Every key refused or without quota."""
    lab(workspace, picky.base_url, {"k400": "bad400-x1", "poor": "broke-x3"}, ["m1", "m2"])
    code, report = checked(workspace)
    assert (code, report["exit_code"], report["fine"], report["calls"]) == (3, 3, 0, 4)


def test_a_throttle_holds_back_the_calls_that_follow_on_that_key(workspace: Workspace, picky: Picky) -> None:
    """The provider's Retry-After is kept, as in a run: within the time there is nothing more is sent."""
    # Given a throttled key, two models, and less time than it asks to wait
    lab(workspace, picky.base_url, {"hot": "busy-x4"}, ["m1", "m2"])
    # When
    code, report = checked(workspace, "--timeout", "1")
    # Then the second call was not made, and the reason is told
    assert (code, statuses(report)) == (1, {("hot", "m1"): "throttled", ("hot", "m2"): "no room"})
    assert "hot is paused for" in report["checked"][1]["means"]
    assert picky.stats()["calls"] == {"busy-x4": 1}


def test_wrong_models_and_slow_ones_are_told_apart(workspace: Workspace, picky: Picky) -> None:
    """A model that is not there, and one that does not answer within --timeout; the others are fine."""
    lab(workspace, picky.base_url, {"a": "good-1"}, ["m1", "nowhere", "mute"])
    code, report = checked(workspace, "--timeout", "1")
    assert (code, statuses(report)) == (
        1, {("a", "m1"): "ok", ("a", "nowhere"): "no model", ("a", "mute"): "no answer"},
    )  # fmt: skip
    told = {call["model"]: call for call in report["checked"]}
    assert '[models."nowhere"]' in told["nowhere"]["todo"]
    assert 0.9 <= told["mute"]["latency_s"] <= 5.0


def test_only_the_models_and_phases_named_are_called(workspace: Workspace, picky: Picky) -> None:
    """--models narrows it, an unknown one is met with the nearest; --dry-run sends nothing."""
    lab(workspace, picky.base_url, {"a": "good-1"}, ["alpha", "beta"])
    assert statuses(checked(workspace, "one", "--models", "beta")[1]) == {("a", "beta"): "ok"}
    wrong = workspace.run("check", "--live", "--models", "bete")
    assert (wrong.code, 'did you mean "beta"?' in wrong.err) == (2, True)
    dry = workspace.run("check", "--live", "--dry-run")
    assert (dry.code, dry.out) == (0, "")
    assert dry.err.startswith("would send 2 calls of at most 16 reply tokens (a 2)")
    assert picky.stats()["calls"] == {"good-1": 1}


def test_an_address_where_nobody_listens_is_unreachable(workspace: Workspace, picky: Picky) -> None:
    """A dead port, a host that does not exist, a web server without the API, TLS where there is none."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dead = listener.getsockname()[1]
    for base_url, status, means in (
        (
            f"http://127.0.0.1:{dead}/v1",
            "unreachable",
            f"no connection to lab: 127.0.0.1:{dead} refused it, nothing listens there",
        ),
        (
            "http://no-such-host.invalid/v1",
            "unreachable",
            "no connection to lab: the host name no-such-host.invalid is not known here",
        ),
        (
            f"https://127.0.0.1:{picky.port}/v1",
            "no TLS",
            f"no secure connection to lab at 127.0.0.1:{picky.port} came about: what listens there does not speak TLS",
        ),
    ):
        lab(workspace, base_url, {"a": "good-1"}, ["m1"])
        code, report = checked(workspace)
        assert (code, statuses(report)) == (1, {("a", "m1"): status}), report
        assert report["checked"][0]["means"] == means
        # And people are told that and no line of the HTTP library
        told = workspace.run("check", "--live").out
        assert [word for word in ("Max retries", "ConnectionPool", "Errno", "_ssl.c") if word in told] == []


def test_a_port_that_never_ends_the_tls_handshake_did_not_take_the_call(workspace: Workspace) -> None:
    """https:// at a port that speaks plain HTTP and stays silent: no secure connection, and what to look at first."""
    # Given a port that takes connections and says nothing
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        lab(workspace, f"https://127.0.0.1:{port}/v1", {"a": "good-1"}, ["m1"])
        # When a key is checked there
        code, report = checked(workspace, "--timeout", "1")
    # Then nobody is said to have taken the call
    assert (code, statuses(report)) == (1, {("a", "m1"): "no TLS"})
    (call,) = report["checked"]
    assert call["provider_code"] == "handshake_timeout"
    assert call["means"].startswith(
        f"no secure connection to lab at 127.0.0.1:{port} came about: "
        "a connection was taken, but the TLS handshake did not end within "
    )
    assert call["todo"].startswith("see whether base_url of [providers.lab] is http or https, its port,")


class PlainPages(BaseHTTPRequestHandler):
    """A web server without the API: it takes no POST at all, which it calls 501."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def pages_url() -> Iterator[str]:
    """The address of a web server without the API."""
    with ThreadingHTTPServer(("127.0.0.1", 0), PlainPages) as pages:
        serving = threading.Thread(target=pages.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{pages.server_address[1]}"
        pages.shutdown()
        serving.join(10.0)


def test_a_web_server_that_takes_no_calls_is_a_wrong_address(workspace: Workspace, pages_url: str) -> None:
    """HTTP 501 is no passing trouble: the address called is told, and what of it stands in phases.toml."""
    # Given a server of pages where the API is looked for
    lab(workspace, f"{pages_url}/v1", {"a": "good-1"}, ["m1"])
    # When a key is checked there
    code, report = checked(workspace)
    # Then
    assert (code, statuses(report)) == (1, {("a", "m1"): "not found"})
    (call,) = report["checked"]
    assert call["http_status"] == 501
    assert call["means"] == f"there is no chat service at {pages_url}/v1/chat/completions"
    assert call["todo"] == (
        "see host, port and path of base_url of [providers.lab]: it is written up to and without /chat/completions"
    )


def test_a_key_that_another_run_holds_is_not_called(workspace: Workspace, picky: Picky) -> None:
    """Its holder is named, the exit code is 75, and the provider hears nothing."""
    # Given a key whose lock somebody has
    lab(workspace, picky.base_url, {"a": "good-1"}, ["m1", "m2"])
    locks = workspace.path / "state" / "leases"
    locks.mkdir(mode=0o700, parents=True)
    (workspace.path / "state").chmod(0o700)
    held = locks / f"{fingerprint(picky.base_url, 'good-1')}-0.lock"
    with open(os.open(held, os.O_RDWR | os.O_CREAT, 0o600), "w") as file:
        file.write("run r1 (process 4711)")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        # When it is checked
        code, report = checked(workspace, "--timeout", "0.5")
    # Then
    assert (code, statuses(report)) == (75, {("a", "m1"): "held", ("a", "m2"): "held"})
    assert "run r1 (process 4711)" in report["checked"][0]["means"]
    assert picky.stats()["calls"] == {}
    # And once it is free, it is
    assert checked(workspace)[0] == 0


@pytest.mark.alone
def test_two_checks_at_once_keep_within_the_limit_together(workspace: Workspace, strict_provider: Any) -> None:
    """Ten requests a second for the key, twenty-four calls from two invocations: none is refused."""
    # Given a strict provider, and a key without a bound on models, so that all calls want to leave at once
    provider = strict_provider("--limit", "10")
    lab(workspace, provider.base_url, {"a": "good-1"}, [f"m{n}" for n in range(12)], requests=10)
    config = workspace.path / "phases.toml"
    config.write_text(config.read_text().replace('env = "LAB_A"\n', 'env = "LAB_A"\nslots = 0\n'))
    # When two checks run at the same time
    both = [workspace.start("check", "--live", "--json") for _ in range(2)]
    ended = [workspace.finish(process) for process in both]
    # Then
    assert [one.code for one in ended] == [0, 0], ended
    assert (provider.stats()["accepted"], provider.stats()["refused"]) == ({"good-1": 24}, {})


def test_ctrl_c_ends_a_check_at_once(workspace: Workspace, picky: Picky) -> None:
    """Exit 130, and the key is free again."""
    lab(workspace, picky.base_url, {"a": "good-1"}, ["mute"])
    process = workspace.start("check", "--live")
    wait_until(lambda: picky.stats()["calls"] == {"good-1": 1}, "the call")
    process.send_signal(signal.SIGINT)
    assert workspace.finish(process, timeout_s=5.0).code == 130
    for path in Path(workspace.path / "state" / "leases").glob("*.lock"):
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_missing_variable_is_named_and_nothing_is_sent(workspace: Workspace, picky: Picky) -> None:
    """Exit 2, as for a run."""
    lab(workspace, picky.base_url, {"a": "good-1", "b": "good-2"}, ["m1"])
    del workspace.env["LAB_B"]
    ended = workspace.run("check", "--live")
    assert (ended.code, "the variable LAB_B is not set" in ended.err) == (2, True)
    assert picky.stats()["calls"] == {}
