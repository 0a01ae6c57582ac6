"""The Manager process with real processes around it, some of which are killed for real."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import multiprocess
import psutil
import pytest

from benchrunner.clock import SystemClock
from benchrunner.errors import RegistryError, StateError
from benchrunner.registry.client import HostClient, HostReader, open_door, write_door
from benchrunner.registry.host import Host, start_host
from benchrunner.registry.life import LifeLock, started_s
from benchrunner.registry.service import KeyRow

pytestmark = pytest.mark.slow

KEYS = (KeyRow(key_id="key0", provider="ideallab", slots=1),)
DEADLINE_S = 5.0

HOLDER = """
import os, signal, sys
from benchrunner.registry.client import HostClient
from benchrunner.registry.life import started_s
client = HostClient(sys.argv[1], bytes.fromhex(sys.argv[2]))
pid = os.getpid()
lease = client.lease("key0", model="m", shard_id="s0", holder="doomed", pid=pid, pid_started_s=started_s(pid))
print(lease.fence, flush=True)
signal.pause()
"""

SUPERVISOR = """
import os, signal, sys
from pathlib import Path
import multiprocess
from benchrunner.registry.host import start_host
from benchrunner.registry.life import LifeLock
from benchrunner.registry.service import KeyRow

if __name__ == "__main__":
    where = Path(sys.argv[1])
    life = LifeLock(where / "life")
    context = multiprocess.get_context(sys.argv[2])
    host = start_host(context, keys=[KeyRow(key_id="key0", provider="p")], socket_dir=where, life_lock=life.path)
    host.client().status()
    print(host.pid, flush=True)
    signal.pause()
"""


def until(condition: Callable[[], bool], deadline_s: float = DEADLINE_S) -> bool:
    """Return whether the condition came true before the deadline."""
    clock = SystemClock()
    end_s = clock.now_s() + deadline_s
    while not condition():
        if clock.now_s() >= end_s:
            return False
        clock.sleep_s(0.02)
    return True


def is_gone(pid: int) -> bool:
    """Return whether the process has ended; one that only waits to be collected has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@contextlib.contextmanager
def script(text: str, *args: str) -> Iterator[subprocess.Popen[str]]:
    """Run a Python script from a file, as a forkserver or spawn child of it needs, and end it whatever happens."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "script.py"
        path.write_text(text)
        process = subprocess.Popen([sys.executable, str(path), *args], stdout=subprocess.PIPE, text=True)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line, "the script ended before it said anything"
    return line


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: a unix socket's path is short.
    with tempfile.TemporaryDirectory() as short:
        yield Path(short)


@pytest.fixture
def host(folder: Path) -> Iterator[Host]:
    context = multiprocess.get_context("forkserver")
    context.set_forkserver_preload(["benchrunner.registry.host"])
    with LifeLock(folder / "life") as life:
        host = start_host(context, keys=KEYS, socket_dir=folder, life_lock=life.path)
        pid = host.pid
        try:
            yield host
        finally:
            host.stop(timeout_s=DEADLINE_S)
        assert is_gone(pid)
    assert list(folder.iterdir()) == []


def test_lease_of_a_killed_holder_comes_back_under_a_higher_fence(host: Host) -> None:
    """A worker killed outright gives its slot back though nobody asks the registry to look."""
    # Given a real process that holds the only slot
    with script(HOLDER, host.address, host.authkey.hex()) as holder:
        fence = int(first_line(holder))
        assert host.client().lease("key0", model="m", shard_id="s1", holder="next") is None
        # When it is killed
        holder.send_signal(signal.SIGKILL)
        # Then the sweeper frees the slot
        assert until(lambda: not host.client().valid("key0", fence))
    # And the next holder gets it under a higher fence
    lease = host.client().lease("key0", model="m", shard_id="s1", holder="next")
    assert lease is not None
    assert lease.fence > fence


def test_lease_of_a_living_holder_outlasts_several_sweeps(host: Host) -> None:
    """The sweeper takes nothing from a process that lives, or from one it was given no name for."""
    # Given this process as holder, and the sweeper proven to have run since by another's death
    created_s = started_s(os.getpid())
    assert created_s is not None
    mine = host.client().lease("key0", model="m", shard_id="s0", holder="me", pid=os.getpid(), pid_started_s=created_s)
    assert mine is not None
    # When a lease of a process that never was is freed by a sweep
    gone = host.client().lease("key0", model="m", shard_id="s9", holder="never", counted=False)
    assert gone is not None
    host.client().bind("key0", gone.fence, pid=os.getpid(), pid_started_s=created_s - 3600.0)
    assert until(lambda: not host.client().valid("key0", gone.fence))
    # Then this one's was looked at by the same sweep, and stays
    assert host.client().valid("key0", mine.fence)


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_manager_ends_when_its_supervisor_is_killed(folder: Path, method: str) -> None:
    """However the supervisor dies, no orphan and no socket stays behind."""
    # Given a supervisor in a process of its own, with all that it started
    with script(SUPERVISOR, str(folder), method) as supervisor:
        manager_pid = int(first_line(supervisor))
        family = [child.pid for child in psutil.Process(supervisor.pid).children(recursive=True)]
        assert manager_pid in family
        # When it is killed
        supervisor.send_signal(signal.SIGKILL)
        # Then the Manager is gone, and so is every helper process, and its socket
        assert until(lambda: is_gone(manager_pid))
        assert until(lambda: all(is_gone(pid) for pid in family))
    assert [path.name for path in folder.iterdir()] == ["life"]


def test_signals_to_the_group_do_not_reach_the_registry(host: Host) -> None:
    """Ctrl-C and TERM are the supervisor's to act on: it still needs the registry to drain."""
    # Given a Manager / When it is sent both
    os.kill(host.pid, signal.SIGINT)
    os.kill(host.pid, signal.SIGTERM)
    # Then it answers as before
    assert host.client().status()[0].key_id == "key0"
    assert host.alive()


