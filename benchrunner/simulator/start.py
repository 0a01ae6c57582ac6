"""Starts the embedded provider in a process of its own, and makes sure it ends.

    launch()      binds the port, spawns the process, hands it the plan     (at once)
    wait_ready()  reads its "ready" line                                    (some 0.3 s later)
    stop()        closes its stdin; kills it if that is not enough

Launching and waiting are apart so that a supervisor's own start-up can run in between.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import tempfile
from types import TracebackType
from typing import IO

from benchrunner.clock import SystemClock
from benchrunner.errors import SimulatorError
from benchrunner.simulator.plan import SimulatorPlan

READY_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 3.0
_HOST = "127.0.0.1"
_BACKLOG = 4096
_STDERR_TAIL_BYTES = 2000
_clock = SystemClock()


class RunningSimulator:
    """An embedded provider's process, held by the one that launched it. Ends with `stop`, or with its holder."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, stderr: IO[bytes]) -> None:
        self._process, self._stderr = process, stderr
        self.origin = f"http://{_HOST}:{port}"  # azure: the base_url
        self.base_url = f"{self.origin}/v1"  # openai: up to and without /chat/completions
        self.pid = process.pid
        self.last_words = ""  # the end of what it wrote to stderr, once it has stopped

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Return once the provider answers requests. Raises SimulatorError, with its last words, if it will not."""
        stdout = self._process.stdout
        assert stdout is not None
        deadline_s = _clock.now_s() + timeout_s
        said = b""
        while not said.endswith(b"\n"):
            readable, _, _ = select.select([stdout], [], [], max(0.0, deadline_s - _clock.now_s()))
            chunk = os.read(stdout.fileno(), 256) if readable else b""
            if not chunk:
                why = "ended" if readable else f"was not ready after {timeout_s:g} s"
                self.stop()
                raise SimulatorError(f"the embedded provider {why} at start: {self.last_words or 'not a word of why'}")
            said += chunk

    def alive(self) -> bool:
        """Return whether the process still runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End the process and return when it is gone. May be called again."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if not self._stderr.closed:
            size_bytes = self._stderr.seek(0, os.SEEK_END)
            self._stderr.seek(max(0, size_bytes - _STDERR_TAIL_BYTES))
            self.last_words = self._stderr.read().decode("utf-8", "replace").strip()
            self._stderr.close()

    def __enter__(self) -> RunningSimulator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def launch(plan: SimulatorPlan, *, port: int = 0) -> RunningSimulator:
    """Return the embedded provider as soon as its process is spawned; its address is known, its answers take a moment.

    `port` 0 takes a free one. The port is bound here, so nobody can take it before the process listens. Raises
    SimulatorError when it is in use.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, port))
        except OSError as error:
            raise SimulatorError(f"the embedded provider cannot listen on {_HOST}:{port}: {error.strerror}") from error
        listener.listen(_BACKLOG)
        # Not a pipe: nobody reads it meanwhile, and a full one would block the child. Lives as long as the process.
        stderr = tempfile.TemporaryFile()  # noqa: SIM115
        process = subprocess.Popen(
            [sys.executable, "-m", "benchrunner.simulator.server", str(listener.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            bufsize=0,
            pass_fds=(listener.fileno(),),
            # Out of the terminal's group: a Ctrl-C in its first moments, before it ignores them, would end it.
            process_group=0,
        )
        running = RunningSimulator(process, listener.getsockname()[1], stderr)
    finally:
        listener.close()  # the child's copy lives on; when the child dies, connecting is refused at once
    try:
        assert process.stdin is not None
        process.stdin.write(plan.to_json() + b"\n")
    except BrokenPipeError:
        running.wait_ready(STOP_TIMEOUT_S)  # it died at once: this raises with its last words
    except BaseException:
        running.stop()
        raise
    return running


def start_simulator(plan: SimulatorPlan, *, port: int = 0) -> RunningSimulator:
    """Return the embedded provider, ready to answer. Raises SimulatorError if it does not start."""
    running = launch(plan, port=port)
    running.wait_ready()
    return running
