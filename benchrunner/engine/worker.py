"""A worker process: serves a key's lease with a handful of dialogue threads, shard by shard, and owns nothing.

    supervisor ══ pipe ══> main thread ── orders ──> inbox ──> dialogue threads (trial by trial)
        ▲                       │ Recorded ───────────────────> the thread whose call it is
        └══════ pipe ═══════════╪══════════════════════════════ Sending, CallEnded, TrialEnded (one write lock)
                                └ end of file: the supervisor is gone -> the process ends at once

The main thread never writes to the pipe while it reads, so the two ends cannot wait for each other. SIGINT and SIGTERM
are ignored: the supervisor hears them and says what to do.
"""

from __future__ import annotations

import itertools
import os
import queue
import random
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from benchrunner.clock import Clock, SystemClock
from benchrunner.engine import messages as ms
from benchrunner.engine.calls import Caller, Gate, HandBack, TimeBudget, TrialLost
from benchrunner.engine.gates import PaceGate, PermitGate
from benchrunner.errors import SuiteError
from benchrunner.providers.chat import HttpChatProvider
from benchrunner.records import TrialStatus
from benchrunner.registry.shared_windows import SharedWindows
from benchrunner.suites import load_suite
from benchrunner.suites.base import Suite

ORPHANED, FAILED = 70, 71
"""Exit codes of a worker whose supervisor is gone, and of one that met a bug."""


def run_worker(pipe: Any) -> None:
    """Serve until told to stop. The process entry point; `pipe` is its end of a multiprocess connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    serve_lease(pipe, open_gate=open_local_gate, leave=os._exit)


def serve_lease(
    pipe: Pipe,
    *,
    open_gate: Callable[[ms.Begin, Clock], OpenGate],
    leave: Callable[[int], None],
    tasks_file: str = "",
) -> None:
    """Serve one lease, from Begin to the end, and tell `leave` how it went, perhaps more than once: the first counts.

    `tasks_file`: where the suite's task file stands here, if not where Begin says.
    """
    worker: Worker | None = None
    try:
        first = ms.decode(pipe.recv_bytes())
        begin = first[0]
        if isinstance(begin, ms.Begin):  # a spare that was never needed is told so by a Stop
            if tasks_file:
                begin = replace(begin, tasks_file=tasks_file)
            worker = Worker(begin, pipe, open_gate=open_gate, leave=leave)
            worker.serve(first[1:])
    except (EOFError, ConnectionError):
        # The supervisor died. Threads may sit in a socket for minutes, so leave without them.
        if worker is not None:
            worker.abandon()
        leave(ORPHANED)
    except Exception:  # noqa: BLE001 - the worker's catch-all: the supervisor must hear of a bug and decide
        pipe.send_bytes(ms.encode([ms.WorkerFailed(detail=traceback.format_exc(limit=8))]))
        leave(FAILED)
    leave(0)


class Pipe(Protocol):
    """A worker's way to its supervisor: whole packets, in order."""

    def send_bytes(self, packet: bytes) -> None:
        """Hand one packet over."""
        ...

    def recv_bytes(self) -> bytes:
        """Return the next packet, when there is one. Raises EOFError once there can be none."""
        ...


OpenGate = tuple[Gate, Callable[[], None]]
"""A gate, and what closes it once every dialogue has ended."""


def open_local_gate(begin: ms.Begin, clock: Clock) -> OpenGate:
    """Return a gate over this machine's windows, or the shard's own pace where nobody manages the keys."""
    if not begin.windows_path:
        return PaceGate(begin.pace_qps, clock), _close_nothing
    windows = SharedWindows(Path(begin.windows_path), clock)
    windows.register(begin.domains)
    return PermitGate(windows, begin.domains, clock), windows.close


def _close_nothing() -> None:
    """Close a gate that holds nothing."""


