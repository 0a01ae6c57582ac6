from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from config_samples import ANY_WORDS, SMALL, WORDS, bent

from benchrunner.config.load import load_config
from benchrunner.config.schema import ModelTable, ProviderTable, RunTable, SimulatedTable, SimulatorTable
from benchrunner.config.settings import Config, RunSettings, SimulatedModel, SimulatorSettings
from benchrunner.errors import ConfigError, UsageError
from benchrunner.records import (
    InjectedFaults,
    KeyEntry,
    Limit,
    LimitKind,
    ModelEntry,
    Phase,
    PhaseOrder,
    Provider,
    ShardOrder,
)

Load = Callable[..., Config]
ROOT = Path(__file__).parents[3]
REQUESTS, TOKENS = LimitKind.REQUESTS, LimitKind.TOKENS


def test_every_table_becomes_its_record(load: Load) -> None:
    """What was written and what was left to its default arrive as frozen records."""
    # Given and when a small file is read
    config = load(SMALL)
    # Then keys have their limits one by one, and their account or their own name as account
    per_minute = [Limit(kind=REQUESTS, amount=300, per_s=60.0), Limit(kind=TOKENS, amount=400_000, per_s=60.0)]
    limits = (Limit(kind=REQUESTS, amount=10, per_s=1.0), *per_minute)
    assert config.keys == (
        KeyEntry(key_id="key0", provider="gate", env="GATE_KEY_0", account="acme", limits=limits, slots=1),
        KeyEntry(key_id="key1", provider="gate", env="GATE_KEY_1", account="key1", limits=(), slots=1),
        KeyEntry(key_id="cloud", provider="cloud", env="CLOUD_KEY", account="cloud", limits=(), slots=0),
    )
    # And models have the limits of their (account, model) domain: those of all models, and their own
    shared = Limit(kind=TOKENS, amount=100_000, per_s=60.0)
    assert [(shared, Limit(kind=REQUESTS, amount=72, per_s=60.0)), (shared,), ()] == [
        one.limits for one in config.models
    ]
    assert config.model("big") == ModelEntry(
        name="big", provider="cloud", key_id="cloud", deployments=("big", "big-2"), limits=()
    )
    assert config.model("small").deployments == ("small",)
    assert config.simulated == {"small": SimulatedModel(latency_s=0.5, latency_p95_s=None, skill=0.25)}
    assert config.simulator == SimulatorSettings(
        speed=5.0, seed=None, latency=True, profile="clean", faults=InjectedFaults()
    )


def test_a_phase_keeps_what_was_written_and_calls_policies_by_name(load: Load) -> None:
    """`all` task types are None, letters become policy names, rates may be written 1."""
    config = load(SMALL)
    assert config.phase("5.3") == Phase(
        name="5.3",
        title="",
        models=("small",),
        prompts=("optimal", "cot", "baseline"),
        difficulties=("easy", "medium"),
        task_types=("basic_task",),
        instances=3,
        tool_success_rates=(0.9, 1.0),
        order=PhaseOrder.GROUPED,
        groups=(("optimal", "baseline"), ("cot",)),
        stagger_s=0.0,
        shard_order=ShardOrder.MODELS,
        policy="pool",
    )
    base = config.phase("5.1")
    assert (base.task_types, base.instances, base.tool_success_rates, base.policy) == (None, 20, (0.8,), "pool")


def test_addresses_stay_as_written_and_lose_a_trailing_slash(load: Load) -> None:
    """Loading needs no address: `${NAME}` is settled when a live run is bound."""
    assert tuple(one.base_url for one in load(SMALL).providers) == ("${GATE_URL}", "https://cloud.example")


def test_paths_are_relative_to_the_file_and_may_name_variables(load: Load, tmp_path: Path) -> None:
    """Cron starts elsewhere: nothing depends on the working directory."""
    text = bent(('env_file = "keys.env"', 'env_file = "keys.env"\ndb = "${WHERE}/runs.db"\ntasks = "/data/t.jsonl"'))
    run = load(text, {"WHERE": "results"}).run
    assert (tmp_path / "results/runs.db", Path("/data/t.jsonl"), tmp_path / "keys.env") == (
        run.db,
        run.tasks,
        run.env_file,
    )


