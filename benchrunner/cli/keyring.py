"""What `benchrunner keys` sees: the machine's windows and every live run's registry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import RenderableType
from rich.text import Text

from benchrunner.clock import SystemClock
from benchrunner.engine.run_dir import DOOR_NAME, WINDOWS_NAME, leases_dir, live_runs, noted_keys
from benchrunner.errors import RegistryError
from benchrunner.records import DomainUse, LimitKind
from benchrunner.registry.client import open_door
from benchrunner.registry.key_locks import notes
from benchrunner.registry.service import Holding, KeyStatus
from benchrunner.registry.shared_windows import SharedWindows
from benchrunner.registry.state_dir import windows_path
from benchrunner.reporting.tables import Column, table
from benchrunner.reporting.wording import backend_mark, count_text, duration_text

SHORT = 6
"""Digits of a domain's identity that tell it from others of its label; its `name` in --json holds them."""

MOST_LEASES = 2
"""Leases of one model on one key that are shown one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRun:
    """A run in progress: its keys, and the windows that are its alone (the embedded provider's)."""

    run_id: str
    simulated: bool
    keys: tuple[KeyStatus, ...]
    domains: tuple[DomainUse, ...]
    held_elsewhere: Mapping[str, str]  # keys that other live runs hold: key id -> by whom


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
    directories = list(live_runs())
    for directory in directories:
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
                held_elsewhere={} if own.exists() else held_by_others(directory, directories),
            )
        )
    machine_wide = _read(windows_path())
    return Keyring(
        domains=machine_wide if idle_too else tuple(filter(is_in_use, machine_wide)),
        runs=tuple(runs),
    )


def held_by_others(directory: Path, live: Sequence[Path]) -> dict[str, str]:
    """Return which of a run's keys another live run holds, and what that one wrote down about itself.

    What a killed run wrote beside its lock is worth nothing.
    """
    others = {other.name for other in live if other != directory}
    taken = notes(leases_dir())
    held = {}
    for key_id, fingerprint in noted_keys(directory).items():
        for note in taken.get(fingerprint, ()):
            if any(note.startswith(f"run {name} ") for name in others):
                held[key_id] = note
    return held


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


def _place(domain: DomainUse) -> tuple[bool, str, str]:
    return "/" in domain.label, domain.label, domain.name  # keys first, then (account, model) pairs


def told_apart(domains: Sequence[DomainUse]) -> list[str]:
    """Return a name for each domain: its label; where several share it, with the provider, or its identity's start.

    Two configs may well give one label, such as `key0`, to two credentials.
    """
    labels = Counter(one.label for one in domains)
    placed = Counter((one.label, one.provider) for one in domains)
    names = []
    for one in domains:
        if labels[one.label] == 1:
            names.append(one.label)
        elif placed[one.label, one.provider] == 1:
            names.append(f"{one.label} ({one.provider})")
        else:
            names.append(f"{one.label} ({one.name.split(':')[1][:SHORT]})")
    return names


def key_parts(keyring: Keyring) -> list[RenderableType]:
    """Return the tables of `benchrunner keys`."""
    parts: list[RenderableType] = []
    for run in keyring.runs:
        mark = f"{backend_mark('simulated')} " if run.simulated else ""
        parts.append(_leases(run, mark))
        if shown := [domain for domain in run.domains if domain.windows or domain.cap_per_s or is_in_use(domain)]:
            parts.append(_windows(f"{mark}Windows of run {run.run_id}", shown))
    if keyring.domains:
        parts.append(_windows("Windows of this machine's keys", keyring.domains))
    return parts or [Text("No run is in progress, and no key is in use.")]


def _leases(run: LiveRun, mark: str) -> RenderableType:
    rows: list[tuple[object, ...]] = []
    for key in run.keys:
        standing = key.key_id, key.health.value + (f": {key.reason}" if key.reason else "")
        elsewhere = run.held_elsewhere.get(key.key_id)
        if not key.holders:
            rows.append((*standing, f"held by {elsewhere}" if elsewhere else "free", None, None, None))
        for model, held in _by_model(key).items():
            if len(held) > MOST_LEASES:  # of a key without bound: forty lines that differ in a number
                rows.append((*standing, model, f"{len(held)} shards", None, None))
                continue
            rows += [
                (*standing, model, one.lease.shard_id.rpartition("/")[2], one.pid, one.lease.fence) for one in held
            ]
    columns = [
        Column(title="key"),
        Column(title="health"),
        Column(title="serves"),
        Column(title="shard"),
        Column(title="pid", numeric=True),
        Column(title="fence", numeric=True),
    ]
    return table(f"{mark}Leases of run {run.run_id}", columns, rows)


def _by_model(key: KeyStatus) -> dict[str, list[Holding]]:
    held: dict[str, list[Holding]] = {}
    for holding in key.holders:
        held.setdefault(holding.lease.model, []).append(holding)
    return held


def _windows(title: str, domains: Sequence[DomainUse]) -> RenderableType:
    columns = [
        Column(title="domain"),
        Column(title="used"),
        Column(title="wait", numeric=True),
        Column(title="paused"),
        Column(title="cap", numeric=True),
        Column(title="margin", numeric=True),
        Column(title="granted", numeric=True),
    ]
    ordered = sorted(domains, key=_place)
    rows = (
        (
            name,
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
        for name, domain in zip(told_apart(ordered), ordered, strict=True)
    )
    return table(title, columns, rows)
