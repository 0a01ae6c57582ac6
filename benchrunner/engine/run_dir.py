"""A run's own directory under the state directory: proof of life, the registry's door, private windows.

    STATE/runs/RUN/life.lock   held by the supervisor for its life; whoever dies with it waits on it
                   door.json   where the Manager listens, for `benchrunner keys`
                   keys.json   its keys' fingerprints: by which name it and other runs mean the same key
                   windows.bin only for the embedded provider: its keys are private to their run
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

import orjson

from benchrunner.errors import RegistryError
from benchrunner.locks import is_locked
from benchrunner.records import Key
from benchrunner.registry.client import Reachable, write_door
from benchrunner.registry.host import ADDRESS_MAX_BYTES
from benchrunner.registry.life import LifeLock
from benchrunner.registry.state_dir import state_dir

LOCK_NAME, DOOR_NAME, WINDOWS_NAME, KEYS_NAME = "life.lock", "door.json", "windows.bin", "keys.json"
SOCKET_NAME_BYTES = 16
"""Room for the socket's own name behind its directory."""


class RunDirectory:
    """Made and locked for the life of one run, removed at its end. What a killed run left is removed by the next."""

    def __init__(self, run_id: str) -> None:
        """Make it, 0700, and take the life lock. Raises StateError where the state directory cannot be used."""
        runs = runs_dir()
        sweep_dead(runs)
        self.path = runs / run_id
        self.path.mkdir(mode=0o700, exist_ok=True)
        self.lock = LifeLock(self.path / LOCK_NAME)
        self._short: Path | None = None

    def socket_dir(self) -> Path:
        """Return a private directory whose path is short enough for a unix socket in it."""
        if self._short is not None:
            return self._short
        if len(os.fsencode(self.path)) + SOCKET_NAME_BYTES <= ADDRESS_MAX_BYTES:
            return self.path
        self._short = Path(tempfile.mkdtemp(prefix="benchrunner-", dir="/tmp"))
        (self.path / "socket_dir").write_text(str(self._short))
        return self._short

    def open_door(self, host: Reachable) -> None:
        """Let `benchrunner keys` find the registry."""
        write_door(self.path / DOOR_NAME, host)

    def note_keys(self, keys: Iterable[Key]) -> None:
        """Let `benchrunner keys` find out who else holds this run's keys."""
        (self.path / KEYS_NAME).write_bytes(orjson.dumps({key.key_id: key.fingerprint for key in keys}))

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _remove(self.path)
        self.lock.release()


def runs_dir() -> Path:
    """Return where the directories of live runs stand, made if needed."""
    path = state_dir() / "runs"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def live_runs() -> Iterator[Path]:
    """Yield the directories of the runs that are alive on this machine, oldest first."""
    for path in sorted(runs_dir().iterdir()):
        if is_locked(path / LOCK_NAME):
            yield path


def noted_keys(path: Path) -> dict[str, str]:
    """Return the fingerprints by key id that the run of this directory noted; {} while it has not."""
    try:
        found: dict[str, str] = orjson.loads((path / KEYS_NAME).read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):  # it is only just starting
        return {}
    return found


def leases_dir() -> Path:
    """Return where the machine-wide locks of keys stand."""
    return state_dir() / "leases"


def sweep_dead(runs: Path) -> None:
    """Remove what killed runs left behind. A directory that is only just being made is locked here before it goes."""
    for path in runs.iterdir():
        with contextlib.suppress(RegistryError, FileNotFoundError), LifeLock(path / LOCK_NAME):
            _remove(path)


def _remove(path: Path) -> None:
    note = path / "socket_dir"
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(note.read_text(), ignore_errors=True)
    shutil.rmtree(path, ignore_errors=True)
