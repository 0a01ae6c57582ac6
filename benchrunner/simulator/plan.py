"""What the embedded provider is told to be: keys, models, limits, behaviour. One JSON line on its way there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from benchrunner.errors import SimulatorError
from benchrunner.records import ChatReply, InjectedFaults, KeyOutage, Limit, LimitKind, Message, ToolDefinition


class Behaviour(Protocol):
    """A simulated model. Pure: seed and conversation decide both what it says and how long it takes."""

    def reply(self, messages: Sequence[Message], tools: Sequence[ToolDefinition] = ()) -> ChatReply:
        """Return what the model answers to this conversation, by function call where `tools` are offered."""
        ...

    def latency_s(self, messages: Sequence[Message]) -> float:
        """Return how long the answer takes, at speed 1."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedKey:
    """A credential the embedded provider accepts. Its limits are as configured, at speed 1."""

    secret: str = field(repr=False)
    key_id: str
    provider: str
    account: str
    limits: tuple[Limit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedModelPlan:
    """A model the embedded provider serves to the keys of `provider`, under any of its deployments' names.

    `limits` hold for each (account, model) pair, whichever deployment is asked. The last three override the built-in
    behaviour of that name; None keeps it.
    """

    name: str
    provider: str
    deployments: tuple[str, ...]
    limits: tuple[Limit, ...]
    skill: float | None = None  # 0..1
    latency_p50_s: float | None = None
    latency_p95_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorPlan:
    """Everything one embedded provider is. Values are raw: the server applies `speed` to limits and latencies."""

    keys: tuple[SimulatedKey, ...]
    models: tuple[SimulatedModelPlan, ...]
    seed: int
    speed: float = 1.0  # 5: limits times five, latencies divided by five
    latency: bool = True  # False: every model answers at once
    profile: str = "clean"  # "field": with the faults that were measured (profiles.py)
    faults: InjectedFaults = field(default_factory=InjectedFaults)  # over those of the profile, for every model
    sitting: int = 0  # faults of another sitting are other draws: what failed at one may succeed at the next

    def to_json(self) -> bytes:
        """Return the plan as one line of JSON. It holds the secrets: for a pipe, never for a file or an argument."""
        return orjson.dumps(self)

    @classmethod
    def from_json(cls, text: bytes) -> SimulatorPlan:
        """Return the plan that `to_json` wrote. Raises SimulatorError for anything else."""
        try:
            plan = orjson.loads(text)
            return cls(
                keys=tuple(SimulatedKey(**{**key, "limits": _limits(key)}) for key in plan.pop("keys")),
                models=tuple(
                    SimulatedModelPlan(
                        **{**model, "limits": _limits(model), "deployments": tuple(model["deployments"])}
                    )
                    for model in plan.pop("models")
                ),
                faults=_faults(plan.pop("faults")),
                **plan,
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            # The text itself is not quoted: it holds the secrets.
            raise SimulatorError(f"the simulator was handed no readable plan ({type(error).__name__})") from None


def _limits(entry: dict[str, Any]) -> tuple[Limit, ...]:
    return tuple(
        Limit(kind=LimitKind(limit["kind"]), amount=limit["amount"], per_s=limit["per_s"]) for limit in entry["limits"]
    )


def _faults(entry: dict[str, Any]) -> InjectedFaults:
    outage = entry["key_dies"]
    return InjectedFaults(**{**entry, "key_dies": KeyOutage(**outage) if outage is not None else None})


def scaled_limits(limits: tuple[Limit, ...], speed: float) -> tuple[Limit, ...]:
    """Return the limits as they hold at `speed`: amounts multiplied and rounded down, never below one.

    Whoever paces requests for the embedded provider must scale by this same function.
    """
    if speed == 1.0:
        return limits
    return tuple(
        Limit(kind=limit.kind, amount=max(1, int(limit.amount * speed + 1e-9)), per_s=limit.per_s) for limit in limits
    )
