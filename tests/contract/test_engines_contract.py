"""What every engine promises a supervisor: its workers, its leases, and nothing that outlives them.

The engines are asked through `benchrunner.engine.crew`; the provider is tests/servers/strict_provider.py, which counts
what really arrived.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from benchrunner.clock import SystemClock
from benchrunner.config.binding import fingerprint
from benchrunner.config.load import load_config
from benchrunner.config.settings import Config
from benchrunner.config.shipped import shipped_text
from benchrunner.engine import messages as ms
from benchrunner.engine.crew import Crew, CrewWorker
from benchrunner.engine.forking import named_context
from benchrunner.engine.launch import RunRequest, domains_of, open_local_crew, rules_of
from benchrunner.engine.leases import Holder
from benchrunner.engine.local import WaitList
from benchrunner.engine.run_dir import RunDirectory
from benchrunner.engine.supervisor import RunPlan
from benchrunner.planning.sharding import plan_phase
from benchrunner.policies import make_policy
from benchrunner.records import Key, Lease, Limit, LimitKind, Outcome, Provider, TrialStatus
from benchrunner.registry.key_locks import HeldBy
from benchrunner.suites import load_suite

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(180)]

SERVER = Path(__file__).parents[1] / "servers" / "strict_provider.py"
MODEL = "qwen2.5-7b-instruct"
DEADLINE_S = 60.0
MOST_TESTS = 40
TESTS = itertools.count()
CLOCK = SystemClock()


@contextmanager
def strict_provider(*options: str) -> Iterator[str]:
    """A provider that counts at arrival; its address."""
    process = subprocess.Popen([sys.executable, str(SERVER), *options], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


@pytest.fixture(scope="module", params=["local", "ray"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An engine by its name; Ray's cluster serves every test here."""
    name: str = request.param
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("BENCHRUNNER_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        if name == "ray":
            pytest.importorskip("ray")
            from benchrunner.engine.ray_engine import open_cluster

            stack.enter_context(open_cluster(None))
        yield name


@dataclass
class Play:
    """A crew at work for one small run, and what its supervisor would do by hand."""

    crew: Crew
    run: RunPlan
    test: int  # every test has two keys and two holders of its own
    heard: dict[int, list[ms.Message]] = field(default_factory=dict)
    taken: list[CrewWorker] = field(default_factory=list)

    def counted(self, number: int = 0) -> tuple[int, int]:
        """How many requests the provider accepted and refused on the test's first or second key."""
        base_url, secret = self.run.providers["ideallab"].base_url, self.run.keys[self.key(number)].secret
        with urllib.request.urlopen(base_url.removesuffix("/v1") + "/stats", timeout=5) as answer:
            seen = json.load(answer)
        return seen["accepted"].get(secret, 0), seen["refused"].get(secret, 0)

    def take(self) -> CrewWorker:
        """A worker, to be ended with the play."""
        worker = self.crew.pool.take("ideallab")
        self.taken.append(worker)
        return worker

    def key(self, number: int = 0) -> str:
        """The id of the test's first or second key."""
        return f"key{2 * self.test + number}"

    def lease(self, worker: CrewWorker, number: int = 0, name: str = "a") -> Lease | HeldBy:
        """Ask for the test's first or second key."""
        holder = Holder(
            name=f"{self.run.run_id}/s0/{name}{self.test}", model=MODEL, shard_id="s0", pid=worker.pid,
            pid_started_s=worker.started_s(), token=worker.token,
        )  # fmt: skip
        return self.crew.desk.lease(self.key(number), holder)

    def begin(self, worker: CrewWorker, lease: Lease, *, trials: int, patience_s: float = 60.0) -> list[str]:
        """Send the worker to work and return the ids of its trials."""
        run = self.run
        chosen = list(run.trials.values())[:trials]
        worker.send(
            [
                ms.Begin(
                    run_id=run.run_id, lease=lease, provider=run.providers["ideallab"], key=run.keys[lease.key_id],
                    model=run.models[MODEL], domains=run.domains[lease.key_id, MODEL],
                    windows_path=self.crew.windows_path, pace_qps=2.0, max_tries=2, patience_s=patience_s,
                    trial_timeout_s=60.0, suite=run.suite, tasks_file="",
                ),
                *(
                    ms.Order(trial=trial, task=run.tasks[trial.condition.difficulty, trial.task_id])
                    for trial in chosen
                ),
            ]
        )  # fmt: skip
        return [trial.trial_id for trial in chosen]

    def hear(self, worker: CrewWorker, *, until: Any, record: bool = True) -> list[ms.Message]:
        """Listen, acknowledging announced calls, until `until(everything heard)` or the worker has ended."""
        heard = self.heard.setdefault(id(worker), [])
        waits = WaitList()
        waits.add(worker.pipe)
        waits.add(worker.sentinel)
        deadline_s = CLOCK.now_s() + DEADLINE_S
        try:
            while not until(heard):
                assert CLOCK.now_s() < deadline_s, f"not within {DEADLINE_S:g} s; heard {heard[-5:]}"
                ready = waits.wait(0.5)
                fresh = worker.receive()
                heard += fresh
                refs = tuple(message.ref for message in fresh if isinstance(message, ms.Sending))
                if refs and record:
                    worker.send([ms.Recorded(refs=refs)])
                if worker.sentinel in ready and not fresh:
                    break
        finally:
            waits.close()
        return heard

    def end(self, worker: CrewWorker) -> int | None:
        """Let the worker finish and return how it ended."""
        worker.send([ms.Stop(now=False)])
        self.hear(worker, until=lambda _: False)
        worker.close()
        self.taken.remove(worker)
        return worker.exit_code()


@pytest.fixture(scope="module")
def stage(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Crew, RunPlan]]:
    """A crew of the engine for one model and as many keys, of 20 requests per second, as all tests need."""
    path = tmp_path_factory.mktemp("run") / "phases.toml"
    path.write_text(shipped_text("phases.toml"))
    loaded = load_config(path, environ={})
    config = replace(loaded, run=replace(loaded.run, backend="live"))
    with ExitStack() as stack:
        base_url = stack.enter_context(strict_provider("--limit", "20", "--latency", "0.1"))
        run = small_run(config, base_url)
        if engine == "local":
            request = RunRequest(config=config, phase=config.phase("5.2"), argv="", batch_id="")
            run_dir = stack.enter_context(RunDirectory(run.run_id))
            yield open_local_crew(stack, request, run, named_context(), run_dir, CLOCK), run
        else:
            from benchrunner.engine.ray_engine import open_crew

            yield open_crew(stack, config, run, note=f"run {run.run_id}", last_fence=0, resumed=False), run


