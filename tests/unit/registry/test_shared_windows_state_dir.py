from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchrunner.errors import StateError
from benchrunner.registry import state_dir as state


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "deep" / "state"
    monkeypatch.setenv("BENCHRUNNER_STATE_DIR", str(path))
    return path


def test_the_state_directory_is_made_for_its_owner_only(named: Path):
    """Named by BENCHRUNNER_STATE_DIR, made with mode 0700, and found again."""
    assert named == state.state_dir() == state.state_dir()
    assert named.stat().st_mode & 0o777 == 0o700


def test_without_the_variable_it_is_the_platforms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The user's own state directory, never one that is shared."""
    monkeypatch.delenv("BENCHRUNNER_STATE_DIR", raising=False)
    monkeypatch.setattr(state, "user_state_path", lambda name: tmp_path / name)
    assert tmp_path / "benchrunner" == state.state_dir()


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Under cron in a container nobody may know the home directory; then "~" is no place to keep anything."""
    # Given neither the variable, nor HOME, nor an entry for the user
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCHRUNNER_STATE_DIR", raising=False)
    monkeypatch.setattr(state, "user_state_path", lambda name: Path("~/.local/state") / name)
    # When the state directory is asked for
    with pytest.raises(StateError, match=r"neither HOME nor the user database .* set HOME, or BENCHRUNNER_STATE_DIR"):
        state.state_dir()
    # Then no directory called ~ was made
    assert list(tmp_path.iterdir()) == []


def test_a_directory_open_to_others_is_refused_with_the_command_that_mends_it(named: Path):
    """Somebody else could exchange the windows."""
    named.mkdir(parents=True)
    named.chmod(0o750)
    with pytest.raises(StateError, match=f"open to others \\(mode 0750\\); run: chmod 700 {named}"):
        state.state_dir()


def test_a_symbolic_link_is_refused(named: Path, tmp_path: Path):
    """Where it points may change under us."""
    named.parent.mkdir()
    named.symlink_to(tmp_path)
    with pytest.raises(StateError, match="symbolic link"):
        state.state_dir()


def test_a_directory_of_somebody_else_is_refused(named: Path, monkeypatch: pytest.MonkeyPatch):
    """Its owner could read and change everything in it."""
    named.mkdir(parents=True, mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: named.stat().st_uid + 1)
    with pytest.raises(StateError, match="belongs to user"):
        state.state_dir()


def test_a_file_in_the_way_and_an_impossible_place_are_named(named: Path, monkeypatch: pytest.MonkeyPatch):
    """One sentence, not a traceback."""
    named.parent.mkdir()
    named.write_text("")
    with pytest.raises(StateError, match="cannot be made"):
        state.state_dir()
    monkeypatch.setenv("BENCHRUNNER_STATE_DIR", str(named / "below"))
    with pytest.raises(StateError, match="cannot be made"):
        state.state_dir()


def test_only_posix_machines_are_served(monkeypatch: pytest.MonkeyPatch):
    """Elsewhere one sentence says so."""
    monkeypatch.setattr(state.os, "name", "nt")
    with pytest.raises(StateError, match="runs on Linux and macOS only"):
        state.state_dir()


def test_a_private_file_is_neither_inherited_nor_anything_but_a_plain_file_of_ours(tmp_path: Path):
    """Close-on-exec, mode 0600, no directories."""
    path = tmp_path / "file"
    descriptor = state.open_private(path)
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(StateError, match="cannot be opened"):
        state.open_private(tmp_path)


def test_the_boot_is_told_even_where_the_kernel_gives_it_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Linux names its boots; elsewhere the time of the boot stands in."""
    assert state.boot_id() == state.boot_id() != ""
    monkeypatch.setattr(state, "_LINUX_BOOT_ID", tmp_path / "absent")
    assert state.boot_id().startswith("booted-")


def test_every_machine_has_its_own_windows_file(named: Path, monkeypatch: pytest.MonkeyPatch):
    """A home directory that several machines mount must not mix their clocks."""
    ours = state.windows_path()
    assert named == ours.parent
    there = os.uname_result(("Linux", "another-machine", "6", "1", "x86_64"))
    monkeypatch.setattr(state.os, "uname", lambda: there)
    assert ours != state.windows_path()
