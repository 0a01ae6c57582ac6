"""What RunState makes of workers whose whole node went."""

from __future__ import annotations

from engine_play import Play

from benchrunner.engine import events as ev
from benchrunner.engine.books import Rules
from benchrunner.records import TrialRequeued
from benchrunner.testing import make_key, make_shard


def test_a_lost_node_with_many_workers_costs_one_restart() -> None:
    """The first of them counts against the budget, the others do not: their trials run again all the same."""
    # Given four workers, and a budget of one restart
    shards = [make_shard(f"s{n}", trials=4, position=n) for n in range(4)]
    play = Play(shards=shards, keys=[make_key(f"key{n}") for n in range(4)], rules=Rules(restarts=1))
    play.tick()
    workers = sorted(play.state.workers)
    assert len(workers) == 4
    # When the node they are on is lost
    commands = [
        command
        for n, worker_id in enumerate(workers)
        for command in play.feed(ev.WorkerExited(worker_id=worker_id, exit_code=-1, blameless=n > 0))
    ]
    # Then every key is given back, every trial goes back to the queue, and all shards run again
    assert sorted(c.worker_id for c in commands if isinstance(c, ev.Release)) == workers
    assert sum(isinstance(c, ev.Keep) and isinstance(c.event, TrialRequeued) for c in commands) == 8
    assert len(play.state.workers) == 4
    assert play.state.ended is None
