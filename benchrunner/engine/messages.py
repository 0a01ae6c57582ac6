"""What supervisor and worker say to each other: frozen records, carried as orjson bytes over a pipe.

A packet is a JSON list of ``[name, fields]`` pairs, so that many small messages cost one write. Decoding rebuilds the
records and nothing else: an unknown name or a missing field is a ProtocolError, never a half-made object.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import orjson

from benchrunner.errors import BenchrunnerError
from benchrunner.records import (
    Domain,
    Key,
    Lease,
    ModelEntry,
    Outcome,
    Provider,
    Task,
    Trial,
    TrialScore,
    TrialStatus,
)


class ProtocolError(BenchrunnerError):
    """Bytes on a pipe were not a packet of known messages."""


# --- supervisor to worker -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """The first message: all a worker needs to serve a lease. It may move to other shards of the model; no matter here.
    """

    run_id: str
    lease: Lease
    provider: Provider
    key: Key
    model: ModelEntry
    domains: tuple[Domain, ...]  # the key's and the (account, model)'s, empty when unmanaged
    windows_path: str  # "" when unmanaged: the worker then paces itself at `pace_qps`
    pace_qps: float
    max_tries: int
    patience_s: float  # how long one call may be throttled before its trial is given up
    trial_timeout_s: float  # provider time one trial may use, waits for limits not counted
    suite: str
    tasks_file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Run this trial."""

    trial: Trial
    task: Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The `sent` rows of these calls are committed: their requests may leave."""

    refs: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TellWhenSent:
    """Say AllSent, with this number, once every trial handed in so far has sent its last request.

    Only of a suite whose dialogues have one turn: of others nobody knows which request is a trial's last. Void when
    another Order follows.
    """

    nth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Take no more trials. `now`: also hand back the running ones at their next call."""

    now: bool


# --- worker to supervisor -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The worker is set up and connected."""

    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """A request is about to leave; the worker waits for Recorded. `ref` is the worker's own number for the call."""

    ref: int
    trial_id: str
    turn: int
    attempt: int
    deployment: str
    sent_at: str
    wait_window_s: float
    backoff_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """An announced call did not leave after all; its row goes."""

    ref: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded:
    """An announced call ended."""

    ref: int
    outcome: Outcome
    sent_at: str
    wait_window_s: float
    backoff_s: float
    latency_s: float
    http_status: int | None
    provider_code: str
    detail: str
    prompt_tokens: int | None
    completion_tokens: int | None
    finish_reason: str
    retry_after_s: float | None
    paused_domain: str  # label of the domain this outcome paused, or ""
    paused_for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CapMoved:
    """How a call ended moved a domain's learned cap by more than noise."""

    domain: str  # its label
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEnded:
    """A trial ended: scored by the model, or invalid by `cause`."""

    trial_id: str
    status: TrialStatus
    score: TrialScore | None
    cause: str
    detail: str
    turns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialReturned:
    """A trial was handed back unfinished, at a call boundary."""

    trial_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AllSent:
    """Every trial in the worker's hands has sent its last request; `nth` is TellWhenSent's."""

    nth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRefused:
    """The provider refuses the key itself: `auth` (retire it) or `quota` (park it for `park_s`)."""

    kind: Outcome
    detail: str
    park_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFailed:
    """The worker met a bug and is about to exit; the text is for the person who will look for it."""

    detail: str


Message = (
    Begin
    | Order
    | Recorded
    | TellWhenSent
    | Stop
    | Ready
    | Sending
    | Withdrawn
    | CallEnded
    | CapMoved
    | TrialEnded
    | TrialReturned
    | AllSent
    | KeyRefused
    | WorkerFailed
)

_KINDS: dict[str, type] = {kind.__name__: kind for kind in get_args(Message)}
_HINTS: dict[type, dict[str, Any]] = {}


def encode(messages: Iterable[Message]) -> bytes:
    """Return one packet holding `messages` in order."""
    return orjson.dumps([(type(message).__name__, message) for message in messages])


def decode(packet: bytes) -> list[Message]:
    """Return the messages of one packet. Raises ProtocolError when it is not one."""
    try:
        return [_build(_KINDS[name], data) for name, data in orjson.loads(packet)]
    except (ValueError, KeyError, TypeError) as error:
        # Its beginning only: a packet may carry a key's secret further on.
        raise ProtocolError(f"not a packet: {error!r} in {len(packet)} bytes, {packet[:40]!r}...") from error


def _build(kind: type, data: Any) -> Any:
    if not isinstance(data, dict):
        raise TypeError(f"the fields of {kind.__name__} are not an object")
    hints = _HINTS.get(kind)
    if hints is None:
        resolved = get_type_hints(kind)
        # Only fields that are not already what JSON gives are listed: the hot messages cost one call each.
        hints = {f.name: resolved[f.name] for f in fields(kind) if not _is_plain(resolved[f.name])}
        _HINTS[kind] = hints
    if hints:
        data = dict(data)
        for name, hint in hints.items():
            data[name] = _convert(hint, data[name])
    return kind(**data)


def _is_plain(hint: Any) -> bool:
    if get_origin(hint) is UnionType:
        return all(_is_plain(arm) for arm in get_args(hint))
    return hint in (str, int, float, bool, NoneType)


def _convert(hint: Any, value: Any) -> Any:
    origin = get_origin(hint)
    if origin is UnionType:
        if value is None and NoneType in get_args(hint):
            return None
        return _convert(next(arm for arm in get_args(hint) if arm is not NoneType), value)
    if origin is tuple:
        if not isinstance(value, list):  # a text would pass as a tuple of its letters
            raise TypeError(f"{value!r:.40} is not a list")
        return tuple(_convert(get_args(hint)[0], item) for item in value)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint(value)
    if is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, value)
    return value
