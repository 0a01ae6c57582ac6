"""Which faults a profile has for which model, by the models' exact names.

`field` is what was measured on the real providers in August 2025 (docs/simulator.md, "Where the numbers come from"). A
model that was not measured has no faults of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Final

from benchrunner.records import InjectedFaults

NONE: Final = InjectedFaults()

FIELD: Final[Mapping[str, InjectedFaults]] = MappingProxyType(
    {
        "qwen2.5-72b-instruct": InjectedFaults(throttle_bucket=1.2, strip_closing_tag=1.0),
        "qwen2.5-32b-instruct": InjectedFaults(strip_closing_tag=1.0),
        "qwen2.5-14b-instruct": InjectedFaults(empty=0.002, strip_closing_tag=1.0),
        "qwen2.5-7b-instruct": InjectedFaults(strip_closing_tag=1.0),
        "qwen2.5-3b-instruct": InjectedFaults(empty=0.0013, strip_closing_tag=1.0),
        "DeepSeek-V3-0324": InjectedFaults(azure_window=400_000, slow=1.0, hang=0.0006, bad_gateway=0.001),
        "DeepSeek-R1-0528": InjectedFaults(azure_window=400_000, slow=1.0, hang=0.0006, bad_gateway=0.001),
        "Llama-3.3-70B-Instruct": InjectedFaults(
            azure_window=400_000, slow=1.0, hang=0.0026, bad_gateway=0.001, cut_16=0.31
        ),
    }
)

PROFILES: Final[Mapping[str, Mapping[str, InjectedFaults]]] = MappingProxyType(
    {"clean": MappingProxyType({}), "field": FIELD}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slowness:
    """Latency of a reply of an overloaded service: median and 95th percentile, seconds, log-normal between."""

    p50_s: float
    p95_s: float


SLOWNESS: Final[Mapping[str, Slowness]] = MappingProxyType(
    {
        "DeepSeek-V3-0324": Slowness(p50_s=1.9, p95_s=52.0),
        "DeepSeek-R1-0528": Slowness(p50_s=30.0, p95_s=71.0),
        "Llama-3.3-70B-Instruct": Slowness(p50_s=12.5, p95_s=46.0),
    }
)
USUAL_SLOWNESS: Final = Slowness(p50_s=12.0, p95_s=60.0)


def faults_of(model: str, *, profile: str, over: InjectedFaults) -> InjectedFaults:
    """Return a model's faults under a profile; whatever `over` names replaces the profile's. Raises KeyError."""
    named = {one.name: value for one in fields(over) if (value := getattr(over, one.name)) is not None}
    return replace(PROFILES[profile].get(model, NONE), **named)
