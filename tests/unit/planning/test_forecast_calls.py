"""A run played call by call under a virtual clock."""

from __future__ import annotations

import pytest
from forecast_worlds import LayOut, Listener, most_in, played, world_of
from planning_samples import FIVE, THREE_KEYS, StubSuite, key_entry, model_entry, phase_of, requests_per_s

from benchrunner.planning.forecast import CALL_OVERHEAD_S
from benchrunner.planning.trial_shapes import TrialShape
from benchrunner.planning.virtual_run import play_calls
from benchrunner.records import Limit, LimitKind, Phase, PhaseOrder


def test_a_trial_alone_takes_the_time_of_its_calls(lay_out: LayOut) -> None:
    """With nothing in the way the makespan is the trial's latencies and what each call costs beside them."""
    # Given one trial of three calls
    model = model_entry("m", "key0")
    plan = lay_out(phase_of("m", task_types=("simple",), instances=1), model)
    (trial,) = plan.trials
    shape = TrialShape(latencies_s=(1.0, 2.0, 0.5), tokens_per_call=700.0)
    # When its run is played
    found = played(world_of(plan, [model], [key_entry("key0")], "serial", shapes={trial.trial_id: shape}))
    # Then it takes just that, on its key, and the tokens are those of its calls
    assert found.makespan_s == pytest.approx(3.5 + 3 * CALL_OVERHEAD_S, abs=0.001)
    assert (found.calls, found.tokens, found.refused) == (3, 2100, 0)
    assert [(lease.key_id, lease.model) for lease in found.leases] == [("key0", "m")]


@pytest.mark.parametrize("policy", ["serial", "batched", "pool"])
def test_no_key_is_sent_more_than_its_limit(policy: str, scale_phase: Phase, lay_out: LayOut) -> None:
    """The windows of the forecast are those of the run: never more than ten calls in any second."""
    # Given ten shards on three keys of ten requests per second
    plan = lay_out(scale_phase, *FIVE, instances=6)
    world = world_of(plan, FIVE, THREE_KEYS, policy)
    listener = Listener(world)
    # When the run is played
    found = play_calls(world, listener)
    # Then every call left, and no window was ever overfull
    assert sum(map(len, listener.sent_s.values())) == found.calls
    assert max(most_in(1.0, sent_s) for sent_s in listener.sent_s.values()) == 10
    assert found.refused == 0


def test_processes_that_do_not_know_of_each_other_are_refused(lay_out: LayOut) -> None:
    """Under `native` the provider alone counts: two shards of 8 requests/s on a key of 10 meet its limit."""
    # Given two models on one key, each well under the limit by itself
    models = [model_entry(name, "key0", pace_qps=8.0, expected_call_s=0.5) for name in ("a", "b")]
    phase = phase_of("a", "b", order=PhaseOrder.CONCURRENT, instances=10)
    plan = lay_out(phase, *models)
    # When they run side by side, Then they are refused; and never when the key is shared by windows
    key = key_entry("key0", slots=2)
    assert played(world_of(plan, models, [key], "native")).refused > 50
    assert played(world_of(plan, models, [key], "pool")).refused == 0


