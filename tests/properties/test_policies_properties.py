"""Every policy in a small world that crashes, retires and dawdles as hypothesis likes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchrunner.policies import make_policy
from benchrunner.policies.base import Choice, KeyView, Policy, ShardView

PROVIDERS = ("ideallab", "azure")
STEPS_OF_TROUBLE = 40
BATCH_SIZE = 3


@dataclass
class Work:
    """A shard of the world, with one set of running trials per key on it."""

    shard_id: str
    position: int
    model: str
    provider: str
    static_key: str
    group: int
    pending: int
    call_s: float
    running: dict[str, int] = field(default_factory=dict)  # key leased to it -> trials in flight on it
    left: dict[str, int] = field(default_factory=dict)  # key whose worker went on -> trials still in flight on it
    started_s: float | None = None

    def view(self) -> ShardView:
        in_flight = sum(self.running.values()) + sum(self.left.values())
        return ShardView(
            shard_id=self.shard_id,
            position=self.position,
            model=self.model,
            provider=self.provider,
            static_key=self.static_key,
            group=self.group,
            pending=self.pending,
            running=in_flight,
            expected_s=(self.pending + in_flight) * self.call_s,
            keys=tuple(self.running),
            started_s=self.started_s,
            done=not self.pending and not in_flight,
        )


@dataclass
class Slot:
    """A key of the world."""

    key_id: str
    provider: str
    slots: int
    usable: bool = True


class World:
    """Runs a policy's grants and checks each for what no policy may do."""

    def __init__(self, policy: Policy, work: list[Work], keys: list[Slot]) -> None:
        self.policy, self.now_s = policy, 0.0
        self.work = {shard.shard_id: shard for shard in work}
        self.keys = {key.key_id: key for key in keys}

    def key_views(self) -> tuple[KeyView, ...]:
        return tuple(
            KeyView(
                key_id=key.key_id,
                provider=key.provider,
                slots=key.slots,
                models=tuple(shard.model for shard in self.work.values() if key.key_id in shard.running),
                spare=tuple(shard.model for shard in self.spare(key.key_id)),
                usable=key.usable,
            )
            for key in self.keys.values()
        )

    def spare(self, key_id: str) -> list[Work]:
        """Return the shards whose worker on the key has nothing left to take and is busy with one trial at most."""
        return [one for one in self.work.values() if one.running.get(key_id, 9) < 2 and not one.pending]

    def ask(self) -> Choice:
        views = tuple(shard.view() for shard in self.work.values())
        choice = self.policy.choose(now_s=self.now_s, shards=views, keys=self.key_views())
        assert choice == self.policy.choose(now_s=self.now_s, shards=views, keys=self.key_views())
        assert choice.ask_again_s is None or choice.ask_again_s > self.now_s
        for grant in choice.grants:
            shard, key = self.work[grant.shard_id], self.keys[grant.key_id]
            assert key.usable
            assert key.provider == shard.provider
            assert shard.pending > 0
            assert grant.joining == bool(shard.running)
            assert key.key_id not in shard.running
            if grant.goes_on:
                before = next(one for one in self.spare(grant.key_id) if one.model == shard.model)
                before.left[grant.key_id] = before.left.get(grant.key_id, 0) + before.running.pop(grant.key_id)
            shard.running[key.key_id] = 0
            if shard.started_s is None:
                shard.started_s = self.now_s
        for shard in self.work.values():
            for key_id in shard.running:
                if shard.pending:
                    shard.pending -= 1
                    shard.running[key_id] += 1
        self.let_go()
        return choice

    def let_go(self) -> None:
        """Free the keys of workers that have nothing to do."""
        for shard in self.work.values():
            shard.left = {key_id: count for key_id, count in shard.left.items() if count}
        for shard in self.work.values():
            if not shard.pending:
                behind = {key_id for one in self.work.values() if one.model == shard.model for key_id in one.left}
                shard.running = {
                    key_id: count for key_id, count in shard.running.items() if count or key_id in behind
                }

    def running(self) -> list[tuple[Work, str]]:
        return [(shard, key_id) for shard in self.work.values() for key_id in shard.running]

    def end_one_left(self) -> bool:
        """Let a trial end whose worker went on to another shard; False: there is none."""
        for shard in self.work.values():
            for key_id in shard.left:
                shard.left[key_id] -= 1
                self.let_go()
                return True
        return False

    def finish_trial(self, number: int) -> None:
        if number % 3 == 0 and self.end_one_left():
            return
        running = self.running()
        if running:
            shard, key_id = running[number % len(running)]
            shard.running[key_id] = max(0, shard.running[key_id] - 1)
            if shard.pending:
                shard.pending -= 1
                shard.running[key_id] += 1
            self.let_go()

    def crash(self, number: int) -> None:
        running = self.running()
        if running:
            shard, key_id = running[number % len(running)]
            shard.pending += shard.running.pop(key_id)
            self.requeue_left(key_id)

    def requeue_left(self, key_id: str) -> None:
        """Put back what workers on the key were still busy with of the shards they had before."""
        for shard in self.work.values():
            shard.pending += shard.left.pop(key_id, 0)

    def refuse_key(self, number: int) -> None:
        key = list(self.keys.values())[number % len(self.keys)]
        key.usable = False
        for shard in self.work.values():
            shard.pending += shard.running.pop(key.key_id, 0)
        self.requeue_left(key.key_id)

    def restore_key(self, number: int) -> None:
        list(self.keys.values())[number % len(self.keys)].usable = True

    def add_trials(self, number: int) -> None:
        """Put spoiled trials of some shard back into its queue."""
        list(self.work.values())[number % len(self.work)].pending += 1

    def pass_time(self, number: int) -> None:
        self.now_s += number % 20

    def unfinished(self) -> list[Work]:
        return [shard for shard in self.work.values() if shard.pending or shard.running]