def test_defaults_are_those_of_the_schema(load: Load, tmp_path: Path) -> None:
    """A file without [run] and [simulator] runs with the documented defaults."""
    text = bent(('[run]\nenv_file = "keys.env"\n', ""), ("[simulator]\nspeed = 5\n", ""))
    config = load(text)
    assert config.run == RunSettings(
        db=tmp_path / "runs.db",
        seed=20250826,
        backend="simulated",
        suite="workflow",
        tasks=None,
        env_file=None,
        batch_size=3,
        max_tries=6,
        trial_timeout_s=900.0,
        shard_timeout_s=0.0,
        stall_s=600.0,
        drain_s=20.0,
        restart_budget=5,
        restart_window_s=300.0,
        coverage_floor=0.9,
    )
    assert config.simulator.speed == 1.0


@pytest.mark.parametrize(
    ("record", "table", "renamed"),
    [
        (RunSettings, RunTable, {}),
        (SimulatorSettings, SimulatorTable, {}),
        (SimulatedModel, SimulatedTable, {}),
        (Provider, ProviderTable, {"name": None}),
        (ModelEntry, ModelTable, {"name": None, "key_id": "key", "limits": None}),
    ],
)
def test_records_and_tables_have_the_same_fields_and_defaults(
    record: type, table: type[RunTable], renamed: dict[str, str | None]
) -> None:
    """A default that stands in a record too must not differ from the documented one."""
    for one in fields(record):
        name = renamed.get(one.name, one.name)
        if name is None:
            continue
        described = table.model_fields[name]
        if isinstance(one.default, int | float | str):
            assert described.get_default() == one.default


def test_windows_line_ends_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    """Editors of other systems leave marks that are no fault of the file's."""
    path = tmp_path / "phases.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert len(load_config(path, environ={}, words=WORDS).phases) == 2


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    """The first command in an empty folder tells the next one."""
    with pytest.raises(ConfigError, match=r"phases.toml: there is no such file; `benchrunner init` writes one here"):
        load_config(tmp_path / "phases.toml", environ={})


def test_a_folder_or_a_binary_file_is_refused_with_a_sentence(tmp_path: Path) -> None:
    """No traceback for a path that is no text."""
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path, environ={})
    path = tmp_path / "phases.toml"
    path.write_bytes(b"seed = 1\n\xff\xfe")
    with pytest.raises(ConfigError, match=r"is not UTF-8 text \(byte 9\)"):
        load_config(path, environ={})


def test_a_syntax_error_has_line_and_column(faults_of: Callable[..., tuple[str, ...]]) -> None:
    """TOML that cannot be parsed is told with its place."""
    (fault,) = faults_of("[run]\nseed = \n")
    assert fault.startswith("is not TOML: ")
    assert "line 2, column 8" in fault


def test_unknown_phases_and_models_name_the_nearest(load: Load) -> None:
    """A mistyped word on the command line is answered with the word that was meant."""
    config = load(SMALL)
    with pytest.raises(UsageError, match=r'no phase "5.33" in .*; did you mean "5.3"\?'):
        config.phase("5.33")
    with pytest.raises(UsageError, match=r'no model "bigg" in .*; did you mean "big"\?'):
        config.model("bigg")
    with pytest.raises(UsageError, match=r'phase 5.1 has no model "smal"; valid: qwen2.5-72b-instruct, big'):
        config.phase_models(config.phase("5.1"), ["smal"])
    with pytest.raises(UsageError, match="no model was named"):
        config.phase_models(config.phase("5.1"), [])


def test_models_of_a_phase_keep_its_order_whatever_the_filter_says(load: Load) -> None:
    """`--models b,a` runs a before b when the phase does."""
    config = load(SMALL)
    phase = config.phase("5.1")
    assert [one.name for one in config.phase_models(phase)] == ["qwen2.5-72b-instruct", "big"]
    assert [one.name for one in config.phase_models(phase, ["big", "qwen2.5-72b-instruct"])] == [
        "qwen2.5-72b-instruct",
        "big",
    ]
    assert [one.name for one in config.phase_models(phase, ["big"])] == ["big"]


