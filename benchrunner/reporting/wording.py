"""How marks, durations and strangers' words are put for people."""

from __future__ import annotations

SIMULATED = "SIMULATED"
"""Stands in the header and in the title of every table of a run on the embedded provider."""


def backend_mark(backend: str) -> str:
    """Return how a run's backend is shown: nothing about a simulated result may be mistaken for a measured one."""
    return SIMULATED if backend == "simulated" else backend


def duration_text(seconds: float | None) -> str:
    """Return a duration to the precision people act on: `0.4 s`, `4 s`, `3 min 05 s`, `2 h 07 min`; None is `-`."""
    if seconds is None:
        return "-"
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s".replace(".0 ", " ")
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def time_left_text(eta_s: float | None, stopping_s: float | None, *, about: str = "") -> str:
    """Return how long a run goes on, `about` in front of an estimate; "" when nobody knows, or it has ended.

    Of one that stops it is how long its running trials may take at the most (0.0: they are ended now), whatever was
    expected of it before.
    """
    if stopping_s is not None:
        return f"stopping, at most {duration_text(stopping_s)}" if stopping_s > 0 else "stopping now"
    return "" if eta_s is None else f"{about}{duration_text(eta_s)} left"


def status_text(status: str) -> str:
    """Return a shard's standing as people read it."""
    return "left for resume" if status == "left" else status


def count_text(count: int) -> str:
    """Return a count in at most five characters: `9999`, `12k`, `3.4M`."""
    if count < 10_000:
        return str(count)
    if count < 999_500:
        return f"{count / 1000:.0f}k"
    return f"{count / 1e6:.1f}M"


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: `1 row`, `1,200 rows`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def printable(text: str) -> str:
    """Return `text` on one line without control characters: a provider's words must not steer the terminal."""
    return "".join(char if char.isprintable() else " " for char in text).strip()
