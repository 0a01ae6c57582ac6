"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from benchrunner.errors import UsageError


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that nobody ever sees a part of it. Raises UsageError where that cannot be done."""
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)  # a pipe or /dev/stdout: there is nothing to take the place of
            return
        place = path.resolve()  # the file behind a link is renewed, the link stays
        temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(place)
        finally:
            temporary.unlink(missing_ok=True)
    except FileNotFoundError as error:
        raise UsageError(f"cannot write {path}: there is no directory {path.resolve().parent}") from error
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
