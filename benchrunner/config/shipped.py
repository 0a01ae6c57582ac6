"""The files that `benchrunner init` writes, as they were shipped."""

from __future__ import annotations

from importlib.resources import files

PHASES_FILE = "phases.toml"
KEYS_EXAMPLE_FILE = "keys.env.example"


def shipped_text(name: str) -> str:
    """Return the shipped file of that name: PHASES_FILE or KEYS_EXAMPLE_FILE."""
    return files("benchrunner.config").joinpath(name).read_text(encoding="utf-8")
