"""RunState behind the seam that a forecast speaks to: the rules of a real run, played under a virtual clock. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from benchrunner.engine import events as ev
from benchrunner.engine.books import Rules, key_setup
from benchrunner.engine.state import RunState
from benchrunner.planning.conducting import GoOn, Hand, LetGo, Order, Start, TellWhenSent
from benchrunner.policies.base import Policy
from benchrunner.records import KeyEntry, Shard, TrialStatus

_NO_TIME = ""  # what RunState stamps its facts with: nobody keeps those of a virtual run


class VirtualConductor:
    """A run's rules without a run. Implements planning.conducting.Conductor."""

    def __init__(
        self, shards: Sequence[Shard], keys: Sequence[KeyEntry], policy: Policy, *, one_turn: bool
    ) -> None:
        """Take the shards and keys as they are at the speed of the forecast; `one_turn` as RunState does."""
        self._state = RunState(
            run_id="forecast",
            shards=shards,
            keys=[key_setup(key) for key in keys],
            policy=policy,
            rules=Rules(shard_timeout_s=float("inf")),
            one_turn=one_turn,
        )

    @property
    def ended(self) -> bool:
        """See Conductor."""
        return self._state.ended is not None

    @property
    def asks_again_s(self) -> float | None:
        """See Conductor."""
        return self._state.asks_again_s

    def tick(self, now_s: float) -> list[Order]:
        """See Conductor."""
        return self._play(ev.Tick(), now_s)

    def call_leaves(self, worker_id: str, wait_s: float, now_s: float) -> None:
        """See Conductor."""
        self._state.handle(ev.CallLeaves(worker_id=worker_id, wait_window_s=wait_s), now_s, _NO_TIME)

    def trial_done(self, worker_id: str, trial_id: str, now_s: float) -> list[Order]:
        """See Conductor."""
        finished = ev.TrialFinished(
            worker_id=worker_id,
            trial_id=trial_id,
            status=TrialStatus.SCORED,
            score=None,
            cause="",
            detail="",
            turns=0,
        )
        return self._play(finished, now_s)

    def all_sent(self, worker_id: str, nth: int, now_s: float) -> list[Order]:
        """See Conductor."""
        return self._play(ev.AllSent(worker_id=worker_id, nth=nth), now_s)

    def worker_gone(self, worker_id: str, now_s: float) -> list[Order]:
        """See Conductor."""
        return self._play(ev.WorkerExited(worker_id=worker_id, exit_code=0), now_s)

    def _play(self, event: ev.Event, now_s: float) -> list[Order]:
        orders: list[Order] = []
        for command in self._state.handle(event, now_s, _NO_TIME):
            match command:
                case ev.StartWorker():
                    orders.append(
                        Start(worker_id=command.worker_id, shard_id=command.shard_id, key_id=command.key_id)
                    )
                case ev.GoOn():
                    orders.append(GoOn(worker_id=command.worker_id, shard_id=command.shard_id))
                case ev.Assign():
                    orders.append(Hand(worker_id=command.worker_id, trial_ids=command.trial_ids))
                case ev.TellWhenSent():
                    orders.append(TellWhenSent(worker_id=command.worker_id, nth=command.nth))
                case ev.Release():
                    orders.append(LetGo(worker_id=command.worker_id))
                case _:
                    pass  # facts for the store, words for people, and orders about processes there are none of
        return orders
