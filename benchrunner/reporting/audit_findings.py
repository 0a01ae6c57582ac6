"""What an audit comes back with: per check what was looked at, and the rows where it does not hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

KEPT: Final = 100
"""Findings kept of one check; the rest are counted. One cause often shows in every row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One row where a check does not hold."""

    where: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at. It holds when `faults` is 0."""

    name: str
    checked: str  # a sentence: what, and how much of it
    faults: int
    findings: tuple[Finding, ...]  # the first KEPT of them


@dataclass(slots=True)
class Tally:
    """A check being made."""

    name: str
    faults: int = 0
    findings: list[Finding] = field(default_factory=list)

    def add(self, where: str, *, expected: str, found: str) -> None:
        """Note a row where the check does not hold."""
        self.faults += 1
        if len(self.findings) < KEPT:
            self.findings.append(Finding(where=where, expected=expected, found=found))

    def done(self, checked: str) -> Check:
        """Return the check, with a sentence on what was looked at."""
        return Check(name=self.name, checked=checked, faults=self.faults, findings=tuple(self.findings))
