"""How marks, durations and strangers' words are put for people."""

from __future__ import annotations

SIMULATED = "SIMULATED"
"""Stands in the header and in the title of every table of a run on the embedded provider."""


def backend_mark(backend: str) -> str:
    """Return how a run's backend is shown: nothing about a simulated result may be mistaken for a measured one."""
    return SIMULATED if backend == "simulated" else backend


def duration_text(seconds: float | None) -> str:
    """Return a duration to the precision people act on: `0.4 s`, `41 s`, `3 min 05 s`, `2 h 07 min`; None is `-`."""
    if seconds is None:
        return "-"
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def count_text(count: int) -> str:
    """Return a count in at most five characters: `9999`, `12k`, `3.4M`."""
    if count < 10_000:
        return str(count)
    if count < 999_500:
        return f"{count / 1000:.0f}k"
    return f"{count / 1e6:.1f}M"


def printable(text: str) -> str:
    """Return `text` on one line without control characters: a provider's words must not steer the terminal."""
    return "".join(char if char.isprintable() else " " for char in text).strip()
