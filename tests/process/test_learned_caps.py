"""A real run against a limit that no configuration knows: the workers find it together and keep to it."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from process_kit import ROOT, Workspace

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(120)]


@dataclass
class BucketProvider:
    """A running provider with a hidden token bucket."""

    process: subprocess.Popen[str]
    port: int

    def seen(self) -> list[tuple[float, bool]]:
        """Return when each request came, and whether it was refused."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/stats", timeout=5) as answer:
            return [(at_s, refused) for at_s, refused in json.load(answer)["seen"]]


@pytest.fixture
def bucket_provider() -> Iterator[BucketProvider]:
    """Twelve requests a second over all keys, refused as HTTP 400 with MPE-429 and no hint."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "servers" / "bucket_provider.py"), "--per-s", "12", "--burst", "3"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield BucketProvider(process, int(process.stdout.readline()))
    process.terminate()
    process.wait(10)
    process.stdout.close()


def test_workers_on_three_keys_find_the_limit_behind_them(
    workspace: Workspace, bucket_provider: BucketProvider
) -> None:
    """Keys that say 30/s on a model that bears 12/s: complete, hardly a call wasted once the cap is found, and told."""
    # Given one model at two difficulties, whose three keys allow 30/s together
    workspace.env["IDEALLAB_BASE_URL"] = f"http://127.0.0.1:{bucket_provider.port}/v1"
    # When phase 5.2 runs (20 trials of ten calls)
    ended = workspace.run("phase", "5.2", "--live", "--instances", "2", "--models", "qwen2.5-7b-instruct")
    # Then it is complete, and no trial was given up for a throttle
    assert ended.code == 0, ended.err
    assert workspace.rows("select distinct status from trials") == [{"status": "scored"}]
    # And of the second half of its time fewer than 8 % of the requests were refused
    seen = bucket_provider.seen()
    middle_s = (seen[0][0] + seen[-1][0]) / 2
    late = [refused for at_s, refused in seen if at_s >= middle_s]
    assert len(late) >= 80
    assert sum(late) / len(late) < 0.08
    # And everything the provider refused is a throttle in the calls, none a failure of another kind
    outcomes = {row["outcome"]: row["n"] for row in workspace.rows("select outcome, count(*) n from calls group by 1")}
    assert outcomes == {"ok": 200, "rate_limited": sum(refused for _, refused in seen)}
    # And the way to the cap is on record, for the account and model, not for a key
    told = workspace.rows("select key_id, domain, detail from key_events where kind = 'cap' order by at")
    assert len(told) >= 2
    assert {(row["key_id"], row["domain"]) for row in told} == {(None, "ideallab/qwen2.5-7b-instruct")}
    assert told[0]["detail"].startswith("none -> ")
    # And the machine remembers it
    shown = json.loads(workspace.run("keys", "--all", "--json").out)
    caps = {domain["label"]: domain["cap_per_s"] for domain in shown["domains"]}
    assert 5.0 < caps["ideallab/qwen2.5-7b-instruct"] < 30.0
    assert {label for label, cap in caps.items() if cap is not None} == {"ideallab/qwen2.5-7b-instruct"}
