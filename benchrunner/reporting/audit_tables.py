"""An audit as people read it: one line a check, then the rows that do not hold."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from benchrunner.reporting.audit import Audit
from benchrunner.reporting.audit_findings import Check
from benchrunner.reporting.tables import Column, table
from benchrunner.reporting.wording import backend_mark, printable

SHOWN = 10
"""Rows shown of one check; --json has more of them."""


def audit_parts(audit: Audit) -> list[RenderableType]:
    """Return the header, the checks, and the findings of each check that has some."""
    mark = f"{backend_mark(audit.backend)} " if audit.simulated else ""
    faults = sum(check.faults for check in audit.checks)
    verdict = "everything holds" if audit.holds else f"{faults} rows do not hold"
    head = Text.assemble(
        (f"{mark}audit of run {audit.run_id}: {verdict}", "bold"),
        f"\nphase {audit.phase}, policy {audit.policy}, backend {audit.backend}, {audit.status}, "
        f"made by version {audit.version}\n"
        f"trials {audit.scored} of {audit.planned} scored, {audit.invalid} invalid",
    )
    checks = table(
        "Checked",
        [Column(title="check"), Column(title="holds"), Column(title="what was looked at")],
        ((check.name, "no" if check.faults else "yes", check.checked) for check in audit.checks),
    )
    return [head, checks, *(_findings(check) for check in audit.checks if check.faults)]


def _findings(check: Check) -> RenderableType:
    rest = check.faults - min(SHOWN, len(check.findings))
    more = f"; {rest} more" if rest else ""
    rows = f"{check.faults} row{'s' if check.faults != 1 else ''}"
    return table(
        f"{check.name}: {rows} where it does not hold{more}",
        [Column(title="where"), Column(title="expected"), Column(title="found")],
        (
            (printable(finding.where), printable(finding.expected), printable(finding.found))
            for finding in check.findings[:SHOWN]
        ),
    )