@pytest.fixture
def play(stage: tuple[Crew, RunPlan]) -> Iterator[Play]:
    """The crew, with keys and holders that no other test has. Whoever works at the end is ended."""
    crew, run = stage
    playing = Play(crew=crew, run=run, test=next(TESTS))
    yield playing
    for worker in playing.taken:
        worker.kill()
        playing.hear(worker, until=lambda _: False)
        worker.close()
        for name in "abc":
            crew.desk.release(f"{run.run_id}/s0/{name}{playing.test}")


def small_run(config: Config, base_url: str) -> RunPlan:
    """One model of phase 5.2, ten trials."""
    provider = next(one for one in config.providers if one.name == "ideallab")
    provider = Provider(**{**{f: getattr(provider, f) for f in provider.__dataclass_fields__}, "base_url": base_url})
    limits = (Limit(kind=LimitKind.REQUESTS, amount=20, per_s=1.0),)
    keys = tuple(
        Key(
            key_id=f"key{n}", provider="ideallab", account="ideallab", secret=f"contract-secret-{n}",
            fingerprint=fingerprint(base_url, f"contract-secret-{n}"), limits=limits,
        )
        for n in range(2 * MOST_TESTS)
    )  # fmt: skip
    models = {MODEL: config.model(MODEL)}
    suite = load_suite("workflow", None)
    phase = replace(config.phase("5.2"), instances=1, models=(MODEL,))
    run_id = f"contract-{base_url.rsplit(':', 1)[1].removesuffix('/v1')}"
    plan = plan_phase(phase, tuple(models.values()), suite, run_id=run_id, seed=1)
    return RunPlan(
        run_id=run_id, shards=plan.shards, trials={trial.trial_id: trial for trial in plan.trials}, tasks=plan.tasks,
        done=frozenset(), providers={"ideallab": provider}, keys={key.key_id: key for key in keys}, models=models,
        domains=domains_of([provider], keys, models),
        policy=make_policy("pool", order="concurrent", stagger_s=0.0, batch_size=3), rules=rules_of(config, 0.0),
        windows_path="", max_tries=2, patience_s=60.0, trial_timeout_s=60.0, suite="workflow", tasks_file="",
        one_turn=plan.one_turn,
    )  # fmt: skip


