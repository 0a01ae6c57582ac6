from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from forecast_worlds import played, world_of
from planning_samples import FIVE, THREE_KEYS, StubSuite, key_entry, model_entry, phase_of, requests_per_s

from benchrunner.planning.load import KeyLoad, StaticLoad, static_load
from benchrunner.planning.sharding import PhasePlan
from benchrunner.records import Limit, LimitKind, ModelEntry, Phase, PhaseOrder

LayOut = Callable[..., PhasePlan]
QUOTA = Limit(kind=LimitKind.TOKENS, amount=400_000, per_s=60.0)


def by_key(load: StaticLoad) -> dict[str, KeyLoad]:
    return {one.key_id: one for one in load.keys}


def one_turn(task_types: int = 1) -> StubSuite:
    suite = StubSuite(one_turn=True)
    suite.task_types = tuple(f"t{n}" for n in range(task_types))
    return suite


def test_native_scale_phase_is_ten_processes_and_warns_of_two_keys(lay_out: LayOut, scale_phase: Phase) -> None:
    """5.2 as it was run: ten processes at 2 requests/s each put 8, 8 and 4 on keys of 10 and burst over two of them."""
    # Given the scale phase
    plan = lay_out(scale_phase, *FIVE)
    # When its native load is reckoned
    load = static_load(plan, FIVE, THREE_KEYS, policy="native")
    # Then the keys are asked unequally
    assert load.processes == 10
    assert {one.key_id: (one.shards, one.at_once, one.asked_per_s, one.limit_per_s) for one in load.keys} == {
        "key0": (4, 4, 8.0, 10.0),
        "key1": (4, 4, 8.0, 10.0),
        "key2": (2, 2, 4.0, 10.0),
    }
    # And the two that stand at 80 % are warned of
    assert load.warnings == (
        "bursts may exceed key0: 4 shards at 8 requests/s together, of 10, with no shared window under native",
        "bursts may exceed key1: 4 shards at 8 requests/s together, of 10, with no shared window under native",
    )


@pytest.mark.parametrize(("policy", "processes"), [("serial", 1), ("batched", 3), ("pool", 3)])
def test_managed_policies_never_ask_more_than_a_key_has(
    lay_out: LayOut, scale_phase: Phase, policy: str, processes: int
) -> None:
    """With one window for all, the load stays within every limit and there is nothing to warn of."""
    load = static_load(lay_out(scale_phase, *FIVE), FIVE, THREE_KEYS, policy=policy)
    assert processes == load.processes
    assert [one.at_once for one in load.keys] == [1, 1, 1]
    assert {10.0} == {one.asked_per_s for one in load.keys}
    assert load.warnings == ()


def test_the_pool_bound_is_what_all_keys_let_through_together(lay_out: LayOut, scale_phase: Phase) -> None:
    """600 one-turn calls over three keys of 10 per 1 s: the last leaves at 19 s, its answer takes 0.3 s more."""
    plan = lay_out(replace(scale_phase, instances=60), *FIVE, suite=one_turn())
    load = static_load(plan, FIVE, THREE_KEYS, policy="pool")
    assert pytest.approx(load.lower_bound_s) == 19.3
    assert load.bound_by == "10 requests per 1 s, on key0, key1, key2 together"
    assert [one.busy for one in load.keys] == [1.0, 1.0, 1.0]


def test_serial_is_the_sum_of_its_shards(lay_out: LayOut, scale_phase: Phase) -> None:
    """One shard after the other: each 60 calls need 5 s of window, and the last answer."""
    plan = lay_out(replace(scale_phase, instances=60), *FIVE, suite=one_turn())
    load = static_load(plan, FIVE, THREE_KEYS, policy="serial")
    assert pytest.approx(load.lower_bound_s) == 2 * (5 * 5 + 1.2 + 0.9 + 0.6 + 0.4 + 0.3)
    assert load.bound_by == "10 rounds, one after the other"


