from __future__ import annotations

from dataclasses import replace

from benchrunner.limits.domains import (
    MARGIN_BASE_S,
    WIRE_STEP_S,
    bumped_wire_s,
    decayed,
    key_domain,
    learned_drift_s,
    margin_s,
    model_domain,
)
from benchrunner.records import Key, Limit, LimitKind, ModelEntry, Provider

TEN_PER_SECOND = Limit(kind=LimitKind.REQUESTS, amount=10, per_s=1.0)
PROVIDER = Provider(name="ideallab", kind="openai", base_url="https://host/v1", margin_floor_s=0.01)
KEY = Key(
    key_id="key0",
    provider="ideallab",
    account="ideallab",
    secret="s3cret",
    fingerprint="ab12",
    limits=(TEN_PER_SECOND,),
)
MODEL = ModelEntry(
    name="qwen2.5-72b-instruct", provider="ideallab", key_id="key0", deployments=("d",), limits=(TEN_PER_SECOND,)
)


def test_a_keys_domain_is_named_by_its_fingerprint_and_labelled_by_its_id():
    """Two config files that call one credential differently share its windows; no secret is in the name."""
    domain = key_domain(PROVIDER, KEY)
    assert (domain.name, domain.label, domain.provider) == ("key:ab12", "key0", "ideallab")
    assert (domain.limits, domain.margin_floor_s) == ((TEN_PER_SECOND,), 0.01)
    assert domain.name == key_domain(PROVIDER, replace(KEY, key_id="other")).name


def test_a_models_domain_is_one_per_place_account_and_model():
    """All keys of an account share it; another account, place or model does not."""
    domain = model_domain(PROVIDER, "ideallab", MODEL)
    assert domain.label == "ideallab/qwen2.5-72b-instruct"
    assert domain.name.startswith("model:")
    assert domain.name.endswith(":qwen2.5-72b-instruct")
    assert domain.name == model_domain(replace(PROVIDER, base_url="https://host/v1/"), "ideallab", MODEL).name
    others = {
        model_domain(PROVIDER, "else", MODEL).name,
        model_domain(replace(PROVIDER, base_url="https://other/v1"), "ideallab", MODEL).name,
        model_domain(PROVIDER, "ideallab", replace(MODEL, name="qwen2.5-7b-instruct")).name,
    }
    assert len(others - {domain.name}) == 3


def test_one_late_wake_up_hardly_widens_the_margin_and_a_run_of_them_does():
    """A lone outlier is chance; repeated lateness is the machine."""
    once = learned_drift_s(0.0, 0.05)
    drift_s = 0.0
    for _ in range(6):
        drift_s = learned_drift_s(drift_s, 0.05)
    assert (once, drift_s) == (0.002, 0.05)


def test_lateness_is_remembered_at_its_greatest_and_halves_with_time():
    """A punctual send does not erase the memory of a late one; time does."""
    assert learned_drift_s(0.02, 0.001) == 0.02
    assert decayed(0.02, age_s=5.0, half_life_s=5.0) == 0.01
    assert decayed(0.02, age_s=-1.0, half_life_s=5.0) == 0.02


def test_the_margin_keeps_between_its_floor_and_its_ceiling():
    """Punctual machines pay the floor, hopeless ones the ceiling."""
    assert margin_s(0.0, 0.0, floor_s=0.008, ceiling_s=0.06) == 0.008
    assert margin_s(0.01, 0.0, floor_s=0.008, ceiling_s=0.06) == 0.015 + MARGIN_BASE_S
    assert margin_s(0.5, 0.0, floor_s=0.008, ceiling_s=0.06) == 0.06


def test_refusals_within_our_own_limits_double_the_networks_share():
    """Arrivals that bunch up need more room each time, up to the ceiling."""
    first = bumped_wire_s(0.0, 0.06)
    second = bumped_wire_s(first, 0.06)
    assert (first, second, bumped_wire_s(0.05, 0.06)) == (WIRE_STEP_S, 2 * WIRE_STEP_S, 0.06)
