from __future__ import annotations

from pathlib import Path

import pytest

from benchrunner.config.document import describe_schema
from benchrunner.config.shipped import KEYS_EXAMPLE_FILE, PHASES_FILE, shipped_text

ROOT = Path(__file__).parents[3]


def test_the_configuration_page_is_the_schema() -> None:
    """docs/configuration.md never falls behind: `python -m benchrunner.config.document` writes it anew."""
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == describe_schema()


def test_every_key_is_described_with_its_default() -> None:
    """A row per key: needed ones say so, ranges and choices are told."""
    page = describe_schema()
    for row in (
        "| `seed` | whole number, at least 0 | `20250826` | Every random choice of a run follows from it. |",
        "| `kind` | `openai`, `azure` | needed |",
        "| `tool_success_rates` | list of numbers, more than 0, at most 1 | `[0.8]` |",
        '| `task_types` | list of text | `"all"` |',
        "| `temperature` | number, 0 to 2 | `0.0` |",
    ):
        assert row in page
    assert not [line for line in page.splitlines() if line.startswith("|") and line.endswith("|  |")]


@pytest.mark.parametrize("name", [PHASES_FILE, KEYS_EXAMPLE_FILE])
def test_the_packaged_files_are_the_top_level_ones(name: str) -> None:
    """`benchrunner init` writes what the repository shows."""
    assert (ROOT / name).read_text(encoding="utf-8") == shipped_text(name)


def test_the_example_names_every_variable_that_the_shipped_file_reads() -> None:
    """Who fills the example in can run live."""
    phases, example = shipped_text(PHASES_FILE), shipped_text(KEYS_EXAMPLE_FILE)
    named = {line.split("=")[0] for line in example.splitlines() if line and not line.startswith("#")}
    read = {part.split("}")[0] for part in phases.split("${")[1:]}
    read |= {line.split('"')[1] for line in phases.splitlines() if line.startswith("env = ")}
    assert named == read