def test_what_binds_is_named_down_to_the_tokens_of_a_model(lay_out: LayOut) -> None:
    """A quota of tokens per minute and model holds a run back long before its key does, and the forecast says so."""
    # Given a model with 20,000 tokens a minute, 20 calls of 1,000, on a key that would take 600
    quota = Limit(kind=LimitKind.TOKENS, amount=20_000, per_s=60.0)
    model = model_entry("m", "key0", limits=(quota,), expected_call_s=0.5)
    plan = lay_out(phase_of("m", instances=5), model)
    # When the run is played
    found = played(world_of(plan, [model], [key_entry("key0")], "pool"))
    # Then its hundred or so calls take a minute for each twenty
    assert found.binding.startswith("20,000 tokens per 60 s of (acme, m)")
    assert found.makespan_s == pytest.approx(60.0 * ((found.calls - 1) // 20), rel=0.05)


def test_an_idle_key_joins_the_last_shard(lay_out: LayOut) -> None:
    """Under `pool` a key that nobody waits for serves the longest shard, and shown as a lease of its own."""
    # Given one shard that fills a key, and a second key
    model = model_entry("m", "key0", expected_call_s=0.5)
    plan = lay_out(phase_of("m", instances=40), model)
    keys = [key_entry("key0"), key_entry("key1")]
    # When its run is played on one key and on two
    alone, together = (played(world_of(plan, [model], keys[:n], "pool")) for n in (1, 2))
    # Then both served it, in about half the time
    assert {lease.key_id for lease in together.leases} == {"key0", "key1"}
    assert together.makespan_s == pytest.approx(alone.makespan_s / 2, rel=0.1)


def test_key_of_one_turn_trials_is_handed_on_while_the_last_replies_are_out(lay_out: LayOut) -> None:
    """The next model's first request leaves with the key's next window, not after the last model's slowest reply."""
    # Given two models that take five seconds to answer one question each, and a key of 10 requests a second
    models = [model_entry(name, "key0", expected_call_s=5.0) for name in ("a", "b")]
    plan = lay_out(phase_of("a", "b", instances=10), *models, suite=StubSuite(one_turn=True))
    world = world_of(plan, models, [key_entry("key0")], "pool")
    listener = Listener(world)
    # When their 20 questions each are asked
    found = play_calls(world, listener)
    # Then the four bursts leave a second apart, and the first model's lease ends before its replies are in
    sent = listener.sent_s["key0"]
    assert (len(sent), max(sent) - min(sent)) == (40, pytest.approx(3.0, abs=0.2))
    assert [lease.end_s for lease in found.leases if lease.model == "a"] == [pytest.approx(1.0, abs=0.2)]
    assert found.makespan_s < 3.2 + 5.0 * 2.5, "the last replies of both"


def test_launches_keep_their_distance_under_native(scale_phase: Phase, lay_out: LayOut) -> None:
    """The k-th shard of a concurrent phase starts k staggers after the first."""
    plan = lay_out(scale_phase, *FIVE, instances=1)
    found = played(world_of(plan, FIVE, THREE_KEYS, "native"))
    apart = [lease.start_s - found.leases[0].start_s for lease in found.leases]
    assert apart == pytest.approx([15.0 * rank for rank in range(10)], abs=0.1)
    assert found.binding == "launches apart: the last at 135 s"


def test_the_load_over_time_adds_up_to_the_calls(scale_phase: Phase, lay_out: LayOut) -> None:
    """What each key is asked per second, times the seconds, is what went through it, however long the run."""
    plan = lay_out(scale_phase, *FIVE, instances=4)
    keys = [key_entry(f"key{n}", limits=(requests_per_s(2),)) for n in range(3)]
    found = played(world_of(plan, FIVE, keys, "serial"))
    assert found.makespan_s > 240 * 0.5, "so long that the buckets had to widen"
    for key in found.keys:
        assert sum(key.requests_per_s) * found.bucket_s == pytest.approx(key.calls, abs=0.1)
    assert sum(key.calls for key in found.keys) == found.calls


def test_launches_hours_apart_are_not_waited_for(lay_out: LayOut) -> None:
    """Where nothing goes on until the next launch the clock jumps there: a day costs no more than a minute."""
    # Given three models of a concurrent phase, launched six hours apart
    models = [model_entry(f"m{n}", "key0") for n in range(3)]
    phase = phase_of(*(model.name for model in models), order=PhaseOrder.CONCURRENT, stagger_s=21_600.0, instances=1)
    listener = Listener(world_of(lay_out(phase, *models), models, [key_entry("key0")], "native"))
    # When the run is played
    found = play_calls(listener.world, listener)
    # Then the last starts after twelve hours, and the rules were asked while something went on only
    assert found.leases[-1].start_s == pytest.approx(43_200.0, abs=1.0)
    assert listener.ticks * 0.05 < 3600.0
