"""What may stand in phases.toml: one pydantic model per table, with every default and its one-sentence meaning.

This is the home of every option. `load.py` turns the tables into records; `document.py` prints them as
docs/configuration.md. What one value has to do with another is checked in `references.py`.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

POLICY_LETTERS = {"A": "serial", "B": "batched", "C": "pool"}
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
OUTAGE = re.compile(r"(?P<key>[A-Za-z0-9][A-Za-z0-9._-]*)@(?P<first>\d+(?:\.\d+)?)-(?P<last>\d+(?:\.\d+)?)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def looks_secret(text: str) -> bool:
    """Return whether `text` is more likely a secret than a name: such a value is never repeated in a message."""
    if re.match(r"(sk|pk)[-_]|bearer ", text, re.IGNORECASE):
        return not (_VARIABLE.fullmatch(text) and text.isupper())
    return bool(len(text) >= 24 and re.fullmatch(r"[A-Za-z0-9+/=]+", text) and re.search(r"\d", text))


def _is_variable_name(text: str) -> str:
    mixed = len(text) >= 20 and all(re.search(kind, text) for kind in ("[a-z]", "[A-Z]", r"\d"))
    if mixed or looks_secret(text) or not _VARIABLE.fullmatch(text):
        raise ValueError("put the variable's name here, never the secret (the value is not repeated here)")
    return text


def _is_word(text: str) -> str:
    if not WORD.fullmatch(text):
        raise ValueError("may hold letters, digits, dots, dashes and underscores, and starts with a letter or digit")
    return text


def _all_or_list(value: object) -> object:
    if value == "all":
        return None
    if isinstance(value, str):
        raise ValueError('must be "all" or a list')
    return value


Whole = Annotated[int, Field(ge=0, le=2**63 - 1)]
Positive = Annotated[int, Field(ge=1, le=2**63 - 1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Stagger = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
SecondsOrNone = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
FaultShare = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Coverage = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Texts = Annotated[list[Text], Field(min_length=1)]


class Table(BaseModel):
    """What all tables share: unknown keys are faults, and no value is bent into another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RunTable(Table):
    """Settings of every run. Command line options of the same name override them."""

    db: Text = Field("runs.db", description="Results database, relative to this file.")
    seed: Whole = Field(20250826, description="Every random choice of a run follows from it.")
    backend: Literal["simulated", "live"] = Field(
        "simulated", description="`simulated` uses the embedded provider, `live` sends to the real ones."
    )
    suite: Text = Field("workflow", description="`workflow`, `jsonl`, or a suite of an installed package.")
    tasks: Text | None = Field(None, description="Task file of the suite, where it needs or takes one.")
    env_file: Text | None = Field(
        None,
        description="`NAME=value` lines, read beside the environment, which wins. Refused when others can read it.",
    )
    batch_size: Positive = Field(3, description="Shards at once under `batched`.")
    max_tries: Positive = Field(
        6, description="Tries at one call that fails transiently. Waiting for a limit uses none of them."
    )
    trial_timeout_s: Seconds = Field(
        900.0, description="A trial that takes longer is invalid. Sized for ten turns of a slow reasoning model."
    )
    shard_timeout_s: SecondsOrNone = Field(
        0.0, description="A shard that takes longer is stopped. 0: derived from its expected time."
    )
    stall_s: Seconds = Field(600.0, description="A model without one success for this long is parked.")
    drain_s: Seconds = Field(20.0, description="After Ctrl-C, how long running trials may take to finish.")
    restart_budget: Whole = Field(
        5, description="Dead workers of a run that are replaced within `restart_window_s`; one more gives the run up."
    )
    restart_window_s: Seconds = Field(300.0, description="The span `restart_budget` is counted over.")
    coverage_floor: Coverage = Field(
        0.9, description="A condition with a smaller share of its trials scored is shown, but not ranked."
    )


def _is_outage(text: str) -> str:
    found = OUTAGE.fullmatch(text)
    if not found or (found["last"] and float(found["last"]) <= float(found["first"])):
        raise ValueError('is written "KEY@FROM-TO" in minutes, such as "key1@1-3", or "KEY@FROM-" for ever')
    return text


