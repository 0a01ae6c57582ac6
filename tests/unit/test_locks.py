"""Whether a file is locked, asked of the kernel."""

from __future__ import annotations

import fcntl
from pathlib import Path

from benchrunner.locks import is_locked


def test_a_file_is_locked_as_long_as_its_holder_has_it_open(tmp_path: Path) -> None:
    """What a killed holder leaves behind, the file, says nothing: only the kernel's lock counts."""
    path = tmp_path / "life.lock"
    # Given a file whose holder locked it
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        # Then it is locked, however often one looks
        assert (is_locked(path), is_locked(path)) == (True, True)
    # When the kernel closes it, as it does when the holder dies
    # Then it is not, though the file is still there
    assert (path.exists(), is_locked(path)) == (True, False)


def test_looking_takes_no_lock_and_makes_no_file(tmp_path: Path) -> None:
    """After a look the next holder gets the lock at once, and a file that was not there still is not."""
    path = tmp_path / "life.lock"
    # Given no file, When one looks, Then it is not locked and there is still none
    assert (is_locked(path), path.exists()) == (False, False)
    # Given a file nobody locked, which somebody looked at
    path.touch()
    assert is_locked(path) is False
    # When it is locked without waiting, Then nothing is in the way
    with path.open("w") as taken:
        fcntl.flock(taken, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert is_locked(path) is True
