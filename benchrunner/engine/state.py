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
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Sequence

from benchrunner.engine import events as ev
from benchrunner.engine import rations
from benchrunner.engine.books import SENT, KeySetup, KeyState, Rules, ShardState, WorkerState
from benchrunner.engine.call_times import CallTimes
from benchrunner.errors import InvalidTransition
from benchrunner.planning.shard_time import expected_shard_s, last_reply_s
from benchrunner.policies.base import Grant, KeyView, Policy, ShardView, view_of
from benchrunner.records import (
    Outcome,
    RunStatus,
    Shard,
    ShardChanged,
    TrialDone,
    TrialRequeued,
    TrialStarted,
    TrialStatus,
)

DENIED_RETRY_S = 1.0

FIRST_PARK_S, LONGEST_OWN_PARK_S = 1.0, 86_400.0
"""Bounds of how long a key with a spent quota rests at the least, when its provider names a shorter time."""

FRUITLESS_LEASES = 2
"""Leases of a shard in a row that may run out of time with no trial ended, before the shard is given up."""

UNREACHABLE_AFTER = 3
"""Trials lost to the connection with no reply in between, after which a provider counts as unreachable."""

CHANCES = 2
"""How often a trial that infrastructure spoiled is run before it is left invalid (resume runs it again)."""

