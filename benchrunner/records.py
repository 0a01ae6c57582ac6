"""The nouns: frozen records of plain values, shared by every layer above.

One word a thing (docs/concepts.md). Records cross process borders as orjson bytes; none holds a lock, a handle or a
callable. Durations are float seconds (``_s``); instants called ``_at`` are UTC ISO 8601 text; ``_mono_s`` are instants
on the machine's monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """How one attempt ended. Each has exactly one action (docs/concepts.md, "Failure classes")."""

    OK = "ok"
    RATE_LIMITED = "rate_limited"
    TRANSIENT = "transient"
    QUOTA = "quota"
    AUTH = "auth"
    BAD_REQUEST = "bad_request"
    TRUNCATED = "truncated"
    EMPTY = "empty"


SENT = "sent"
"""What `calls.outcome` holds from just before a request leaves until its end is known."""


class TrialStatus(StrEnum):
    """Where a trial stands. `scored`: the model decided it. `invalid`: infrastructure did; it is run again."""

    PENDING = "pending"
    RUNNING = "running"
    SCORED = "scored"
    INVALID = "invalid"


class Level(StrEnum):
    """The rule-based success level of a scored trial."""

    FULL = "full"
    PARTIAL = "partial"
    FAILURE = "failure"


class RunStatus(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


class LimitKind(StrEnum):
    """What a window counts."""

    REQUESTS = "requests"
    TOKENS = "tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """At most `amount` requests or tokens in any `per_s` seconds."""

    kind: LimitKind
    amount: int
    per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """What limits are counted over: one key, or one (account, model) pair.

    `name` is its identity on this machine: equal for two runs that use the same credential or account at the same
    place, and free of secrets. `label` is what people read.
    """

    name: str
    label: str
    provider: str
    limits: tuple[Limit, ...]
    margin_floor_s: float = 0.008
    margin_ceiling_s: float = 0.060
    cold_margin_s: float = 0.0  # what the margin is at least when somebody registers the domain; forgotten in seconds
    spread_s: float = 0.0  # how far apart the calls of a burst are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A credential. `key_id` is its public name; the secret stands here and nowhere else."""

    key_id: str
    provider: str
    account: str
    secret: str = field(repr=False)
    fingerprint: str  # short one-way hash of place and secret: its identity across config files
    limits: tuple[Limit, ...]
    slots: int = 1  # models at once; 0: no bound


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEntry:
    """A key as phases.toml names it, before its secret is known; a Key is made of it when a run starts."""

    key_id: str
    provider: str
    env: str  # the environment variable that holds the secret
    account: str
    limits: tuple[Limit, ...]
    slots: int = 1  # models at once; 0: no bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A service and its dialect."""

    name: str
    kind: str  # "openai" | "azure"
    base_url: str  # up to and without /chat/completions (openai), up to and without /openai (azure)
    api_version: str = ""
    timeout_s: float = 150.0  # read deadline of one call
    connect_timeout_s: float = 10.0
    margin_floor_s: float = 0.015
    margin_ceiling_s: float = 0.060


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """A model under test: where it is served and how a shard of it runs."""

    name: str
    provider: str
    key_id: str  # its static key
    deployments: tuple[str, ...]  # served instances, used in turn; default: the model's own name
    limits: tuple[Limit, ...]  # of its (account, model) domain
    shards: int = 1
    workers: int = 30  # dialogues in flight per shard
    pace_qps: float = 2.0  # under `native`
    max_tokens: int = 1024
    temperature: float = 0.0
    expected_call_s: float = 2.0  # one turn, until history knows better
    protocol: str = "text"  # how its dialogues call tools: "text" (tags) | "native" (the provider's function calling)


class PhaseOrder(StrEnum):
    """A phase's native mode: how its shards follow each other when nobody manages the keys."""

    SERIAL = "serial"  # one shard after the other
    CONCURRENT = "concurrent"  # all shards at once, `stagger_s` apart
    GROUPED = "grouped"  # models one after the other, the groups of one model at once


