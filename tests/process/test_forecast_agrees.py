"""A forecast against the run it is of, on the embedded provider."""

from __future__ import annotations

import json

import pytest
from process_kit import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(120)]

SMALL = ("5.2", "--instances", "1", "--models", "qwen2.5-14b-instruct,qwen2.5-7b-instruct")
"""Four shards of five trials; at five times the speed a run takes six to twelve seconds."""

TOLERANCE = 0.10
"""What issue 5 promises. A busy machine only ever makes a run longer; this much is left for that, too."""


def test_runs_take_as_long_as_was_forecast(workspace: Workspace) -> None:
    """`plan` and the run agree within 10 % under pool and serial, and `show` tells both figures."""
    # Given a small phase on a provider five times as fast, and its plan
    workspace.edit_config("speed = 1 ", "speed = 5 ")
    ended = workspace.run("plan", *SMALL, "--json")
    assert ended.code == 0, ended.err
    (outlook,) = json.loads(ended.out)
    planned = {one["policy"]: one["makespan_s"] for one in outlook["forecasts"]}
    assert planned["pool"] < planned["batched"] < planned["serial"]
    for policy in ("pool", "serial"):
        # When it is run
        ended = workspace.run("phase", *SMALL, "--policy", policy, "--json", "--quiet")
        assert ended.code == 0, ended.err
        summary = json.loads(ended.out)
        # Then it kept the plan's forecast, and took about that long
        assert summary["forecast_s"] == planned[policy]
        assert summary["makespan_s"] == pytest.approx(planned[policy], rel=TOLERANCE)
        said = workspace.run("show").out
        assert any(line.startswith("forecast ") and ", took " in line for line in said.splitlines()), said
