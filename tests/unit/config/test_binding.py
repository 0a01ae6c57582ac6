from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from config_samples import SMALL, bent

from benchrunner.config.binding import bind, fingerprint, resolve_live, used_providers
from benchrunner.config.settings import Config
from benchrunner.errors import ConfigError

Load = Callable[..., Config]
GATE = {"GATE_URL": "https://gate.example/v1/", "GATE_KEY_0": "zero", "GATE_KEY_1": "one"}


def refused(config: Config, environ: dict[str, str], phase: str = "5.3") -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        resolve_live(config, phases=[config.phase(phase)], environ=environ)
    return caught.value.faults


def write_keys(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "keys.env"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_a_live_run_gets_the_providers_and_all_keys_it_can_use(load: Load) -> None:
    """Phase 5.3 uses one provider: its address and both its keys are read, the other provider's are not needed."""
    # Given a config and the variables of one provider
    config = load(SMALL)
    # When a phase that needs no other is resolved
    providers, keys = resolve_live(config, phases=[config.phase("5.3")], environ=GATE)
    # Then addresses and secrets are filled in
    assert [(one.name, one.base_url) for one in providers] == [("gate", "https://gate.example/v1")]
    assert [(one.key_id, one.secret, one.account) for one in keys] == [
        ("key0", "zero", "acme"),
        ("key1", "one", "key1"),
    ]
    assert config.keys[0].limits == keys[0].limits


def test_only_the_chosen_models_decide_what_is_needed(load: Load) -> None:
    """`--models` narrows the providers, and with them the variables that must be set."""
    config = load(SMALL)
    phases = [config.phase("5.1")]
    assert used_providers(config, phases=phases) == ("gate", "cloud")
    assert used_providers(config, phases=phases, models=["big"]) == ("cloud",)
    providers, keys = resolve_live(config, phases=phases, models=["big"], environ={"CLOUD_KEY": "c"})
    assert [[one.name for one in providers], [one.key_id for one in keys]] == [["cloud"], ["cloud"]]


def test_every_missing_variable_is_named_with_its_table_and_what_to_do(load: Load, tmp_path: Path) -> None:
    """One attempt tells everything that has to be set."""
    config = load(SMALL)
    faults = refused(config, {"GATE_KEY_0": "  "})
    there = tmp_path / "keys.env"
    remedy = "export {0}=..., or write that line without `export` into " + str(there)
    assert faults == tuple(
        f"{where}: the variable {name} is not set; "
        + remedy.format(name)
        + ", which does not exist yet, and chmod 600 it"
        for where, name in (
            ("[providers.gate] base_url", "GATE_URL"),
            ("[[providers.gate.keys]] (key0) env", "GATE_KEY_0"),
            ("[[providers.gate.keys]] (key1) env", "GATE_KEY_1"),
        )
    )


def test_without_an_env_file_the_remedy_is_to_export_or_name_one(load: Load) -> None:
    """The advice fits the file that gave rise to it."""
    config = load(bent(('env_file = "keys.env"\n', "")))
    (fault,) = refused(config, {name: value for name, value in GATE.items() if name != "GATE_KEY_1"})
    assert fault.endswith("export GATE_KEY_1=..., or name a file with that line as env_file in [run]")


def test_the_env_file_stands_in_for_the_environment_which_wins(load: Load, tmp_path: Path) -> None:
    """Cron has no shell environment; what a shell does set goes first. Nothing in the file is expanded."""
    write_keys(
        tmp_path, "# keys\nexport GATE_KEY_0=from-file\nGATE_KEY_1='a$HOME#b'\nGATE_URL=https://file.example/v1\n"
    )
    config = load(SMALL)
    providers, keys = resolve_live(config, phases=[config.phase("5.3")], environ={"GATE_KEY_0": "from-shell"})
    assert [one.base_url for one in providers] == ["https://file.example/v1"]
    assert [one.secret for one in keys] == ["from-shell", "a$HOME#b"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_an_env_file_that_others_can_read_is_refused(load: Load, tmp_path: Path, mode: int) -> None:
    """Secrets that others can read are not used; the sentence says what to type."""
    path = write_keys(tmp_path, "GATE_KEY_0=zero\n", mode)
    (fault,) = refused(load(SMALL), GATE)
    assert fault == f"[run] env_file: other users can read it (mode {mode:03o}); chmod 600 {path}"


def test_an_env_file_that_is_no_file_is_refused(load: Load, tmp_path: Path) -> None:
    """A pipe would block for ever and a folder has no lines."""
    os.mkfifo(tmp_path / "keys.env", 0o600)
    (pipe,) = refused(load(SMALL), GATE)
    (tmp_path / "keys.env").unlink()
    (tmp_path / "keys.env").mkdir(0o700)
    (folder,) = refused(load(SMALL), GATE)
    assert [fault.endswith("is not a file") for fault in (pipe, folder)] == [True, True]


def test_an_env_file_that_is_not_text_is_refused(load: Load, tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are told, not guessed at."""
    (tmp_path / "keys.env").write_bytes(b"GATE_KEY_0=\xff\n")
    (tmp_path / "keys.env").chmod(0o600)
    (fault,) = refused(load(SMALL), GATE)
    assert fault.endswith("is not UTF-8 text")


def test_addresses_from_the_environment_are_checked_like_written_ones(load: Load) -> None:
    """The commonest slip, pasting the whole address, is caught before the first call; the value stays unsaid."""
    (fault,) = refused(load(SMALL), GATE | {"GATE_URL": "https://hidden.example/v1/chat/completions"})
    assert fault == (
        "[providers.gate] base_url (from GATE_URL): must be written up to and without /chat/completions,"
        " which is added to it"
    )


def test_a_secret_that_no_header_can_carry_is_refused_unseen(load: Load) -> None:
    """A line break or blank inside a secret would break the request, or smuggle a header into it."""
    (fault,) = refused(load(SMALL), GATE | {"GATE_KEY_1": "on\ne"})
    assert fault == (
        "[[providers.gate.keys]] (key1) env: the secret in GATE_KEY_1 holds blanks or characters"
        " that no HTTP header may carry"
    )


def test_one_secret_under_two_ids_is_refused(load: Load) -> None:
    """A credential listed twice would be planned with twice its limit and leased to two models."""
    (fault,) = refused(load(SMALL), GATE | {"GATE_KEY_1": "zero"})
    assert fault == (
        "[[providers.gate.keys]] (key1): GATE_KEY_1 holds the same secret as GATE_KEY_0 of key0; each needs its own"
    )


def test_faults_never_hold_a_value_of_the_environment(load: Load) -> None:
    """Messages are shown to others and kept in logs."""
    faults = refused(
        load(SMALL), {"GATE_URL": "ftp://hush.example", "GATE_KEY_0": "hush hush", "GATE_KEY_1": "hush\x07"}
    )
    assert len(faults) == 3
    assert "hush" not in " ".join(faults)


def test_binding_makes_equal_fingerprints_for_equal_credentials_only(load: Load) -> None:
    """The fingerprint is what two runs of one machine know a credential by: place and secret, one way."""
    config = load(SMALL)
    _, here = bind(config, {"gate": "http://127.0.0.1:1/v1/"}, {"key0": "a", "key1": "b"})
    _, again = bind(config, {"gate": "http://127.0.0.1:1/v1"}, {"key0": "a", "key1": "a"})
    _, there = bind(config, {"gate": "http://127.0.0.1:2/v1"}, {"key0": "a", "key1": "b"})
    assert here[0].fingerprint == again[0].fingerprint == again[1].fingerprint
    assert len({one.fingerprint for one in (*here, *there)}) == 4
    expected = hashlib.blake2b(b"http://127.0.0.1:1/v1\0a", digest_size=8).hexdigest()
    assert expected == fingerprint("http://127.0.0.1:1/v1", "a") == here[0].fingerprint


def test_a_bound_key_does_not_print_its_secret(load: Load) -> None:
    """A key in a log line or traceback stays a name."""
    _, keys = bind(load(SMALL), {"cloud": "https://cloud.example"}, {"cloud": "hush"})
    assert "hush" not in repr(keys)
