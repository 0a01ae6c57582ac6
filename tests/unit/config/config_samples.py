"""A small right phases.toml to bend, and the words its phases may use."""

from __future__ import annotations

from benchrunner.config.references import SuiteWords

WORDS = SuiteWords(
    suite="workflow",
    prompts=("baseline", "cot", "optimal", "flawed_missing_step"),
    difficulties=("very_easy", "easy", "medium"),
    task_types=("simple_task", "basic_task"),
)

ANY_WORDS = SuiteWords(suite="any", prompts=(), difficulties=(), task_types=())

SMALL = """\
[run]
env_file = "keys.env"

[simulator]
speed = 5

[providers.gate]
kind = "openai"
base_url = "${GATE_URL}"

[[providers.gate.keys]]
id = "key0"
env = "GATE_KEY_0"
account = "acme"
limits = [{ requests = 10, per_s = 1 }, { requests = 300, tokens = 400_000, per_s = 60 }]

[[providers.gate.keys]]
id = "key1"
env = "GATE_KEY_1"

[[providers.gate.limits]]
model = "*"
tokens = 100_000
per_s = 60

[[providers.gate.limits]]
model = "qwen2.5-72b-instruct"
requests = 72
per_s = 60

[providers.cloud]
kind = "azure"
base_url = "https://cloud.example/"
api_version = "2024-12-01-preview"

[[providers.cloud.keys]]
id = "cloud"
env = "CLOUD_KEY"
slots = 0

[models."qwen2.5-72b-instruct"]
provider = "gate"
key = "key0"
workers = 12
expected_call_s = 2.4

[models.small]
provider = "gate"
key = "key1"

[models.small.simulated]
latency_s = 0.5
skill = 0.25

[models.big]
provider = "cloud"
key = "cloud"
deployments = ["big", "big-2"]

[phases."5.1"]
title = "Base"
models = ["qwen2.5-72b-instruct", "big"]
prompts = ["optimal"]
difficulties = ["easy"]
policy = "C"

[phases."5.3"]
models = ["small"]
prompts = ["optimal", "cot", "baseline"]
groups = [["optimal", "baseline"], ["cot"]]
order = "grouped"
difficulties = ["easy", "medium"]
task_types = ["basic_task"]
instances = 3
tool_success_rates = [0.9, 1]
"""


def bent(*changes: tuple[str, str]) -> str:
    """Return the small file with each first text, which must stand in it, replaced by the second."""
    text = SMALL
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text
