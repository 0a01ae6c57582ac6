"""The file behind the shared windows: made once, grown by anybody, void after a reboot, refused when not ours alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchrunner.errors import RegistryError, StateError
from benchrunner.limits.ledger import CELL_BYTES, H_VERSION
from benchrunner.records import Domain, Limit, LimitKind
from benchrunner.registry.shared_windows import SharedWindows
from benchrunner.testing import FakeClock


def make_domain(name: str, amount: int = 1, per_s: float = 60.0) -> Domain:
    limit = Limit(kind=LimitKind.REQUESTS, amount=amount, per_s=per_s)
    return Domain(name=name, label=name, provider="p", limits=(limit,))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(100.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "windows.bin"


def test_two_holders_of_one_file_share_every_window(path: Path, clock: FakeClock):
    """Separate invocations count together."""
    # Given two holders, as in two processes, and a domain that one of them registered
    ours, theirs = SharedWindows(path, clock), SharedWindows(path, clock)
    ours.register([make_domain("k")])
    # When both reserve
    instants = [ours.reserve(["k"]).not_before_mono_s, theirs.reserve(["k"]).not_before_mono_s]
    # Then the second waits for the first
    assert instants == [100.0, 160.008]
    ours.close()
    theirs.close()


def test_a_file_that_another_holder_made_grow_is_followed(path: Path, clock: FakeClock):
    """Growth and new limits reach everybody before their next decision."""
    # Given a holder with a permit
    ours, theirs = SharedWindows(path, clock), SharedWindows(path, clock)
    ours.register([make_domain("k")])
    ours.reserve(["k"])
    size = path.stat().st_size
    # When another one registers so much that the file grows, and changes a limit
    theirs.register([make_domain(f"m{i}", amount=5_000) for i in range(10)])
    theirs.register([make_domain("k", amount=2)])
    # Then the first finds all that at once
    assert path.stat().st_size > size
    assert len(ours.snapshot()) == 11
    assert [ours.reserve(["k"]).not_before_mono_s for _ in range(2)] == [100.0, 160.008]
    ours.close()
    theirs.close()


def test_entries_survive_their_process(path: Path, clock: FakeClock):
    """A run that ended a moment ago still counts."""
    first = SharedWindows(path, clock)
    first.register([make_domain("k")])
    first.reserve(["k"])
    first.close()
    second = SharedWindows(path, clock)
    second.register([make_domain("k")])
    assert second.reserve(["k"]).not_before_mono_s == 160.008
    second.close()


def test_after_a_reboot_the_stamps_are_void(path: Path, clock: FakeClock):
    """The monotonic clock starts anew; a stamp of the last boot could lie hours ahead."""
    # Given a permit of the boot before
    before = SharedWindows(path, clock, boot="one")
    before.register([make_domain("k")])
    before.reserve(["k"])
    before.close()
    # When the machine starts again
    after = SharedWindows(path, FakeClock(3.0), boot="two")
    # Then nothing is registered, and the first permit comes at once
    assert after.snapshot() == ()
    after.register([make_domain("k")])
    assert after.reserve(["k"]).not_before_mono_s == 3.0
    after.close()


def test_a_file_of_another_layout_is_made_anew_and_its_holder_is_told(path: Path, clock: FakeClock):
    """Two versions of the program never read each other's cells."""
    # Given a holder, and a file whose layout is of another version
    old = SharedWindows(path, clock)
    old.register([make_domain("k")])
    with path.open("r+b") as file:
        file.seek(H_VERSION * CELL_BYTES)
        file.write((99).to_bytes(CELL_BYTES, "little"))
    # When this version opens it, Then it is empty
    new = SharedWindows(path, clock)
    assert new.snapshot() == ()
    new.close()
    # When the former holder, of that other version, goes on, Then it hears so instead of writing into it
    with path.open("r+b") as file:
        file.seek(H_VERSION * CELL_BYTES)
        file.write((99).to_bytes(CELL_BYTES, "little"))
    with pytest.raises(StateError, match="taken over by another version"):
        old.reserve(["k"])
    old.close()


def test_a_torn_file_is_made_anew(path: Path, clock: FakeClock):
    """Whatever stands there that is no ledger does not get in the way."""
    path.write_bytes(b"not a ledger" * 50)
    path.chmod(0o600)
    windows = SharedWindows(path, clock)
    windows.register([make_domain("k")])
    assert windows.reserve(["k"]).not_before_mono_s == 100.0
    windows.close()


def test_the_file_is_for_its_owner_only(path: Path, clock: FakeClock):
    """Made 0600; a link, or a file that others may read, is refused."""
    SharedWindows(path, clock).close()
    assert path.stat().st_mode & 0o777 == 0o600
    link = path.with_name("link.bin")
    link.symlink_to(path)
    with pytest.raises(StateError, match="symbolic link"):
        SharedWindows(link, clock)
    path.chmod(0o644)
    with pytest.raises(StateError, match="open to others \\(mode 0644\\)"):
        SharedWindows(path, clock)


def test_closed_windows_say_so(path: Path, clock: FakeClock):
    """A call after close is an error; closing twice is not."""
    windows = SharedWindows(path, clock)
    windows.close()
    windows.close()
    with pytest.raises(RegistryError, match="closed"):
        windows.snapshot()


def test_a_failed_call_lets_go_of_the_lock_and_no_descriptor_is_left_behind(path: Path, clock: FakeClock):
    """An error inside the critical section does not lock the machine out."""
    # Given how many descriptors are open
    before = len(os.listdir("/dev/fd"))
    ours, theirs = SharedWindows(path, clock), SharedWindows(path, clock)
    # When a call fails
    with pytest.raises(RegistryError):
        ours.reserve(["nobody"])
    # Then the next holder gets in, and closing leaves nothing open
    theirs.register([make_domain("k")])
    ours.close()
    theirs.close()
    assert before == len(os.listdir("/dev/fd"))
