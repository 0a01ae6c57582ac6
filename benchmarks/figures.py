"""A measured figure, and how figures are printed: as lines while they come, as JSON, as a table for the docs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measurement beside what it should be. `beside` is its ratio to a bound or to a peer of the same run."""

    name: str  # for scripts
    what: str  # for people
    value: float
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    beside: str = ""

    @property
    def met(self) -> bool | None:
        """Return whether the target is reached; None where there is none."""
        if self.at_least is not None:
            return self.value >= self.at_least
        if self.at_most is not None:
            return self.value <= self.at_most
        return None

    @property
    def shown(self) -> str:
        """Return value and unit."""
        return f"{number(self.value)} {self.unit}".strip()

    @property
    def target(self) -> str:
        """Return the target as people read it, or ""."""
        if self.at_least is not None:
            return f">= {number(self.at_least)} {self.unit}".strip()
        if self.at_most is not None:
            return f"<= {number(self.at_most)} {self.unit}".strip()
        return ""

    @property
    def verdict(self) -> str:
        """Return "met", "MISSED", or "" where there is no target."""
        return {True: "met", False: "MISSED", None: ""}[self.met]

    def line(self) -> str:
        """Return the figure as one line of text."""
        return f"  {self.what:<84} {self.shown:>16}  {self.target:<18} {self.verdict:<6}  {self.beside}".rstrip()

    def plain(self) -> dict[str, object]:
        """Return the figure as plain values for JSON."""
        return {
            "name": self.name,
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "target": self.target,
            "met": self.met,
            "beside": self.beside,
        }


def number(value: float) -> str:
    """Return a number with as many digits as its size makes worth reading."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}".rstrip("0").rstrip(".")


def markdown(figures: Sequence[Figure]) -> str:
    """Return figures as a Markdown table."""
    lines = ["| what | measured | target | | beside it |", "|---|---|---|---|---|"]
    lines += [f"| {one.what} | {one.shown} | {one.target} | {one.verdict} | {one.beside} |" for one in figures]
    return "\n".join(lines)
