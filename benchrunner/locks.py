"""Kernel locks on files: they fall when their holder dies, however it dies, so what is locked is alive."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def is_locked(path: Path) -> bool:
    """Return whether some process, this one included, holds the file locked now; False where there is no file.

    Looking keeps nobody waiting, but whoever tries to lock the file without waiting just then finds it taken.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
