"""The [nightly] table: what a night runs, and that it tells nothing about how."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from config_samples import SMALL, WORDS, bent

from benchrunner.config.load import load_config
from benchrunner.config.settings import Config
from benchrunner.config.snapshot import config_hash
from benchrunner.errors import ConfigError

Load = Callable[[str], Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a config from its text."""

    def load_text(text: str) -> Config:
        (tmp_path / "phases.toml").write_text(text, encoding="utf-8")
        return load_config(tmp_path / "phases.toml", environ={}, words=WORDS)

    return load_text


def test_without_the_table_a_night_is_every_phase_in_file_order(load: Load) -> None:
    """Nothing need be written: all phases, their own policies, no deadline."""
    nightly = load(SMALL).nightly
    assert (nightly.phases, nightly.policy, nightly.deadline_s) == (("5.1", "5.3"), None, 0.0)


def test_the_table_chooses_phases_in_its_own_order(load: Load) -> None:
    """Order is as written; policies have their letters here too."""
    table = '[nightly]\nphases = ["5.3", "5.1"]\npolicy = "B"\ndeadline_s = 3600\nwait_s = 0\n'
    nightly = load(f"{SMALL}\n{table}").nightly
    assert nightly.phases == ("5.3", "5.1")
    assert (nightly.policy, nightly.deadline_s, nightly.wait_s) == ("batched", 3600, 0)


def test_when_a_night_ends_is_no_part_of_a_runs_configuration(load: Load) -> None:
    """Another deadline must not keep last night's run from being gone on with."""
    short, long = load(SMALL + "\n[nightly]\ndeadline_s = 1\n"), load(SMALL + "\n[nightly]\ndeadline_s = 2\n")
    assert config_hash(short, short.phases[0]) == config_hash(long, long.phases[0])


def test_every_fault_of_the_table_is_told(load: Load) -> None:
    """Phases that are not there, phases named twice, values that cannot be."""
    with pytest.raises(ConfigError) as told:
        load(SMALL + '\n[nightly]\nphases = ["5.1", "5.1", "5.9"]\ndeadline_s = -1\nwait = 3\n')
    said = str(told.value)
    assert '[nightly] phases = "5.9": there is no such phase' in said
    assert '[nightly] phases: "5.1" stands more than once' in said
    assert "deadline_s" in said
    assert "wait_s" in said


def test_a_faulty_phase_is_told_once(load: Load) -> None:
    """A night that names it is not at fault too."""
    with pytest.raises(ConfigError) as told:
        load(bent(('policy = "C"', 'policy = "D"')) + '\n[nightly]\nphases = ["5.1"]\n')
    assert len(told.value.faults) == 1
