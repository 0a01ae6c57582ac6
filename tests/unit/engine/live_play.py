"""A played run as its forecast has it: every trial ten calls of a second, unless it is said otherwise."""

from __future__ import annotations

from engine_play import Play

from benchrunner.planning.forecast import World
from benchrunner.planning.trial_shapes import TrialShape
from benchrunner.policies.base import Policy
from benchrunner.records import DomainUse, KeyEntry, Limit, LimitKind, ModelEntry, Provider, WindowUse
from benchrunner.testing import StubPolicy

TEN_PER_S = (Limit(kind=LimitKind.REQUESTS, amount=10, per_s=1.0),)


def world_of(
    play: Play,
    *,
    policy: Policy | None = None,
    limits: tuple[Limit, ...] = TEN_PER_S,
    model_limits: tuple[Limit, ...] = (),
    calls: int = 10,
    call_s: float = 1.0,
    one_turn: bool = False,
) -> World:
    """Return the world of a run that is played; keys without a bound have no limit of their own."""
    shards = tuple(one.shard for one in play.state.shards.values())
    setups = [key.setup for key in play.state.keys.values()]
    return World(
        one_turn=one_turn,
        shards=shards,
        shapes={
            trial_id: TrialShape(latencies_s=(call_s,) * calls, tokens_per_call=1000.0)
            for shard in shards
            for trial_id in shard.trial_ids
        },
        models={
            shard.model: ModelEntry(
                name=shard.model,
                provider=shard.provider,
                key_id=shard.key_id,
                deployments=(shard.model,),
                limits=model_limits,
                workers=shard.workers,
            )
            for shard in shards
        },
        keys=tuple(
            KeyEntry(
                key_id=setup.key_id,
                provider=setup.provider,
                env="E",
                account="lab",
                limits=limits if setup.slots else (),
                slots=setup.slots,
            )
            for setup in setups
        ),
        providers={
            name: Provider(name=name, kind="openai", base_url="", margin_floor_s=0.0)
            for name in {setup.provider for setup in setups}
        },
        policy=policy or StubPolicy(),
    )


def use(
    label: str = "key0",
    *,
    used: float = 0.0,
    amount: int = 10,
    per_s: float = 1.0,
    kind: LimitKind = LimitKind.REQUESTS,
    paused_for_s: float = 0.0,
    waiting: int = 0,
    cap_per_s: float | None = None,
) -> DomainUse:
    """Return a domain of one window as it stands."""
    return DomainUse(
        name=f"key:{label}",
        label=label,
        provider="ideallab",
        windows=(WindowUse(kind=kind, amount=amount, per_s=per_s, used=used),),
        waiting=waiting,
        paused_for_s=paused_for_s,
        margin_s=0.01,
        granted=1,
        cap_per_s=cap_per_s,
    )
