"""Two invocations at once on one machine: windows are shared, and a key one run leases is waited for by the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from process_kit import StrictProvider, Workspace, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

Provide = Callable[..., StrictProvider]

LIMIT = "limits = [{ requests = 10, per_s = 1 }]"


def neighbour(workspace: Workspace, path: Path) -> Workspace:
    """Return a second workspace with its own database and config that shares the first one's machine and keys."""
    path.mkdir()
    (path / "phases.toml").write_text((workspace.path / "phases.toml").read_text())
    return Workspace(path=path, env=workspace.env, running=workspace.running)


def run_of(model: str, policy: str) -> tuple[str, ...]:
    return ("phase", "5.2", "--live", "--policy", policy, "--instances", "1", "--models", model)


@pytest.mark.alone
@pytest.mark.parametrize("policy", ["pool", "serial"])
def test_two_runs_at_once_are_refused_nothing(
    policy: str, workspace: Workspace, strict_provider: Provide, tmp_path: Path
) -> None:
    """Two runs on the same keys: together they send no key more than its limit, and no key serves two models."""
    # Given two runs of different models, begun at the same time from different directories
    provider = strict_provider("--limit", "25")
    workspace.env["IDEALLAB_BASE_URL"] = provider.base_url
    workspace.edit_config(LIMIT, LIMIT.replace("10", "25"))
    other = neighbour(workspace, tmp_path / "other")
    first = workspace.start(*run_of("qwen2.5-3b-instruct", policy))
    second = other.start(*run_of("qwen2.5-7b-instruct", policy))
    # When both have ended
    ended = [workspace.finish(first), other.finish(second)]
    # Then both are complete, nothing was refused, and each key served one model at a time
    assert [run.code for run in ended] == [0, 0], ended
    seen = provider.stats()
    assert seen["refused"] == {}
    assert sum(seen["accepted"].values()) == 200
    assert set(seen["most_models_in_flight"].values()) == {1}


def test_a_run_that_may_not_wait_ends_with_75_and_can_be_resumed(
    workspace: Workspace, strict_provider: Provide, tmp_path: Path
) -> None:
    """All keys are held by another run and --wait runs out: exit 75, who holds them is said, resume works after."""
    # Given a run that holds every key
    provider = strict_provider("--latency", "0.3")
    workspace.env["IDEALLAB_BASE_URL"] = provider.base_url
    other = neighbour(workspace, tmp_path / "other")
    holder = workspace.start(*run_of("qwen2.5-3b-instruct,qwen2.5-14b-instruct", "pool"))
    wait_until(lambda: workspace.count("select count(distinct key_id) from leases") == 3, "all three keys leased")
    # When another is to wait for at most a second
    ended = other.run(*run_of("qwen2.5-7b-instruct", "pool"), "--wait", "1")
    # Then it ends with 75, names the holder, and has lost nothing
    assert ended.code == 75, ended.err
    run_id = workspace.rows("select id from runs")[0]["id"]
    assert f"is held by run {run_id} (process {holder.pid})" in ended.err
    assert other.rows("select status, count(*) n from trials group by 1") == [{"status": "pending", "n": 10}]
    # And goes on once the keys are free
    assert workspace.finish(holder).code == 0
    assert other.run("resume").code == 0
