"""`benchrunner init --base-url`: a first phases.toml for a service of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from benchrunner.cli.main import cli
from benchrunner.config.binding import resolve_live
from benchrunner.config.load import load_config
from benchrunner.errors import UsageError
from benchrunner.planning.sharding import plan_phase
from benchrunner.suites import load_suite

URL = "https://api.example.com/v1"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty directory, worked in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["init", *arguments], catch_exceptions=False)


@pytest.mark.parametrize("kind", ["openai", "azure"])
def test_what_is_written_is_right_and_ready_for_its_secrets(kind: str, here: Path) -> None:
    """Loaded without a fault; with the variables of keys.env.example filled in, providers and keys are bound."""
    # Given
    said = init("mine", "--base-url", URL, "--models", 'gpt-4o-mini,odd "name"', "--keys", "2", "--kind", kind).stdout
    assert "wrote mine/phases.toml and mine/keys.env.example" in said
    assert "next: cd mine && cp keys.env.example keys.env" in said
    # When its secrets are filled in as the file says
    example = (here / "mine" / "keys.env.example").read_text()
    env_file = here / "mine" / "keys.env"
    env_file.write_text(example.replace("_0=", "_0=secret-a").replace("_1=", "_1=secret-b"))
    env_file.chmod(0o600)
    config = load_config(here / "mine" / "phases.toml", environ={})
    (provider,), keys = resolve_live(config, phases=config.phases, environ={})
    # Then
    assert (provider.kind, provider.base_url, config.run.backend) == (kind, URL, "live")
    assert [key.secret for key in keys] == ["secret-a", "secret-b"]
    assert [(model.name, model.key_id) for model in config.models] == [("gpt-4o-mini", "key0"), ('odd "name"', "key1")]


def test_its_phases_are_as_large_as_its_comments_say(here: Path) -> None:
    """`first` is five trials a model, `prompts` three hundred."""
    init("--base-url", URL, "--models", "m")
    config = load_config(here / "phases.toml", environ={})
    suite = load_suite(config.run.suite)
    sizes = {
        phase.name: len(plan_phase(phase, config.phase_models(phase), suite, run_id="r", seed=1).trials)
        for phase in config.phases
    }
    assert sizes == {"first": 5, "prompts": 300}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--base-url", "api.example.com", "--models", "m"), "--base-url must be an address such as https://host/v1"),
        (("--base-url", f"{URL}/chat/completions", "--models", "m"), "up to and without /chat/completions"),
        (("--base-url", URL), "no model was named"),
        (("--base-url", URL, "--models", "m,m"), "names m more than once"),
        (("--base-url", URL, "--models", "m", "--keys", "0"), "--keys must be 1 to 100, not 0"),
        (("--models", "m"), "--models describes the service of --base-url, which is missing"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(words: tuple[str, ...], said: str, here: Path) -> None:
    """One sentence, no file."""
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        init(*words)
    assert list(here.iterdir()) == []