def granted(answer: Lease | HeldBy) -> Lease:
    assert isinstance(answer, Lease)
    return answer


def ended_trials(heard: list[ms.Message]) -> list[ms.TrialEnded]:
    return [message for message in heard if isinstance(message, ms.TrialEnded)]


def test_a_worker_serves_its_trials_and_says_all_of_it(play: Play) -> None:
    """Every call is announced and its end told, every trial's end is told once, and the worker ends with 0."""
    # Given a worker with six trials under a lease
    worker = play.take()
    trials = play.begin(worker, granted(play.lease(worker)), trials=6)
    # When all of them have ended, and it is told that there are no more
    heard = play.hear(worker, until=lambda said: len(ended_trials(said)) == 6)
    code = play.end(worker)
    # Then each is there once, scored; each call was announced and ended; nothing was refused
    assert sorted(message.trial_id for message in ended_trials(heard)) == sorted(trials)
    assert {message.status for message in ended_trials(heard)} == {TrialStatus.SCORED}
    announced = [message.ref for message in heard if isinstance(message, ms.Sending)]
    ended = [message for message in heard if isinstance(message, ms.CallEnded)]
    assert sorted(announced) == sorted(message.ref for message in ended)
    assert {message.outcome for message in ended} == {Outcome.OK}
    assert play.counted() == (len(ended), 0)
    assert code == 0


def test_no_call_leaves_before_it_is_recorded(play: Play) -> None:
    """A call that the supervisor has not committed does not reach the provider."""
    worker = play.take()
    play.begin(worker, granted(play.lease(worker)), trials=3)
    # When three calls were announced and none is acknowledged
    play.hear(
        worker, until=lambda said: sum(isinstance(m, ms.Sending) for m in said) == 3, record=False
    )
    CLOCK.sleep_s(0.3)
    # Then the provider has seen none
    assert play.counted() == (0, 0)


def test_a_killed_worker_is_seen_to_end(play: Play) -> None:
    """Its sentinel says so, its exit code is not 0, and what is said to it afterwards harms nobody."""
    worker = play.take()
    lease = granted(play.lease(worker))
    play.begin(worker, lease, trials=4)
    play.hear(worker, until=lambda said: any(isinstance(message, ms.CallEnded) for message in said))
    # When it is killed
    worker.kill()
    play.hear(worker, until=lambda _: False)
    # Then that is seen
    assert worker.exit_code() not in (None, 0)
    assert worker.send([ms.Stop(now=True)]) in (False, True)
    # And its key goes to the next one under a higher fence
    assert play.crew.desk.release(lease.holder) is not None
    assert granted(play.lease(play.take(), name="b")).fence > lease.fence


def test_told_to_stop_at_once_it_hands_its_trials_back(play: Play) -> None:
    """Stop(now): every trial is handed back at its next call, or ends; none is lost, and the worker ends with 0."""
    worker = play.take()
    trials = play.begin(worker, granted(play.lease(worker)), trials=5)
    play.hear(worker, until=lambda said: sum(isinstance(m, ms.CallEnded) for m in said) > 5)
    worker.send([ms.Stop(now=True)])
    heard = play.hear(worker, until=lambda _: False)
    told = [m.trial_id for m in heard if isinstance(m, ms.TrialReturned | ms.TrialEnded)]
    assert sorted(told) == sorted(trials)
    assert any(isinstance(m, ms.TrialReturned) for m in heard)
    assert worker.exit_code() == 0


def test_asked_for_it_a_worker_says_when_all_its_requests_have_left(play: Play) -> None:
    """AllSent comes with its number, once each trial's request is on its way; with none out, too."""
    # Given a worker with four trials, asked to say when each has sent its request
    worker = play.take()
    play.begin(worker, granted(play.lease(worker)), trials=4)
    worker.send([ms.TellWhenSent(nth=7)])
    # When it says so
    heard = play.hear(worker, until=lambda said: any(isinstance(message, ms.AllSent) for message in said))
    # Then all four have been announced, and none of their dialogues of ten turns has ended
    assert [message.nth for message in heard if isinstance(message, ms.AllSent)] == [7]
    assert len({message.trial_id for message in heard if isinstance(message, ms.Sending)}) == 4
    assert ended_trials(heard) == []
    # And once all its trials have ended it says so at once
    play.hear(worker, until=lambda said: len(ended_trials(said)) == 4)
    worker.send([ms.TellWhenSent(nth=8)])
    heard = play.hear(worker, until=lambda said: sum(isinstance(message, ms.AllSent) for message in said) == 2)
    assert [message.nth for message in heard if isinstance(message, ms.AllSent)] == [7, 8]


