from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from benchrunner.planning.grid import identity_of
from benchrunner.planning.load import static_load
from benchrunner.planning.sharding import plan_phase
from benchrunner.planning.windows import capacity, seconds_for
from benchrunner.records import KeyEntry, Limit, LimitKind, ModelEntry, Phase, PhaseOrder, ShardOrder, Task, Trial
from benchrunner.suites.base import Dialogue

MODELS = ("m0", "m1", "m2", "m3")
PROMPTS = ("p0", "p1", "p2", "p3")
DIFFICULTIES = ("d0", "d1")
TYPES = ("t0", "t1", "t2")
RATES = (0.9, 0.8, 0.5)
KEYS = tuple(
    KeyEntry(
        key_id=f"key{n}",
        provider="gate",
        env=f"KEY_{n}",
        account="acme",
        limits=(Limit(kind=LimitKind.REQUESTS, amount=10, per_s=1.0),),
    )
    for n in range(2)
)


class OpenSuite:
    """Numbered tasks; takes any prompt and difficulty."""

    name = "open"
    version = "1"
    task_types = TYPES
    prompts: tuple[str, ...] = ()
    difficulties: tuple[str, ...] = ()
    max_turns = 10

    def tasks(self, *, seed: int, phase: str, difficulty: str, task_type: str, count: int) -> tuple[Task, ...]:
        return tuple(
            Task(task_id=f"{task_type}-{seed}-{n}", task_type=task_type, difficulty=difficulty, body="")
            for n in range(count)
        )

    def expected_calls(self, *, prompt: str, task_type: str) -> float:
        return 3.0 + TYPES.index(task_type)

    def dialogue(self, trial: Trial, task: Task, *, protocol: str = "text") -> Dialogue:
        raise AssertionError("planning holds no dialogue")


def some(words: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(words), min_size=1, unique=True).map(tuple)


@st.composite
def phases(draw: st.DrawFn) -> Phase:
    prompts = draw(some(PROMPTS))
    grouped = draw(st.booleans())
    cut = draw(st.integers(0, len(prompts)))
    groups = tuple(group for group in (prompts[:cut], prompts[cut:]) if group) if grouped else ()
    return Phase(
        name="9.9",
        title="",
        models=draw(some(MODELS)),
        prompts=prompts,
        difficulties=draw(some(DIFFICULTIES)),
        task_types=draw(st.one_of(st.none(), some(TYPES))),
        instances=draw(st.integers(1, 7)),
        tool_success_rates=draw(st.lists(st.sampled_from(RATES), min_size=1, unique=True).map(tuple)),
        order=PhaseOrder.GROUPED if grouped else draw(st.sampled_from([PhaseOrder.SERIAL, PhaseOrder.CONCURRENT])),
        groups=groups,
        stagger_s=draw(st.sampled_from([0.0, 15.0])),
        shard_order=draw(st.sampled_from(list(ShardOrder))),
        policy="pool",
    )


@st.composite
def entries(draw: st.DrawFn) -> dict[str, ModelEntry]:
    return {
        name: ModelEntry(
            name=name,
            provider="gate",
            key_id=draw(st.sampled_from(KEYS)).key_id,
            deployments=(name,),
            limits=(),
            shards=draw(st.integers(1, 4)),
            workers=draw(st.integers(1, 40)),
            expected_call_s=draw(st.sampled_from([0.3, 2.0, 30.0])),
        )
        for name in MODELS
    }


@given(phases(), entries())
@settings(max_examples=80, deadline=None)
def test_shards_partition_the_trials(phase: Phase, models: dict[str, ModelEntry]) -> None:
    """Every trial is in exactly one shard, of its own model; no shard is empty; every id is unique."""
    # Given any phase, laid out
    plan = plan_phase(phase, [models[name] for name in phase.models], OpenSuite(), run_id="r", seed=1)
    # Then the shards hold each trial once
    held = Counter(trial_id for shard in plan.shards for trial_id in shard.trial_ids)
    assert Counter({trial.trial_id: 1 for trial in plan.trials}) == held
    assert len(plan.trials) == len(held) == len({identity_of(trial) for trial in plan.trials})
    assert list(range(len(plan.shards))) == [shard.position for shard in plan.shards]
    assert len(plan.shards) == len({shard.shard_id for shard in plan.shards})
    # And trials and shards point at each other
    shard_of = {trial_id: shard for shard in plan.shards for trial_id in shard.trial_ids}
    for trial in plan.trials:
        shard = shard_of[trial.trial_id]
        assert (shard.shard_id, shard.model) == (trial.shard_id, trial.condition.model)
    # And a model's shards can be told apart
    assert len(plan.shards) == len({(shard.model, shard.label) for shard in plan.shards})