SECOND_CHANCE = frozenset({"connection", "api_timeout", "empty_reply", "truncated_reply", "harness"})
UNREACHABLE_CAUSES = frozenset({"connection", "api_timeout"})
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
        self._came_back: set[str] = set()  # trials that needed their key again after it was handed on
        self._spoiled: dict[str, int] = {}  # trial -> times infrastructure spoiled it
        self._crashed: dict[str, int] = {}  # trial -> crashes it was running at
        self._crash_times: deque[float] = deque()
        self._dead_streak: dict[str, int] = {}  # provider -> trials lost to the connection since its last reply
        self._unreachable: set[str] = set()
        self._stop: str = ""  # "" | "drain" | "now" | "kill" | "budget"
        self._stop_at_s = 0.0
        self._throttled_since_s: dict[str, float] = {}  # model -> its first refusal since its last good reply
        self._call_times = CallTimes(shards)
        self._causes_told: set[tuple[str, str]] = set()
        self._held_up_since_s: float | None = None  # since when other runs' keys are all that could go on
        self._story: deque[str] = deque(maxlen=STORY_LENGTH)

    # --- reading ----------------------------------------------------------------------------------------------------

    @property
    def interrupted(self) -> bool:
        """Return whether somebody asked the run to stop."""
        return self._stop in ("drain", "now", "kill")

    @property
    def stopping(self) -> bool:
        """Return whether no trial is begun any more, whoever or whatever asked for that."""
        return bool(self._stop)

    def drain_left_s(self, now_s: float) -> float | None:
        """Return how long running trials may still go on in a run that stops, 0.0: they are ended now; None: it runs.
        """
        if self.ended is not None or not self._stop:
            return None
        return max(0.0, self._stop_at_s + self._rules.drain_s - now_s) if self._stop == "drain" else 0.0

    def expected_s(self, state: ShardState, *, keys: int = 1) -> float:
        """Return how long the shard's unfinished trials take on `keys` of its keys, latency and limits considered."""
        shard = state.shard
        setup = self.keys.get(shard.key_id)
        return expected_shard_s(
            shard,
            len(state.pending) + state.running,
            total=state.total,
            limit_per_s=setup.setup.rate_per_s if setup else float("inf"),
            call_s=self._call_times.expected_s(shard),
            last_reply_s=last_reply_s(shard.model, self._call_times.known),
            keys=keys,
        )

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
                self._note_reply(event, now_s)
                if event.outcome is Outcome.OK:
                    self.keys[self._worker(event).key_id].parks = 0
                if event.outcome is not Outcome.TRANSIENT:  # a refusal is a reply too
                    self._dead_streak[self._provider(event)] = 0
            case ev.TrialFinished():
                self._on_trial(event, at, out)
            case ev.TrialHandedBack():
                self._on_handed_back(event, out)
            case ev.AllSent():
                worker = self._worker(event)
                if worker.sent_out is not None and event.nth == worker.asked:
                    worker.sent_out = True
            case ev.KeyTrouble():
                self._on_key_trouble(event, now_s, at, out)
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

    def _on_call(self, event: ev.CallLeaves, now_s: float) -> None:
        worker = self._worker(event)
        self._held_up_since_s = None
        self.keys[worker.key_id].denied_by = ""
        rations.note_send(worker, event.wait_window_s, now_s)

    def _note_reply(self, event: ev.CallFinished, now_s: float) -> None:
        model = self.shards[self._worker(event).shard_id].shard.model
        if event.outcome is Outcome.OK:
            self._throttled_since_s.pop(model, None)
            self._call_times.note(model, event.latency_s)
        elif event.outcome is Outcome.RATE_LIMITED:
            self._throttled_since_s.setdefault(model, now_s)

    # --- handlers ---------------------------------------------------------------------------------------------------

    def _worker(self, event: ev.Event) -> WorkerState:
        worker_id: str = getattr(event, "worker_id", "?")
        worker = self.workers.get(worker_id)
        if worker is None:
            raise InvalidTransition(type(event).__name__, f"no worker {worker_id!r}", tuple(self._story))
        return worker

    def _provider(self, event: ev.Event) -> str:
        return self.shards[self._worker(event).shard_id].shard.provider

    def _on_trial(self, event: ev.TrialFinished, at: str, out: list[ev.Command]) -> None:
        worker = self._worker(event)
        if event.trial_id not in worker.running:
            out.append(ev.Say(text=f"late result of {event.trial_id} from {worker.worker_id} not accepted"))
            return
        state = self.shards[worker.running.pop(event.trial_id)]
        if state.shard.shard_id == worker.shard_id:  # else it says nothing of how its present lease gets on
            worker.ended += 1
        state.running -= 1
        if event.status is TrialStatus.SCORED:
            state.scored += 1
        else:
            self._note_connection(state, event, out)
            times = self._spoiled[event.trial_id] = self._spoiled.get(event.trial_id, 0) + 1
            if event.cause in SECOND_CHANCE and times < CHANCES and not self._stop:
                # To the end of the queue: what spoiled it may have passed by then.
                state.pending.append(event.trial_id)
                out.append(ev.Keep(event=TrialRequeued(trial_id=event.trial_id)))
                return
            state.invalid += 1
            self._tell_cause(state, event, out)
        out.append(
            ev.Keep(
                event=TrialDone(
                    trial_id=event.trial_id,
                    status=event.status,
                    ended_at=at,
                    score=event.score,
                    error_class=event.cause,
                    turns=event.turns,
                    transcript="[]" if event.score else json.dumps([{"lost": event.cause, "detail": event.detail}]),
                )
            )
        )

    def _tell_cause(self, state: ShardState, event: ev.TrialFinished, out: list[ev.Command]) -> None:
        """Say once per model and cause what the provider said: fifty trials lost to one wrong name are one mistake."""
        if (state.shard.model, event.cause) not in self._causes_told:
            self._causes_told.add((state.shard.model, event.cause))
            said = f": {event.detail}" if event.detail else ""
            out.append(ev.Say(text=f"a trial of {state.shard.model} is invalid, {event.cause}{said}"))

    def _note_connection(self, state: ShardState, event: ev.TrialFinished, out: list[ev.Command]) -> None:
        provider = state.shard.provider
        if event.cause not in UNREACHABLE_CAUSES or provider in self._unreachable:
            return
        streak = self._dead_streak[provider] = self._dead_streak.get(provider, 0) + 1
        if streak < UNREACHABLE_AFTER:
            return
        self._unreachable.add(provider)
        out.append(
            ev.Say(
                text=f"provider {provider} gives no reply ({event.detail or event.cause}); its shards are left for"
                " `benchrunner resume`"
            )
        )
        for other in self.workers.values():
            if self.shards[other.shard_id].shard.provider == provider and not other.stopping:
                self._tell_to_stop(other, "unreachable", out)

    def _on_handed_back(self, event: ev.TrialHandedBack, out: list[ev.Command]) -> None:
        worker = self._worker(event)
        if event.trial_id in worker.running:
            if worker.stopping == SENT:
                self._came_back.add(event.trial_id)
            self._requeue(worker, event.trial_id, out)

    def _requeue(self, worker: WorkerState, trial_id: str, out: list[ev.Command]) -> None:
        state = self.shards[worker.running.pop(trial_id)]
        state.running -= 1
        state.pending.appendleft(trial_id)
        out.append(ev.Keep(event=TrialRequeued(trial_id=trial_id)))

    def _on_key_trouble(self, event: ev.KeyTrouble, now_s: float, at: str, out: list[ev.Command]) -> None:
        worker = self._worker(event)
        key = self.keys[worker.key_id]
        park_s = event.park_s
        if event.kind is Outcome.AUTH:
            fresh = not key.retired
            key.retired = key.retired or event.detail or "refused"
        else:
            fresh = not key.retired and key.parked_until_s <= now_s
            if fresh:
                # Doubled each time in a row: a spent quota that says "retry in 1 s" for ever must end the run at last.
                park_s = max(park_s, min(FIRST_PARK_S * 2.0**key.parks, LONGEST_OWN_PARK_S))
                key.parks += 1
            key.parked_until_s = max(key.parked_until_s, now_s + park_s)
        if fresh:
            out.append(ev.RefuseKey(key_id=worker.key_id, kind=event.kind, detail=event.detail, park_s=park_s))
        for other in self.workers.values():
            if other.key_id != worker.key_id:
                continue
            if not other.stopping:
                self._tell_to_stop(other, event.kind.value, out)
            elif fresh and other.stopping == "drained":
                # It was let finish its trials; on a refused key every one of them would only be refused.
                out.append(ev.StopWorker(worker_id=other.worker_id, now=True))

    def _tell_to_stop(self, worker: WorkerState, reason: str, out: list[ev.Command], *, now: bool = True) -> None:
        worker.stopping = reason
        out.append(ev.StopWorker(worker_id=worker.worker_id, now=now))

    def _on_denied(self, event: ev.LeaseDenied, now_s: float, out: list[ev.Command]) -> None:
        worker = self._worker(event)
        key = self.keys[worker.key_id]
        key.denied_until_s = now_s + DENIED_RETRY_S
        if self._held_up_since_s is None:
            self._held_up_since_s = now_s
        if event.by != key.denied_by:
            key.denied_by = event.by
            out.append(ev.Say(text=f"key {worker.key_id} is held by {event.by or 'another run'}; waiting for it"))
        self._remove(worker, out)

    def _remove(self, worker: WorkerState, out: list[ev.Command]) -> None:
        for trial_id in sorted(worker.running, reverse=True):
            self._requeue(worker, trial_id, out)
        self.shards[worker.shard_id].workers.remove(worker.worker_id)
        del self.workers[worker.worker_id]

    def _on_exit(self, event: ev.WorkerExited, now_s: float, at: str, out: list[ev.Command]) -> None:
        worker = self._worker(event)
        state = self.shards[worker.shard_id]
        # A worker that we killed in a request it was to give up is nobody's crash; one that hung is.
        at_work = not worker.stopping or (worker.stopping in ("stall", SENT) and bool(worker.running))
        if not event.blameless and at_work:
            self._count_crash(event, worker, state, now_s, at, out)
        if not worker.released:
            out.append(ev.Release(worker_id=worker.worker_id, reason=worker.stopping or "crash"))
        self._remove(worker, out)

    def _count_crash(
        self,
        event: ev.WorkerExited,
        worker: WorkerState,
        state: ShardState,
        now_s: float,
        at: str,
        out: list[ev.Command],
    ) -> None:
        out.append(
            ev.Say(
                text=f"worker {worker.worker_id} ({state.shard.model} {state.shard.label} on {worker.key_id}) ended"
                f" with {event.exit_code}; {len(worker.running)} running trials go back to the queue"
            )
        )
        for trial_id in sorted(worker.running):
            times = self._crashed[trial_id] = self._crashed.get(trial_id, 0) + 1
            # Only a trial that was alone is surely to blame: thirty innocent ones die with it.
            if times >= self._rules.crashes_per_trial and len(worker.running) == 1:
                lost = self.shards[worker.running.pop(trial_id)]
                lost.running -= 1
                lost.invalid += 1
                done = TrialDone(
                    trial_id=trial_id, status=TrialStatus.INVALID, ended_at=at, error_class="harness"
                )
                out.append(ev.Keep(event=done))
        self._crash_times.append(now_s)
        while self._crash_times and self._crash_times[0] <= now_s - self._rules.restart_window_s:
            self._crash_times.popleft()
        if len(self._crash_times) > self._rules.restarts and not self._stop:
            self._stop, self._stop_at_s = "budget", now_s
            out.append(
                ev.Say(
                    text=f"workers crashed more than {self._rules.restarts} times within"
                    f" {self._rules.restart_window_s:.0f} s; giving up. Finished results are kept;"
                    " `benchrunner resume` runs the rest"
                )
            )
            for other in self.workers.values():
                if other is not worker and not other.stopping:
                    self._tell_to_stop(other, "budget", out)

    def _on_stop(self, event: ev.StopRequested, now_s: float, out: list[ev.Command]) -> None:
        if event.kill:
            self._stop = "kill"
            out += [ev.KillWorker(worker_id=worker_id) for worker_id in self.workers]
            for worker in self.workers.values():
                worker.stopping = worker.stopping or "killed"
            return
        if not self._stop:
            self._stop, self._stop_at_s = "drain", now_s
            for worker in self.workers.values():
                if not worker.stopping:
                    self._tell_to_stop(worker, "drained", out, now=False)

    # --- what follows from the state --------------------------------------------------------------------------------

    def _advance(self, now_s: float, at: str, out: list[ev.Command]) -> None:
        self._enforce_deadlines(now_s, at, out)
        if not self._stop:
            self._park_throttled_models(now_s, at, out)
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
        if self._stop == "drain" and now_s >= self._stop_at_s + self._rules.drain_s:
            self._stop = "now"
            for worker in self.workers.values():
                out.append(ev.StopWorker(worker_id=worker.worker_id, now=True))
        for worker in self.workers.values():
            overdue = now_s >= worker.deadline_s
            in_time = worker.stopping in ("", "drained") or (worker.stopping == SENT and not overdue)
            if not in_time or self._stop in ("now", "kill"):
                if worker.kill_at_s is None:
                    worker.kill_at_s = now_s + self._rules.kill_after_s
                elif now_s >= worker.kill_at_s:
                    worker.kill_at_s = now_s + self._rules.kill_after_s
                    out.append(ev.KillWorker(worker_id=worker.worker_id))
            elif not worker.stopping and overdue:
                out.append(ev.Say(text=f"worker {worker.worker_id} overran its shard's time and is stopped"))
                self._tell_to_stop(worker, "stall", out)
                self._count_stall(worker, at, out)

    def _park_throttled_models(self, now_s: float, at: str, out: list[ev.Command]) -> None:
        """Leave the shards of a model that is refused and refused for `resume`; the others go on."""
        for model, since_s in list(self._throttled_since_s.items()):
            if now_s - since_s < self._rules.stall_s:
                continue
            del self._throttled_since_s[model]
            out.append(
                ev.Say(
                    text=f"model {model} had no reply for {now_s - since_s:.0f} s, only refusals; it is parked and left"
                    " for `benchrunner resume`"
                )
            )
            for state in self.shards.values():
                if state.shard.model != model or state.status in ("done", "failed"):
                    continue
                self._set_status(state, "failed", at, out)
            for worker in self.workers.values():  # by model: a worker may be on a shard that is done, and on this one
                if self._model_of(worker) == model and not worker.stopping:
                    self._tell_to_stop(worker, "stall", out)

    def _count_stall(self, worker: WorkerState, at: str, out: list[ev.Command]) -> None:
        state = self.shards[worker.shard_id]
        state.fruitless = 0 if worker.ended else state.fruitless + 1
        if state.fruitless < FRUITLESS_LEASES or state.status == "failed":
            return
        # Without this a shard that always stalls would keep the run alive for ever.
        self._set_status(state, "failed", at, out)
        out.append(
            ev.Say(
                text=f"shard {state.shard.model} {state.shard.label} ended no trial in {state.fruitless} leases; it is"
                " left for `benchrunner resume`"
            )
        )
        for worker_id in state.workers:
            if not self.workers[worker_id].stopping:
                self._tell_to_stop(self.workers[worker_id], "stall", out)

    def _grant(self, now_s: float, at: str, out: list[ev.Command]) -> bool:
        if self._policy.managed and not self._any_room():
            return False  # as at nearly every trial's end: there is nothing to choose
        choice = self._policy.choose(now_s=now_s, shards=self._shard_views(), keys=self._key_views(now_s))
        self.asks_again_s = choice.ask_again_s
        for grant in choice.grants:
            state = self.shards[grant.shard_id]
            deadline_s = now_s + (self._rules.shard_timeout_s or max(3600.0, 10.0 * self.expected_s(state)))
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
        worker = next(
            one
            for one in self.workers.values()
            if one.key_id == grant.key_id and self._is_spare(one) and self._model_of(one) == state.shard.model
        )
        self.shards[worker.shard_id].workers.remove(worker.worker_id)
        worker.shard_id, worker.deadline_s, worker.ended = grant.shard_id, deadline_s, 0
        state.workers.append(worker.worker_id)
        out.append(ev.GoOn(worker_id=worker.worker_id, shard_id=grant.shard_id))

    def _model_of(self, worker: WorkerState) -> str:
        return self.shards[worker.shard_id].shard.model

    def _is_spare(self, worker: WorkerState) -> bool:
        state = self.shards[worker.shard_id]
        call_s = self._call_times.expected_s(state.shard)
        return rations.is_spare(state, worker, self.keys[worker.key_id], call_s)

    def _any_room(self) -> bool:
        """Return whether any key could take one more lease, as far as its slots go, or any worker another shard."""
        leases = dict.fromkeys(self.keys, 0)
        wanting = {state.shard.model for state in self.shards.values() if state.pending} if self._policy.joins else ()
        for worker in self.workers.values():
            if wanting and self._model_of(worker) in wanting and self._is_spare(worker):
                return True
            if not worker.released:
                leases[worker.key_id] += 1
        return any(not key.setup.slots or leases[key_id] < key.setup.slots for key_id, key in self.keys.items())

    def _shard_views(self) -> tuple[ShardView, ...]:
        views = []
        for state in self.shards.values():
            shard = state.shard
            if state.status == "failed" or shard.provider in self._unreachable:
                continue
            live = [self.workers[w] for w in state.workers]
            views.append(
                view_of(
                    shard,
                    pending=len(state.pending),
                    running=state.running,
                    expected_s=self.expected_s(state),
                    keys=tuple(w.key_id for w in live if not w.stopping),
                    started_s=state.started_s,
                )
            )
        return tuple(views)

    def _key_views(self, now_s: float) -> tuple[KeyView, ...]:
        models: dict[str, list[str]] = {key_id: [] for key_id in self.keys}
        spare: dict[str, list[str]] = {key_id: [] for key_id in self.keys}
        for worker in self.workers.values():
            if not worker.released:
                models[worker.key_id].append(self._model_of(worker))
                if self._is_spare(worker):
                    spare[worker.key_id].append(self._model_of(worker))
        return tuple(
            KeyView(
                key_id=key_id,
                provider=key.setup.provider,
                slots=key.setup.slots,
                models=tuple(models[key_id]),
                spare=tuple(spare[key_id]),
                usable=key.usable(now_s),
            )
            for key_id, key in self.keys.items()
        )

    def _feed(self, now_s: float, at: str, out: list[ev.Command]) -> None:
        waiting = {s.shard.provider for s in self.shards.values() if s.pending and not s.workers}
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
                taken = rations.take(state, worker, room, idle, self._crashed)
                if not taken:
                    continue
                worker.running.update(dict.fromkeys(taken, state.shard.shard_id))
                worker.sent_out = None
                state.running += len(taken)
                out += [ev.Keep(event=TrialStarted(trial_id=trial_id, started_at=at)) for trial_id in taken]
                out.append(ev.Assign(worker_id=worker_id, trial_ids=tuple(taken)))

    def _hand_on(self, out: list[ev.Command]) -> None:
        """Tell workers that have sent all they had, and whose key others wait for, to end with their last replies.

        A trial that needs its key once more is handed back, and keeps the next one to its end.
        """
        for worker in self.workers.values():
            state = self.shards[worker.shard_id]
            if worker.stopping or state.pending or not worker.running or not self.keys[worker.key_id].setup.slots:
                continue
            if worker.sent_out is None:
                worker.sent_out, worker.asked = False, worker.asked + 1
                out.append(ev.TellWhenSent(worker_id=worker.worker_id, nth=worker.asked))
            elif worker.sent_out and self._is_awaited(worker) and self._came_back.isdisjoint(worker.running):
                self._tell_to_stop(worker, SENT, out)

    def _is_awaited(self, worker: WorkerState) -> bool:
        """Return whether another model's shard has trials left that the worker's key could run."""
        mine = self.shards[worker.shard_id].shard
        waiting = [
            one.shard
            for one in self.shards.values()
            if one.pending and one.status != "failed" and one.shard.provider == mine.provider
        ]
        # What is left of its own model it will go on with, as soon as few enough replies are out.
        return bool(waiting) and all(shard.model != mine.model for shard in waiting)

    def _let_go(self, at: str, out: list[ev.Command]) -> bool:
        """Release what is not needed any more; return whether a key came free by it."""
        freed = False
        for worker in self.workers.values():
            state = self.shards[worker.shard_id]
            if worker.running and worker.stopping != SENT:
                continue
            if not worker.stopping and not state.pending:
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
            changed = ShardChanged(
                run_id=self._run_id, shard_id=state.shard.shard_id, status=status, at=at
            )
            out.append(ev.Keep(event=changed))

    def _maybe_end(self, now_s: float, at: str, out: list[ev.Command]) -> None:
        if self.workers:
            return
        left = [s for s in self.shards.values() if s.pending]
        no_usable_key = held_elsewhere = False
        if left and not self._stop:
            reachable = [s for s in left if s.status != "failed" and s.shard.provider not in self._unreachable]
            served = {k.setup.provider for k in self.keys.values() if self._serves_again(k, now_s)}
            since_s = self._held_up_since_s
            held_elsewhere = since_s is not None and now_s - since_s >= self._rules.wait_s
            if any(s.shard.provider in served for s in reachable) and not held_elsewhere:
                return  # a key is parked or denied for a while, or the policy staggers
            no_usable_key = bool(reachable) and not held_elsewhere
        if not left and not any(s.invalid for s in self.shards.values()):
            status = RunStatus.COMPLETE  # also when a stop came: it found nothing to interrupt
        elif self.interrupted:
            status = RunStatus.INTERRUPTED
        elif no_usable_key:
            status = RunStatus.FAILED
        else:
            status = RunStatus.INCOMPLETE
        for state in left:
            if state.status == "running":  # nothing of an ended run may stand as running
                self._set_status(state, "waiting" if self.interrupted else "failed", at, out)
        self.ended = ev.End(status=status, no_usable_key=no_usable_key, held_elsewhere=held_elsewhere)
        out.append(self.ended)

    def _serves_again(self, key: KeyState, now_s: float) -> bool:
        """Return whether the key is worth waiting for: a quota that resets tomorrow is not."""
        return not key.retired and key.parked_until_s <= now_s + self._rules.longest_park_s