class ShardOrder(StrEnum):
    """Which comes first when a phase is cut into shards."""

    MODELS = "models"  # every condition of the first model, then the second model
    CONDITIONS = "conditions"  # the first condition of every model, then the second condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A named grid of conditions."""

    name: str
    title: str
    models: tuple[str, ...]
    prompts: tuple[str, ...]
    difficulties: tuple[str, ...]
    task_types: tuple[str, ...] | None  # None: all of the suite's
    instances: int  # per task type
    tool_success_rates: tuple[float, ...]
    order: PhaseOrder
    groups: tuple[tuple[str, ...], ...]  # of prompts; (): every condition is a group of its own
    stagger_s: float
    shard_order: ShardOrder
    policy: str  # "native" | "serial" | "batched" | "pool"; used when --policy is absent


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One cell of a phase's grid."""

    model: str
    prompt: str
    difficulty: str
    tool_success_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One benchmark item. `body` is the suite's own JSON text; nobody else reads it."""

    task_id: str
    task_type: str
    difficulty: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One task under one condition, instance n. Its identity never contains the key.

    `seed` is derived from the run's seed and the trial's identity, so a trial repeats alone.
    """

    trial_id: str
    shard_id: str
    condition: Condition
    task_id: str
    task_type: str
    instance: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """The trials of one model and condition group that run under one lease at a time."""

    shard_id: str
    position: int  # order in the phase
    model: str
    provider: str
    key_id: str  # the model's static key
    label: str  # what distinguishes it from the model's other shards, e.g. "medium"
    group: int  # shards of one model with different groups may run at once under native `grouped`
    trial_ids: tuple[str, ...]
    expected_calls: float
    expected_call_s: float
    workers: int
    pace_qps: float
    measured_call_s: float | None = None  # seconds per call as earlier runs or a profile tell; None: nobody knows


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDefinition:
    """A function that a request offers to the model. `parameters` is a JSON schema as JSON text."""

    name: str
    description: str
    parameters: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A function call a model made. `arguments` is what it wrote: JSON text if all went well, perhaps torn."""

    call_id: str  # what the message with its result refers to
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One chat message."""

    role: str  # "system" | "user" | "assistant" | "tool"
    content: str
    tool_calls: tuple[ToolCall, ...] = ()  # of an assistant message
    tool_call_id: str = ""  # of a tool message: the call it answers

    @property
    def characters(self) -> int:
        """Return how many characters the model has to read of it."""
        return len(self.content) + sum(len(call.name) + len(call.arguments) for call in self.tool_calls)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """What a dialogue asks a model: it knows no provider, key or network."""

    messages: tuple[Message, ...]
    max_tokens: int | None = None  # None: the model entry's
    temperature: float | None = None
    tools: tuple[ToolDefinition, ...] = ()  # offered for function calling; (): none, and the request says nothing of it

    @property
    def characters(self) -> int:
        """Return how many characters the model has to read: what its prompt tokens are estimated from."""
        offered = sum(len(tool.name) + len(tool.description) + len(tool.parameters) for tool in self.tools)
        return offered + sum(message.characters for message in self.messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatReply:
    """What a model answered."""

    text: str
    finish_reason: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    served_model: str = ""
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialScore:
    """What a finished dialogue is worth. Scores lie in 0..1; `error_class` is "" for a full success."""

    level: Level
    workflow_score: float
    phase2_score: float
    quality_score: float
    final_score: float
    error_class: str
    turns: int
    tool_calls: int
    transcript: str  # JSON text: a list of turns


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResult:
    """One attempt at one request, classified. `reply` is there for ok, truncated, empty, and one cut short."""

    outcome: Outcome
    latency_s: float
    reply: ChatReply | None = None
    http_status: int | None = None
    provider_code: str = ""
    detail: str = ""  # the provider's words, bounded, secrets masked
    retry_after_s: float | None = None
    scope: str = "key"  # whom a throttle speaks of: "key" or "model" (the account+model domain)


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """Leave to send one request at `not_before_mono_s`; every window of `domains` already counts it."""

    permit_id: int
    domains: tuple[str, ...]
    not_before_mono_s: float
    tokens: int
    generation: int  # sum of the domains' pause generations when it was granted


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A holder's claim on one slot of a key's semaphore. A later grant has a higher fence."""

    key_id: str
    model: str
    shard_id: str
    holder: str  # "run/shard/worker", the shard being its first: whom the sweeper asks after
    fence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowUse:
    """One window as it stands now."""

    kind: LimitKind
    amount: int
    per_s: float
    used: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainUse:
    """One domain as it stands now, machine-wide."""

    name: str
    label: str
    provider: str
    windows: tuple[WindowUse, ...]
    waiting: int  # permits reserved for a later instant
    paused_for_s: float  # 0.0: not paused
    margin_s: float
    granted: int  # permits since boot
    cap_per_s: float | None = None  # learned from refusals; None: nothing is


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOutage:
    """A key that the embedded provider calls invalid for a while. Minutes count from the provider's first request."""

    key_id: str
    from_min: float
    to_min: float | None  # None: for ever


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectedFaults:
    """What the embedded provider does wrong, by name; None: what its profile has. docs/simulator.md describes each.

    Shares are of the attempts that the limits let through.
    """

    reset: float | None = None
    hang: float | None = None
    bad_gateway: float | None = None
    unavailable: float | None = None
    html_200: float | None = None
    torn_json: float | None = None
    empty: float | None = None
    cut_16: float | None = None
    strip_closing_tag: float | None = None
    slow: float | None = None
    throttle_bucket: float | None = None  # requests/s that an account is left for one model; 0: no such bucket
    azure_window: int | None = None  # tokens per minute that an account has for one model; 0: no such window
    key_dies: KeyOutage | None = None