def test_a_slot_serves_one_holder_at_a_time(play: Play) -> None:
    """The second holder of a key is told who has it, and gets it once it is released, under a higher fence."""
    first = granted(play.lease(play.take(), name="a"))
    other = play.take()
    # When another asks for the same key
    refused = play.lease(other, name="b")
    assert isinstance(refused, HeldBy)
    # Then the one who has it may ask again, another key is free, and so is this one after its release
    assert granted(play.lease(play.taken[0], name="a")).fence == first.fence
    assert granted(play.lease(other, 1, "c")).key_id == play.key(1)
    released = play.crew.desk.release(first.holder)
    assert released is not None
    assert released.fence == first.fence
    assert granted(play.lease(other, name="b")).fence > first.fence


def test_a_worker_goes_on_with_another_shard_on_its_key(play: Play) -> None:
    """Its lease moves under a higher fence while it works; the key is nobody else's in between, and free after it."""
    # Given a worker with trials in flight
    worker, other = play.take(), play.take()
    first = granted(play.lease(worker))
    trials = play.begin(worker, first, trials=2)
    play.hear(worker, until=lambda said: any(isinstance(message, ms.CallEnded) for message in said))
    # When its lease moves to the next shard and it is given two more trials
    second = play.crew.desk.move(first.holder, "s1")
    more = list(play.run.trials.values())[2:4]
    worker.send(
        [ms.Order(trial=one, task=play.run.tasks[one.condition.difficulty, one.task_id]) for one in more]
    )
    # Then all four are scored, and nobody else could have the key meanwhile
    assert isinstance(play.lease(other, name="b"), HeldBy)
    heard = play.hear(worker, until=lambda said: len(ended_trials(said)) == 4)
    assert sorted(m.trial_id for m in ended_trials(heard)) == sorted([*trials, *(one.trial_id for one in more)])
    assert {message.status for message in ended_trials(heard)} == {TrialStatus.SCORED}
    # And the lease that is given back at the end is the second, below the next one's fence
    assert second is not None
    assert (second.key_id, second.shard_id) == (first.key_id, "s1")
    assert first.fence < second.fence
    assert play.end(worker) == 0
    assert play.crew.desk.release(first.holder) == second
    assert granted(play.lease(other, name="b")).fence > second.fence


def test_a_retired_key_is_leased_no_more(play: Play) -> None:
    """A key that the provider refuses is out for the rest of the run; the others go on."""
    worker = play.take()
    play.crew.desk.retire(play.key(), "401")
    assert isinstance(play.lease(worker), HeldBy)
    assert granted(play.lease(worker, 1)).key_id == play.key(1)


def test_a_worker_that_was_sent_nothing_is_taken_again(play: Play) -> None:
    """A worker whose lease was denied goes back, and serves the next lease."""
    play.crew.pool.prepare(1)
    worker = play.crew.pool.take("ideallab")
    play.crew.pool.put_back(worker)
    again = play.take()
    trials = play.begin(again, granted(play.lease(again)), trials=1)
    heard = play.hear(again, until=ended_trials)
    assert [message.trial_id for message in ended_trials(heard)] == trials
    assert play.end(again) == 0


def test_two_workers_on_two_keys_keep_each_within_its_limit(play: Play) -> None:
    """Two workers at once: each key is sent what its window allows, and not one request more."""
    workers = [play.take(), play.take()]
    for n, worker in enumerate(workers):
        play.begin(worker, granted(play.lease(worker, n, "ab"[n])), trials=8)
    for worker in workers:
        play.hear(worker, until=lambda said: len(ended_trials(said)) == 8)
        assert play.end(worker) == 0
    assert [play.counted(0), play.counted(1)] == [(80, 0), (80, 0)]


def test_how_the_keys_stand_can_be_seen(play: Play) -> None:
    """The domains that a worker draws permits from show what they granted."""
    worker = play.take()
    play.begin(worker, granted(play.lease(worker)), trials=2)
    play.hear(worker, until=lambda said: len(ended_trials(said)) == 2)
    deadline_s = CLOCK.now_s() + 10.0
    while not any(use.granted >= 20 for use in play.crew.key_domains()) and CLOCK.now_s() < deadline_s:
        CLOCK.sleep_s(0.1)
    assert max(use.granted for use in play.crew.key_domains()) >= 20
