"""A run played trial by trial, against the same run played call by call."""

from __future__ import annotations

from dataclasses import replace

import pytest
from forecast_worlds import LayOut, played, world_of
from planning_samples import FIVE, THREE_KEYS, StubSuite, key_entry, model_entry, phase_of, requests_per_s

from benchrunner.planning.flow import play_flow
from benchrunner.planning.flow_windows import FlowDomain
from benchrunner.records import KeyEntry, Limit, LimitKind, ModelEntry, Phase, PhaseOrder

SCALES = {
    # latencies about a window's length or below: bursts matter
    "fast": (FIVE, THREE_KEYS),
    # latencies of several windows: dialogues in flight matter
    "slow": (tuple(replace(model, expected_call_s=4 * model.expected_call_s) for model in FIVE), THREE_KEYS),
    # a minute's quota of one model, whichever key is used
    "quota": ((replace(FIVE[0], limits=(requests_per_s(180, 60.0),)), *FIVE[1:]), THREE_KEYS),
    # keys that bind nobody to one model, tokens that do
    "tokens": (
        tuple(
            replace(model, limits=(Limit(kind=LimitKind.TOKENS, amount=150_000, per_s=60.0),), expected_call_s=3.0)
            for model in FIVE
        ),
        (key_entry("key0", slots=0, limits=()), key_entry("key1", slots=0, limits=()), key_entry("key2", slots=0)),
    ),
}


@pytest.mark.parametrize("policy", ["native", "serial", "batched", "pool"])
@pytest.mark.parametrize("scale", SCALES)
def test_flow_and_calls_agree_on_middle_sizes(scale: str, policy: str, scale_phase: Phase, lay_out: LayOut) -> None:
    """The coarse forecast is within 3 % of the exact one where both can be had: 3,500 calls in ten shards."""
    # Given phase 5.2's shape with 36 trials a shard
    models, keys = SCALES[scale]
    plan = lay_out(scale_phase, *models, instances=18)
    world = world_of(plan, models, keys, policy)
    # When it is played both ways
    exact, coarse = played(world), play_flow(world)
    # Then they agree on the time, and on every call
    assert 3000 < exact.calls == coarse.calls < 4000
    assert coarse.makespan_s == pytest.approx(exact.makespan_s, rel=0.03)
    assert sum(key.calls for key in coarse.keys) == pytest.approx(coarse.calls, abs=3)


@pytest.mark.parametrize(
    ("instances", "call_s", "within"), [(15, 10.0, 0.2), (15, 60.0, 0.1), (125, 20.0, 0.1), (250, 10.0, 0.1)]
)
def test_flow_hands_a_key_on_when_the_last_request_has_left(
    instances: int, call_s: float, within: float, lay_out: LayOut
) -> None:
    """Also where replies take much longer than requests, as near as a flow comes that knows of no bursts."""
    models = [model_entry(name, "key0", expected_call_s=call_s) for name in ("a", "b", "c", "d")]
    plan = lay_out(phase_of("a", "b", "c", "d", instances=instances), *models, suite=StubSuite(one_turn=True))
    world = world_of(plan, models, [key_entry("key0")], "pool")
    exact, coarse = played(world), play_flow(world)
    assert coarse.makespan_s == pytest.approx(exact.makespan_s, rel=within)


@pytest.mark.parametrize("slower", [1.0, 4.0])
def test_flow_and_calls_agree_on_trials_of_one_turn(slower: float, scale_phase: Phase, lay_out: LayOut) -> None:
    """Where keys are handed on while replies are out, played either way."""
    models = tuple(replace(model, expected_call_s=slower * model.expected_call_s) for model in FIVE)
    plan = lay_out(scale_phase, *models, instances=60, suite=StubSuite(one_turn=True))
    world = world_of(plan, models, THREE_KEYS, "pool")
    exact, coarse = played(world), play_flow(world)
    assert exact.calls == coarse.calls == 1200
    assert coarse.makespan_s == pytest.approx(exact.makespan_s, rel=0.05)
    assert sum(key.calls for key in coarse.keys) == pytest.approx(coarse.calls, abs=3)


def test_groups_of_one_model_run_side_by_side_under_native(lay_out: LayOut) -> None:
    """A grouped phase takes the slowest group of each model, one model after the other, played either way."""
    models = [model_entry(name, key_id, pace_qps=3.0) for name, key_id in (("a", "key0"), ("b", "key1"))]
    phase = phase_of(
        "a", "b", prompts=("flaw_a", "flaw_b"), groups=(("flaw_a",), ("flaw_b",)), order=PhaseOrder.GROUPED
    )
    world = world_of(lay_out(phase, *models), models, THREE_KEYS, "native")
    exact, coarse = played(world), play_flow(world)
    assert coarse.makespan_s == pytest.approx(exact.makespan_s, rel=0.03)
    for found in (exact, coarse):
        starts = [lease.start_s for lease in found.leases]
        assert [lease.model for lease in found.leases] == ["a", "a", "b", "b"]
        assert (starts[1] - starts[0], starts[3] - starts[2]) == pytest.approx((0.0, 0.0), abs=0.1)


def test_thousands_of_trials_fill_the_keys(lay_out: LayOut) -> None:
    """Under `pool` a big phase comes close to what the windows of all keys let through together."""
    # Given 4,000 trials of ten calls or so, enough dialogues to keep any key busy
    models = [model_entry(f"m{n}", "key0", expected_call_s=1.0) for n in range(4)]
    plan = lay_out(phase_of(*(model.name for model in models), instances=500), *models)
    world = world_of(plan, models, THREE_KEYS, "pool")
    # When it is played
    found = play_flow(world)
    # Then it takes as long as thirty calls a second need, and says what is in the way
    assert found.played == "trial"
    assert found.calls / 30 < found.makespan_s < 1.03 * found.calls / 30
    assert found.binding.startswith("10 requests per 1 s of key")
    assert all(key.used is not None and key.used > 0.95 for key in found.keys)


def test_a_long_window_gives_its_amount_and_then_nothing_until_it_has_passed() -> None:
    """What a minute's burst took is missing for the rest of that minute."""
    # Given 60 calls a minute, all taken at once
    domain = FlowDomain([requests_per_s(60, 60.0)], margin_s=0.0)
    domain.pass_through(0.0, 0.5, 60.0, 0.0)
    # Then nothing more is let through while they count, and all of it once they do not
    assert domain.allowed_per_s(0.5, 1.0) == domain.allowed_per_s(57.0, 1.0) == 0.0
    assert domain.allowed_per_s(60.0, 1.0) * domain.lasts_s(60.0) == pytest.approx(60.0)


def test_an_idle_model_costs_a_flow_nothing(lay_out: LayOut) -> None:
    """A key that no shard may use stands in the forecast with no call, and its utilisation is zero."""
    model: ModelEntry = model_entry("m", "key0")
    spare: KeyEntry = key_entry("spare")
    found = play_flow(world_of(lay_out(phase_of("m"), model), [model], [key_entry("key0"), spare], "serial"))
    assert [(key.key_id, key.calls > 0, key.used) for key in found.keys][1] == ("spare", False, 0.0)
