"""The local engine with real processes, real sockets and real kills, against a provider that is not ours."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import psutil
import pytest
from process_kit import StrictProvider, Workspace, family, wait_until, workers_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

Provide = Callable[..., StrictProvider]

SMALL = ("phase", "5.2", "--live", "--instances", "1", "--models", "qwen2.5-7b-instruct,qwen2.5-3b-instruct")
"""Four shards of five trials; against a fixed text every trial takes its ten turns."""

TRIALS, CALLS = 20, 200


def point_at(workspace: Workspace, provider: StrictProvider) -> None:
    workspace.env["IDEALLAB_BASE_URL"] = provider.base_url


def twice_as_fast(workspace: Workspace, strict_provider: Provide, *options: str) -> None:
    """Point at a provider that bears twice the shipped limit, and say so in the config: half the time, same course."""
    point_at(workspace, strict_provider("--limit", "20", *options))
    workspace.edit_config("limits = [{ requests = 10, per_s = 1 }]", "limits = [{ requests = 20, per_s = 1 }]")


def assert_complete(workspace: Workspace) -> None:
    """Every planned trial was scored exactly once, and nothing is left held."""
    by_status = workspace.rows("select status, count(*) n from trials group by status")
    assert by_status == [{"status": "scored", "n": TRIALS}]
    assert workspace.rows("select status from runs") == [{"status": "complete"}]
    assert workspace.count("select count(*) from leases where released_at is null") == 0
    assert workspace.count("select count(*) from shards where status <> 'done'") == 0


@pytest.mark.alone
@pytest.mark.parametrize("policy", ["serial", "batched", "pool"])
def test_a_strict_provider_refuses_nothing(policy: str, workspace: Workspace, strict_provider: Provide) -> None:
    """Under a managed policy no key is sent more than its limit, and no key serves two models at once."""
    # Given a provider that counts ten requests per second and key at arrival
    provider = strict_provider("--limit", "30", "--per-s", "1")
    point_at(workspace, provider)
    workspace.edit_config("limits = [{ requests = 10, per_s = 1 }]", "limits = [{ requests = 30, per_s = 1 }]")
    # When two models run at two difficulties
    ended = workspace.run(*SMALL, "--policy", policy)
    # Then nothing was refused, on its side or ours, and one key served one model at a time
    seen = provider.stats()
    assert (ended.code, seen["refused"]) == (0, {})
    assert sum(seen["accepted"].values()) == CALLS
    assert set(seen["most_models_in_flight"].values()) == {1}
    assert workspace.count("select count(*) from calls where outcome <> 'ok'") == 0
    assert_complete(workspace)


def test_a_killed_worker_costs_no_result(workspace: Workspace, strict_provider: Provide) -> None:
    """SIGKILL of a worker that holds a lease and permits: the run ends complete, no trial twice, no lease left."""
    # Given a run with workers in the middle of their dialogues
    twice_as_fast(workspace, strict_provider)
    process = workspace.start(*SMALL, "--policy", "pool")
    wait_until(lambda: workspace.count("select count(*) from calls where outcome = 'ok'") > 30, "30 replies")
    # When one of them is killed
    victim = workers_of(process.pid)[0]
    victim.send_signal(signal.SIGKILL)
    # Then the run completes; its lease was given back as a crash and leased again under a higher fence
    ended = workspace.finish(process)
    assert ended.code == 0, ended.err
    assert_complete(workspace)
    crashed = workspace.rows("select key_id, fence from leases where reason = 'crash' and worker_pid = ?", victim.pid)
    assert len(crashed) == 1
    later = workspace.rows(
        "select fence from leases where key_id = ? and fence > ?", crashed[0]["key_id"], crashed[0]["fence"]
    )
    assert later != []
    # And what was in flight is listed as never answered, not as a failure of the model
    assert workspace.count("select count(*) from trials where status = 'invalid'") == 0


def test_sigterm_drains_and_resume_runs_the_rest(workspace: Workspace, strict_provider: Provide) -> None:
    """SIGTERM: exit 143, everything finished is kept, no process remains; resume runs the rest and no more."""
    point_at(workspace, strict_provider("--latency", "0.2"))
    workspace.edit_config("seed = 20250826", "drain_s = 1\nseed = 20250826")
    process = workspace.start(*SMALL, "--policy", "pool")
    # Given a run that has some trials scored
    wait_until(lambda: workspace.count("select count(*) from trials where status = 'scored'") >= 3, "3 trials scored")
    members = family(process.pid)
    # When it is told to end
    process.send_signal(signal.SIGTERM)
    ended = workspace.finish(process)
    # Then it drains, says so, and leaves nothing behind
    assert ended.code == 143
    wait_until(lambda: not any(alive(member) for member in members), "every process of the run gone", 5.0)
    kept = {row["id"] for row in workspace.rows("select id from trials where status = 'scored'")}
    assert 3 <= len(kept) < TRIALS
    assert workspace.rows("select status from runs") == [{"status": "interrupted"}]
    # And resume scores the others, once each
    resumed = workspace.run("resume")
    assert resumed.code == 0, resumed.err
    assert f"kept {len(kept)}, run {TRIALS - len(kept)}" in resumed.err
    assert_complete(workspace)


def test_sigterm_to_the_whole_group_drains_too(workspace: Workspace, strict_provider: Provide) -> None:
    """`timeout`, systemd and shells signal every process of a command: only the supervisor acts on it."""
    # Given a run with calls in flight
    provider = strict_provider("--latency", "0.3")
    point_at(workspace, provider)
    workspace.edit_config("seed = 20250826", "drain_s = 2\nseed = 20250826")
    process = workspace.start(*SMALL, "--policy", "pool")
    wait_until(lambda: workspace.count("select count(*) from calls where outcome = 'ok'") >= 10, "10 replies")
    # When the group is told to end
    os.killpg(process.pid, signal.SIGTERM)
    ended = workspace.finish(process)
    # Then it drains: nobody died of the signal, and every call that left has its reply
    assert ended.code == 143
    assert "died" not in ended.err
    assert workspace.count("select count(*) from calls where outcome = 'sent'") == 0
    assert workspace.count("select count(*) from leases where reason = 'crash'") == 0


def test_a_second_signal_ends_the_run_at_once(workspace: Workspace, strict_provider: Provide) -> None:
    """Two SIGINTs: exit 130 without waiting for dialogues, running trials back in the queue, no orphan."""
    provider = strict_provider("--latency", "30")
    point_at(workspace, provider)
    process = workspace.start(*SMALL, "--policy", "pool")
    wait_until(lambda: workspace.count("select count(*) from calls") >= 5, "calls in flight")
    members = family(process.pid)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT) if wait_line(process, "stopping") else None
    ended = workspace.finish(process, 20.0)
    assert ended.code == 130
    wait_until(lambda: not any(alive(member) for member in members), "every process of the run gone", 5.0)
    assert workspace.count("select count(*) from trials where status = 'running'") == 0


def wait_line(process: object, word: str) -> bool:
    """Read the command's stderr up to the line that holds `word`."""
    for line in process.stderr:  # type: ignore[attr-defined]
        if word in line:
            return True
    raise AssertionError(f"the command ended without saying {word!r}")