def test_batched_waits_for_the_slowest_of_each_batch(lay_out: LayOut, scale_phase: Phase) -> None:
    """Four batches of distinct keys: 72+32+14, 7+3+14, 72+32, 7+3; each lasts as long as its slowest."""
    plan = lay_out(replace(scale_phase, instances=60), *FIVE, suite=one_turn())
    load = static_load(plan, FIVE, THREE_KEYS, policy="batched")
    assert pytest.approx(load.lower_bound_s) == (5 + 1.2) + (5 + 0.6) + (5 + 1.2) + (5 + 0.4)


def test_a_batch_is_never_larger_than_asked(lay_out: LayOut, scale_phase: Phase) -> None:
    """`batch_size` bounds the processes even where more keys are free."""
    plan = lay_out(scale_phase, *FIVE)
    assert static_load(plan, FIVE, THREE_KEYS, policy="batched", batch_size=2).processes == 2


def test_native_concurrent_ends_with_its_last_launch(lay_out: LayOut, scale_phase: Phase) -> None:
    """The tenth shard starts at 135 s and paces 60 calls at 2 a second."""
    plan = lay_out(replace(scale_phase, instances=60), *FIVE, suite=one_turn())
    load = static_load(plan, FIVE, THREE_KEYS, policy="native")
    assert load.lower_bound_s == 135.0 + 30.0
    assert load.bound_by == "m3, launched at 135 s as number 10"


def test_native_grouped_runs_the_groups_of_one_model_at_once(lay_out: LayOut) -> None:
    """5.3 as it was run: three groups of one model on its key, models in turn."""
    phase = phase_of(
        "m72", "m32", prompts=("flaw_a", "flaw_b", "flaw_c"), groups=(("flaw_a",), ("flaw_b",), ("flaw_c",)),
        order=PhaseOrder.GROUPED,
    )  # fmt: skip
    load = static_load(lay_out(phase, *FIVE[:2]), FIVE, THREE_KEYS, policy="native")
    assert load.processes == 3
    assert {one.key_id: (one.shards, one.at_once, one.asked_per_s) for one in load.keys} == {
        "key0": (3, 3, 6.0),
        "key1": (3, 3, 6.0),
        "key2": (0, 0, 0.0),
    }
    assert load.warnings == ("key2 is idle: no model has it as its static key",)
    assert load.lower_bound_s == 2 * (400 / 2.0)


def test_native_over_a_limit_names_that_limit_as_binding(lay_out: LayOut) -> None:
    """Shards that ask for more than the key has are bound by the key, not by their own pace."""
    fast = model_entry("a", "key0", pace_qps=12.0)
    row = by_key(static_load(lay_out(phase_of("a"), fast), [fast], [key_entry("key0")], policy="native"))["key0"]
    assert (row.asked_per_s, row.binding) == (12.0, "10 requests per 1 s of key0")


def test_latency_binds_where_the_workers_are_few(lay_out: LayOut) -> None:
    """Six dialogues of 2 s a call cannot send ten requests a second."""
    slow = model_entry("a", "key0", workers=6, expected_call_s=2.0)
    load = static_load(lay_out(phase_of("a"), slow), [slow], [key_entry("key0")], policy="serial")
    assert (load.keys[0].asked_per_s, load.keys[0].binding) == (3.0, "latency of a (6 workers)")
    # Then the shard lasts calls x latency / workers
    assert pytest.approx(load.lower_bound_s) == 400 * 2.0 / 6


def test_no_phase_is_faster_than_its_longest_trial(lay_out: LayOut) -> None:
    """Ten turns of 30 s are 300 s, however many keys there are."""
    slow = model_entry("a", "key0", workers=50, expected_call_s=30.0)
    load = static_load(lay_out(phase_of("a"), slow, instances=1), [slow], [key_entry("key0", slots=0)], policy="pool")
    assert (load.lower_bound_s, load.bound_by) == (300.0, "one trial of a")


