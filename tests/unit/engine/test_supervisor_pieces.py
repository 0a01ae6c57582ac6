"""What a run is put together from: ids, domains, the embedded provider's plan, the run's own directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchrunner.config.load import load_config
from benchrunner.config.settings import Config
from benchrunner.engine.backend import simulator_plan
from benchrunner.engine.books import key_setup
from benchrunner.engine.launch import domains_of, new_run_id
from benchrunner.engine.run_dir import RunDirectory, live_runs, runs_dir
from benchrunner.records import Key, Limit, LimitKind, ModelEntry, Provider
from benchrunner.registry.host import ADDRESS_MAX_BYTES

ROOT = Path(__file__).parents[3]


def make_credential(key_id: str = "key0", *limits: Limit, provider: str = "lab", account: str = "lab") -> Key:
    return Key(
        key_id=key_id,
        provider=provider,
        account=account,
        secret=f"sk-{key_id}",
        fingerprint=f"f-{key_id}",
        limits=limits,
    )


def requests(amount: int, per_s: float) -> Limit:
    return Limit(kind=LimitKind.REQUESTS, amount=amount, per_s=per_s)


# --- keys and domains -----------------------------------------------------------------------------------------------


def test_a_key_s_tightest_request_window_is_its_rate() -> None:
    """Ten a second and three hundred a minute are five a second over time; tokens say nothing about requests."""
    tokens = Limit(kind=LimitKind.TOKENS, amount=1, per_s=60.0)
    setup = key_setup(make_credential("key0", requests(10, 1.0), requests(300, 60.0), tokens))
    assert (setup.key_id, setup.rate_per_s) == ("key0", 5.0)
    assert key_setup(make_credential("key0", tokens)).rate_per_s == float("inf")
    assert "sk-key0" not in repr(setup)


def test_a_call_is_counted_over_its_key_and_over_its_account_and_model() -> None:
    """Keys of one account share the model's domain, models share the key's; another provider's keys have no part."""
    # Given two keys of one account, one of another provider, and three models
    places = [
        Provider(name=name, kind="openai", base_url=f"http://{name}.example/v1") for name in ("lab", "azure")
    ]
    keys = [make_credential("key0"), make_credential("key1"), make_credential("az", provider="azure", account="azure")]
    models = {
        name: ModelEntry(name=name, provider=provider, key_id="", deployments=(name,), limits=())
        for name, provider in (("big", "lab"), ("small", "lab"), ("other", "azure"))
    }
    # When their domains are laid out
    found = domains_of(places, keys, models)
    # Then each pair that can call has its key's and its model's
    assert sorted(found) == [
        ("az", "other"), ("key0", "big"), ("key0", "small"), ("key1", "big"), ("key1", "small"),
    ]  # fmt: skip
    assert found["key0", "big"][0] == found["key0", "small"][0]
    assert found["key0", "big"][0] != found["key1", "big"][0]
    assert found["key0", "big"][1] == found["key1", "big"][1]
    assert found["key0", "big"][1] != found["key0", "small"][1]
    # And no name on this machine holds a secret
    assert [domain.name for pair in found.values() for domain in pair if "sk-" in domain.name] == []


def test_run_ids_sort_by_time_and_seldom_meet() -> None:
    """Two runs of one second are told apart by 16 random bits; later ones sort later, as text."""
    early = [new_run_id("5.2", "2025-08-26T00:00:59.999999Z") for _ in range(50)]
    late = new_run_id("5.1", "2025-08-26T00:01:00.000000Z")
    assert len(set(early)) >= 46, "more than three pairs of 50 meet once in a hundred million times"
    assert all(run_id < late for run_id in early)
    assert early[0].startswith("20250826T000059-5.2-")


# --- the embedded provider ------------------------------------------------------------------------------------------


@pytest.fixture
def shipped() -> Config:
    return load_config(ROOT / "phases.toml", environ={})


def test_the_embedded_provider_plays_what_the_config_says(shipped: Config) -> None:
    """The keys, limits and models of the providers it stands in for, and of no other."""
    plan = simulator_plan(shipped, ("ideallab",), {key.key_id: f"sim-{key.key_id}" for key in shipped.keys})
    assert [(key.key_id, key.secret, key.account) for key in plan.keys] == [
        (f"key{n}", f"sim-key{n}", "ideallab") for n in range(3)
    ]
    assert {key.limits for key in plan.keys} == {(requests(10, 1.0),)}
    assert {model.provider for model in plan.models} == {"ideallab"}
    assert len(plan.models) == 5
    assert (plan.seed, plan.speed) == (shipped.run.seed, 1.0)


def test_azure_s_quota_is_the_model_s_in_the_embedded_provider_too(shipped: Config) -> None:
    """400,000 tokens a minute for each model, shared by its three deployments."""
    plan = simulator_plan(shipped, ("azure",), {key.key_id: "s" for key in shipped.keys})
    quota = Limit(kind=LimitKind.TOKENS, amount=400_000, per_s=60.0)
    assert [(len(model.deployments), model.limits) for model in plan.models] == [(3, (quota,))] * 3


# --- the run's directory --------------------------------------------------------------------------------------------


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of our own, with a path as long as tests have."""
    monkeypatch.setenv("BENCHRUNNER_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def test_a_run_is_alive_while_it_holds_its_directory(state: Path) -> None:
    """`keys` finds live runs by their lock; at its end a run leaves nothing."""
    with RunDirectory("r2"), RunDirectory("r1") as run_dir:
        assert [path.name for path in live_runs()] == ["r1", "r2"]
        assert run_dir.path.stat().st_mode & 0o777 == 0o700
    assert (list(live_runs()), list(runs_dir().iterdir())) == ([], [])


def test_what_a_killed_run_left_is_removed_by_the_next(state: Path) -> None:
    """Its directory and the socket directory it had elsewhere; a live run's stays."""
    # Given what a run killed with SIGKILL leaves, its socket directory apart, and a run that is alive
    left, sockets = runs_dir() / "dead", state / "its-sockets"
    left.mkdir()
    sockets.mkdir()
    (left / "life.lock").touch(mode=0o600)
    (left / "socket_dir").write_text(str(sockets))
    # When another begins
    with RunDirectory("alive") as alive, RunDirectory("next"):
        # Then the dead one's leavings are gone, the living one's are not
        assert (left.exists(), sockets.exists(), alive.path.exists()) == (False, False, True)


def test_a_socket_s_path_fits_whatever_the_state_directory_is(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unix socket paths are short by law of the kernel: a long state directory gets a short one beside it."""
    # Given a state directory with a path too long for a socket
    monkeypatch.setenv("BENCHRUNNER_STATE_DIR", str(state / ("d" * ADDRESS_MAX_BYTES)))
    (state / ("d" * ADDRESS_MAX_BYTES)).mkdir(parents=True, mode=0o700)
    with RunDirectory("r1") as run_dir:
        # When a place for its socket is asked for, twice
        place = run_dir.socket_dir()
        # Then it is the same short, private one
        assert run_dir.socket_dir() == place
        assert len(os.fsencode(place)) < ADDRESS_MAX_BYTES - 16
        assert place.stat().st_mode & 0o777 == 0o700
    # And it goes with the run
    assert not place.exists()
