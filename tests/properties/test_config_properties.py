from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from benchrunner.config.binding import bind
from benchrunner.config.load import load_config
from benchrunner.config.references import SuiteWords
from benchrunner.config.settings import Config
from benchrunner.config.shipped import PHASES_FILE, shipped_text
from benchrunner.config.snapshot import config_json
from benchrunner.errors import ConfigError

ANY = SuiteWords(suite="any", prompts=(), difficulties=(), task_types=())
LINES = [
    line for line in shipped_text(PHASES_FILE).splitlines() if re.match(r'\w+ = [^\[]*$|\w+ = "[^"]*"', line.strip())
]

toml_values = st.recursive(
    st.one_of(
        st.integers(-(10**20), 10**20).map(str),
        st.floats().map(lambda value: repr(value) if value == value else "nan"),
        st.booleans().map(lambda value: "true" if value else "false"),
        st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=30).map(json.dumps),
        st.just("2025-08-26"),
        st.just("07:30:00"),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]"),
        st.lists(inner, max_size=2).map(
            lambda items: "{" + ", ".join(f"k{n} = {item}" for n, item in enumerate(items)) + "}"
        ),
    ),
    max_leaves=4,
)


def load_text(text: str) -> Config:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "phases.toml"
        path.write_text(text, encoding="utf-8")
        return load_config(path, environ={}, words=ANY)


def loaded_or_told(text: str) -> Config | tuple[str, ...]:
    try:
        return load_text(text)
    except ConfigError as error:
        return error.faults


@given(st.sampled_from(LINES), toml_values)
@settings(max_examples=150, deadline=None)
def test_any_value_in_any_place_is_taken_or_refused_in_sentences(line: str, value: str) -> None:
    """Whatever stands where it should not, the answer is a Config or a ConfigError with short lines."""
    key = line.split("=")[0].rstrip()
    text = shipped_text(PHASES_FILE).replace(f"\n{line}\n", f"\n{key} = {value}\n", 1)
    assert text != shipped_text(PHASES_FILE) or f"{key} = {value}" == line
    told = loaded_or_told(text)
    if isinstance(told, Config):
        assert config_json(told)
    else:
        assert told
        assert all("\n" not in fault and len(fault) < 400 for fault in told)


secrets = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=60)


@given(st.lists(secrets, min_size=4, max_size=4, unique=True))
@settings(max_examples=30, deadline=None)
def test_bound_keys_are_told_apart_and_keep_their_secrets(values: list[str]) -> None:
    """Different secrets have different fingerprints, and no printed key holds its secret."""
    config = load_text(shipped_text(PHASES_FILE))
    places = {"ideallab": "https://a.example/v1", "azure": "https://b.example"}
    _, keys = bind(config, places, dict(zip(("key0", "key1", "key2", "azure"), values, strict=True)))
    assert len({key.fingerprint for key in keys}) == len(keys)
    assert [key.secret for key in keys] == values
    assert not [key for key in keys if f"'{key.secret}'" in repr(key)]
