"""A first phases.toml for somebody's own provider: one service, its keys and models, a small phase and a larger one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from benchrunner.config.references import base_url_fault
from benchrunner.errors import UsageError

AZURE_API_VERSION = "2024-12-01-preview"
_MOST_KEYS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What a newcomer knows of the service to be called."""

    kind: str  # "openai" | "azure"
    base_url: str
    models: tuple[str, ...]
    keys: int


def starter_files(service: Service) -> tuple[str, str]:
    """Return the text of phases.toml and of keys.env.example. Raises UsageError for what cannot be."""
    if fault := base_url_fault(service.kind, service.base_url):
        raise UsageError(f"--base-url {fault}")
    if not service.models:
        raise UsageError("no model was named; --models takes their names at the provider, e.g. --models gpt-4o-mini")
    if repeated := [name for name in dict.fromkeys(service.models) if service.models.count(name) > 1]:
        raise UsageError(f"--models names {repeated[0]} more than once")
    if not 1 <= service.keys <= _MOST_KEYS:
        raise UsageError(f"--keys must be 1 to {_MOST_KEYS}, not {service.keys}")
    return _phases(service), _keys_example(service)


def _variable(number: int) -> str:
    return f"BENCH_KEY_{number}"


def _quoted(text: str) -> str:
    return json.dumps(text)  # a JSON string is a TOML basic string


def _listed(names: Sequence[str]) -> str:
    return "[" + ", ".join(map(_quoted, names)) + "]"


def _phases(service: Service) -> str:
    version = f'api_version = "{AZURE_API_VERSION}"\n' if service.kind == "azure" else ""
    keys = "\n".join(_KEY.format(number=number, variable=_variable(number)) for number in range(service.keys))
    models = "\n".join(
        _MODEL.format(name=_quoted(name), number=number % service.keys) for number, name in enumerate(service.models)
    )
    return _HEAD.format(kind=service.kind, base_url=_quoted(service.base_url.rstrip("/")), version=version) + (
        keys + "\n" + _MODELS_TITLE + models + "\n" + _PHASES.format(models=_listed(service.models))
    )


def _keys_example(service: Service) -> str:
    return _KEYS_HEAD + "".join(f"{_variable(number)}=\n" for number in range(service.keys))


_HEAD = """\
# What benchrunner runs: settings, a provider and its keys, models, phases.
# Every key, with its default and meaning, is in docs/configuration.md. `benchrunner check` tells what is wrong here.

[run]
db = "runs.db"                  # every call and result; paths here are relative to this file
seed = 20250826                 # the same seed gives the same tasks and tool outcomes
backend = "live"                # calls cost money; "simulated" (or --simulated) plays the provider on this machine
suite = "workflow"              # multi-turn tool use; "jsonl" asks the questions of a file (tasks = "my-tasks.jsonl")
env_file = "keys.env"           # the secrets, NAME=value lines; chmod 600 it


# --- The provider ------------------------------------------------------------------------------------------------

[providers.mine]
kind = "{kind}"
base_url = {base_url}
{version}timeout_s = 150                 # how long one call may take to answer
"""

_KEY = """
[[providers.mine.keys]]
id = "key{number}"                     # its public name: in tables, in runs.db, below
env = "{variable}"             # the variable that holds the secret; the secret never stands in this file
account = "mine"                # keys of one account share the limits that are counted per model
limits = [{{ requests = 60, per_s = 60 }}]  # a cautious guess: put in what your provider allows; tokens = N goes too
slots = 1                       # models it serves at once
"""

_MODELS_TITLE = """
# Where a limit is counted per model over all keys of the account, as Azure does, say so here:
# [[providers.mine.limits]]
# model = "*"
# tokens = 400_000
# per_s = 60


# --- Models ------------------------------------------------------------------------------------------------------

"""

_MODEL = """\
[models.{name}]
provider = "mine"
key = "key{number}"                    # its own key under the policies that do not hand keys around
workers = 10                    # dialogues in flight
"""

_PHASES = """

# --- Phases ------------------------------------------------------------------------------------------------------
# A phase is a grid: models x prompts x difficulties x tool_success_rates x task types x instances. The suite has five
# task types; a trial takes about ten calls. `benchrunner plan PHASE` says what a phase will cost before its first call.

[phases.first]
title = "First look"
models = {models}
prompts = ["optimal"]
difficulties = ["easy"]
instances = 1                   # per task type: 5 trials a model
tool_success_rates = [0.8]
policy = "pool"                 # any free key goes to the next model

[phases.prompts]
title = "Prompt types"
models = {models}
prompts = ["baseline", "cot", "optimal"]
difficulties = ["easy"]
instances = 20                  # 300 trials a model
tool_success_rates = [0.8]
policy = "pool"
"""

_KEYS_HEAD = """\
# The secrets of live runs. Copy this file to keys.env, fill it in, and keep it to yourself:
#     cp keys.env.example keys.env && chmod 600 keys.env
# `benchrunner check --live` then tells whether they work. A variable of the environment goes before the one here.

"""
