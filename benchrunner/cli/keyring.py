"""What `benchrunner keys` sees: the machine's windows and every live run's registry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import RenderableType
from rich.text import Text

from benchrunner.clock import SystemClock
from benchrunner.engine.run_dir import DOOR_NAME, WINDOWS_NAME, live_runs
from benchrunner.errors import RegistryError
from benchrunner.records import DomainUse, LimitKind
from benchrunner.registry.client import open_door
from benchrunner.registry.service import KeyStatus
from benchrunner.registry.shared_windows import SharedWindows
from benchrunner.registry.state_dir import windows_path
from benchrunner.reporting.tables import Column, table
from benchrunner.reporting.wording import backend_mark, count_text, duration_text


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRun:
    """A run in progress: its keys, and the windows that are its alone (the embedded provider's)."""

    run_id: str
    simulated: bool
    keys: tuple[KeyStatus, ...]
    domains: tuple[DomainUse, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """Everything there is to see now."""

    domains: tuple[DomainUse, ...]  # machine-wide: keys and (account, model) pairs of live runs, past and present
    runs: tuple[LiveRun, ...]


def look(*, idle_too: bool) -> Keyring:
    """Return every key as it stands now. Raises StateError where the state directory cannot be trusted.

    Of the machine-wide windows only those in use, unless `idle_too`.
    """
    runs = []
    for directory in live_runs():
        try:
            reader = open_door(directory / DOOR_NAME)
        except RegistryError:
            continue  # it is only just starting, or has ended since it was listed
        own = directory / WINDOWS_NAME
        runs.append(
            LiveRun(
                run_id=directory.name,
                simulated=own.exists(),
                keys=reader.status(),
                domains=_read(own),
            )
        )
    machine_wide = _read(windows_path())
    return Keyring(
        domains=machine_wide if idle_too else tuple(filter(is_in_use, machine_wide)),
        runs=tuple(runs),
    )


def is_in_use(domain: DomainUse) -> bool:
    """Return whether anything counts, waits or is held back in the domain now."""
    return domain.waiting > 0 or domain.paused_for_s > 0 or any(window.used for window in domain.windows)


def _read(path: Path) -> tuple[DomainUse, ...]:
    if not path.exists():
        return ()
    windows = SharedWindows(path, SystemClock())
    try:
        return windows.snapshot()
    finally:
        windows.close()


def _place(domain: DomainUse) -> tuple[bool, str]:
    return "/" in domain.label, domain.label  # keys first, then (account, model) pairs


def key_parts(keyring: Keyring) -> list[RenderableType]:
    """Return the tables of `benchrunner keys`."""
    parts: list[RenderableType] = []
    for run in keyring.runs:
        mark = f"{backend_mark('simulated')} " if run.simulated else ""
        parts.append(_leases(run, mark))
        if run.domains:
            parts.append(_windows(f"{mark}Windows of run {run.run_id}", run.domains))
    if keyring.domains:
        parts.append(_windows("Windows of this machine's keys", keyring.domains))
    return parts or [Text("No run is in progress, and no key is in use.")]


def _leases(run: LiveRun, mark: str) -> RenderableType:
    rows = []
    for key in run.keys:
        holders = key.holders or (None,)
        for holding in holders:
            rows.append(
                (
                    key.key_id,
                    key.health.value + (f": {key.reason}" if key.reason else ""),
                    "free" if holding is None else holding.lease.model,
                    None if holding is None else holding.lease.shard_id.rpartition("/")[2],
                    None if holding is None else holding.pid,
                    None if holding is None else holding.lease.fence,
                )
            )
    columns = [
        Column(title="key"),
        Column(title="health"),
        Column(title="serves"),
        Column(title="shard"),
        Column(title="pid", numeric=True),
        Column(title="fence", numeric=True),
    ]
    return table(f"{mark}Leases of run {run.run_id}", columns, rows)


def _windows(title: str, domains: Sequence[DomainUse]) -> RenderableType:
    columns = [
        Column(title="domain"),
        Column(title="used"),
        Column(title="waiting", numeric=True),
        Column(title="paused"),
        Column(title="cap", numeric=True),
        Column(title="margin", numeric=True),
        Column(title="granted", numeric=True),
    ]
    rows = (
        (
            domain.label,
            ", ".join(
                f"{count_text(round(window.used))}/{count_text(window.amount)}"
                f"{' tok' if window.kind is LimitKind.TOKENS else ''} per {window.per_s:g} s"
                for window in domain.windows
            )
            or "no limit",
            domain.waiting,
            duration_text(domain.paused_for_s) if domain.paused_for_s > 0 else "no",
            "none" if domain.cap_per_s is None else f"{domain.cap_per_s:.3g}/s",
            f"{1000 * domain.margin_s:.0f} ms",
            count_text(domain.granted),
        )
        for domain in sorted(domains, key=_place)
    )
    return table(title, columns, rows)
