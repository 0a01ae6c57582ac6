from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from planning_samples import FIVE, model_entry, phase_of

from benchrunner.planning.sharding import PhasePlan
from benchrunner.records import Phase, ShardOrder

LayOut = Callable[..., PhasePlan]
A = model_entry("a", "key0")


def test_the_scale_phase_has_ten_shards_very_easy_first(lay_out: LayOut, scale_phase: Phase) -> None:
    """5.2 runs the very_easy batch of all models, then the medium batch; each shard is a model and a difficulty."""
    plan = lay_out(scale_phase, *FIVE)
    names = [model.name for model in FIVE]
    expected = [(name, "very_easy", 0) for name in names] + [(name, "medium", 1) for name in names]
    assert expected == [(one.model, one.label, one.group) for one in plan.shards]
    assert list(range(10)) == [one.position for one in plan.shards]
    assert [f"r1/s{n:02d}" for n in range(10)] == [one.shard_id for one in plan.shards]
    assert {40} == {len(one.trial_ids) for one in plan.shards}


def test_models_come_one_after_the_other_unless_the_phase_says_otherwise(lay_out: LayOut) -> None:
    """Without shard_order every condition of the first model precedes the second model."""
    phase = phase_of("m72", "m32", tool_success_rates=(0.9, 0.5))
    plan = lay_out(phase, *FIVE[:2])
    assert [(one.model, one.label) for one in plan.shards] == [
        ("m72", "0.9"),
        ("m72", "0.5"),
        ("m32", "0.9"),
        ("m32", "0.5"),
    ]


def test_groups_of_prompts_make_one_shard_each(lay_out: LayOut) -> None:
    """5.3's three groups of flaws are three shards of a model, whatever they are crossed with."""
    # Given two groups of prompts, and two rates
    phase = phase_of(
        "a",
        prompts=("flaw_a", "flaw_b", "flaw_c"),
        groups=(("flaw_a", "flaw_c"), ("flaw_b",)),
        tool_success_rates=(0.9, 0.5),
    )
    # When it is laid out
    plan = lay_out(phase, A, instances=1)
    # Then each group is one shard with its own prompts
    prompts = [
        Counter(one.condition.prompt for one in plan.trials if one.shard_id == shard.shard_id) for shard in plan.shards
    ]
    assert prompts == [{"flaw_a": 4, "flaw_c": 4}, {"flaw_b": 4}]
    assert [(one.label, one.group) for one in plan.shards] == [("group 1", 0), ("group 2", 1)]


def test_a_split_model_gets_parts_of_seven_seven_and_six_instances(lay_out: LayOut) -> None:
    """`shards = 3` cuts 20 instances in 7, 7 and 6, and every part holds every task type."""
    plan = lay_out(phase_of("a"), model_entry("a", "key0", shards=3))
    sizes = [Counter(one.task_type for one in plan.trials if one.shard_id == shard.shard_id) for shard in plan.shards]
    assert [{"simple": n, "hard": n} for n in (7, 7, 6)] == sizes
    assert [one.label for one in plan.shards] == ["part 1 of 3", "part 2 of 3", "part 3 of 3"]
    assert {0} == {one.group for one in plan.shards}


def test_a_split_never_makes_an_empty_shard(lay_out: LayOut) -> None:
    """Two instances cannot be cut in three: there are two parts."""
    plan = lay_out(phase_of("a"), model_entry("a", "key0", shards=3), instances=2)
    assert [len(one.trial_ids) for one in plan.shards] == [2, 2]


def test_parts_stay_together_when_conditions_come_first(lay_out: LayOut) -> None:
    """Cutting a model does not change which condition or model is next."""
    phase = phase_of("a", "b", difficulties=("easy", "medium"), shard_order=ShardOrder.CONDITIONS)
    models = (model_entry("a", "key0", shards=2), model_entry("b", "key1"))
    plan = lay_out(phase, *models)
    assert [(one.model, one.label) for one in plan.shards] == [
        ("a", "easy/part 1 of 2"),
        ("a", "easy/part 2 of 2"),
        ("b", "easy"),
        ("a", "medium/part 1 of 2"),
        ("a", "medium/part 2 of 2"),
        ("b", "medium"),
    ]


def test_a_label_names_only_what_varies(lay_out: LayOut) -> None:
    """A label is read beside the model's name: what all its shards share is left out."""
    both = lay_out(phase_of("a", prompts=("optimal", "cot"), tool_success_rates=(0.9, 0.5)), A)
    assert [one.label for one in both.shards] == ["optimal/0.9", "optimal/0.5", "cot/0.9", "cot/0.5"]
    assert [one.label for one in lay_out(phase_of("a"), A).shards] == ["all"]


def test_a_shard_expects_the_calls_of_its_trials(lay_out: LayOut) -> None:
    """Planning is by calls: a shard's are the sum over its trials, its pace and workers the model's."""
    shard = lay_out(phase_of("a"), model_entry("a", "key0", workers=8, pace_qps=3.0, expected_call_s=1.5)).shards[0]
    assert (
        shard.expected_calls,
        shard.expected_call_s,
        shard.workers,
        shard.pace_qps,
        shard.key_id,
        shard.provider,
    ) == (40 * 10.0, 1.5, 8, 3.0, "key0", "gate")
