from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from config_samples import SMALL, bent

from benchrunner.config.settings import Config
from benchrunner.config.snapshot import config_hash, config_json

Load = Callable[..., Config]


def test_a_run_keeps_its_phase_and_what_serves_it(load: Load) -> None:
    """`runs.config` holds what the phase used, as canonical JSON, and nothing of other phases."""
    config = load(SMALL)
    kept = json.loads(config_json(config, config.phase("5.3")))
    assert [
        [one["name"] for one in kept["phases"]],
        [one["name"] for one in kept["models"]],
        [one["name"] for one in kept["providers"]],
        [one["key_id"] for one in kept["keys"]],
    ] == [["5.3"], ["small"], ["gate"], ["key0", "key1"]]
    assert kept["run"]["seed"] == 20250826


def test_paths_of_this_machine_are_not_kept(load: Load, tmp_path: Path) -> None:
    """The same file in another folder, writing to another database, is the same configuration."""
    text = bent(('env_file = "keys.env"', 'env_file = "keys.env"\ntasks = "t.jsonl"'))
    config = load(text)
    moved = replace(config, run=replace(config.run, db=Path("/elsewhere.db"), env_file=None))
    assert config_hash(config) == config_hash(moved)
    assert str(tmp_path) not in config_json(config)
    assert json.loads(config_json(config))["run"]["tasks"] == "t.jsonl"


def test_the_hash_does_not_depend_on_how_the_file_is_laid_out(load: Load) -> None:
    """Comments, order of keys and written-out defaults change nothing."""
    text = bent(("workers = 12\nexpected_call_s = 2.4", "# why\nexpected_call_s = 2.40\nshards = 1\nworkers = 12"))
    assert config_hash(load(SMALL)) == config_hash(load(text))


def test_the_hash_changes_with_what_the_run_was_told(load: Load) -> None:
    """A different seed, grid or model setting is a different configuration; another phase's is not."""
    config = load(SMALL)
    phase = config.phase("5.1")
    hashes = {
        config_hash(config, phase),
        config_hash(config, replace(phase, instances=2)),
        config_hash(replace(config, run=replace(config.run, seed=1)), phase),
        config_hash(load(bent(("workers = 12", "workers = 13"))), phase),
        config_hash(config, config.phase("5.3")),
    }
    assert len(hashes) == 5
    assert all(len(one) == 64 for one in hashes)
    elsewhere = load(bent(("instances = 3", "instances = 4")))
    assert config_hash(config, phase) == config_hash(elsewhere, elsewhere.phase("5.1"))