def test_calls_after_the_manager_was_killed_say_so(host: Host) -> None:
    """A vanished Manager is one clear sentence, on open connections and new ones."""
    # Given a client with an open connection
    host.client().status()
    # When the Manager is killed
    os.kill(host.pid, signal.SIGKILL)
    assert until(lambda: not host.alive())
    # Then old and new connections say so, every time
    for client in (host.client(), host.client(), HostClient(host.address, host.authkey)):
        with pytest.raises(RegistryError, match="does not answer 'status'"):
            client.status()


def test_stop_kills_a_manager_that_cannot_answer(host: Host) -> None:
    """Even a stopped process ends within the time given."""
    # Given a Manager that is stopped
    os.kill(host.pid, signal.SIGSTOP)
    # When it is told to end / Then it is gone, by force
    host.stop(timeout_s=0.2)
    assert not host.alive()
    # And telling it again is no error
    host.stop(timeout_s=0.2)


def test_stranger_without_the_authkey_is_turned_away(host: Host) -> None:
    """The socket's directory keeps other users out; the authkey keeps out whoever got in."""
    with pytest.raises(RegistryError, match="AuthenticationError"):
        HostClient(host.address, b"not the key").status()


def test_door_opens_for_reading_and_tells_a_dead_run_from_a_live_one(host: Host, tmp_path: Path) -> None:
    """`benchrunner keys` sees a live run's registry and gets a sentence after its end."""
    # Given a door and a holder
    door = tmp_path / "door"
    write_door(door, host)
    host.client().lease("key0", model="m", shard_id="s0", holder="r/s0/w0")
    # When it is opened / Then it shows the holder
    assert [held.lease.holder for held in open_door(door).status()[0].holders] == ["r/s0/w0"]
    # When the run is over / Then opening says so
    host.stop(timeout_s=DEADLINE_S)
    with pytest.raises(RegistryError, match="its run has ended"):
        open_door(door)


def test_reader_that_reaches_for_more_is_refused_by_the_manager(host: Host, tmp_path: Path) -> None:
    """Read-only is kept on the Manager's side, not by the reader's good manners."""
    # Given a reader
    write_door(tmp_path / "door", host)
    reader = open_door(tmp_path / "door")
    assert isinstance(reader, HostReader)
    # When it asks for a change past its own methods / Then it is refused, and nothing changed
    with pytest.raises(RegistryError, match="'retire' is not offered here"):
        reader._ask("retire", "key0", "spite")
    assert host.client().lease("key0", model="m", shard_id="s", holder="h") is not None


def test_interrupted_call_does_not_answer_the_next_one(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt between question and answer must not leave the answer for the next question to read."""
    # Given a client whose thread is interrupted after its question went out
    client = host.client()
    client.status()
    connection = client._proxy._tls.connection

    def interrupted() -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(connection, "recv", interrupted, raising=True)
    with pytest.raises(KeyboardInterrupt):
        client.retire("key0", "401")
    # When it asks something else / Then it gets the answer to that, not the True that `retire` gave
    assert client.valid("key0", 1) is False
    # And the question that went out was heard, at its own time: the new connection does not wait for the old one
    assert until(lambda: client.status()[0].reason == "401")


def test_every_thread_has_a_connection_of_its_own(host: Host) -> None:
    """One client serves all threads of a process at once without mixing up answers."""
    # Given four threads that use one client
    seen: dict[int, set[str]] = {number: set() for number in range(4)}

    def ask(number: int) -> None:
        for turn in range(50):
            lease = host.client().lease("key0", model="m", shard_id="s", holder=f"{number}/{turn}", counted=False)
            assert lease is not None
            seen[number].add(lease.holder)
            host.client().release("key0", lease.fence)

    threads = [threading.Thread(target=ask, args=(number,)) for number in seen]
    # When they ask at once
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Then each got its own answers, and nothing is left
    assert seen == {number: {f"{number}/{turn}" for turn in range(50)} for number in range(4)}
    assert host.client().status()[0].holders == ()


def test_start_is_refused_where_it_could_not_be_safe(folder: Path) -> None:
    """What would make a Manager outlive its supervisor, or let others in, is refused before anything starts."""
    context = multiprocess.get_context("forkserver")
    # Given no life lock / Then there is no Manager
    with pytest.raises(RegistryError, match="nobody holds the life lock"):
        start_host(context, keys=KEYS, socket_dir=folder, life_lock=folder / "life")
    with LifeLock(folder / "life") as life:
        # Given a start method that would inherit the lock
        with pytest.raises(RegistryError, match="forkserver or spawn"):
            start_host(multiprocess.get_context("fork"), keys=KEYS, socket_dir=folder, life_lock=life.path)
        # Given a directory that others may enter
        open_folder = folder / "open"
        open_folder.mkdir(mode=0o755)
        with pytest.raises(StateError, match="chmod 700"):
            start_host(context, keys=KEYS, socket_dir=open_folder, life_lock=life.path)
        # Given a path too long for a socket
        long_folder = folder / ("x" * 100)
        long_folder.mkdir(mode=0o700)
        with pytest.raises(RegistryError, match="too long"):
            start_host(context, keys=KEYS, socket_dir=long_folder, life_lock=life.path)


def test_life_lock_has_one_holder_at_a_time(folder: Path) -> None:
    """Two supervisors on one life lock would keep each other's Managers alive."""
    with LifeLock(folder / "life") as life, pytest.raises(RegistryError, match="another process holds"):
        LifeLock(life.path)
    # Released, it can be taken anew
    LifeLock(folder / "life").release()
