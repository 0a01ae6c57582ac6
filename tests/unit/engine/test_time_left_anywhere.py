"""Wherever a run stands, under whatever policy, the time it has left can be told, or it is said that nobody can."""

from __future__ import annotations

from engine_play import Play
from hypothesis import given, settings
from hypothesis import strategies as st
from live_play import use, world_of

from benchrunner.engine.time_left import TimeLeft
from benchrunner.policies import make_policy
from benchrunner.testing import make_key, make_shard

POLICIES = st.sampled_from(["native", "serial", "batched", "pool"])
STEPS = st.lists(st.sampled_from(["score", "refuse", "deny", "crash", "wait", "spend"]), max_size=12)


@settings(max_examples=60, deadline=None)
@given(
    name=POLICIES,
    order=st.sampled_from(["serial", "concurrent", "grouped"]),
    shards=st.integers(1, 5),
    models=st.integers(1, 5),
    trials=st.integers(1, 6),
    keys=st.integers(1, 3),
    slots=st.integers(0, 2),
    steps=STEPS,
    cap_per_s=st.none() | st.floats(0.01, 50.0),
)
def test_the_time_left_can_be_told_from_anywhere(
    name: str,
    order: str,
    shards: int,
    models: int,
    trials: int,
    keys: int,
    slots: int,
    steps: list[str],
    cap_per_s: float | None,
) -> None:
    """None exactly where work is left and no key serves it; else finite, and nothing only when nothing is left."""
    # Given a run somewhere on its way
    policy = make_policy(name, order=order, stagger_s=5.0)
    play = Play(
        shards=[
            make_shard(f"s{n}", position=n, trials=trials, key_id=f"key{n % keys}", model=f"m{n % models}")
            for n in range(shards)
        ],
        keys=[make_key(f"key{n}", slots=slots) for n in range(keys)],
        policy=policy,
    )
    play.tick()
    for step in steps:
        worker = next(iter(play.state.workers.values()), None)
        if play.state.ended is not None:
            break
        if worker is None or step == "wait":
            play.tick(after_s=3.0)
        elif step == "score" and worker.running:
            play.scored(worker.worker_id, min(worker.running))
        elif step == "refuse":
            play.key_refused(worker.worker_id)
        elif step == "spend":
            play.quota_spent(worker.worker_id, 20.0)
        elif step == "deny":
            play.denied(worker.worker_id)
        elif step == "crash":
            play.crashed(worker.worker_id)
    # When somebody asks how long it takes
    now_s = play.clock.now_s()
    left_s = TimeLeft(world_of(play, policy=policy)).seconds(play.state, {"key0": use(cap_per_s=cap_per_s)}, now_s)
    # Then there is an answer
    work = any((one.pending or one.running) and one.status != "failed" for one in play.state.shards.values())
    serving = any(not key.retired and now_s >= key.parked_until_s for key in play.state.keys.values())
    if not work:
        assert left_s == 0.0
    elif not serving:
        assert left_s is None
    else:
        assert left_s is None or 0.0 < left_s < 1e7
