"""What happens to a run (events, fed to RunState) and what is to be done about it (commands, handed back)."""

from __future__ import annotations

from dataclasses import dataclass

from benchrunner.records import Outcome, RunStatus, StoreEvent, TrialScore, TrialStatus

# --- events ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time passed: the run begins, or a deadline or a policy's `ask_again_s` may be due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseDenied:
    """The key could not be leased for this worker, since `by` has it; the worker was never started."""

    worker_id: str
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLeaves:
    """A worker announced a call that waited `wait_window_s` for its permit."""

    worker_id: str
    wait_window_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFinished:
    """A call ended; `answered`: by a server that spoke HTTP, whatever it said."""

    worker_id: str
    outcome: Outcome
    latency_s: float
    answered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFinished:
    """A worker reports a trial's end."""

    worker_id: str
    trial_id: str
    status: TrialStatus
    score: TrialScore | None
    cause: str
    detail: str
    turns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialHandedBack:
    """A worker gave a trial back at a call boundary."""

    worker_id: str
    trial_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AllSent:
    """The last request of every trial in the worker's hands has left, as `TellWhenSent` number `nth` asked to know."""

    worker_id: str
    nth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTrouble:
    """A worker's key was refused."""

    worker_id: str
    kind: Outcome  # AUTH or QUOTA
    detail: str
    park_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerExited:
    """A worker's process ended; everything it had said before was delivered first."""

    worker_id: str
    exit_code: int
    blameless: bool = False  # its node was lost, and another of its workers answers for that


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequested:
    """Somebody wants the run to end: drained, or at once."""

    kill: bool


Event = (
    Tick
    | LeaseDenied
    | CallLeaves
    | CallFinished
    | TrialFinished
    | TrialHandedBack
    | AllSent
    | KeyTrouble
    | WorkerExited
    | StopRequested
)

# --- commands -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StartWorker:
    """Lease the key and start a worker for the shard; answer LeaseDenied if the key cannot be had."""

    worker_id: str
    shard_id: str
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GoOn:
    """Have the worker's lease be for this shard from now on, which is of the same model."""

    worker_id: str
    shard_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Assign:
    """Send these trials to the worker."""

    worker_id: str
    trial_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TellWhenSent:
    """Have the worker say AllSent; trials it is given later make it void."""

    worker_id: str
    nth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StopWorker:
    """Ask the worker to end: after its running trials, or (`now`) at their next call."""

    worker_id: str
    now: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KillWorker:
    """End the worker's process."""

    worker_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Give the worker's lease back."""

    worker_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefuseKey:
    """Take the key out of service: for the run (AUTH) or for `park_s` (QUOTA)."""

    key_id: str
    kind: Outcome
    detail: str
    park_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Write this to the store."""

    event: StoreEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """Tell the user."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The run is over."""

    status: RunStatus
    no_usable_key: bool
    held_elsewhere: bool = False  # all that is left waits for keys other runs hold, and the wait ran out


Command = StartWorker | GoOn | Assign | TellWhenSent | StopWorker | KillWorker | Release | RefuseKey | Keep | Say | End