TROUBLE: tuple[Callable[[World, int], None], ...] = (
    World.finish_trial,
    World.finish_trial,
    World.crash,
    World.refuse_key,
    World.restore_key,
    World.add_trials,
    World.pass_time,
)


def check_no_slot_is_exceeded(world: World) -> None:
    for key in world.key_views():
        assert key.slots == 0 or len(key.models) <= key.slots, key


def check_one_model_per_slot(world: World) -> None:
    """What is in flight on a key with one slot is of one model, whatever shard it belongs to."""
    for key in world.keys.values():
        busy = [one for one in world.work.values() if one.running.get(key.key_id) or one.left.get(key.key_id)]
        assert key.slots != 1 or len({one.model for one in busy}) <= 1, key


def check_one_at_a_time(world: World) -> None:
    assert len(world.running()) <= 1


def check_batch(world: World) -> None:
    at_work = [shard for shard in world.work.values() if shard.running]
    assert len(at_work) <= BATCH_SIZE
    assert len({shard.static_key for shard in at_work}) == len(at_work)
    used = [key_id for _, key_id in world.running()]
    assert len(set(used)) == len(used)


def check_pool(world: World) -> None:
    """Besides slots: no key that could serve a waiting shard is left idle."""
    for shard in world.work.values():
        if shard.pending and not shard.running:
            free = [
                key
                for key in world.key_views()
                if key.usable and key.provider == shard.provider and (not key.slots or len(key.models) < key.slots)
            ]
            assert free == []


def check_one_model_in_line(world: World) -> None:
    at_work = [shard for shard in world.work.values() if shard.running]
    assert len({shard.model for shard in at_work}) <= 1
    groups = [shard.group for shard in at_work]
    assert len(set(groups)) == len(groups)


CASES: dict[str, tuple[Policy, tuple[Callable[[World], None], ...]]] = {
    "native serial": (make_policy("native", order="serial", stagger_s=15.0), (check_one_at_a_time,)),
    "native grouped": (make_policy("native", order="grouped", stagger_s=0.0), (check_one_model_in_line,)),
    "native concurrent": (make_policy("native", order="concurrent", stagger_s=15.0), ()),
    "serial": (make_policy("serial", order="serial", stagger_s=0.0), (check_one_at_a_time, check_no_slot_is_exceeded)),
    "batched": (
        make_policy("batched", order="serial", stagger_s=0.0, batch_size=BATCH_SIZE),
        (check_batch, check_no_slot_is_exceeded),
    ),
    "pool": (
        make_policy("pool", order="serial", stagger_s=0.0),
        (check_pool, check_no_slot_is_exceeded, check_one_model_per_slot),
    ),
}


@st.composite
def surroundings(draw: st.DrawFn) -> tuple[list[Work], list[Slot]]:
    """Draw keys of one or two providers, and shards whose static keys are among them."""
    keys = [Slot(f"key{n}", "ideallab", draw(st.sampled_from([1, 1, 1, 2, 0]))) for n in range(draw(st.integers(1, 4)))]
    for key in keys:
        key.usable = draw(st.sampled_from([True, True, False]))
    keys += [Slot(f"az{n}", "azure", draw(st.sampled_from([0, 0, 1]))) for n in range(draw(st.integers(0, 2)))]
    work = []
    for position in range(draw(st.integers(1, 8))):
        key = draw(st.sampled_from(keys))
        work.append(
            Work(
                shard_id=f"s{position}",
                position=position,
                model=f"m{draw(st.integers(0, 3))}-{key.provider}",
                provider=key.provider,
                static_key=key.key_id,
                group=draw(st.integers(0, 2)),
                pending=draw(st.integers(0, 5)),
                call_s=draw(st.sampled_from([0.5, 1.0, 4.0])),
            )
        )
    return work, keys


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=150, deadline=None)
@given(
    place=surroundings(),
    trouble=st.lists(st.tuples(st.sampled_from(TROUBLE), st.integers(0, 1000)), max_size=STEPS_OF_TROUBLE),
)
def test_policy_keeps_its_bounds_and_finishes_everything(
    case: str, place: tuple[list[Work], list[Slot]], trouble: list[tuple[Callable[[World, int], None], int]]
) -> None:
    """Through crashes, refused keys and returned trials the bounds hold, and what a usable key can serve gets done."""
    # Given a world under the policy
    policy, checks = CASES[case]
    world = World(policy, *place)
    # When anything happens to it, the policy being asked after each event
    for happen, number in trouble:
        world.ask()
        for check in checks:
            check(world)
        happen(world, number)
    # And then nothing but work
    idle = 0
    while idle < 2:
        choice = world.ask()
        for check in checks:
            check(world)
        if choice.ask_again_s is not None:
            world.now_s = choice.ask_again_s
        idle = 0 if world.running() or choice.ask_again_s is not None else idle + 1
        world.finish_trial(0)
    # Then all is done but what no usable key can serve
    served = {key.provider for key in world.keys.values() if key.usable}
    assert [shard.shard_id for shard in world.unfinished() if shard.provider in served] == []
