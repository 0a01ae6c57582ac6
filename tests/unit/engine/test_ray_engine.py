"""What can be said of engine `ray` without Ray: how it is asked for, refused, and what it sends about tasks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchrunner.cli.options import checked_engine
from benchrunner.cli.phase_command import command
from benchrunner.config.load import load_config
from benchrunner.config.shipped import shipped_text
from benchrunner.engine.ray_engine import open_cluster
from benchrunner.errors import ConfigError, UsageError


def test_without_the_extra_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Ray is not installed, the user is told the pip command, and nothing is started."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'benchrunner\[ray\]'") as refused, open_cluster(None):
        pass
    assert refused.value.exit_code == 2


def test_an_address_needs_the_engine_that_has_one() -> None:
    """`--address` without `--engine ray` is a mistake, not something to be ignored."""
    assert checked_engine("ray", "auto") == "ray"
    assert checked_engine("local", None) == "local"
    with pytest.raises(UsageError, match="--engine ray"):
        checked_engine("local", "auto")


def test_an_unknown_engine_is_refused_with_those_there_are() -> None:
    """The command names the engines."""
    answer = CliRunner().invoke(command, ["5.2", "--engine", "dask"])
    assert answer.exit_code == 2
    assert "'local', 'ray'" in answer.output


def test_the_table_of_the_engine_is_read(tmp_path: Path) -> None:
    """[engine.ray] says where: cluster, resources of a worker, of a provider."""
    path = tmp_path / "phases.toml"
    path.write_text(
        shipped_text("phases.toml")
        + '\n[engine.ray]\naddress = "auto"\nworker_cpus = 0.5\nresources = { bench = 1.0 }\n'
        + 'providers = { azure = "west" }\n'
    )
    settings = load_config(path, environ={}).ray
    assert (settings.address, settings.worker_cpus) == ("auto", 0.5)
    assert (settings.resources, settings.providers) == ({"bench": 1.0}, {"azure": "west"})


def test_without_the_table_a_local_cluster_is_meant(tmp_path: Path) -> None:
    """Nothing needs to be configured to run on one machine."""
    path = tmp_path / "phases.toml"
    path.write_text(shipped_text("phases.toml"))
    settings = load_config(path, environ={}).ray
    assert (settings.address, settings.resources, settings.providers) == (None, {}, {})


def test_a_provider_that_is_none_is_a_fault(tmp_path: Path) -> None:
    """A misspelt provider would place nothing anywhere."""
    path = tmp_path / "phases.toml"
    path.write_text(shipped_text("phases.toml") + '\n[engine.ray.providers]\nidealab = "west"\n')
    with pytest.raises(ConfigError, match="ideallab"):
        load_config(path, environ={})
