"""A key that is handed on: one-turn questions, two models on one key, against a provider that is not ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from process_kit import Ended, StrictProvider, Workspace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

Provide = Callable[..., StrictProvider]

QUESTIONS, SLOW_S = 20, 3.0

CONFIG = """
[run]
db = "runs.db"
backend = "live"
suite = "jsonl"
tasks = "questions.jsonl"

[providers.lab]
kind = "openai"
base_url = "${LAB_BASE_URL}"

[[providers.lab.keys]]
id = "key0"
env = "LAB_KEY"
limits = [{ requests = 10, per_s = 1 }]

[models.slow]
provider = "lab"
key = "key0"
expected_call_s = 3

[models.quick]
provider = "lab"
key = "key0"
expected_call_s = 0.2

[phases.both]
title = "A slow model and a quick one"
models = ["slow", "quick"]
prompts = ["plain"]
difficulties = ["any"]
instances = 20
"""


def run_both(workspace: Workspace, strict_provider: Provide, *options: str) -> tuple[Ended, dict[str, Any]]:
    """Ask both models all questions on one key; return how that ended and what the provider saw."""
    questions = [{"id": f"q{n}", "prompt": f"Say OK, {n}", "expected": "OK"} for n in range(QUESTIONS)]
    (workspace.path / "questions.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in questions))
    (workspace.path / "phases.toml").write_text(CONFIG)
    provider = strict_provider("--latency-of", f"slow={SLOW_S}", "--latency-of", "quick=0.2", *options)
    workspace.env |= {"LAB_BASE_URL": provider.base_url, "LAB_KEY": "sk-handing-on"}
    return workspace.run("phase", "both", "--policy", "pool"), provider.stats()


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def assert_complete(workspace: Workspace) -> None:
    """Each trial is scored once, and no two leases of the key overlap."""
    assert workspace.rows("select status from runs") == [{"status": "complete"}]
    assert workspace.rows("select status, count(*) n from trials group by status") == [
        {"status": "scored", "n": 2 * QUESTIONS}
    ]
    leases = workspace.rows("select granted_at, released_at from leases order by id")
    ends = [seconds(lease["released_at"]) for lease in leases]
    assert all(end <= seconds(after["granted_at"]) for end, after in zip(ends, leases[1:], strict=False))
    audited = workspace.run("audit")
    assert audited.code == 0, audited.out


@pytest.mark.alone
def test_the_next_model_is_asked_while_the_last_replies_of_the_slow_one_are_out(
    workspace: Workspace, strict_provider: Provide
) -> None:
    """The key serves on with its next window instead of waiting for three seconds; nothing is refused."""
    # Given a model that takes three seconds to answer, and one that answers at once
    ended, seen = run_both(workspace, strict_provider)
    # Then the run is complete, within the key's limit
    assert ended.code == 0, ended.err
    assert (seen["accepted"], seen["refused"]) == ({"sk-handing-on": 2 * QUESTIONS}, {})
    assert_complete(workspace)
    # And the slow model's lease ended with its last request; the quick one was asked before the last reply
    (slow, quick) = workspace.rows(
        "select shards.model, leases.reason, leases.released_at from leases join shards on shards.id = leases.shard_id"
        " order by leases.id"
    )
    assert [(lease["model"], lease["reason"]) for lease in (slow, quick)] == [("slow", "sent"), ("quick", "done")]
    calls = workspace.rows("select model, sent_at, latency_s from calls")
    last_sent = max(seconds(call["sent_at"]) for call in calls if call["model"] == "slow")
    last_reply = max(seconds(call["sent_at"]) + call["latency_s"] for call in calls if call["model"] == "slow")
    first_quick = min(seconds(call["sent_at"]) for call in calls if call["model"] == "quick")
    assert last_sent <= seconds(slow["released_at"]) < last_reply
    assert last_sent < first_quick < last_reply


def test_trials_whose_request_fails_after_their_key_was_handed_on_are_run_again(
    workspace: Workspace, strict_provider: Provide
) -> None:
    """They are handed back, asked once more under a lease of their own, and counted once: nothing is blamed on them."""
    # Given a slow model that answers each question's first try with 503
    ended, seen = run_both(workspace, strict_provider, "--stumble", "slow")
    # Then every trial is scored all the same
    assert ended.code == 0, ended.err
    assert seen["by_model"] == {"slow": 2 * QUESTIONS, "quick": QUESTIONS}
    assert_complete(workspace)
    # And the key went to the quick model and back
    leases = workspace.rows(
        "select shards.model, leases.reason from leases join shards on shards.id = leases.shard_id order by leases.id"
    )
    assert [lease["model"] for lease in leases] == ["slow", "quick", "slow"]
    assert leases[0]["reason"] == "sent"
