"""The supervisor's loop: plays RunState's commands for real and tells it what happened.

    worker pipes ─┐                         ┌─> Manager: lease, release, retire
    sentinels ────┼─> wait ─> RunState ─> commands ─> worker pipes, kill
    signals ──────┘     ▲         │         └─> store: one batch a turn of the loop, then `Recorded` to the workers
                        └─ Tick ──┘

One thread, the only writer of runs.db. Everything a worker said before it died is read before its death is told. A
turn of the loop commits what happened in it, and only then lets announced calls leave: a `sent` row exists before the
request does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, TypeVar

from benchrunner.clock import SystemClock
from benchrunner.engine import events as ev
from benchrunner.engine import messages as ms
from benchrunner.engine.books import Rules, key_setup
from benchrunner.engine.crew import CrewPool, CrewWorker, Desk
from benchrunner.engine.leases import Holder
from benchrunner.engine.live import LiveFigures, ProgressView
from benchrunner.engine.local import WaitList
from benchrunner.engine.signals import StopSignals
from benchrunner.engine.state import RunState
from benchrunner.errors import RegistryError, StoreError, StoreLost
from benchrunner.policies.base import Policy
from benchrunner.records import (
    CallDone,
    CallSent,
    CallWithdrawn,
    Domain,
    Key,
    KeyEvent,
    Lease,
    LeaseGranted,
    LeaseReleased,
    ModelEntry,
    Outcome,
    Provider,
    RunEnded,
    Shard,
    StoreEvent,
    Task,
    Trial,
)
from benchrunner.registry.key_locks import HeldBy
from benchrunner.store.writer import RunWriter

T = TypeVar("T")

TICK_S = 0.05
"""How often deadlines and the policy are looked at when nothing happens."""

GATHER_S = 0.003
"""How long a call that wants to leave waits for others to be committed with it. A window that opens lets a burst go,
and each of its calls is announced some `LEAD_S` ahead, so that none leaves later for this.
"""

SPARES_WITHIN_S = 0.5
"""How long forking workers ahead of need waits for a moment in which nothing happens."""

FLUSH_EVERY_S = 0.2
"""How long a fact that nobody waits for may stay uncommitted."""

END_WAIT_S = 5.0

STORE_PATIENCE_S = 60.0
"""How long runs.db may refuse writes before the run ends. No call leaves meanwhile: its row could not be kept."""

STORE_RETRY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """All a supervisor needs to know about a run before its first event."""

    run_id: str
    shards: Sequence[Shard]
    trials: Mapping[str, Trial]
    tasks: Mapping[tuple[str, str], Task]  # by (difficulty, task_id)
    done: frozenset[str]  # trials an earlier sitting scored
    providers: Mapping[str, Provider]
    keys: Mapping[str, Key]
    models: Mapping[str, ModelEntry]
    domains: Mapping[tuple[str, str], tuple[Domain, ...]]  # by (key_id, model): the key's, the (account, model)'s
    policy: Policy
    rules: Rules
    windows_path: str
    max_tries: int
    patience_s: float
    trial_timeout_s: float
    suite: str
    tasks_file: str
    one_turn: bool  # every dialogue of the suite is one request and its reply


@dataclass(slots=True)
class Hand:
    """A worker at work: its process, its lease, and the numbers of its calls."""

    worker: CrewWorker
    lease: Lease
    calls: dict[int, int] = field(default_factory=dict)  # the worker's ref -> call_id
    unrecorded: list[int] = field(default_factory=list)  # announced, not yet committed


class Supervisor:
    """Runs one plan to its end. `run` once."""

    def __init__(
        self,
        *,
        plan: RunPlan,
        writer: RunWriter,
        desk: Desk,
        pool: CrewPool,
        view: ProgressView,
        figures: LiveFigures,
        clock: SystemClock,
        signals: StopSignals,
    ) -> None:
        """Take what the launcher started; the supervisor ends the workers, the launcher the rest."""
        self._plan, self._writer, self._desk, self._pool = plan, writer, desk, pool
        self._view, self._figures, self._clock, self._signals = view, figures, clock, signals
        self._shards = {shard.shard_id: shard for shard in plan.shards}
        self.state = RunState(
            run_id=plan.run_id,
            shards=plan.shards,
            keys=[key_setup(key) for key in plan.keys.values()],
            policy=plan.policy,
            rules=plan.rules,
            done=plan.done,
            one_turn=plan.one_turn,
        )
        self._hands: dict[str, Hand] = {}
        self._departed: dict[str, Hand] = {}  # those whose death is just being told
        self._buffer: list[StoreEvent] = []
        self._queue: list[ev.Event] = []
        self._flushed_s = self._viewed_s = self._ticked_s = 0.0
        self._signals_seen = 0
        self._store_down_s: float | None = None  # since when runs.db refuses writes
        self._waits = WaitList()
        self._pipes: dict[int, str] = {}  # id of a worker's pipe -> the worker
        self._sentinels: dict[Any, str] = {}
        self._registry_sentinel: Any = None
        self._spares_due_s: float | None = None  # when workers are to be forked ahead at the latest; None: there are

    def run(self) -> ev.End:
        """Return how the run ended; every worker has ended and every fact is committed by then.

        Raises StoreLost when runs.db goes on refusing writes, RegistryError when no Manager can be kept; the workers
        are ended then too.
        """
        self._waits.add(self._signals.waker)
        self._watch_registry()
        try:
            self._tell(ev.Tick())
            while self.state.ended is None:
                self._turn()
            ended = self.state.ended
            self._buffer.append(
                RunEnded(run_id=self._plan.run_id, status=ended.status, ended_at=self._clock.utc())
            )
            while not self._flush():
                self._clock.sleep_s(STORE_RETRY_S)
            return ended
        finally:
            self._end_workers()
            if self._view.wants_every_s < inf:
                self._show(self._clock.now_s())

    # --- one turn of the loop ---------------------------------------------------------------------------------------

    def _turn(self) -> None:
        quiet = not self._listen(TICK_S)
        if self._spares_due_s is not None and (quiet or self._clock.now_s() >= self._spares_due_s):
            # Not while a lease is given out: a fork takes 20 ms, in which the new worker would not get its trials.
            self._spares_due_s = None
            self._pool.prepare(sum(1 for one in self.state.shards.values() if one.pending and not one.workers))
        if self._awaited:
            self._clock.sleep_s(GATHER_S)
            self._listen(0.0)
        self._mind_signals()
        now_s = self._clock.now_s()
        if now_s - self._ticked_s >= TICK_S:
            self._ticked_s = now_s
            self._tell(ev.Tick())
        every_s = FLUSH_EVERY_S if self._store_down_s is None else STORE_RETRY_S
        if self._awaited or (self._buffer and now_s - self._flushed_s >= every_s):
            self._flush()
        if now_s - self._viewed_s >= self._view.wants_every_s:
            self._show(now_s)

    @property
    def _awaited(self) -> bool:
        """Return whether a call waits for its row to be committed, and runs.db takes rows."""
        return self._store_down_s is None and any(hand.unrecorded for hand in self._hands.values())

    def _listen(self, timeout_s: float) -> bool:
        """Take in what workers say, and who died, once something happens; False when nothing does for `timeout_s`."""
        dead: list[str] = []
        heard = self._waits.wait(timeout_s)
        for ready in heard:
            if ready == self._registry_sentinel:
                self._revive_registry()
            elif (worker_id := self._pipes.get(id(ready))) is not None:
                self._hear(worker_id, self._hands[worker_id])
            elif (worker_id := self._sentinels.get(ready)) is not None:
                dead.append(worker_id)
        for worker_id in dead:
            self._mourn(worker_id, self._hands[worker_id])
        return bool(heard)

    def _watch_registry(self) -> None:
        """Wait for the end of the Manager that is there now, not for one that was."""
        if self._registry_sentinel is not None:
            self._waits.drop(self._registry_sentinel)
        self._registry_sentinel = self._desk.sentinel
        self._waits.add(self._registry_sentinel)

    def _employ(self, worker_id: str, hand: Hand) -> None:
        self._hands[worker_id] = hand
        pipe, sentinel = hand.worker.pipe, hand.worker.sentinel
        self._pipes[id(pipe)] = self._sentinels[sentinel] = worker_id
        self._waits.add(pipe)
        self._waits.add(sentinel)

    def _dismiss(self, worker_id: str) -> Hand:
        hand = self._hands.pop(worker_id)
        pipe, sentinel = hand.worker.pipe, hand.worker.sentinel
        del self._pipes[id(pipe)], self._sentinels[sentinel]
        self._waits.drop(pipe)
        self._waits.drop(sentinel)
        return hand

    def _mind_signals(self) -> None:
        self._signals.drain_waker()
        while self._signals_seen < self._signals.count:
            self._signals_seen += 1
            kill = self._signals_seen > 1
            self._view.line(
                "stopping at once; running trials go back to the queue"
                if kill
                else f"stopping: running trials may go on for {self._plan.rules.drain_s:.0f} s (again: stop at once)"
            )
            self._tell(ev.StopRequested(kill=kill))

    def _hear(self, worker_id: str, hand: Hand) -> None:
        for message in hand.worker.receive():
            match message:
                case ms.Sending():
                    self._announce(worker_id, hand, message)
                case ms.Withdrawn():
                    self._buffer.append(CallWithdrawn(call_id=hand.calls.pop(message.ref)))
                case ms.CallEnded():
                    self._note_call(worker_id, hand, message)
                case ms.CapMoved():
                    self._key_event(message.domain, "cap", message.detail, is_domain=True)
                case ms.TrialEnded():
                    self._tell(
                        ev.TrialFinished(
                            worker_id=worker_id,
                            trial_id=message.trial_id,
                            status=message.status,
                            score=message.score,
                            cause=message.cause,
                            detail=message.detail,
                            turns=message.turns,
                        )
                    )
                case ms.TrialReturned():
                    self._tell(ev.TrialHandedBack(worker_id=worker_id, trial_id=message.trial_id))
                case ms.AllSent():
                    self._tell(ev.AllSent(worker_id=worker_id, nth=message.nth))
                case ms.KeyRefused():
                    self._tell(
                        ev.KeyTrouble(
                            worker_id=worker_id, kind=message.kind, detail=message.detail, park_s=message.park_s
                        )
                    )
                case ms.WorkerFailed():
                    for text in (f"worker {worker_id} failed:", *message.detail.splitlines()):
                        self._view.line(text)
                case ms.Ready():
                    pass
                case _:
                    raise ms.ProtocolError(f"a supervisor does not take {message!r}"[:200])

    def _announce(self, worker_id: str, hand: Hand, message: ms.Sending) -> None:
        call_id = self._writer.next_call_id()
        hand.calls[message.ref] = call_id
        hand.unrecorded.append(message.ref)
        self._buffer.append(
            CallSent(
                call_id=call_id,
                run_id=self._plan.run_id,
                trial_id=message.trial_id,
                turn=message.turn,
                attempt=message.attempt,
                key_id=hand.lease.key_id,
                model=hand.lease.model,
                deployment=message.deployment,
                sent_at=message.sent_at,
                wait_window_s=message.wait_window_s,
                backoff_s=message.backoff_s,
            )
        )
        now_s = self._clock.now_s()
        self._figures.sent(hand.lease.key_id, now_s, trial_id=message.trial_id, turn=message.turn)
        self._tell(ev.CallLeaves(worker_id=worker_id, wait_window_s=message.wait_window_s))

    def _note_call(self, worker_id: str, hand: Hand, message: ms.CallEnded) -> None:
        self._buffer.append(
            CallDone(
                call_id=hand.calls.pop(message.ref),
                outcome=message.outcome,
                sent_at=message.sent_at,
                wait_window_s=message.wait_window_s,
                backoff_s=message.backoff_s,
                latency_s=message.latency_s,
                http_status=message.http_status,
                provider_code=message.provider_code,
                prompt_tokens=message.prompt_tokens,
                completion_tokens=message.completion_tokens,
                finish_reason=message.finish_reason,
                retry_after_s=message.retry_after_s,
            )
        )
        self._figures.ended(hand.lease.key_id, message, self._clock.now_s(), model=hand.lease.model)
        if message.paused_domain:
            detail = f"{message.outcome}: {message.detail}" if message.detail else str(message.outcome)
            self._key_event(message.paused_domain, "pause", detail, is_domain=True)
        self._tell(
            ev.CallFinished(
                worker_id=worker_id,
                outcome=message.outcome,
                latency_s=message.latency_s,
                answered=message.http_status is not None,
            )
        )

    def _key_event(self, subject: str, kind: str, detail: str, *, is_domain: bool = False) -> None:
        event = KeyEvent(
            run_id=self._plan.run_id,
            subject=subject,
            is_domain=is_domain,
            at=self._clock.utc(),
            kind=kind,
            detail=detail,
        )
        self._buffer.append(event)
        self._figures.note(event)

    def _mourn(self, worker_id: str, hand: Hand) -> None:
        """Read a dead worker's last words, then tell of its death."""
        self._hear(worker_id, hand)
        self._dismiss(worker_id)
        hand.worker.close()
        code = hand.worker.exit_code()
        self._departed[worker_id] = hand
        self._tell(
            ev.WorkerExited(
                worker_id=worker_id, exit_code=code if code is not None else -1, blameless=hand.worker.blameless
            )
        )
        del self._departed[worker_id]

    # --- events in, commands out ------------------------------------------------------------------------------------

    def _tell(self, event: ev.Event) -> None:
        """Hand `event` to RunState and play what it commands, and what follows from that."""
        self._queue.append(event)
        if len(self._queue) > 1:
            return  # a command being played raised this event: it waits its turn
        while self._queue:
            for command in self.state.handle(self._queue[0], self._clock.now_s(), self._clock.utc()):
                self._play(command)
            self._queue.pop(0)

    def _play(self, command: ev.Command) -> None:
        match command:
            case ev.Keep():
                self._buffer.append(command.event)
                self._figures.note(command.event)
            case ev.Assign():
                self._assign(command)
            case ev.StartWorker():
                self._start(command)
            case ev.GoOn():
                self._go_on(command)
            case ev.TellWhenSent():
                if (hand := self._hands.get(command.worker_id)) is not None:
                    hand.worker.send([ms.TellWhenSent(nth=command.nth)])
            case ev.StopWorker():
                if (hand := self._hands.get(command.worker_id)) is not None:
                    hand.worker.send([ms.Stop(now=command.now)])
            case ev.KillWorker():
                if (hand := self._hands.get(command.worker_id)) is not None:
                    hand.worker.kill()
            case ev.Release():
                # The dead are released too; a worker whose lease was denied has nothing to give back.
                holder = self._hands.get(command.worker_id) or self._departed.get(command.worker_id)
                if holder is not None:
                    self._release(holder, command.reason)
            case ev.RefuseKey():
                self._refuse(command)
            case ev.Say():
                self._view.line(command.text)
            case ev.End():
                pass

    def _start(self, command: ev.StartWorker) -> None:
        plan, shard, key = self._plan, self._shards[command.shard_id], self._plan.keys[command.key_id]
        worker = self._pool.take(shard.provider)
        holder = Holder(
            name=f"{plan.run_id}/{shard.shard_id}/{command.worker_id}",
            model=shard.model,
            shard_id=shard.shard_id,
            pid=worker.pid,
            pid_started_s=worker.started_s(),
            token=worker.token,
        )
        lease = self._with_registry(lambda: self._desk.lease(key.key_id, holder))
        if isinstance(lease, HeldBy):
            self._pool.put_back(worker)
            self._tell(ev.LeaseDenied(worker_id=command.worker_id, by=lease.note))
            return
        self._employ(command.worker_id, Hand(worker=worker, lease=lease))
        managed = plan.policy.managed
        worker.send(
            [
                ms.Begin(
                    run_id=plan.run_id,
                    lease=lease,
                    provider=plan.providers[shard.provider],
                    key=key,
                    model=plan.models[shard.model],
                    domains=plan.domains[key.key_id, shard.model] if managed else (),
                    windows_path=plan.windows_path if managed else "",
                    pace_qps=shard.pace_qps,
                    max_tries=plan.max_tries,
                    patience_s=plan.patience_s,
                    trial_timeout_s=plan.trial_timeout_s,
                    suite=plan.suite,
                    tasks_file=plan.tasks_file,
                )
            ]
        )
        self._note_grant(lease, worker.pid)
        self._spares_due_s = self._clock.now_s() + SPARES_WITHIN_S

    def _go_on(self, command: ev.GoOn) -> None:
        hand = self._hands.get(command.worker_id)
        if hand is None:
            return  # its lease was denied, which RunState is about to hear
        lease = self._with_registry(lambda: self._desk.move(hand.lease.holder, command.shard_id))
        if lease is None:
            return  # the worker is dead, which its sentinel is about to say
        self._note_release(hand.lease, "next_shard")
        self._note_grant(lease, hand.worker.pid)
        hand.lease = lease

    def _assign(self, command: ev.Assign) -> None:
        hand = self._hands.get(command.worker_id)
        if hand is None:
            return  # its lease was denied in this very batch; LeaseDenied puts the trials back
        orders = []
        for trial_id in command.trial_ids:
            trial = self._plan.trials[trial_id]
            task = self._plan.tasks[trial.condition.difficulty, trial.task_id]
            orders.append(ms.Order(trial=trial, task=task))
        hand.worker.send(orders)

    def _release(self, hand: Hand, reason: str) -> None:
        self._with_registry(lambda: self._desk.release(hand.lease.holder))
        self._note_release(hand.lease, reason)

    def _note_release(self, lease: Lease, reason: str) -> None:
        self._buffer.append(
            LeaseReleased(
                run_id=self._plan.run_id,
                key_id=lease.key_id,
                fence=lease.fence,
                released_at=self._clock.utc(),
                reason=reason,
            )
        )

    def _note_grant(self, lease: Lease, worker_pid: int) -> None:
        self._buffer.append(
            LeaseGranted(
                run_id=self._plan.run_id,
                shard_id=lease.shard_id,
                key_id=lease.key_id,
                worker_pid=worker_pid,
                fence=lease.fence,
                granted_at=self._clock.utc(),
            )
        )

    def _with_registry(self, ask: Callable[[], T]) -> T:
        """Return what `ask` returns, asked again of a new Manager if the old one died under it."""
        try:
            return ask()
        except RegistryError:
            self._revive_registry()
            return ask()

    def _revive_registry(self) -> None:
        """Start a new Manager and lease to every live worker anew: a registry that is gone guards nothing."""
        self._view.line(self._desk.obituary)
        pids = {hand.lease.fence: hand for hand in self._hands.values()}
        for old, new in self._desk.revive():
            hand = pids.get(old.fence)
            self._note_release(old, "manager_lost")
            self._note_grant(new, hand.worker.pid if hand is not None else 0)
            if hand is not None:
                hand.lease = new
        self._watch_registry()

    def _refuse(self, command: ev.RefuseKey) -> None:
        if command.kind is Outcome.AUTH:
            self._with_registry(lambda: self._desk.retire(command.key_id, command.detail))
            self._key_event(command.key_id, "retire", command.detail)
            self._view.line(f"key {command.key_id} is refused and retired for this run: {command.detail}")
        else:
            until_s = self._clock.now_s() + command.park_s
            self._with_registry(lambda: self._desk.park(command.key_id, until_s, command.detail))
            self._key_event(command.key_id, "park", command.detail)
            self._view.line(f"key {command.key_id} has no quota left and is parked: {command.detail}")

    # --- store and view ---------------------------------------------------------------------------------------------

    def _flush(self) -> bool:
        """Commit what happened and let announced calls leave; False when runs.db refuses, to be tried again."""
        self._flushed_s = self._clock.now_s()
        if self._buffer:
            try:
                late = self._writer.record(self._buffer)
            except StoreError as error:
                self._bear_store(error)
                return False
            self._buffer = []
            if late:
                self._view.line(f"{len(late)} late facts not accepted, the first: {late[0]}"[:300])
        if self._store_down_s is not None:
            self._store_down_s = None
            self._view.line("runs.db takes writes again; the run goes on")
        for hand in self._hands.values():
            if hand.unrecorded:
                refs, hand.unrecorded = tuple(hand.unrecorded), []
                hand.worker.send([ms.Recorded(refs=refs)])
        return True

    def _bear_store(self, error: StoreError) -> None:
        if self._store_down_s is None:
            self._store_down_s = self._flushed_s
            self._view.line(f"{error}; no call leaves until it can be kept, trying for {STORE_PATIENCE_S:.0f} s")
        elif self._flushed_s - self._store_down_s > STORE_PATIENCE_S:
            raise StoreLost(
                f"{error}. Nothing committed is lost; mend it and go on with `benchrunner resume {self._plan.run_id}`"
            ) from error

    def _show(self, now_s: float) -> None:
        self._viewed_s = now_s
        self._view.update(self._figures.snapshot(self.state, now_s))

    def _end_workers(self) -> None:
        for hand in self._hands.values():
            hand.worker.kill()
        deadline_s = self._clock.now_s() + END_WAIT_S
        waits = WaitList()
        for sentinel in self._sentinels:
            waits.add(sentinel)
        while self._hands and self._clock.now_s() < deadline_s:
            for ready in waits.wait(END_WAIT_S):
                waits.drop(ready)
                self._hands.pop(self._sentinels[ready]).worker.close()
        waits.close()
        self._waits.close()
