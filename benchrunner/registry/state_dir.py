"""The directory that all invocations on this machine share, and the files in it: ours alone, or refused."""

from __future__ import annotations

import os
import stat
import sys
from hashlib import blake2b
from pathlib import Path

from platformdirs import user_state_path

from benchrunner.errors import StateError

STATE_DIR_VARIABLE = "BENCHRUNNER_STATE_DIR"
_LINUX_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def state_dir() -> Path:
    """Return the state directory, made if need be: `BENCHRUNNER_STATE_DIR`, else the platform's.

    Raises StateError if it is a symbolic link, belongs to somebody else, or lets others in.
    """
    _require_posix()
    named = os.environ.get(STATE_DIR_VARIABLE)
    path = Path(named) if named else user_state_path("benchrunner")
    if not named and not path.is_absolute():
        # Without HOME and without an entry for the user, "~" stays what it is: a directory of that name, anywhere.
        raise StateError(
            f"neither HOME nor the user database tells where user {os.getuid()} is at home; set HOME, or "
            f"{STATE_DIR_VARIABLE} to one directory for all runs of this machine"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise StateError(f"the state directory {path} cannot be made: {error.strerror}") from error
    if stat.S_ISLNK(status.st_mode):
        raise StateError(f"the state directory {path} is a symbolic link; name the directory itself")
    if not stat.S_ISDIR(status.st_mode):
        raise StateError(f"the state directory {path} is not a directory")
    if status.st_uid != os.getuid():
        raise StateError(
            f"the state directory {path} belongs to user {status.st_uid}, not to you ({os.getuid()}); "
            f"set {STATE_DIR_VARIABLE} to a directory of your own"
        )
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise StateError(f"the state directory {path} is open to others (mode {mode:04o}); run: chmod 700 {path}")
    return path


def windows_path() -> Path:
    """Return where this machine's windows are kept in the state directory.

    The machine's name is part of it: a home directory may be mounted on several, and neither clocks nor locks nor
    mapped memory hold across them.
    """
    machine = blake2b(os.uname().nodename.encode(), digest_size=4).hexdigest()
    return state_dir() / f"windows-{machine}.bin"


def open_private(path: Path) -> int:
    """Return a descriptor of `path` for reading and writing; the file is made with mode 0600 if need be.

    The descriptor is not inherited by other programs. Raises StateError if the file is a link, not a plain file,
    somebody else's, or open to others.
    """
    _require_posix()
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if path.is_symlink():
            raise StateError(f"{path} is a symbolic link; remove it") from error
        raise StateError(f"{path} cannot be opened: {error.strerror}") from error
    status = os.fstat(descriptor)
    fault = ""
    if not stat.S_ISREG(status.st_mode):
        fault = "is not a plain file; remove it"
    elif status.st_uid != os.getuid():
        fault = f"belongs to user {status.st_uid}, not to you ({os.getuid()}); remove it"
    elif status.st_mode & 0o077:
        fault = f"is open to others (mode {stat.S_IMODE(status.st_mode):04o}); run: chmod 600 {path}"
    if fault:
        os.close(descriptor)
        raise StateError(f"{path} {fault}")
    return descriptor


def boot_id() -> str:
    """Return text that stays the same from one boot of this machine to the next and differs between boots."""
    _require_posix()
    try:
        return _LINUX_BOOT_ID.read_text().strip()
    except OSError:
        # macOS has no boot id, but tells when it booted; rounded, because the wall clock is adjusted now and then.
        import psutil

        return f"booted-{round(psutil.boot_time() / 60)}"


def _require_posix() -> None:
    if os.name != "posix":
        raise StateError(
            f"benchrunner runs on Linux and macOS only ({sys.platform} has neither flock nor private files)"
        )
