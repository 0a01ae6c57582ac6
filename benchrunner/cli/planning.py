"""A phase's outlook, put together for `plan` and drawn as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import RenderableType
from rich.text import Text

from benchrunner.cli.running import Wishes, wished_config, wished_phase
from benchrunner.engine.outlook import TRIALS_REHEARSED, forecast, informed, phase_world, speed_of
from benchrunner.planning.forecast import CALLS_ONE_BY_ONE, Forecast
from benchrunner.planning.load import StaticLoad, static_load
from benchrunner.policies import policy_names
from benchrunner.records import Shard
from benchrunner.reporting.tables import Column, table
from benchrunner.reporting.wording import backend_mark, count_text, duration_text
from benchrunner.suites import load_suite


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseOutlook:
    """One phase before its first call: its shards, and its load under each policy."""

    phase: str
    title: str
    backend: str
    trials: int
    order: str
    stagger_s: float
    shards: tuple[Shard, ...]
    speed: float  # of the embedded provider; everything here is at it
    loads: tuple[StaticLoad, ...]
    forecasts: tuple[Forecast, ...]  # by policy, as `loads`
    expected_from: str  # where calls per trial and seconds per call come from


def outlook(names: Sequence[str], wishes: Wishes, config_path: Path) -> list[PhaseOutlook]:
    """Return each phase's outlook, under the policy wished for or under all. Raises ConfigError, UsageError."""
    config = wished_config(config_path, wishes)
    suite = load_suite(config.run.suite, config.run.tasks)
    phases = [wished_phase(config, name, wishes) for name in names]
    found = []
    for phase in phases:
        # Shared out: a plan of all phases takes seconds, whatever their number.
        world = phase_world(config, phase, suite, most_rehearsed=max(1, TRIALS_REHEARSED // len(phases)))
        plan = informed(world, speed_of(config))
        models = tuple(world.models.values())
        policies = [phase.policy] if wishes.policy is not None else policy_names()
        found.append(
            PhaseOutlook(
                phase=phase.name,
                title=phase.title,
                backend=config.run.backend,
                trials=len(plan.trials),
                order=phase.order.value,
                stagger_s=plan.phase.stagger_s,
                shards=plan.shards,
                speed=speed_of(config),
                loads=tuple(
                    static_load(
                        plan,
                        models,
                        world.keys,
                        policy=policy,
                        batch_size=config.run.batch_size,
                        tokens_per_call=world.tokens_per_call,
                    )
                    for policy in policies
                ),
                forecasts=tuple(
                    forecast(
                        config,
                        world.plan,
                        world.models,
                        world.keys,
                        world.shapes,
                        measured=world.measured,
                        policy=policy,
                        calls_one_by_one=CALLS_ONE_BY_ONE // len(phases),
                    )
                    for policy in policies
                ),
                expected_from=world.source,
            )
        )
    return found


def outlook_parts(phase: PhaseOutlook) -> list[RenderableType]:
    """Return the phase's tables in reading order."""
    mark = f"{backend_mark(phase.backend)} " if phase.backend == "simulated" else ""
    head = f"{mark}phase {phase.phase}: {phase.title}, {phase.trials} trials in {len(phase.shards)} shards"
    parts: list[RenderableType] = [Text(head, style="bold"), _shards(phase)]
    for load in phase.loads:
        parts += _load_parts(phase, load)
    parts.append(_forecasts(phase))
    return parts


def _forecasts(phase: PhaseOutlook) -> RenderableType:
    """Return the policies by the time they are forecast to take, the shortest first."""
    bounds = {load.policy: load.lower_bound_s for load in phase.loads}
    at_speed = f", at speed {phase.speed:g}" if phase.speed != 1.0 else ""
    return table(
        f"Forecast, first request to last reply{at_speed} (from {phase.expected_from})",
        [
            Column(title="policy"),
            Column(title="takes", numeric=True),
            Column(title="at least", numeric=True),
            Column(title="ratio", numeric=True),
            Column(title="calls", numeric=True),
            Column(title="tokens", numeric=True),
            Column(title="refused", numeric=True),
            Column(title="what binds"),
        ],
        (
            (
                one.policy,
                duration_text(one.makespan_s),
                duration_text(bounds[one.policy]),
                f"{bounds[one.policy] / one.makespan_s:.2f}" if one.makespan_s else None,
                count_text(one.calls),
                count_text(one.tokens),
                # A flow of calls does not meet a limit call by call, so nobody can say how many would be refused.
                count_text(one.refused) if one.played == "call" else None,
                one.binding,
            )
            for one in sorted(phase.forecasts, key=lambda one: one.makespan_s)
        ),
    )


def _shards(phase: PhaseOutlook) -> RenderableType:
    return table(
        "Shards",
        [
            Column(title="#", numeric=True),
            Column(title="model"),
            Column(title="condition"),
            Column(title="static key"),
            Column(title="trials", numeric=True),
            Column(title="calls", numeric=True),
            Column(title="s/call", numeric=True),
        ],
        (
            (
                shard.position + 1,
                shard.model,
                shard.label,
                shard.key_id,
                len(shard.trial_ids),
                count_text(round(shard.expected_calls)),
                f"{shard.expected_call_s:.1f}",
            )
            for shard in phase.shards
        ),
    )


def _load_parts(phase: PhaseOutlook, load: StaticLoad) -> list[RenderableType]:
    launched_apart = load.policy == "native" and phase.order == "concurrent"
    staggered = f", {duration_text(phase.stagger_s)} apart" if launched_apart else ""
    noun = "process" if load.processes == 1 else "processes"
    parts: list[RenderableType] = [
        Text(
            f"{load.policy}: {load.processes} {noun} at once{staggered}; {count_text(round(load.calls))} calls, about "
            f"{count_text(round(load.tokens))} tokens; at least {duration_text(load.lower_bound_s)} ({load.bound_by})"
        ),
        table(
            f"Load per key under {load.policy}",
            [
                Column(title="key"),
                Column(title="shards", numeric=True),
                Column(title="at once", numeric=True),
                Column(title="asked req/s", numeric=True),
                Column(title="of", numeric=True),
                Column(title="busy", numeric=True),
                Column(title="what binds"),
            ],
            (
                (
                    key.key_id,
                    key.shards,
                    key.at_once,
                    f"{key.asked_per_s:.3g}",
                    "none" if key.limit_per_s is None else f"{key.limit_per_s:g}",
                    None if key.busy is None else f"{100 * key.busy:.0f} %",
                    key.binding,
                )
                for key in load.keys
            ),
        ),
    ]
    parts += [Text(f"warning: {warning}", style="yellow") for warning in load.warnings]
    return parts