def alive(process: psutil.Process) -> bool:
    """Return whether the process runs (a zombie nobody has reaped yet does not)."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_no_process_outlives_a_killed_supervisor(workspace: Workspace, strict_provider: Provide) -> None:
    """SIGKILL of the supervisor: workers, Manager and fork server are gone within five seconds; resume works."""
    twice_as_fast(workspace, strict_provider, "--latency", "0.4")
    process = workspace.start(*SMALL, "--policy", "pool")
    wait_until(lambda: workspace.count("select count(*) from trials where status = 'scored'") >= 2, "2 trials scored")
    members = family(process.pid)
    assert len(members) >= 4
    os.kill(process.pid, signal.SIGKILL)
    workspace.finish(process)
    wait_until(lambda: not any(alive(member) for member in members), "every process of the run gone", 5.0)
    resumed = workspace.run("resume")
    assert resumed.code == 0, resumed.err
    assert "may have been billed twice" in resumed.err
    assert_complete(workspace)


def test_a_refused_key_is_retired_and_the_others_go_on(workspace: Workspace, strict_provider: Provide) -> None:
    """One key answers 401: it is retired with a row in key_events, and the run completes on the others."""
    twice_as_fast(workspace, strict_provider, "--refuse", "test-secret-a")
    ended = workspace.run(*SMALL, "--policy", "pool")
    assert ended.code == 0, ended.err
    assert_complete(workspace)
    assert workspace.rows("select key_id from key_events where kind = 'retire'") == [{"key_id": "key0"}]
    assert "key0 is refused" in ended.err


@pytest.mark.parametrize("policy", ["native", "serial", "pool"])
def test_without_a_usable_key_the_run_ends_with_3(policy: str, workspace: Workspace, strict_provider: Provide) -> None:
    """Every key answers 401: exit 3, no trial scored or counted against a model, resumable."""
    provider = strict_provider("--refuse", "test-secret-a", "test-secret-b", "test-secret-c")
    point_at(workspace, provider)
    ended = workspace.run(*SMALL, "--policy", policy, "--stagger", "0")
    assert ended.code == 3, ended.err
    assert workspace.rows("select distinct status from trials") == [{"status": "pending"}]
    assert workspace.rows("select status from runs") == [{"status": "failed"}]


def test_an_unreachable_provider_is_given_up_in_bounded_time(workspace: Workspace) -> None:
    """Nobody listens: the run backs off, gives up, exits 1, says so, and can be resumed."""
    workspace.env["IDEALLAB_BASE_URL"] = "http://127.0.0.1:9/v1"
    workspace.edit_config("seed = 20250826", "max_tries = 3\nseed = 20250826")
    ended = workspace.run(*SMALL, "--policy", "pool", timeout_s=60.0)
    assert ended.code == 1
    assert "gives no reply" in ended.err
    assert workspace.count("select count(*) from trials where status = 'scored'") == 0
    assert workspace.rows("select status from runs") == [{"status": "incomplete"}]


def test_native_runs_ten_uncoordinated_processes_at_once(workspace: Workspace, strict_provider: Provide) -> None:
    """Under `native` 5.2 has ten workers at once on the static keys, launched one stagger apart."""
    provider = strict_provider("--latency", "0.2")
    point_at(workspace, provider)
    process = workspace.start("phase", "5.2", "--live", "--instances", "1", "--policy", "native", "--stagger", "0.2")
    wait_until(lambda: len(workers_of(process.pid)) == 10, "ten workers at once", 30.0)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    workspace.finish(process)
    held = workspace.rows("select key_id, count(*) n from leases group by key_id order by key_id")
    assert held == [{"key_id": "key0", "n": 4}, {"key_id": "key1", "n": 4}, {"key_id": "key2", "n": 2}]