# --- what the supervisor hands the store, one record per fact -------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One invocation on one phase, as `runs` keeps it."""

    run_id: str
    batch_id: str
    phase: str
    policy: str
    engine: str
    backend: str  # "simulated" | "live"
    seed: int
    config_hash: str
    config: str  # JSON text, no secrets
    version: str
    argv: str
    started_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSent:
    """A request is about to leave. `call_id` is unique in the database; the writer hands out the first free one."""

    call_id: int
    run_id: str
    trial_id: str
    turn: int  # 0-based call of the dialogue
    attempt: int  # 1-based try at it
    key_id: str
    model: str
    deployment: str
    sent_at: str  # planned instant; CallDone corrects it
    wait_window_s: float
    backoff_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallDone:
    """An attempt ended. Fills in the row that CallSent made."""

    call_id: int
    outcome: Outcome
    sent_at: str
    wait_window_s: float
    backoff_s: float
    latency_s: float
    http_status: int | None = None
    provider_code: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish_reason: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallWithdrawn:
    """An announced call did not leave: there was no attempt, and its row goes."""

    call_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStarted:
    """A worker took a trial."""

    trial_id: str
    started_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRequeued:
    """A trial went back to the queue (its worker died or was stopped)."""

    trial_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialDone:
    """A trial's accepted end: scored (with `score`) or invalid (with `error_class` naming the cause)."""

    trial_id: str
    status: TrialStatus
    ended_at: str
    score: TrialScore | None = None
    error_class: str = ""
    turns: int = 0
    tool_calls: int = 0
    transcript: str = "[]"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseGranted:
    """A worker got a key for a shard."""

    run_id: str
    shard_id: str
    key_id: str
    worker_pid: int
    fence: int
    granted_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseReleased:
    """The lease with this fence on this key ended."""

    run_id: str
    key_id: str
    fence: int
    released_at: str
    reason: str  # "done" | "next_shard" | "sent" | "drained" | "crash" | "stall" | "auth" | "quota" | ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEvent:
    """Something happened to a key or a domain."""

    run_id: str
    subject: str  # key_id, or a domain's label
    is_domain: bool
    at: str
    kind: str  # "pause" | "retire" | "park" | "cap" | "resume"
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardChanged:
    """A shard's status."""

    run_id: str
    shard_id: str
    status: str  # "waiting" | "running" | "done" | "failed"
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """A run's end."""

    run_id: str
    status: RunStatus
    ended_at: str


StoreEvent = (
    CallSent
    | CallDone
    | CallWithdrawn
    | TrialStarted
    | TrialRequeued
    | TrialDone
    | LeaseGranted
    | LeaseReleased
    | KeyEvent
    | ShardChanged
    | RunEnded
)


# --- what the engine shows while it runs ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardProgress:
    """One shard as a progress view shows it."""

    label: str
    model: str
    status: str  # "waiting" (for a key) | "running" | "done" | "failed" | "left": starts no more, `resume` runs it
    scored: int
    invalid: int
    running: int
    total: int
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowProgress:
    """One window a key's calls go through: the key's own (`model` ""), or that of its account and a model it serves."""

    model: str
    use: WindowUse


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyProgress:
    """One key as a progress view shows it."""

    key_id: str
    requests_per_s: float  # over the last ten seconds
    limit_per_s: float  # inf: no request limit
    models: tuple[str, ...]  # served now
    paused_for_s: float
    refused: int
    health: str  # "usable" | "parked" | "retired" | "held"
    reason: str = ""  # why it is paused, parked or retired, or who holds it; "": it serves, or may
    parked_for_s: float = 0.0
    windows: tuple[WindowProgress, ...] = ()  # used now, machine-wide; its own first
    cap_per_s: float | None = None  # the lowest learned from refusals, of the key or a model it serves; None: none is
    waiting: int = 0  # permits reserved for a later instant


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressSnapshot:
    """A run at one instant, for people to look at."""

    run_id: str
    phase: str
    policy: str
    backend: str
    elapsed_s: float
    shards: tuple[ShardProgress, ...]
    keys: tuple[KeyProgress, ...]
    scored: int
    invalid: int
    total: int
    calls: int
    refused: int
    tokens: int
    eta_s: float | None  # from the work left and what the keys allow; None: nothing to say yet, or it stops or ended
    lower_bound_s: float | None
    top_cause: str = ""  # what most invalid trials were lost to
    binding: str = ""  # what holds the run back right now, in words; "": nothing to say yet
    stopping_s: float | None = None  # how long running trials may still go on; 0.0: no more; None: it was not stopped
