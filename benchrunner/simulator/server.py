"""The embedded provider's process: a plan comes in on stdin, "ready PORT" goes out on stdout, EOF on stdin ends it.

    parent ── stdin: one line of plan, then silence; EOF means the parent is gone ──> this process
           <─ stdout: one line, once requests are answered ─────────────────────────
           ── the listening socket itself, inherited: its port is taken before this process exists

A plain ASGI function under uvicorn: a web framework would cost more per call than the provider it frames, and a third
of the start-up time.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import struct
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from benchrunner.clock import SystemClock
from benchrunner.errors import SimulatorError
from benchrunner.simulator.behaviour import simulated_model
from benchrunner.simulator.faults import make_fault
from benchrunner.simulator.plan import SimulatorPlan
from benchrunner.simulator.service import SimulatedService
from benchrunner.simulator.wire import Answer, Ending, HttpRequest

BACKLOG = 4096
KEEP_ALIVE_S = 120
BODY_LIMIT_BYTES = 8 * 1024 * 1024
PARENT_CHECK_S = 1.0
_ARRIVED, _TRANSPORT = "benchrunner.arrived_s", "benchrunner.transport"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # linger on, for no time
_clock = SystemClock()


class _StampingProtocol(HttpToolsProtocol):
    """Notes when a request's first byte is read: before it is parsed, and before it queues behind other requests."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[_ARRIVED] = _clock.now_s()  # type: ignore[literal-required]
        self.scope[_TRANSPORT] = self.transport  # type: ignore[literal-required]


class _Server(uvicorn.Server):
    """Says when it answers, and leaves signals alone: the parent decides when this process ends."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        port = sockets[0].getsockname()[1] if sockets else 0
        print(f"ready {port}", flush=True)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def build_app(service: SimulatedService) -> Any:
    """Return the ASGI application that answers for `service`."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > BODY_LIMIT_BYTES:
                await _respond(send, Answer(status=413, body=b"{}", headers=((b"connection", b"close"),)))
                return
        arrived_s = scope[_ARRIVED]
        answer, arrival = service.answer(
            HttpRequest(
                at_s=arrived_s,
                epoch_s=_clock.epoch_s(),
                method=scope["method"],
                path=scope["path"],
                query=scope["query_string"].decode("latin-1"),
                headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
                body=body,
            )
        )
        try:
            left_s = arrived_s + answer.delay_s - _clock.now_s() if answer.delay_s > 0 else 0.0
            if left_s > 0:
                if answer.ending is Ending.RESPONSE:
                    await asyncio.sleep(left_s)
                else:
                    await _wait_for_leaving(receive, left_s)
            if answer.ending is Ending.RESPONSE:
                await _respond(send, answer)
            else:
                await _hang_up(scope[_TRANSPORT], receive, reset=answer.ending is Ending.RESET)
        finally:
            if arrival is not None:
                service.leave(arrival)

    return app


async def _wait_for_leaving(receive: Any, timeout_s: float) -> None:
    """Return when the caller has hung up, after `timeout_s` at the latest."""
    with suppress(TimeoutError):
        await asyncio.wait_for(_disconnected(receive), timeout_s)


async def _disconnected(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _hang_up(transport: Any, receive: Any, *, reset: bool) -> None:
    if not transport.is_closing():
        if reset:
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
    # Uvicorn would answer 500 for a request that ends without a response before it knows that nobody listens.
    await _disconnected(receive)


async def _respond(send: Any, answer: Answer) -> None:
    headers = [(b"content-type", answer.content_type), (b"content-length", str(len(answer.body)).encode())]
    headers.extend(answer.headers)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def read_plan(fd: int) -> SimulatorPlan:
    """Return the plan on the first line of `fd`. Raises SimulatorError when the stream ends before it does."""
    text = b""
    while not text.endswith(b"\n"):
        chunk = os.read(fd, 65_536)
        if not chunk:
            raise SimulatorError("the simulator's plan ended before its last line did")
        text += chunk
    return SimulatorPlan.from_json(text)


async def serve(service: SimulatedService, listener: socket.socket, parent_fd: int) -> None:
    """Answer on `listener` until `parent_fd` ends or the parent process changes."""
    config = uvicorn.Config(
        build_app(service),
        http=_StampingProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()
    parent_pid = os.getppid()

    def stop() -> None:
        loop.remove_reader(parent_fd)
        server.force_exit = server.should_exit = True  # whoever still waits for a reply is gone, or gives it up

    def watch_parent() -> None:
        if not os.read(parent_fd, 4096):
            stop()

    def check_parent() -> None:
        # Someone else may hold the pipe's other end (a fork of the parent), and then it never ends.
        if os.getppid() != parent_pid:
            stop()
        else:
            loop.call_later(PARENT_CHECK_S, check_parent)

    loop.add_reader(parent_fd, watch_parent)
    check_parent()
    await server.serve(sockets=[listener])


def main(listener_fd: int) -> None:
    """Run the provider on the inherited listening socket until the parent is done with it."""
    # A terminal's Ctrl-C reaches the whole group; the supervisor still drains calls through this process then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    plan = read_plan(0)
    behaviours = {
        model.name: simulated_model(
            model.name,
            seed=plan.seed,
            competence=model.skill,
            latency_p50_s=model.latency_p50_s,
            latency_p95_s=model.latency_p95_s,
        )
        for model in plan.models
    }
    service = SimulatedService(plan, behaviours, fault=make_fault(plan))
    gc.collect()
    gc.freeze()  # what start-up made stays for good: collections need not look at it again
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(service, socket.socket(fileno=listener_fd), 0))


if __name__ == "__main__":
    main(int(sys.argv[1]))
