"""`benchrunner audit` on runs that really ran, were killed, resumed, and tampered with."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from process_kit import StrictProvider, Workspace, wait_until, workers_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

Provide = Callable[..., StrictProvider]
SMALL = ("phase", "5.2", "--live", "--instances", "1", "--models", "qwen2.5-7b-instruct,qwen2.5-3b-instruct")


def prepare(workspace: Workspace, provide: Provide, limit: int = 40) -> StrictProvider:
    """Start a provider with this limit, and say so in the config."""
    provider = provide("--limit", str(limit))
    workspace.env["IDEALLAB_BASE_URL"] = provider.base_url
    workspace.edit_config("limits = [{ requests = 10, per_s = 1 }]", f"limits = [{{ requests = {limit}, per_s = 1 }}]")
    return provider


def audit(workspace: Workspace) -> tuple[int, dict[str, Any]]:
    """Return the exit code of an audit and what it told a script."""
    ended = workspace.run("audit", "--json")
    assert ended.err == ""
    found: dict[str, Any] = json.loads(ended.out)
    return ended.code, found


def change(workspace: Workspace, sql: str) -> None:
    """Change rows behind the program's back."""
    with contextlib.closing(sqlite3.connect(workspace.db, timeout=10)) as connection:
        assert connection.execute(sql).rowcount > 0
        connection.commit()


def test_a_simulated_run_holds_and_a_changed_score_does_not(workspace: Workspace) -> None:
    """Exit 0 with a line a check; after one score was changed, exit 1 with the row; exit 2 where there is no run."""
    # Given no run yet
    assert workspace.run("audit").code == 2
    # When a simulated run has ended
    workspace.edit_config("speed = 1 ", "speed = 20 ")
    ran = workspace.run("phase", "5.2", "--instances", "1", "--models", "qwen2.5-7b-instruct,qwen2.5-3b-instruct")
    assert ran.code == 0, ran.err
    # Then it holds
    holds = workspace.run("audit")
    assert (holds.code, holds.err) == (0, "")
    assert "everything holds" in holds.out
    assert "20 scores derived anew from their transcripts" in holds.out
    # And when one score is changed it does not, and the row is told
    change(workspace, "UPDATE trials SET final_score = final_score + 0.01 WHERE rowid = 3")
    broken = workspace.run("audit")
    (row,) = workspace.rows("select id from trials where rowid = 3")
    assert broken.code == 1
    assert "1 rows do not hold" in broken.out
    assert row["id"].rpartition("/")[2] in broken.out
    # And a run that is not there is an error, not a finding
    missing = workspace.run("audit", "no-such-run")
    assert (missing.code, missing.out) == (2, "")


def test_a_run_with_a_killed_worker_holds(workspace: Workspace, strict_provider: Provide) -> None:
    """Dialogues that a kill ended and others began anew are no fault; the windows hold across both."""
    prepare(workspace, strict_provider)
    process = workspace.start(*SMALL, "--policy", "pool")
    wait_until(lambda: workspace.count("select count(*) from calls where outcome = 'ok'") > 30, "30 replies")
    workers_of(process.pid)[0].send_signal(signal.SIGKILL)
    assert workspace.finish(process).code == 0
    # Given that some trials have more than one dialogue
    begun = workspace.rows("select trial_id, count(*) n from calls where turn = 0 and attempt = 1 group by 1")
    assert max(row["n"] for row in begun) > 1
    # When the run is audited, it holds
    code, found = audit(workspace)
    assert (code, [check for check in found["checks"] if check["faults"]]) == (0, [])


def test_a_run_killed_and_resumed_holds(workspace: Workspace, strict_provider: Provide) -> None:
    """SIGKILL of the supervisor, then resume: one result a trial, rising fences, windows kept across both sittings."""
    prepare(workspace, strict_provider)
    process = workspace.start(*SMALL, "--policy", "pool")
    wait_until(lambda: workspace.count("select count(*) from trials where status = 'scored'") >= 2, "2 trials scored")
    os.kill(process.pid, signal.SIGKILL)
    workspace.finish(process)
    # Given a run that is not complete: what there is of it holds already
    code, found = audit(workspace)
    assert (code, found["status"]) == (0, "running")
    # When it is resumed
    resumed = workspace.run("resume")
    assert resumed.code == 0, resumed.err
    # Then all of it holds
    code, found = audit(workspace)
    assert (code, [check for check in found["checks"] if check["faults"]]) == (0, [])
    assert (found["scored"], found["planned"]) == (20, 20)


def test_what_native_sends_over_the_limit_is_told(workspace: Workspace, strict_provider: Provide) -> None:
    """Native consults no window: where its shards together sent a key too much, the audit says how much and when."""
    # Given a limit of six a second on keys that two shards each pace at six apiece
    prepare(workspace, strict_provider, limit=6)
    workspace.edit_config("pace_qps = 2", "pace_qps = 6")
    process = workspace.start(*SMALL, "--policy", "native", "--stagger", "0")
    refused = "select count(*) from calls where outcome = 'rate_limited'"
    wait_until(lambda: workspace.count(refused) > 0, "a refusal", 60.0)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    workspace.finish(process)
    # When it is audited
    code, found = audit(workspace)
    # Then the keys' windows do not hold, and everything else does
    faults = {check["name"]: check["findings"] for check in found["checks"] if check["faults"]}
    assert (code, list(faults)) == (1, ["windows"])
    assert {one["expected"] for one in faults["windows"]} == {"at most 6 requests in any 1 s"}
