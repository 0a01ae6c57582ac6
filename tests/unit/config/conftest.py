from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from config_samples import WORDS

from benchrunner.config.load import load_config
from benchrunner.config.settings import Config
from benchrunner.errors import ConfigError


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Config]:
    """Write a phases.toml and load it."""

    def write_and_load(text: str, environ: Mapping[str, str] | None = None) -> Config:
        path = tmp_path / "phases.toml"
        path.write_text(text, encoding="utf-8")
        return load_config(path, environ=environ or {}, words=WORDS)

    return write_and_load


@pytest.fixture
def faults_of(load: Callable[..., Config]) -> Callable[..., tuple[str, ...]]:
    """Return every fault of a phases.toml that must be refused."""

    def refused(text: str, environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
        with pytest.raises(ConfigError) as caught:
            load(text, environ)
        return caught.value.faults

    return refused