def test_the_shipped_file_is_the_phases_as_specified() -> None:
    """Phases 5.1 to 5.5 with the seed's native modes, eight models, three keys and Azure."""
    # Given the shipped file
    config = load_config(ROOT / "phases.toml", environ={}, words=ANY_WORDS)
    # Then grids and modes are the specification's: (models, prompts, difficulties, rates, order)
    assert {
        one.name: (
            len(one.models),
            len(one.prompts),
            one.difficulties,
            one.tool_success_rates,
            one.order.value,
            one.stagger_s,
        )
        for one in config.phases
    } == {
        "5.1": (8, 1, ("easy",), (0.8,), "serial", 0.0),
        "5.2": (5, 1, ("very_easy", "medium"), (0.8,), "concurrent", 15.0),
        "5.3": (8, 7, ("easy",), (0.8,), "grouped", 0.0),
        "5.4": (8, 1, ("easy",), (0.9, 0.8, 0.7, 0.6, 0.5), "serial", 0.0),
        "5.5": (8, 2, ("easy",), (0.8,), "serial", 0.0),
    }
    assert {(20, None, "pool")} == {(one.instances, one.task_types, one.policy) for one in config.phases}
    assert [len(group) for group in config.phase("5.3").groups] == [2, 3, 2]
    assert ShardOrder.CONDITIONS is config.phase("5.2").shard_order
    # And the static keys are the seed's
    assert {one.name.split("-")[1]: one.key_id for one in config.models if one.provider == "ideallab"} == {
        "72b": "key0",
        "32b": "key1",
        "14b": "key2",
        "7b": "key0",
        "3b": "key1",
    }
    # And the limits are those that are known: the measured 72b limit is not active
    assert {(("key0", "key1", "key2"), (Limit(kind=REQUESTS, amount=10, per_s=1.0),), 1, "ideallab")} == {
        (tuple(key.key_id for key in config.keys_of("ideallab")), one.limits, one.slots, one.account)
        for one in config.keys_of("ideallab")
    }
    assert {()} == {one.limits for one in config.models if one.provider == "ideallab"}
    azure = [one for one in config.models if one.provider == "azure"]
    assert {(Limit(kind=TOKENS, amount=400_000, per_s=60.0),)} == {one.limits for one in azure}
    assert [(one.name, f"{one.name}-2", f"{one.name}-3") for one in azure] == [one.deployments for one in azure]
    assert [one.slots for one in config.keys_of("azure")] == [0]


def test_the_shipped_file_uses_only_words_of_its_suite() -> None:
    """Without words given, those of suite `workflow` are looked up, and every phase fits them."""
    config = load_config(ROOT / "phases.toml", environ={})
    assert [one.name for one in config.phases] == ["5.1", "5.2", "5.3", "5.4", "5.5"]


def test_words_of_another_suite_are_its_own_affair(tmp_path: Path) -> None:
    """A suite from elsewhere may have any prompts: they are checked when it is loaded, not here."""
    path = tmp_path / "phases.toml"
    path.write_text(
        bent(
            ("[run]", '[run]\nsuite = "theirs"'),
            ('prompts = ["optimal"]', 'prompts = ["anything"]'),
        ),
        encoding="utf-8",
    )
    assert load_config(path, environ={}).phase("5.1").prompts == ("anything",)


def test_the_commented_example_of_the_shipped_file_is_valid(tmp_path: Path) -> None:
    """Taking the marks away from the measured 72b limit gives a file that loads."""
    text = (ROOT / "phases.toml").read_text(encoding="utf-8")
    for line in ("[[providers.ideallab.limits]]", 'model = "qwen2.5-72b-instruct"', "requests = 72", "per_s = 60"):
        assert f"\n# {line}\n" in text
        text = text.replace(f"\n# {line}\n", f"\n{line}\n", 1)
    path = tmp_path / "phases.toml"
    path.write_text(text, encoding="utf-8")
    config = load_config(path, environ={}, words=ANY_WORDS)
    assert (Limit(kind=REQUESTS, amount=72, per_s=60.0),) == config.model("qwen2.5-72b-instruct").limits


def test_a_model_says_how_it_calls_tools(load: Load) -> None:
    """Text is the default; `protocol = "native"` reaches the model's entry."""
    config = load(bent(("[models.small]\n", '[models.small]\nprotocol = "native"\n')))
    assert {model.name: model.protocol for model in config.models} == {
        "qwen2.5-72b-instruct": "text",
        "small": "native",
        "big": "text",
    }
