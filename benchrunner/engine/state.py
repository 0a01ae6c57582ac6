"""RunState: what a run is at, as a pure machine. An event goes in, commands come out; nothing here does anything.

    event ──> handle(event, now_s, at) ──> [commands]
                 │ 1. the event's own handler changes shards, workers, keys
                 │ 2. workers with room are fed from their shard's queue          -> Assign
                 │ 3. the policy is asked which shards get which free keys        -> StartWorker, GoOn, Assign
                 │ 4. workers with nothing left to send are let go, keys freed    -> TellWhenSent, StopWorker, Release
                 │    and those go to the next shards at once                     -> StartWorker, GoOn, Assign
                 └ 5. the run ends when nothing runs and nothing can be started   -> End

Trial queues live here and nowhere else, so a worker may die at any moment: its running trials go back to the front of
the queue. A trial is accepted once; anything a worker says about a trial it does not hold is a late result and is
only told. Tested without processes in tests/unit/engine/test_state.py; played for real by supervisor.py.

Others count and decide for it: policy_views.py what the policy is shown, rations.py how many trials a worker takes,
trial_ends.py whether one is run again, crashes.py and replies.py who is given up, key_trouble.py when a key rests,
handing_on.py when it goes to the next model, deadlines.py and stopping.py who must end, ending.py how the run ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from benchrunner.engine import deadlines, key_trouble, notices, rations, trial_ends
from benchrunner.engine import events as ev
from benchrunner.engine.books import SENT, KeySetup, KeyState, Rules, ShardState, WorkerState
from benchrunner.engine.call_times import CallTimes
from benchrunner.engine.crashes import Crashes
from benchrunner.engine.ending import choose_end
from benchrunner.engine.handing_on import HandingOn
from benchrunner.engine.policy_views import PolicyViews
from benchrunner.engine.replies import GivenUp, Replies
from benchrunner.engine.stopping import Stopping
from benchrunner.errors import InvalidTransition
from benchrunner.policies.base import Grant, Policy
from benchrunner.records import Outcome, Shard, ShardChanged, TrialRequeued, TrialStarted, TrialStatus

STORY_LENGTH = 32


class RunState:
    """One run's progress. Only `handle` changes it; everything else reads."""

    def __init__(
        self,
        *,
        run_id: str,
        shards: Sequence[Shard],
        keys: Sequence[KeySetup],
        policy: Policy,
        rules: Rules,
        done: Iterable[str] = (),
        one_turn: bool = False,
    ) -> None:
        """Take a run's plan. `done`: trials that an earlier sitting of this run already scored.

        `one_turn`: every dialogue of the suite is one request and its reply.
        """
        settled = set(done)
        self._run_id, self._policy, self._rules = run_id, policy, rules
        self.shards: dict[str, ShardState] = {}
        for shard in sorted(shards, key=lambda s: s.position):
            pending = deque(trial_id for trial_id in shard.trial_ids if trial_id not in settled)
            self.shards[shard.shard_id] = ShardState(
                shard=shard,
                pending=pending,
                total=len(shard.trial_ids),
                scored=len(shard.trial_ids) - len(pending),
                status="waiting" if pending else "done",
            )
        self.keys = {setup.key_id: KeyState(setup=setup) for setup in keys}
        self.workers: dict[str, WorkerState] = {}
        self.ended: ev.End | None = None
        self.asks_again_s: float | None = None  # when the policy wants to be asked again, though nothing happens
        self._worker_count = 0
        self._hands_on = policy.hands_on and one_turn
        self._stop = Stopping(drain_s=rules.drain_s)
        self._spoiled = trial_ends.Spoiled()
        self._crashes = Crashes(rules)
        self._replies = Replies(stall_s=rules.stall_s)
        self._call_times = CallTimes(shards)
        self._views = PolicyViews(self.shards, self.keys, self.workers, self._call_times)
        self._handing_on = HandingOn(self.shards, self.keys, self.workers)
        self._causes_told: set[tuple[str, str]] = set()
        self._held_up_since_s: float | None = None  # since when other runs' keys are all that could go on
        self._story: deque[str] = deque(maxlen=STORY_LENGTH)

    # --- reading ----------------------------------------------------------------------------------------------------

    @property
    def interrupted(self) -> bool:
        """Return whether somebody asked the run to stop."""
        return self._stop.asked_for

    @property
    def stopping(self) -> bool:
        """Return whether no trial is begun any more, whoever or whatever asked for that."""
        return bool(self._stop)

    def drain_left_s(self, now_s: float) -> float | None:
        """Return how long running trials may still go on in a run that stops, 0.0: they are ended now; None: it runs.
        """
        return self._stop.drain_left_s(now_s) if self.ended is None else None

    def expected_s(self, state: ShardState, *, keys: int = 1) -> float:
        """Return how long the shard's unfinished trials take on `keys` of its keys, latency and limits considered."""
        return self._views.expected_s(state, keys=keys)

    # --- the one mutating method ------------------------------------------------------------------------------------

    def handle(self, event: ev.Event, now_s: float, at: str) -> list[ev.Command]:
        """Return what is to be done now that `event` happened at `now_s` (`at`: the same instant as UTC text).

        Raises InvalidTransition for an event that cannot be, such as one about a worker never started.
        """
        if not isinstance(event, ev.Tick | ev.CallLeaves | ev.CallFinished):
            self._story.append(f"{now_s:.3f} {event!r}"[:200])
        out: list[ev.Command] = []
        match event:
            case ev.Tick():
                pass
            case ev.CallLeaves():
                self._on_call(event, now_s)
            case ev.CallFinished():
                self._on_reply(event, now_s)
            case ev.TrialFinished():
                self._on_trial(event, now_s, at, out)
            case ev.TrialHandedBack():
                self._on_handed_back(event, out)
            case ev.AllSent():
                self._on_all_sent(event)
            case ev.KeyTrouble():
                self._on_key_trouble(event, now_s, out)
            case ev.LeaseDenied():
                self._on_denied(event, now_s, out)
            case ev.WorkerExited():
                self._on_exit(event, now_s, at, out)
            case ev.StopRequested():
                self._on_stop(event, now_s, out)
        # Calls come by the hundred and change nobody's queue; what follows from their waits can wait for a Tick.
        if self.ended is None and not isinstance(event, ev.CallLeaves | ev.CallFinished):
            self._advance(now_s, at, out)
        return out

    # --- handlers ---------------------------------------------------------------------------------------------------

    def _worker(self, event: ev.Event) -> WorkerState:
        worker_id: str = getattr(event, "worker_id", "?")
        worker = self.workers.get(worker_id)
        if worker is None:
            raise InvalidTransition(type(event).__name__, f"no worker {worker_id!r}", tuple(self._story))
        return worker

    def _on_call(self, event: ev.CallLeaves, now_s: float) -> None:
        worker = self._worker(event)
        self._held_up_since_s = None
        self.keys[worker.key_id].denied_by = ""
        rations.note_send(worker, event.wait_window_s, now_s)

    def _on_reply(self, event: ev.CallFinished, now_s: float) -> None:
        worker = self._worker(event)
        shard = self.shards[worker.shard_id].shard
        self._replies.note_call(shard, event.outcome, now_s, answered=event.answered)
        if event.outcome is Outcome.OK:
            self._call_times.note(shard.model, event.latency_s)
            self.keys[worker.key_id].parks = 0
        elif worker.sent_out:
            worker.sent_out = None  # it may have to send once more

    def _on_trial(self, event: ev.TrialFinished, now_s: float, at: str, out: list[ev.Command]) -> None:
        worker = self._worker(event)
        if event.trial_id not in worker.running:
            out.append(notices.late_result(event.trial_id, worker.worker_id))
            return
        state = self.shards[worker.running.pop(event.trial_id)]
        if state.shard.shard_id == worker.shard_id:  # else it says nothing of how its present lease gets on
            worker.ended += 1
        state.running -= 1
        if event.status is TrialStatus.SCORED:
            state.scored += 1
        else:
            self._note_connection(state, event, now_s, at, out)
            if self._spoiled.note(event.trial_id, event.cause) and not self._stop:
                # To the end of the queue: what spoiled it may have passed by then.
                state.pending.append(event.trial_id)
                out.append(ev.Keep(event=TrialRequeued(trial_id=event.trial_id)))
                return
            state.invalid += 1
            self._tell_cause(state, event, out)
        out.append(ev.Keep(event=trial_ends.reported(event, at)))

    def _tell_cause(self, state: ShardState, event: ev.TrialFinished, out: list[ev.Command]) -> None:
        """Say once per model and cause what the provider said: fifty trials lost to one wrong name are one mistake."""
        if (state.shard.model, event.cause) not in self._causes_told:
            self._causes_told.add((state.shard.model, event.cause))
            out.append(notices.trial_invalid(state.shard.model, event.cause, event.detail))

    def _note_connection(
        self, state: ShardState, event: ev.TrialFinished, now_s: float, at: str, out: list[ev.Command]
    ) -> None:
        provider, model, why = state.shard.provider, state.shard.model, event.detail or event.cause
        given_up = self._replies.note_lost(state.shard, event.cause, now_s)
        if given_up is GivenUp.PROVIDER:
            out.append(notices.provider_unreachable(provider, why))
            for other in self.workers.values():
                if self.shards[other.shard_id].shard.provider == provider:
                    self._tell_to_stop(other, "unreachable", out)
        elif given_up is GivenUp.MODEL and not self._stop:
            out.append(notices.model_silent(model, why))
            self._leave_model(model, "unreachable", at, out)

    def _on_handed_back(self, event: ev.TrialHandedBack, out: list[ev.Command]) -> None:
        worker = self._worker(event)
        if event.trial_id in worker.running:
            lacks_key = self._handing_on.note_handed_back(worker, event.trial_id)
            # Its call failed after the key was handed on: what made it fail may have passed by the queue's end.
            self._requeue(worker, event.trial_id, out, last=lacks_key)

    def _on_all_sent(self, event: ev.AllSent) -> None:
        worker = self._worker(event)
        if worker.sent_out is not None and event.nth == worker.asked:
            worker.sent_out = True

    def _requeue(self, worker: WorkerState, trial_id: str, out: list[ev.Command], *, last: bool = False) -> None:
        state = self.shards[worker.running.pop(trial_id)]
        state.running -= 1
        if last:
            state.pending.append(trial_id)
        else:
            state.pending.appendleft(trial_id)
        out.append(ev.Keep(event=TrialRequeued(trial_id=trial_id)))

    def _on_key_trouble(self, event: ev.KeyTrouble, now_s: float, out: list[ev.Command]) -> None:
        worker = self._worker(event)
        refused = key_trouble.note_refusal(self.keys[worker.key_id], event, now_s)
        if refused is not None:
            out.append(refused)
        for other in self.workers.values():
            if other.key_id != worker.key_id:
                continue
            if not other.stopping:
                self._tell_to_stop(other, event.kind.value, out)
            elif refused is not None and other.stopping == "drained":
                # It was let finish its trials; on a refused key every one of them would only be refused.
                out.append(ev.StopWorker(worker_id=other.worker_id, now=True))

    def _tell_to_stop(self, worker: WorkerState, reason: str, out: list[ev.Command], *, now: bool = True) -> None:
        if not worker.stopping:  # the first reason stands
            worker.stopping = reason
            out.append(ev.StopWorker(worker_id=worker.worker_id, now=now))

    def _on_denied(self, event: ev.LeaseDenied, now_s: float, out: list[ev.Command]) -> None:
        worker = self._worker(event)
        if self._held_up_since_s is None:
            self._held_up_since_s = now_s
        if key_trouble.note_denial(self.keys[worker.key_id], event.by, now_s):
            out.append(notices.key_held(worker.key_id, event.by))
        self._remove(worker, out)

    def _remove(self, worker: WorkerState, out: list[ev.Command]) -> None:
        for trial_id in sorted(worker.running, reverse=True):
            self._requeue(worker, trial_id, out)
        self.shards[worker.shard_id].workers.remove(worker.worker_id)
        del self.workers[worker.worker_id]

    def _on_exit(self, event: ev.WorkerExited, now_s: float, at: str, out: list[ev.Command]) -> None:
        worker = self._worker(event)
        # A worker that we killed in a request it was to give up is nobody's crash; one that hung is.
        at_work = not worker.stopping or (worker.stopping in ("stall", SENT) and bool(worker.running))
        if not event.blameless and at_work:
            out.append(notices.worker_crashed(worker, self.shards[worker.shard_id], event.exit_code))
            self._count_crash(worker, now_s, at, out)
        if not worker.released:
            out.append(ev.Release(worker_id=worker.worker_id, reason=worker.stopping or "crash"))
        self._remove(worker, out)

    def _count_crash(self, worker: WorkerState, now_s: float, at: str, out: list[ev.Command]) -> None:
        blamed = self._crashes.note(worker.running, now_s)
        if blamed is not None:
            lost = self.shards[worker.running.pop(blamed)]
            lost.running -= 1
            lost.invalid += 1
            out.append(ev.Keep(event=trial_ends.lost_to_crashes(blamed, at)))
        if self._crashes.too_many and self._stop.give_up():
            out.append(notices.too_many_crashes(self._rules))
            for other in self.workers.values():
                if other is not worker:
                    self._tell_to_stop(other, "budget", out)

    def _on_stop(self, event: ev.StopRequested, now_s: float, out: list[ev.Command]) -> None:
        if event.kill:
            self._stop.kill()
            out += [ev.KillWorker(worker_id=worker_id) for worker_id in self.workers]
            for worker in self.workers.values():
                worker.stopping = worker.stopping or "killed"
            return
        if self._stop.drain(now_s):
            for worker in self.workers.values():
                self._tell_to_stop(worker, "drained", out, now=False)

    # --- what follows from the state --------------------------------------------------------------------------------

    def _advance(self, now_s: float, at: str, out: list[ev.Command]) -> None:
        self._enforce_deadlines(now_s, at, out)
        if not self._stop:
            self._park_refused_models(now_s, at, out)
        if not self._stop:
            # Those who are there are fed first, or a key would join for a trial that the next line hands to another.
            self._feed(now_s, at, out)
            if self._grant(now_s, at, out):
                self._feed(now_s, at, out)
        if self._hands_on and not self._stop:
            self._hand_on(out)
        if self._let_go(at, out) and not self._stop and self._grant(now_s, at, out):
            self._feed(now_s, at, out)  # a key that came free is not idle until something else happens
        self._maybe_end(now_s, at, out)

    def _enforce_deadlines(self, now_s: float, at: str, out: list[ev.Command]) -> None:
        if self._stop.end_drain(now_s):
            for worker in self.workers.values():
                out.append(ev.StopWorker(worker_id=worker.worker_id, now=True))
        at_once = self._stop.at_once
        for worker in self.workers.values():
            overdue = now_s >= worker.deadline_s
            in_time = worker.stopping in ("", "drained") or (worker.stopping == SENT and not overdue)
            if not in_time or at_once:
                if deadlines.note_kill_time(worker, self._rules, now_s):
                    out.append(ev.KillWorker(worker_id=worker.worker_id))
            elif not worker.stopping and overdue:
                out.append(notices.worker_overran(worker.worker_id))
                self._tell_to_stop(worker, "stall", out)
                self._count_stall(worker, at, out)

    def _park_refused_models(self, now_s: float, at: str, out: list[ev.Command]) -> None:
        """Leave the shards of a model that is refused and refused for `resume`; the others go on."""
        for model, refused_s in self._replies.take_refused(now_s):
            out.append(notices.model_parked(model, refused_s))
            self._leave_model(model, "stall", at, out)

    def _leave_model(self, model: str, reason: str, at: str, out: list[ev.Command]) -> None:
        for state in self.shards.values():
            if state.shard.model == model and state.status != "done":
                self._set_status(state, "failed", at, out)
        for worker in self.workers.values():  # by model: a worker may be on a shard that is done, and on this one
            if self.shards[worker.shard_id].shard.model == model:
                self._tell_to_stop(worker, reason, out)

    def _count_stall(self, worker: WorkerState, at: str, out: list[ev.Command]) -> None:
        state = self.shards[worker.shard_id]
        if not deadlines.note_overrun(state, worker):
            return
        self._set_status(state, "failed", at, out)
        out.append(notices.shard_given_up(state))
        for worker_id in state.workers:
            self._tell_to_stop(self.workers[worker_id], "stall", out)

    def _grant(self, now_s: float, at: str, out: list[ev.Command]) -> bool:
        if self._policy.managed and not self._views.any_room(joins=self._policy.joins):
            return False  # as at nearly every trial's end: there is nothing to choose
        shards = self._views.shards(unreachable=self._replies.unreachable)
        choice = self._policy.choose(now_s=now_s, shards=shards, keys=self._views.keys(now_s))
        self.asks_again_s = choice.ask_again_s
        for grant in choice.grants:
            state = self.shards[grant.shard_id]
            deadline_s = deadlines.lease_end_s(self._rules, expected_s=self.expected_s(state), now_s=now_s)
            if grant.goes_on:
                self._go_on(grant, state, deadline_s, out)
            else:
                worker_id = f"w{self._worker_count:03d}"
                self._worker_count += 1
                self.workers[worker_id] = WorkerState(
                    worker_id=worker_id,
                    shard_id=grant.shard_id,
                    key_id=grant.key_id,
                    started_s=now_s,
                    deadline_s=deadline_s,
                )
                state.workers.append(worker_id)
                out.append(ev.StartWorker(worker_id=worker_id, shard_id=grant.shard_id, key_id=grant.key_id))
            if state.started_s is None:
                state.started_s = now_s
            self._set_status(state, "running", at, out)
        return bool(choice.grants)

    def _go_on(self, grant: Grant, state: ShardState, deadline_s: float, out: list[ev.Command]) -> None:
        """Have the key's worker that runs out of trials of this model take this shard's."""
        worker = self._views.spare_worker(grant.key_id, state.shard.model)
        self.shards[worker.shard_id].workers.remove(worker.worker_id)
        worker.shard_id, worker.deadline_s, worker.ended = grant.shard_id, deadline_s, 0
        state.workers.append(worker.worker_id)
        out.append(ev.GoOn(worker_id=worker.worker_id, shard_id=grant.shard_id))

    def _feed(self, now_s: float, at: str, out: list[ev.Command]) -> None:
        waiting = {one.shard.provider for one in self.shards.values() if rations.waits_for_key(one, self.workers)}
        for state in self.shards.values():
            if not state.pending:
                continue
            for worker_id in state.workers:
                worker = self.workers[worker_id]
                if worker.stopping or len(worker.running) >= state.shard.workers:
                    continue
                if state.shard.provider in waiting or not self._policy.joins:
                    room = state.shard.workers
                else:
                    room = rations.fair_room(state, worker, self.keys, self._call_times.expected_s(state.shard), now_s)
                idle = rations.idle_beside(state, worker, self.workers)
                taken = rations.take(state, worker, room, idle, self._crashes.of_trial)
                if not taken:
                    continue
                worker.running.update(dict.fromkeys(taken, state.shard.shard_id))
                worker.sent_out = None
                state.running += len(taken)
                out += [ev.Keep(event=TrialStarted(trial_id=trial_id, started_at=at)) for trial_id in taken]
                out.append(ev.Assign(worker_id=worker_id, trial_ids=tuple(taken)))

    def _hand_on(self, out: list[ev.Command]) -> None:
        """Tell workers that have sent all they had, and whose key others wait for, to end with their last replies."""
        for worker in self.workers.values():
            if not self._handing_on.only_runs_out(worker):
                continue
            if worker.sent_out is None:
                worker.sent_out, worker.asked = False, worker.asked + 1
                out.append(ev.TellWhenSent(worker_id=worker.worker_id, nth=worker.asked))
            elif self._handing_on.is_to_end(worker):
                self._tell_to_stop(worker, SENT, out)

    def _let_go(self, at: str, out: list[ev.Command]) -> bool:
        """Release what is not needed any more; return whether a key came free by it."""
        freed = False
        for worker in self.workers.values():
            state = self.shards[worker.shard_id]
            if worker.running and worker.stopping != SENT:
                continue
            if not state.pending:
                self._tell_to_stop(worker, "done", out, now=False)
            if worker.stopping and not worker.released:
                # Nothing of it will be sent any more, so the key is free before the process has ended.
                worker.released = freed = True
                out.append(ev.Release(worker_id=worker.worker_id, reason=worker.stopping))
        for state in self.shards.values():
            if state.status in ("running", "failed") and not state.pending and not state.running:
                self._set_status(state, "done", at, out)
        return freed

    def _set_status(self, state: ShardState, status: str, at: str, out: list[ev.Command]) -> None:
        if state.status != status:
            state.status = status
            changed = ShardChanged(run_id=self._run_id, shard_id=state.shard.shard_id, status=status, at=at)
            out.append(ev.Keep(event=changed))

    def _maybe_end(self, now_s: float, at: str, out: list[ev.Command]) -> None:
        if self.workers:
            return
        self.ended = choose_end(
            self.shards.values(),
            self.keys.values(),
            self._rules,
            unreachable=self._replies.unreachable,
            held_up_since_s=self._held_up_since_s,
            stop=self._stop,
            now_s=now_s,
        )
        if self.ended is None:
            return
        for state in self.shards.values():
            if state.pending and state.status == "running":  # nothing of an ended run may stand as running
                self._set_status(state, "waiting" if self.interrupted else "failed", at, out)
        out.append(self.ended)