class Worker:
    """The threads of one worker and what they share."""

    def __init__(
        self,
        begin: ms.Begin,
        pipe: Pipe,
        *,
        open_gate: Callable[[ms.Begin, Clock], OpenGate] = open_local_gate,
        leave: Callable[[int], None] = os._exit,
    ) -> None:
        """Set up for `begin`; threads start with the first orders. `leave(code)` ends the process, or this worker."""
        self._begin, self._pipe, self._leave = begin, pipe, leave
        self._clock = SystemClock()
        self._write = threading.Lock()  # keeps packets whole: one writer at a time on the pipe
        self._inbox: queue.SimpleQueue[ms.Order | None] = queue.SimpleQueue()
        self._refs = itertools.count(1)
        self._awaited: dict[int, queue.SimpleQueue[int]] = {}
        self._hand_back = threading.Event()
        self._threads: list[threading.Thread] = []
        self._finisher_started = False
        # Keeps the next three together. Not `_write`: the main thread must not wait for one who writes.
        self._count = threading.Lock()
        self._load = 0  # trials handed in and not yet ended
        self._unsent = 0  # of these, those that still have a request to send
        self._tell_sent = 0  # under which number to say that there are none of these; 0: nobody wants to know
        self._suite: Suite = load_suite(begin.suite, begin.tasks_file or None)
        self._provider = HttpChatProvider(begin.provider, clock=self._clock)
        self._gate, self._close_gate = open_gate(begin, self._clock)

    def serve(self, first: list[ms.Message]) -> None:
        """Read messages until Stop has been said and every running trial has ended."""
        self._tell([ms.Ready(pid=os.getpid())])
        messages = first
        while True:
            for message in messages:
                match message:
                    case ms.Order():
                        self._take(message)
                    case ms.Recorded():
                        for ref in message.refs:
                            waiting = self._awaited.pop(ref, None)
                            if waiting is not None:
                                waiting.put(ref)
                    case ms.TellWhenSent():
                        self._promise(message.nth)
                    case ms.Stop():
                        if message.now:
                            self._hand_back.set()
                        if not self._finisher_started:
                            self._start_finisher()
                    case _:
                        raise ms.ProtocolError(f"a worker does not take {message!r}"[:200])
            messages = ms.decode(self._pipe.recv_bytes())

    def _start_finisher(self) -> None:
        self._finisher_started = True
        for _ in self._threads:
            self._inbox.put(None)
        threading.Thread(target=self._finish, name="finisher", daemon=True).start()

    def _finish(self) -> None:
        for thread in self._threads:
            thread.join()
        self._provider.close()
        self._close_gate()
        self._leave(0)

    def abandon(self) -> None:
        """Make running dialogues stop before their next call. The supervisor is gone; nobody hears of it."""
        self._hand_back.set()

    def _take(self, order: ms.Order) -> None:
        with self._count:
            self._load += 1
            self._unsent += 1
            self._tell_sent = 0
            wanted = self._load
        self._inbox.put(order)
        if wanted > len(self._threads):
            # Daemon threads: one stuck in a socket must not keep a process that was told to end.
            thread = threading.Thread(
                target=self._dialogues, name=f"dialogue-{len(self._threads)}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _promise(self, nth: int) -> None:
        with self._count:
            self._tell_sent = nth if self._unsent else 0
            if self._unsent:
                return
        # In a thread of its own: this one must not write.
        threading.Thread(target=self._tell, args=[[ms.AllSent(nth=nth)]], name="all-sent", daemon=True).start()

    # --- dialogue threads -------------------------------------------------------------------------------------------

    def _leaves(self) -> Callable[[bool], None]:
        """Return what counts one trial's request out, True, and in again, and says AllSent where that is wanted."""
        out = False

        def leaves(left: bool) -> None:
            nonlocal out
            if left == out:
                return
            out = left
            with self._count:
                self._unsent += -1 if left else 1
                if self._unsent or not self._tell_sent:
                    return
                nth, self._tell_sent = self._tell_sent, 0
            self._tell([ms.AllSent(nth=nth)])

        return leaves

    def _dialogues(self) -> None:
        acknowledged: queue.SimpleQueue[int] = queue.SimpleQueue()
        caller = Caller(
            begin=self._begin,
            provider=self._provider,
            gate=self._gate,
            clock=self._clock,
            tell=self._tell,
            next_ref=self._register(acknowledged),
            recorded=self._wait_recorded(acknowledged),
            stopped=self._stopped,
        )
        try:
            while (order := self._inbox.get()) is not None:
                self._run(order, caller)
        except (EOFError, ConnectionError, OSError):
            self._leave(ORPHANED)
        except Exception:  # noqa: BLE001 - a bug in a thread ends the worker: a silent one would hang the shard
            self._tell([*caller.untold(), ms.WorkerFailed(detail=traceback.format_exc(limit=8))])
            self._leave(FAILED)

    def _register(self, acknowledged: queue.SimpleQueue[int]) -> Callable[[], int]:
        def next_ref() -> int:
            ref = next(self._refs)
            self._awaited[ref] = acknowledged
            return ref

        return next_ref

    def _wait_recorded(self, acknowledged: queue.SimpleQueue[int]) -> Callable[[int, float], bool]:
        def recorded(ref: int, deadline_s: float) -> bool:
            try:
                # One that came too late for its own call must not let the next one leave.
                while acknowledged.get(timeout=deadline_s) != ref:
                    continue
            except queue.Empty:
                self._awaited.pop(ref, None)
                return False
            return True

        return recorded

    def _stopped(self, seconds: float) -> bool:
        return self._hand_back.wait(seconds) if seconds > 0 else self._hand_back.is_set()

    def _run(self, order: ms.Order, caller: Caller) -> None:
        trial = order.trial
        budget = TimeBudget(limit_s=self._begin.trial_timeout_s)
        rng = random.Random(trial.seed)
        turns = 0
        leaves = self._leaves()
        ended: ms.Message
        dialogue = self._suite.dialogue(trial, order.task, protocol=self._begin.model.protocol)
        try:
            request = next(dialogue)
            while True:
                reply = caller.call(
                    request, trial_id=trial.trial_id, turn=turns, budget=budget, rng=rng, leaves=leaves
                )
                turns += 1
                request = dialogue.send(reply)
        except StopIteration as stop:
            ended = ms.TrialEnded(
                trial_id=trial.trial_id,
                status=TrialStatus.SCORED,
                score=stop.value,
                cause=stop.value.error_class,
                detail="",
                turns=turns,
            )
        except HandBack:
            ended = ms.TrialReturned(trial_id=trial.trial_id)
        except TrialLost as lost:
            ended = ms.TrialEnded(
                trial_id=trial.trial_id,
                status=TrialStatus.INVALID,
                score=None,
                cause=lost.cause,
                detail=lost.detail,
                turns=turns,
            )
        except SuiteError as error:
            # A suite's own function failed (a scorer the user wrote): no fault of the model, and none of the others.
            ended = ms.TrialEnded(
                trial_id=trial.trial_id,
                status=TrialStatus.INVALID,
                score=None,
                cause="harness",
                detail=str(error)[:500],
                turns=turns,
            )
        finally:
            dialogue.close()
        with self._count:
            self._load -= 1
        self._tell([*caller.untold(), ended])
        leaves(True)

    def _tell(self, messages: Sequence[ms.Message]) -> None:
        packet = ms.encode(messages)
        with self._write:
            self._pipe.send_bytes(packet)


