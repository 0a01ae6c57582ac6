"""Engine `ray` on a cluster of three nodes: drivers of their own, a provider that is not ours, nodes that go away."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from process_kit import ROOT, StrictProvider, Workspace, family, wait_until

pytest.importorskip("ray")

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(240)]

Provide = Callable[..., StrictProvider]

LIMIT = "limits = [{ requests = 10, per_s = 1 }]"
FASTER = LIMIT.replace("10", "25")
REGISTRY, WORKER = "ray::RegistryActor", "ray::WorkerActor"


class ThreeNodes:
    """A running cluster of tests/servers/ray_cluster.py."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.address = process.stdout.readline().strip()

    def tell(self, command: str) -> str:
        """Return the one line that the command is answered by."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def actors(self, name: str) -> list[psutil.Process]:
        """Return the processes of the actors of that name, on all nodes."""
        found = []
        for process in family(self.process.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.cmdline()[:1] and process.cmdline()[0].startswith(name):
                    found.append(process)
        return found


@pytest.fixture(scope="module")
def three_nodes() -> Iterator[ThreeNodes]:
    """A cluster for all tests here; each leaves it usable. Nothing of it remains afterwards."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "servers" / "ray_cluster.py"), "--nodes", "3", "--resource", "campus"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    cluster = ThreeNodes(process)
    yield cluster
    members = family(process.pid)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.wait(60)
    process.stdout.close()
    _, left = psutil.wait_procs(members, timeout=10)
    assert left == []


