"""Registry records as rows: what goes over the wire comes back equal, and is plain."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchrunner.errors import RegistryError, StateError
from benchrunner.records import Lease
from benchrunner.registry.client import READ_CALLS, open_door, write_door
from benchrunner.registry.host import Desk
from benchrunner.registry.service import Holding, KeyHealth, KeyRegistry, KeyRow, KeyStatus
from benchrunner.registry.wire import lease_of, plain, status_of, status_row

LEASE = Lease(key_id="key0", model="qwen-7b", shard_id="s0", holder="r/s0/w0", fence=7)
STATUS = KeyStatus(
    key_id="key0",
    provider="ideallab",
    slots=2,
    health=KeyHealth.PARKED,
    reason="daily quota",
    parked_until_mono_s=float("inf"),
    holders=(Holding(lease=LEASE, counted=True, pid=12, pid_started_s=1.5, since_mono_s=3.25),),
)


class NoClock:
    def now_s(self) -> float:
        return 0.0

    def sleep_s(self, seconds: float) -> None:
        raise AssertionError("the registry waits for nothing")

    def utc(self) -> str:
        raise AssertionError("the registry has no business with wall-clock time")


class Listening:
    address, authkey, pid = "/run/x.sock", b"\x00\xff", 42


def leaves(value: object) -> list[type]:
    if isinstance(value, tuple):
        return [leaf for part in value for leaf in leaves(part)]
    return [type(value)]


def test_status_survives_its_row() -> None:
    """Every field of a status and of its holders comes back as it was."""
    assert status_of(status_row(STATUS)) == STATUS


def test_rows_hold_plain_values_only() -> None:
    """No class of ours is in what a Manager pickles, enums included."""
    # Given an answer of records / When made plain / Then its leaves are builtin types exactly
    row = plain((LEASE, STATUS, True, None))
    assert set(leaves(row)) <= {str, int, float, bool, type(None)}
    assert lease_of(plain(LEASE)) == LEASE  # type: ignore[arg-type]  # plain() is typed for any answer


def test_reading_desk_offers_no_call_that_changes_anything() -> None:
    """An onlooker cannot take, free or retire a key, whatever it sends."""
    # Given the desk that onlookers reach
    registry = KeyRegistry([KeyRow(key_id="key0", provider="p")], NoClock())
    desk = Desk(registry, READ_CALLS)
    # When it is asked for a change / Then it refuses, naming what it offers
    with pytest.raises(RegistryError, match="'retire' is not offered here; there are status, valid"):
        desk.ask("retire", ("key0", "x"), {})
    assert registry.status()[0].health is KeyHealth.USABLE


def test_door_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    """The authkey in it is what keeps other users out."""
    # Given a door / When looked at / Then its mode is 0600, and nothing else was left beside it
    write_door(tmp_path / "door", Listening())
    assert (tmp_path / "door").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["door"]


def test_door_that_others_may_read_is_not_opened(tmp_path: Path) -> None:
    """A key that others may have seen, or written, is not used."""
    # Given a door opened up / When opened / Then it is refused
    write_door(tmp_path / "door", Listening())
    (tmp_path / "door").chmod(0o644)
    with pytest.raises(StateError, match="not this user's alone"):
        open_door(tmp_path / "door")


def test_missing_door_asks_whether_a_run_is_in_progress(tmp_path: Path) -> None:
    """`benchrunner keys` with no run is no crash."""
    with pytest.raises(RegistryError, match="is a run in progress"):
        open_door(tmp_path / "door")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"address": "/x", "authkey": "zz"}'])
def test_damaged_door_is_called_damaged(tmp_path: Path, content: bytes) -> None:
    """Any content that is not a door gets a sentence, not a traceback."""
    # Given a file of the right mode and the wrong content
    door = tmp_path / "door"
    door.touch(mode=0o600)
    door.write_bytes(content)
    # When opened / Then
    with pytest.raises(RegistryError, match="damaged"):
        open_door(door)