def test_trials_of_one_turn_wait_for_their_replies_without_the_key(lay_out: LayOut) -> None:
    """Two models of a minute a call on one key: a bound that added their latencies up would be beaten."""
    # Given 30 questions for each of four slow models, and a key of ten requests a second
    models = [model_entry(name, "key0", expected_call_s=60.0, workers=10) for name in ("a", "b", "c", "d")]
    plan = lay_out(phase_of("a", "b", "c", "d", instances=15), *models, suite=StubSuite(one_turn=True))
    keys = [key_entry("key0")]
    # Then under `pool` the bound is what windows and one reply take, and no run is faster
    load = static_load(plan, models, keys, policy="pool")
    assert load.lower_bound_s == 11 * 1.0 + 60.0
    assert played(world_of(plan, models, keys, "pool")).makespan_s >= load.lower_bound_s


def test_a_token_quota_of_account_and_model_binds_and_is_named(lay_out: LayOut) -> None:
    """A key without limits is held by its model's tokens: 400 calls of 3,000 need three windows of 60 s."""
    model = model_entry("a", "key0", limits=(QUOTA,), workers=100)
    key = key_entry("key0", limits=(), slots=0)
    load = static_load(lay_out(phase_of("a"), model), [model], [key], policy="pool")
    assert load.lower_bound_s == 2 * 60.0 + 2.0
    assert load.bound_by == "400,000 tokens per 60 s of (acme, a)"
    assert (
        load.keys[0].limit_per_s,
        load.keys[0].busy,
        load.keys[0].binding,
    ) == (None, None, "400,000 tokens per 60 s of (acme, a)")
    assert load.tokens == 400 * 3000.0


def test_shards_of_one_model_share_its_quota(lay_out: LayOut) -> None:
    """Nine shards of a model on an unbounded key ask no more than the model's window lets through."""
    phase = phase_of("a", tool_success_rates=(0.9, 0.8, 0.7))
    model = model_entry("a", "key0", limits=(QUOTA,), workers=100)
    load = static_load(lay_out(phase, model), [model], [key_entry("key0", limits=(), slots=0)], policy="pool")
    assert pytest.approx(load.keys[0].asked_per_s) == 400_000 / 3000 / 60


def test_native_warns_of_a_model_quota_too(lay_out: LayOut) -> None:
    """Three unmanaged shards of one model exceed a token quota that none of them sees."""
    phase = phase_of("a", tool_success_rates=(0.9, 0.8, 0.7), order=PhaseOrder.CONCURRENT)
    model = model_entry("a", "key0", limits=(QUOTA,))
    load = static_load(lay_out(phase, model), [model], [key_entry("key0", limits=(), slots=0)], policy="native")
    assert load.warnings == (
        "(acme, a) may be asked more than 400,000 tokens per 60 s: 3 at once, 6 requests/s of about 2.22,"
        " with no shared window under native",
    )


def test_two_accounts_give_a_model_twice_the_quota_under_pool(lay_out: LayOut) -> None:
    """An (account, model) limit is counted per account: keys of two accounts fill it twice."""
    model = model_entry("a", "key0", limits=(requests_per_s(60, 60.0),), workers=100, expected_call_s=0.5)
    keys = [key_entry("key0", limits=(), slots=0), key_entry("key1", limits=(), slots=0, account="other")]
    plan = lay_out(phase_of("a"), model)
    bounds = [static_load(plan, [model], keys[:n], policy="pool").lower_bound_s for n in (1, 2)]
    assert bounds == [6 * 60.5 - 2.5, 3 * 60 + 0.5]


def test_a_window_smaller_than_one_call_is_warned_of(lay_out: LayOut) -> None:
    """A token limit below the size of a call can never be kept: say so before the run."""
    key = key_entry("key0", limits=(Limit(kind=LimitKind.TOKENS, amount=1000, per_s=1.0),))
    models: list[ModelEntry] = [model_entry("a", "key0")]
    load = static_load(lay_out(phase_of("a"), *models), models, [key], policy="pool")
    assert load.warnings == ("1,000 tokens per 1 s of key0 is less than one call takes (about 3000 tokens)",)


def test_keys_of_providers_that_serve_no_model_are_left_out(lay_out: LayOut) -> None:
    """The table shows what the phase uses."""
    keys = [key_entry("key0"), key_entry("azure", provider="azure")]
    model = model_entry("a", "key0")
    load = static_load(lay_out(phase_of("a"), model), [model], keys, policy="pool")
    assert [one.key_id for one in load.keys] == ["key0"]
