"""A run to play with: events in, commands looked at, books recounted after every step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from benchrunner.engine import events as ev
from benchrunner.engine.books import KeySetup, Rules
from benchrunner.engine.state import RunState
from benchrunner.policies.base import Policy
from benchrunner.records import Outcome, Shard, ShardChanged, TrialDone, TrialRequeued, TrialStatus
from benchrunner.testing import FakeClock, StubPolicy, check_state, make_key, make_score, make_shard

C = TypeVar("C")


class Play:
    """One RunState under a fake clock. Each method feeds one event and returns (and keeps) what is to be done."""

    def __init__(
        self,
        *,
        shards: Sequence[Shard] = (make_shard(),),
        keys: Sequence[KeySetup] = (make_key(),),
        policy: Policy | None = None,
        rules: Rules | None = None,
        done: Iterable[str] = (),
        one_turn: bool = False,
    ) -> None:
        """Default: one shard of three trials, two at once, on one key."""
        self.clock = FakeClock()
        self.state = RunState(
            run_id="r1",
            shards=shards,
            keys=keys,
            policy=policy or StubPolicy(),
            rules=rules or Rules(),
            done=done,
            one_turn=one_turn,
        )
        self.said: list[ev.Command] = []

    def feed(self, event: ev.Event) -> list[ev.Command]:
        commands = self.state.handle(event, self.clock.now_s(), self.clock.utc())
        self.said += commands
        check_state(self.state)
        return commands

    def tick(self, after_s: float = 0.0) -> list[ev.Command]:
        self.clock.sleep_s(after_s)
        return self.feed(ev.Tick())

    def scored(self, worker_id: str, *trial_ids: str) -> list[ev.Command]:
        return [c for trial_id in trial_ids for c in self.ended(worker_id, trial_id)]

    def ended(self, worker_id: str, trial_id: str, *, invalid: str = "", detail: str = "") -> list[ev.Command]:
        """The trial is scored, or `invalid` by that cause."""
        return self.feed(
            ev.TrialFinished(
                worker_id=worker_id,
                trial_id=trial_id,
                status=TrialStatus.INVALID if invalid else TrialStatus.SCORED,
                score=None if invalid else make_score(),
                cause=invalid,
                detail=detail,
                turns=4,
            )
        )

    def handed_back(self, worker_id: str, trial_id: str) -> list[ev.Command]:
        return self.feed(ev.TrialHandedBack(worker_id=worker_id, trial_id=trial_id))

    def all_sent(self, worker_id: str, nth: int = 1) -> list[ev.Command]:
        return self.feed(ev.AllSent(worker_id=worker_id, nth=nth))

    def key_refused(self, worker_id: str, *, detail: str = "invalid api key") -> list[ev.Command]:
        return self.feed(ev.KeyTrouble(worker_id=worker_id, kind=Outcome.AUTH, detail=detail, park_s=3e9))

    def quota_spent(self, worker_id: str, park_s: float) -> list[ev.Command]:
        return self.feed(ev.KeyTrouble(worker_id=worker_id, kind=Outcome.QUOTA, detail="spent", park_s=park_s))

    def exited(self, worker_id: str, exit_code: int = 0) -> list[ev.Command]:
        return self.feed(ev.WorkerExited(worker_id=worker_id, exit_code=exit_code))

    def crashed(self, worker_id: str) -> list[ev.Command]:
        return self.exited(worker_id, -9)

    def denied(self, worker_id: str) -> list[ev.Command]:
        return self.feed(ev.LeaseDenied(worker_id=worker_id))

    def stop(self, *, kill: bool = False) -> list[ev.Command]:
        return self.feed(ev.StopRequested(kill=kill))

    def reply(self, worker_id: str, outcome: Outcome = Outcome.OK, *, answered: bool = True) -> list[ev.Command]:
        return self.feed(ev.CallFinished(worker_id=worker_id, outcome=outcome, latency_s=0.5, answered=answered))

    def call_waited(self, worker_id: str, wait_s: float) -> list[ev.Command]:
        return self.feed(ev.CallLeaves(worker_id=worker_id, wait_window_s=wait_s))

    def pending(self, shard_id: str = "s0") -> list[str]:
        return list(self.state.shards[shard_id].pending)

    def running(self, worker_id: str) -> set[str]:
        return set(self.state.workers[worker_id].running)


def only(commands: Iterable[ev.Command], kind: type[C]) -> list[C]:
    """Return the commands of one kind, in order."""
    return [command for command in commands if isinstance(command, kind)]


def ended_trials(commands: Iterable[ev.Command]) -> list[tuple[str, str, str]]:
    """Return (trial, status, error class) of every trial that came to its end."""
    kept = [command.event for command in only(commands, ev.Keep)]
    return [(e.trial_id, e.status.value, e.error_class) for e in kept if isinstance(e, TrialDone)]


def requeued_trials(commands: Iterable[ev.Command]) -> list[str]:
    """Return the trials that went back to a queue, in the order they did."""
    kept = [command.event for command in only(commands, ev.Keep)]
    return [event.trial_id for event in kept if isinstance(event, TrialRequeued)]


def shard_changes(commands: Iterable[ev.Command]) -> list[tuple[str, str]]:
    """Return (shard, status) of every change of a shard's standing."""
    kept = [command.event for command in only(commands, ev.Keep)]
    return [(event.shard_id, event.status) for event in kept if isinstance(event, ShardChanged)]


def words(commands: Iterable[ev.Command]) -> str:
    """Return everything the user is told, in one text."""
    return " / ".join(command.text for command in only(commands, ev.Say))