class FaultTable(Table):
    """Faults that the embedded provider injects for every model, over those of its profile. docs/simulator.md
    describes each. Shares are of the attempts that the limits let through; 0 takes a fault of the profile away.
    """

    reset: FaultShare | None = Field(None, description="Share of attempts whose connection is reset.")
    hang: FaultShare | None = Field(None, description="Share that gets no byte for three minutes, then a closed line.")
    bad_gateway: FaultShare | None = Field(None, description="Share answered 502 with a page.")
    unavailable: FaultShare | None = Field(None, description="Share answered 503.")
    html_200: FaultShare | None = Field(None, description="Share answered with a web page under HTTP 200.")
    torn_json: FaultShare | None = Field(None, description="Share whose JSON breaks off in the middle.")
    empty: FaultShare | None = Field(None, description="Share of replies without content.")
    cut_16: FaultShare | None = Field(None, description="Share of replies cut at 16 tokens.")
    strip_closing_tag: FaultShare | None = Field(None, description="Share of replies that lose their closing tags.")
    slow: FaultShare | None = Field(None, description="Share of replies with the latency of an overloaded service.")
    throttle_bucket: SecondsOrNone | None = Field(
        None, description="Requests per second an account is left for one model, refused as HTTP 400; 0: no bound."
    )
    azure_window: Whole | None = Field(
        None, description="Tokens per minute an account has for one model, in windows that start anew; 0: no bound."
    )
    key_dies: Annotated[Text, AfterValidator(_is_outage)] | None = Field(
        None, description='`"KEY@FROM-TO"`: the key is called invalid between these minutes; without TO for ever.'
    )


class SimulatorTable(Table):
    """The embedded provider. Used when `run.backend` is `simulated`."""

    speed: Seconds = Field(1.0, description="Divides latencies and multiplies limits. For demonstrations.")
    seed: Whole | None = Field(None, description="Seed of its replies and faults. Absent: `run.seed`.")
    latency: bool = Field(True, description="`false`: replies at once.")
    profile: Literal["clean", "field"] = Field(
        "clean", description="`clean`: no faults. `field`: those that were measured on the real providers."
    )
    faults: FaultTable | None = Field(None, description="See `[simulator.faults]`.")


class LimitTable(Table):
    """At most so many requests or tokens in any `per_s` seconds. Several may stand side by side; all hold."""

    requests: Positive | None = Field(None, description="Requests. This, `tokens` or both must stand.")
    tokens: Positive | None = Field(None, description="Prompt and completion tokens together.")
    per_s: Seconds = Field(description="Length of the sliding window.")


class ModelLimitTable(LimitTable):
    """A limit of an (account, model) pair: all keys of the account share it."""

    model: Text = Field(description='The model it holds for; `"*"`: each model of the provider, counted apart.')


class KeyTable(Table):
    """A credential."""

    id: Annotated[Text, AfterValidator(_is_word)] = Field(description="Its public name, unique in the file.")
    env: Annotated[Text, AfterValidator(_is_variable_name)] = Field(
        description="Environment variable that holds the secret. The secret itself never stands in this file."
    )
    account: Text | None = Field(None, description="Quota group that several keys may share. Absent: the key itself.")
    limits: list[LimitTable] = Field([], description="Limits of this key.")
    slots: Whole = Field(1, description="Models it may serve at once. 0: no bound.")


class ProviderTable(Table):
    """A service and its dialect."""

    kind: Literal["openai", "azure"] = Field(
        description="`openai`: Authorization: Bearer. `azure`: api-key header and deployments in the path."
    )
    base_url: Text = Field(
        description="Up to and without `/chat/completions` (openai) or `/openai` (azure). May hold `${NAME}`."
    )
    api_version: str = Field("", description="Value of `?api-version=`. Needed for `azure`.")
    timeout_s: Seconds = Field(150.0, description="How long one call may take to answer.")
    connect_timeout_s: Seconds = Field(10.0, description="How long a connection may take to open.")
    margin_floor_s: SecondsOrNone = Field(
        0.015, description="Least time added to a window, so that requests that travel at unequal speed stay within it."
    )
    margin_ceiling_s: SecondsOrNone = Field(0.060, description="Most time the learned margin may grow to.")


class SimulatedTable(Table):
    """How the embedded provider plays this model; what is absent is built in."""

    latency_s: SecondsOrNone | None = Field(None, description="Median time of one reply.")
    latency_p95_s: SecondsOrNone | None = Field(None, description="95th percentile of it.")
    skill: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = Field(
        None, description="Competence, 0 to 1."
    )


