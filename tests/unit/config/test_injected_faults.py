"""Faults of the embedded provider: from the table in phases.toml, and from words over it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields, replace

import orjson
import pytest
from config_samples import SMALL

from benchrunner.config.injected import NAMES, stored_faults, with_faults
from benchrunner.config.schema import FaultTable
from benchrunner.config.settings import Config
from benchrunner.config.snapshot import config_json
from benchrunner.errors import ConfigError, UsageError
from benchrunner.records import InjectedFaults, KeyOutage

Load = Callable[[str], Config]

TABLE = """
[simulator.faults]
reset = 0.02
azure_window = 400000
key_dies = "key1@1.5-3"
"""


def test_the_table_has_a_key_for_every_fault() -> None:
    """A fault that a plan can hold can be asked for, and none can that it cannot hold."""
    assert tuple(FaultTable.model_fields) == NAMES == tuple(field.name for field in fields(InjectedFaults))


def test_the_table_becomes_its_record(load: Load) -> None:
    """What is absent is the profile's business; the words of an outage become minutes."""
    outage = KeyOutage(key_id="key1", from_min=1.5, to_min=3.0)
    assert load(SMALL + TABLE).simulator.faults == InjectedFaults(reset=0.02, azure_window=400_000, key_dies=outage)
    assert load(SMALL).simulator.faults == InjectedFaults()


def test_faults_of_the_table_are_told_with_their_place(load: Load) -> None:
    """A share over 1, an unknown fault, a key that nobody has and an outage that ends before it begins."""
    wrong = '\n[simulator.faults]\nreset = 1.5\nhangs = 0.1\nkey_dies = "key9@1-3"\n'
    with pytest.raises(ConfigError) as raised:
        load(SMALL + wrong)
    assert [
        "[simulator] faults.reset = 1.5: must be at most 1",
        '[simulator] faults.hangs: unknown key; did you mean "hang"?',
    ] == list(raised.value.faults)
    with pytest.raises(ConfigError, match=r'\[simulator.faults\] key_dies = "key9": there is no such key'):
        load(SMALL + '\n[simulator.faults]\nkey_dies = "key9@1-3"\n')
    with pytest.raises(ConfigError, match='is written "KEY@FROM-TO" in minutes'):
        load(SMALL + '\n[simulator.faults]\nkey_dies = "key1@3-3"\n')


def test_words_stand_over_the_table(load: Load) -> None:
    """Each word replaces its own fault only; the last of two wins; 0 takes one away."""
    config = with_faults(load(SMALL + TABLE), ("reset=0", "empty=0.1", "empty=0.2", "key_dies=key0@2-"))
    assert config.simulator.faults == InjectedFaults(
        reset=0.0, empty=0.2, azure_window=400_000, key_dies=KeyOutage(key_id="key0", from_min=2.0, to_min=None)
    )


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("rest=0.1", 'no fault "rest"; did you mean "reset"?'),
        ("reset", '--fault reset: needs a value, such as "reset=0.02"'),
        ("reset=often", '--fault reset=often: needs a number, such as "reset=0.02"'),
        ("reset=nan", "--fault reset = nan: must be a finite number"),
        ("azure_window=1e5", '--fault azure_window=1e5: needs a number, such as "azure_window=400000"'),
        ("key_dies=key1", '--fault key_dies = "key1": is written "KEY@FROM-TO" in minutes'),
        ("key_dies=key9@1-2", '--fault key_dies = "key9": there is no such key'),
    ],
)
def test_a_word_that_is_no_fault_is_refused_in_one_sentence(word: str, said: str, load: Load) -> None:
    """The sentence names the word and the way out."""
    with pytest.raises(UsageError) as raised:
        with_faults(load(SMALL), (word,))
    assert str(raised.value).startswith(said)


def test_faults_do_not_go_with_a_live_run(load: Load) -> None:
    """Nobody's real provider is told to fail; without words a live config is left alone."""
    config = load(SMALL)
    live = replace(config, run=replace(config.run, backend="live"))
    assert with_faults(live, ()) is live
    with pytest.raises(UsageError, match="does not go with --live"):
        with_faults(live, ("reset=0.1",))


@pytest.mark.parametrize("words", [(), ("reset=0.1",), ("key_dies=key1@1-2", "azure_window=5")])
def test_faults_come_back_from_a_run_s_snapshot(words: tuple[str, ...], load: Load) -> None:
    """What a run began with is what it is resumed with; an older snapshot has none."""
    config = with_faults(load(SMALL), words)
    stored = orjson.loads(config_json(config))["simulator"]["faults"]
    assert stored == asdict(config.simulator.faults)
    assert stored_faults(stored) == config.simulator.faults
    assert stored_faults(None) == InjectedFaults()
