"""Real processes, real threads, the real kernel lock, and real kills."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import struct
import threading
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from benchrunner.clock import SystemClock
from benchrunner.records import Domain, Limit, LimitKind
from benchrunner.registry.shared_windows import SharedWindows

pytestmark = pytest.mark.slow

KEY = Domain(
    name="key", label="key", provider="p", limits=(Limit(kind=LimitKind.REQUESTS, amount=40, per_s=0.25),)
)
MODEL = Domain(
    name="model",
    label="model",
    provider="p",
    limits=(
        Limit(kind=LimitKind.REQUESTS, amount=70, per_s=0.5),
        Limit(kind=LimitKind.TOKENS, amount=2_000, per_s=0.5),
    ),
)
WIDE = Domain(
    name="wide", label="wide", provider="p", limits=(Limit(kind=LimitKind.REQUESTS, amount=10**9, per_s=1.0),)
)
FLIPPED = [
    Domain(name="flip", label="flip", provider="p", limits=(Limit(kind=LimitKind.REQUESTS, amount=5, per_s=per_s),))
    for per_s in (0.1, 0.2)
]
SEND = struct.Struct("=qd?q")  # process, instant, whether the model was asked, tokens


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "windows.bin"


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    return tmp_path / "sent.bin"


@pytest.fixture
def workers() -> Iterator[list[BaseProcess]]:
    started: list[BaseProcess] = []
    yield started
    for worker in started:
        if worker.is_alive():
            worker.kill()
        worker.join(10.0)


def send_for(path: Path, sent: Path, seed: int, seconds: float, threads: int) -> None:
    """Send as much as the windows allow; note every send where a kill cannot take it back."""
    clock = SystemClock()
    windows = SharedWindows(path, clock)
    windows.register([KEY, MODEL, WIDE])
    log = os.open(sent, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    end_s = clock.now_s() + seconds

    def run(number: int) -> None:
        rng = random.Random(seed * 100 + number)
        while clock.now_s() < end_s:
            with_model = rng.random() < 0.5
            names = (KEY.name, MODEL.name) if with_model else (KEY.name,)
            permit = windows.reserve(names, tokens=rng.randint(1, 60))
            if rng.random() < 0.1:
                windows.give_back(permit)
                continue
            may_send = False
            while not may_send:
                clock.sleep_s(permit.not_before_mono_s - clock.now_s())
                permit, may_send = windows.spend(permit)
            os.write(log, SEND.pack(os.getpid(), permit.not_before_mono_s, with_model, permit.tokens))
            if rng.random() < 0.02:
                windows.pause(KEY.name, 0.02)

    crew = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    os.close(log)
    windows.close()


def churn_until_killed(path: Path, sent: Path, seed: int) -> None:
    """Do everything a window allows, without ever resting, so that a kill falls anywhere."""
    clock = SystemClock()
    windows = SharedWindows(path, clock)
    log = os.open(sent, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    rng = random.Random(seed)
    while True:
        windows.register([KEY, MODEL, WIDE])
        windows.reserve((WIDE.name,))
        if rng.random() < 0.05:  # other windows for a domain in use: its page is written anew
            windows.register([rng.choice(FLIPPED)])
        waiting = [windows.reserve((KEY.name, MODEL.name), tokens=rng.randint(1, 60)) for _ in range(5)]
        for permit in waiting:
            taken, may_send = windows.spend(permit)
            if may_send:
                os.write(log, SEND.pack(os.getpid(), taken.not_before_mono_s, True, taken.tokens))
            else:
                windows.give_back(windows.hasten(taken))


def sends_in(sent: Path) -> list[tuple[int, float, bool, int]]:
    whole = sent.read_bytes()
    return sorted(SEND.iter_unpack(whole[: len(whole) // SEND.size * SEND.size]), key=lambda send: send[1])


def assert_within(limit: Limit, sends: list[tuple[float, int]]) -> None:
    oldest, used = 0, 0
    for instant, amount in sends:
        used += amount
        while sends[oldest][0] + limit.per_s <= instant:
            used -= sends[oldest][1]
            oldest += 1
        assert used <= limit.amount, f"{used} in {limit} up to {instant}"


def assert_nobody_was_sent_more_than_its_limit(sent: Path) -> None:
    sends = sends_in(sent)
    assert_within(KEY.limits[0], [(at_s, 1) for _, at_s, _, _ in sends])
    assert_within(MODEL.limits[0], [(at_s, 1) for _, at_s, with_model, _ in sends if with_model])
    assert_within(MODEL.limits[1], [(at_s, tokens) for _, at_s, with_model, tokens in sends if with_model])


@pytest.mark.alone
def test_processes_and_threads_together_never_send_more_than_the_limit(
    path: Path, sent: Path, workers: list[BaseProcess]
):
    """Four processes of four threads on one key and model: every window holds, and the key is used."""
    # Given sixteen senders in four processes
    context = multiprocessing.get_context("spawn")
    workers += [context.Process(target=send_for, args=(path, sent, seed, 2.5, 4)) for seed in range(4)]
    # When they send all they may
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60.0)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    # Then no window was overfull at any send
    assert_nobody_was_sent_more_than_its_limit(sent)
    # And all of them sent, not one behind the other
    sends = sends_in(sent)
    assert len({process for process, _, _, _ in sends}) == 4
    assert len(sends) > 2 * KEY.limits[0].amount


def test_senders_killed_at_any_moment_leave_windows_that_work_and_forget_nothing(
    path: Path, sent: Path, workers: list[BaseProcess]
):
    """SIGKILL in the middle of whatever: the lock is free, the next permit comes, the limit holds."""
    # Given our own hold on the windows
    clock = SystemClock()
    windows = SharedWindows(path, clock)
    windows.register([KEY, MODEL, WIDE, FLIPPED[0]])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([SharedWindows.__module__])
    rng = random.Random(5)
    for round_number in range(30):
        # When two senders work without a rest and one of them is killed
        crew = [context.Process(target=churn_until_killed, args=(path, sent, round_number * 2 + i)) for i in range(2)]
        workers += crew
        granted = windows.snapshot([WIDE.name])[0].granted
        for worker in crew:
            worker.start()
        deadline_s = clock.now_s() + 20.0
        while windows.snapshot([WIDE.name])[0].granted < granted + 20:
            assert clock.now_s() < deadline_s, "the senders never got to work"
            clock.sleep_s(0.001)
        clock.sleep_s(rng.random() * 0.02)
        os.kill(crew[0].pid or 0, signal.SIGKILL)
        crew[0].join(10.0)
        # Then the next permit comes at once (a lock that stayed behind would hold us here for ever)
        permit, may_send = windows.spend(windows.reserve((WIDE.name,)))
        assert may_send
        assert permit.not_before_mono_s <= clock.now_s()
        os.kill(crew[1].pid or 0, signal.SIGKILL)
        crew[1].join(10.0)
        assert [worker.exitcode for worker in crew] == [-signal.SIGKILL] * 2
    # And what the dead had sent was counted for those after them
    assert_nobody_was_sent_more_than_its_limit(sent)
    # And what they left reserved runs out: the key is free after its windows
    clock.sleep_s(0.6)
    free = windows.reserve((KEY.name, MODEL.name), tokens=1)
    assert free.not_before_mono_s - clock.now_s() < 2.0
    assert [use.name for use in windows.snapshot()] == ["flip", "key", "model", "wide"]
    windows.close()


def test_a_forked_child_opens_the_windows_for_itself(path: Path):
    """A fork shares the parent's lock unless it opens the file anew; then the two would be inside at once."""
    # Given windows with one permit taken
    windows = SharedWindows(path, SystemClock())
    slow = Domain(
        name="slow", label="slow", provider="p", limits=(Limit(kind=LimitKind.REQUESTS, amount=1, per_s=60.0),)
    )
    windows.register([slow])
    first = windows.reserve(["slow"])
    read_end, write_end = os.pipe()
    # When a forked child reserves
    child = os.fork()
    if child == 0:
        try:
            inode = os.fstat(windows._descriptor).st_ino if windows._descriptor >= 0 else -1
            permit = windows.reserve(["slow"])
            os.write(write_end, struct.pack("=qd", inode, permit.not_before_mono_s))
        finally:
            os._exit(0)
    os.close(write_end)
    inherited, at_s = struct.unpack("=qd", os.read(read_end, 64))
    os.close(read_end)
    os.waitpid(child, 0)
    # Then it did so through its own descriptor, behind the parent's permit
    assert inherited == -1
    assert at_s >= first.not_before_mono_s + 60.0
    assert windows.reserve(["slow"]).not_before_mono_s >= at_s + 60.0
    windows.close()