class ModelTable(Table):
    """A model under test."""

    provider: Text = Field(description="The provider that serves it.")
    key: Text = Field(description="Its static key: the one it runs on under `native`, `serial` and `batched`.")
    deployments: Texts | None = Field(
        None, description="Served instances, used in turn. Absent: one, named like the model."
    )
    shards: Positive = Field(1, description="Parts that each condition group of the model is cut into.")
    workers: Positive = Field(30, description="Dialogues in flight per shard.")
    pace_qps: Seconds = Field(2.0, description="Requests per second a shard paces itself at under `native`.")
    max_tokens: Positive = Field(1024, description="Longest reply asked for.")
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = Field(
        0.0, description="Sampling temperature."
    )
    protocol: Literal["text", "native"] = Field(
        "text", description="How it calls tools: `text` writes tags, `native` uses the provider's function calling."
    )
    expected_call_s: Seconds = Field(2.0, description="Expected time of one call, until past runs tell better.")
    simulated: SimulatedTable | None = Field(None, description='See `[models."NAME".simulated]`.')


class NightlyTable(Table):
    """What `benchrunner nightly` runs. Command line options of the same name override it."""

    phases: Annotated[Texts | None, BeforeValidator(_all_or_list)] = Field(
        None, description='Phases of this file, in the order they are to run, or `"all"`.', validate_default=False
    )
    policy: Literal["native", "serial", "batched", "pool", "A", "B", "C"] | None = Field(
        None, description="The policy of all of them. Absent: each phase's own."
    )
    deadline_s: SecondsOrNone = Field(
        0.0, description="The night is drained so long after its start; what is left is for the next. 0: no deadline."
    )
    wait_s: SecondsOrNone = Field(
        1800.0, description="How long to wait for another night to end, and for keys that other runs hold."
    )


class RayTable(Table):
    """Where `--engine ray` runs. docs/ray.md describes it."""

    address: Text | None = Field(
        None, description="`auto` or HOST:PORT of a cluster. Absent: a local one is started and stopped. See --address."
    )
    worker_cpus: SecondsOrNone = Field(
        0.02, description="Processors that a worker reserves. It mostly waits: 50 of them share one by default."
    )
    worker_memory_mb: Whole = Field(0, description="Memory that a worker reserves. 0: none.")
    resources: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        {}, description="Custom resources that every worker takes, such as `{ bench = 1 }`."
    )
    providers: dict[str, Text] = Field(
        {}, description="Custom resource of the nodes a provider can be reached from: `{ ideallab = \"campus\" }`."
    )


class EngineTable(Table):
    """What runs the workers."""

    ray: RayTable | None = Field(None, description="See `[engine.ray]`.")


class PhaseTable(Table):
    """A named grid: models x prompts x difficulties x tool success rates x task types x instances."""

    title: str = Field("", description="What people read.")
    models: Texts = Field(description="Models under test, in order.")
    prompts: Texts = Field(description="Prompt types of the suite.")
    difficulties: Texts = Field(description="Difficulties of the suite.")
    task_types: Annotated[Texts | None, BeforeValidator(_all_or_list)] = Field(
        None, description='Task types of the suite, or `"all"`.', validate_default=False
    )
    instances: Positive = Field(20, description="Tasks per task type in each condition.")
    tool_success_rates: Annotated[list[Share], Field(min_length=1)] = Field(
        [0.8], description="Base success probabilities of the simulated tools."
    )
    order: Literal["serial", "concurrent", "grouped"] = Field(
        "serial",
        description="Native mode: shards in turn, all at once, or models in turn with their `groups` at once.",
    )
    groups: Annotated[list[Texts], Field(min_length=1)] | None = Field(
        None, description="Prompts that run in one shard; together they hold every prompt once. Needed for `grouped`."
    )
    stagger_s: Stagger = Field(0.0, description="Seconds between two launches under `concurrent`, a day at most.")
    shard_order: Literal["models", "conditions"] = Field(
        "models", description="Whether all shards of a model, or all shards of a condition, come one after the other."
    )
    policy: Literal["native", "serial", "batched", "pool", "A", "B", "C"] = Field(
        "pool", description="Used when `--policy` is absent. A, B, C stand for serial, batched, pool."
    )