@pytest.fixture
def on_cluster(workspace: Workspace, three_nodes: ThreeNodes, strict_provider: Provide) -> StrictProvider:
    """The workspace pointed at the cluster and at a strict provider of 25 requests per second and key."""
    provider = strict_provider("--limit", "25")
    workspace.env |= {
        "IDEALLAB_BASE_URL": provider.base_url,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    workspace.edit_config(LIMIT, FASTER)
    with (workspace.path / "phases.toml").open("a") as config:
        config.write(f'\n[engine.ray]\naddress = "{three_nodes.address}"\n')
    return provider


def ray_run(*models: str) -> tuple[str, ...]:
    wanted = ("--models", ",".join(models)) if models else ()
    return ("phase", "5.2", "--engine", "ray", "--live", "--policy", "pool", "--instances", "1", *wanted)


def assert_complete(workspace: Workspace, trials: int) -> None:
    """Every planned trial was scored exactly once, and no lease is left."""
    by_status = workspace.rows("select status, count(*) n from trials group by status")
    assert by_status == [{"status": "scored", "n": trials}]
    assert workspace.rows("select status, engine from runs") == [{"status": "complete", "engine": "ray"}]
    assert workspace.count("select count(*) from leases where released_at is null") == 0
    assert workspace.count("select count(*) from shards where status <> 'done'") == 0


def test_phase_5_2_on_three_nodes_is_refused_nothing(workspace: Workspace, on_cluster: StrictProvider) -> None:
    """Ten shards, three keys, three nodes: no key is sent more than its limit, and none serves two models at once."""
    # When the whole phase runs on the cluster
    ended = workspace.run(*ray_run(), timeout_s=150.0)
    # Then it is complete, nothing was refused, and one key served one model at a time
    assert ended.code == 0, ended.err
    seen = on_cluster.stats()
    assert seen["refused"] == {}
    assert sum(seen["accepted"].values()) == 500
    assert set(seen["most_models_in_flight"].values()) == {1}
    assert_complete(workspace, 50)


def test_two_drivers_at_once_share_the_keys(
    workspace: Workspace, on_cluster: StrictProvider, tmp_path: Path
) -> None:
    """Two jobs on one cluster: together they send no key more than its limit, and no key serves two models."""
    # Given two runs of different models with a database each
    other = Workspace(path=tmp_path / "other", env=workspace.env, running=workspace.running)
    other.path.mkdir()
    shutil.copy(workspace.path / "phases.toml", other.path)
    first = workspace.start(*ray_run("qwen2.5-3b-instruct"))
    second = other.start(*ray_run("qwen2.5-7b-instruct"))
    # When both have ended
    ended = [workspace.finish(first, 150.0), other.finish(second, 150.0)]
    # Then both are complete and nothing was refused
    assert [run.code for run in ended] == [0, 0], ended
    seen = on_cluster.stats()
    assert seen["refused"] == {}
    assert sum(seen["accepted"].values()) == 200
    assert set(seen["most_models_in_flight"].values()) == {1}


def test_a_lost_registry_is_replaced_and_nothing_refused(
    workspace: Workspace, on_cluster: StrictProvider, three_nodes: ThreeNodes
) -> None:
    """The registry dies in mid-run: its successor takes the leases back and first lets every window pass."""
    # Given a run in the middle of its calls
    process = workspace.start(*ray_run("qwen2.5-3b-instruct"))
    wait_until(lambda: workspace.count("select count(*) from calls where outcome = 'ok'") > 30, "30 replies", 60.0)
    # When the registry's process is killed
    (registry,) = three_nodes.actors(REGISTRY)
    registry.kill()
    # Then the run completes under the leases it had, and the provider refused nothing
    ended = workspace.finish(process, 100.0)
    assert ended.code == 0, ended.err
    assert "registry was lost" in ended.err
    assert on_cluster.stats()["refused"] == {}
    assert set(on_cluster.stats()["most_models_in_flight"].values()) == {1}
    assert_complete(workspace, 10)


def test_a_killed_driver_frees_its_keys_and_resume_goes_on_elsewhere(
    workspace: Workspace, on_cluster: StrictProvider, three_nodes: ThreeNodes, tmp_path: Path
) -> None:
    """SIGKILL of the driver: its workers end, its leases are free, and whoever has the database can go on."""
    process = workspace.start(*ray_run("qwen2.5-3b-instruct"))
    wait_until(lambda: workspace.count("select count(*) from trials where status = 'scored'") >= 2, "2 trials", 60.0)
    # When the driver is killed
    os.kill(process.pid, signal.SIGKILL)
    workspace.finish(process)
    wait_until(lambda: three_nodes.actors(WORKER) == [], "no worker left", 20.0)
    # Then another machine that has the database (here: another state directory) runs the rest, each trial once
    elsewhere = Workspace(
        path=tmp_path / "elsewhere",
        env={**workspace.env, "BENCHRUNNER_STATE_DIR": str(tmp_path / "other-state")},
        running=workspace.running,
    )
    elsewhere.path.mkdir()
    for file in (*workspace.path.glob("runs.db*"), workspace.path / "phases.toml"):
        shutil.copy(file, elsewhere.path)
    resumed = elsewhere.run("resume", timeout_s=100.0)
    assert resumed.code == 0, resumed.err
    assert "kept" in resumed.err
    assert_complete(elsewhere, 10)
    assert on_cluster.stats()["refused"] == {}


def test_a_cluster_of_its_own_drains_on_sigterm_and_leaves_nothing(
    workspace: Workspace, strict_provider: Provide
) -> None:
    """Without an address: SIGTERM to the whole group drains as ever, and no process or file of the cluster remains."""
    provider = strict_provider("--latency", "0.3")
    workspace.env["IDEALLAB_BASE_URL"] = provider.base_url
    workspace.edit_config("seed = 20250826", "drain_s = 2\nseed = 20250826")
    process = workspace.start(*ray_run("qwen2.5-3b-instruct"))
    wait_until(lambda: workspace.count("select count(*) from calls where outcome = 'ok'") >= 10, "10 replies", 60.0)
    members = family(process.pid)
    # When every process of the command is told to end
    os.killpg(process.pid, signal.SIGTERM)
    ended = workspace.finish(process, 60.0)
    # Then calls in flight had their replies, nobody died of the signal, and all of it is gone
    assert ended.code == 143, ended.err
    assert workspace.count("select count(*) from calls where outcome = 'sent'") == 0
    assert workspace.count("select count(*) from leases where reason = 'crash'") == 0
    assert workspace.rows("select status from runs") == [{"status": "interrupted"}]
    _, left = psutil.wait_procs(members, timeout=10)
    assert left == []
    assert list(Path("/tmp").glob(f"benchrunner-ray-{process.pid}-*")) == []


def test_a_provider_with_a_resource_of_its_own_is_called_from_those_nodes(
    workspace: Workspace, on_cluster: StrictProvider, three_nodes: ThreeNodes
) -> None:
    """`[engine.ray.providers]` places a provider's workers; a resource that no node has is refused, exit 2."""
    # Given a resource that nobody has
    config = workspace.path / "phases.toml"
    text = config.read_text()
    config.write_text(text + 'providers = { ideallab = "moon" }\n')
    ended = workspace.run(*ray_run("qwen2.5-3b-instruct"))
    assert (ended.code, "'moon'" in ended.err) == (2, True)
    assert not workspace.db.exists()
    # When it is one that the last node has
    config.write_text(text + 'providers = { ideallab = "campus" }\n')
    process = workspace.start(*ray_run("qwen2.5-3b-instruct"))
    wait_until(lambda: workspace.count("select count(*) from calls") > 5, "calls", 60.0)
    # Then every worker is there
    raylets = [int(pid) for pid in three_nodes.tell("processes").split()]
    assert {worker.ppid() for worker in three_nodes.actors(WORKER)} == {raylets[-1]}
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    workspace.finish(process, 60.0)


def test_a_node_removed_in_mid_run_costs_no_trial(
    workspace: Workspace, on_cluster: StrictProvider, three_nodes: ThreeNodes
) -> None:
    """A node goes with its workers: their trials run again, none is scored twice, and the run is complete."""
    # Given a run whose workers are spread over the nodes. (Last: the cluster is one node poorer afterwards.)
    process = workspace.start(*ray_run("qwen2.5-14b-instruct", "qwen2.5-7b-instruct", "qwen2.5-3b-instruct"))
    wait_until(lambda: workspace.count("select count(*) from calls where outcome = 'ok'") > 60, "60 replies", 60.0)
    raylets = [int(pid) for pid in three_nodes.tell("processes").split()]
    doomed = {worker.pid for worker in three_nodes.actors(WORKER) if worker.ppid() == raylets[-1]}
    # When a node that holds some of them is gone
    three_nodes.tell("remove")
    ended = workspace.finish(process, 150.0)
    # Then the run is complete, every trial scored once
    assert ended.code == 0, ended.err
    assert_complete(workspace, 30)
    assert on_cluster.stats()["refused"] == {}
    # And those who held a lease there are on record
    held = {row["worker_pid"] for row in workspace.rows("select worker_pid from leases where reason = 'crash'")}
    assert held <= {*doomed, 0}  # 0: it got its lease before it was up
    assert doomed != set()