@given(phases(), entries())
@settings(max_examples=50, deadline=None)
def test_models_share_tasks_and_the_order_is_stable(phase: Phase, models: dict[str, ModelEntry]) -> None:
    """Planning twice gives the same plan; leaving models out changes nothing for the others."""
    # Given any phase, laid out twice, and once for its last model alone
    chosen = [models[name] for name in phase.models]
    plan = plan_phase(phase, chosen, OpenSuite(), run_id="r", seed=1)
    again = plan_phase(phase, chosen, OpenSuite(), run_id="r", seed=1)
    alone = plan_phase(phase, chosen[-1:], OpenSuite(), run_id="other", seed=1)
    # Then nothing differs but the names that hold the run
    assert (plan.trials, plan.shards) == (again.trials, again.shards)
    told = [(identity_of(one), one.seed) for one in plan.trials if one.condition.model == phase.models[-1]]
    assert told == [(identity_of(one), one.seed) for one in alone.trials]
    # And every model has the same tasks in the same order
    first, *others = (
        [(one.task_id, one.instance) for one in plan.trials if one.condition.model == name] for name in phase.models
    )
    assert all(first == other for other in others)


@given(phases(), entries(), st.sampled_from(["native", "serial", "batched", "pool"]))
@settings(max_examples=80, deadline=None)
def test_the_load_of_any_phase_holds_together(phase: Phase, models: dict[str, ModelEntry], policy: str) -> None:
    """No managed policy asks a key for more than it has; under static keys every shard is on exactly one key."""
    chosen = [models[name] for name in phase.models]
    plan = plan_phase(phase, chosen, OpenSuite(), run_id="r", seed=1)
    load = static_load(plan, chosen, KEYS, policy=policy)
    assert load.lower_bound_s > 0
    assert 1 <= load.processes <= len(plan.shards) + len(KEYS)
    if policy != "native":
        assert all(one.asked_per_s <= 10.0 + 1e-9 for one in load.keys)
    if policy != "pool":
        assert len(plan.shards) == sum(one.shards for one in load.keys)
    # And a policy that may use every key is bound by no more than one that uses a shard's own key alone
    if policy == "serial":
        assert static_load(plan, chosen, KEYS, policy="pool").lower_bound_s <= load.lower_bound_s + 1e-6


limits = st.builds(
    Limit,
    kind=st.sampled_from(list(LimitKind)),
    amount=st.integers(1, 50),
    per_s=st.sampled_from([0.2, 0.5, 1.0, 7.0, 60.0]),
)


@given(st.lists(st.lists(limits, min_size=1, max_size=3), min_size=1, max_size=4), st.integers(1, 3000))
@settings(max_examples=150, deadline=None)
def test_windows_let_the_calls_through_at_that_time_and_not_before(lanes: list[list[Limit]], calls: int) -> None:
    """`seconds_for` is the first instant at which all calls fit: at it they do, a hair before they do not."""
    needed_s = seconds_for(calls, lanes, 2.0)
    assert sum(capacity(lane, needed_s, 2.0) for lane in lanes) >= calls - 1e-6
    if needed_s > 0:
        assert sum(capacity(lane, needed_s - 1e-6, 2.0) for lane in lanes) < calls


@given(st.integers(0, 2**63 - 1))
@settings(max_examples=30, deadline=None)
def test_another_seed_is_another_run(seed: int) -> None:
    """The run's seed reaches the tasks and every trial."""
    phase = Phase(
        name="9.9", title="", models=("m0",), prompts=("p0",), difficulties=("d0",), task_types=None, instances=2,
        tool_success_rates=(0.8,), order=PhaseOrder.SERIAL, groups=(), stagger_s=0.0, shard_order=ShardOrder.MODELS,
        policy="pool",
    )  # fmt: skip
    model = ModelEntry(name="m0", provider="gate", key_id="key0", deployments=("m0",), limits=())
    here = plan_phase(phase, [model], OpenSuite(), run_id="r", seed=seed)
    there = plan_phase(replace(phase), [model], OpenSuite(), run_id="r", seed=seed + 1)
    assert not {one.seed for one in here.trials} & {one.seed for one in there.trials}
    assert not {one.task_id for one in here.trials} & {one.task_id for one in there.trials}
