"""Any run, whatever happens in it: RunState's books hold after every step, and a fair world ends it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st

from benchrunner.engine import events as ev
from benchrunner.engine.books import SENT, KeySetup, Rules
from benchrunner.engine.state import RunState
from benchrunner.engine.trial_ends import SECOND_CHANCE
from benchrunner.policies import make_policy
from benchrunner.policies.base import Policy
from benchrunner.records import Outcome, RunStatus, Shard, TrialDone, TrialRequeued, TrialStarted, TrialStatus
from benchrunner.testing import FakeClock, StubPolicy, check_state, make_key, make_score, make_shard

CAUSES = (*sorted(SECOND_CHANCE), "bad_request", "rate_limit")
RULES = Rules(restarts=4, shard_timeout_s=120.0, drain_s=5.0, longest_park_s=300.0, kill_after_s=3.0)


@dataclass
class Process:
    """A worker as the outside world sees it."""

    key_id: str
    shard_id: str
    held: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    told: str = ""  # "" | "soft" | "now"
    killed: bool = False
    denied: bool = False
    released: bool = False
    asked: int = 0  # under which number to say that it has sent all; 0: nobody wants to know
    sent: bool = False  # it has said so, and was given nothing since


class World:
    """Does what RunState commands, as its interpreter would, and checks every command as it is done."""

    def __init__(
        self,
        shards: list[Shard],
        keys: list[KeySetup],
        policy: Policy,
        *,
        denies: bool,
        done: list[str],
        one_turn: bool,
    ) -> None:
        self.state = RunState(
            run_id="r1", shards=shards, keys=keys, policy=policy, rules=RULES, done=done, one_turn=one_turn
        )
        self.hands_on = one_turn and policy.hands_on
        self.clock = FakeClock()
        self.policy, self.denies = policy, denies
        self.slots = {key.key_id: key.slots for key in keys}
        self.shard_of = {trial_id: shard.shard_id for shard in shards for trial_id in shard.trial_ids}
        self.model_of = {trial_id: shard.model for shard in shards for trial_id in shard.trial_ids}
        self.models = {shard.shard_id: shard.model for shard in shards}
        self.processes: dict[str, Process] = {}
        self.retired: set[str] = set()
        self.scored: set[str] = set(done)
        self.invalid: set[str] = set()
        self.started = self.fed = self.went_on = self.handed_on = 0
        self.end: ev.End | None = None

    def feed(self, happened: ev.Event) -> None:
        note(f"{self.clock.now_s():.2f} {happened}")  # shown with the smallest failing example
        for command in self.state.handle(happened, self.clock.now_s(), self.clock.utc()):
            assert self.end is None, f"{command} after the end"
            self.do(command)
        gone = getattr(happened, "worker_id", "") if isinstance(happened, ev.WorkerExited | ev.LeaseDenied) else ""
        if gone:
            assert not self.processes.pop(gone).held, "trials in the hands of a process that is gone"
        check_state(self.state, scored=self.scored, invalid=self.invalid)
        held = {worker_id: set(p.held) for worker_id, p in self.processes.items()}
        assert held == {worker_id: set(worker.running) for worker_id, worker in self.state.workers.items()}
        for worker in self.state.workers.values():
            assert all(shard_id == self.shard_of[trial_id] for trial_id, shard_id in worker.running.items())
        self.check_models()

    def check_models(self) -> None:
        """Check that one slot serves one model, whatever shards its worker is busy with.

        Who has given the key back sends nothing more: only replies are awaited then.
        """
        if not self.policy.managed:
            return
        for key_id, slots in self.slots.items():
            leased = [p for p in self.processes.values() if p.key_id == key_id and not p.released]
            models = {self.model_of[t] for p in leased for t in p.held}
            assert not slots or len(models) <= slots, f"{models} at once on {key_id}"

    def do(self, command: ev.Command) -> None:
        match command:
            case ev.StartWorker():
                self.start(command)
            case ev.GoOn():
                process = self.processes[command.worker_id]
                assert not process.told, "a worker that was told to end goes on"
                assert not process.released, "a worker with no key goes on"
                assert command.shard_id != process.shard_id
                assert self.models[command.shard_id] == self.models[process.shard_id], "another model on its key"
                process.shard_id = command.shard_id
                self.went_on += 1
            case ev.Assign():
                process = self.processes[command.worker_id]
                assert not process.told, "trials for a worker that was told to end"
                assert not process.released, "trials for a worker with no key"
                for trial_id in command.trial_ids:
                    assert process.shard_id == self.shard_of[trial_id]
                    assert trial_id not in self.scored | self.invalid
                self.fed += not process.seen
                process.held += command.trial_ids
                process.seen += command.trial_ids
                process.asked, process.sent = 0, False
            case ev.TellWhenSent():
                process = self.processes[command.worker_id]
                assert self.hands_on, "asked although its key is not handed on"
                assert not process.told, "asked although it was told to end"
                assert not process.asked, "asked twice"
                assert not process.sent, "asked again"
                process.asked = command.nth
            case ev.StopWorker():
                process = self.processes[command.worker_id]
                process.told = "now" if command.now or process.told == "now" else "soft"
            case ev.KillWorker():
                self.processes[command.worker_id].killed = True
            case ev.Release():
                process = self.processes[command.worker_id]
                assert not process.released, "a key given back twice"
                if process.held and command.reason == SENT:
                    assert process.sent, "a key handed on although its worker may still send"
                    assert process.told == "now", "a worker without a key may still send"
                    self.handed_on += 1
                process.released = True
            case ev.RefuseKey():
                if command.kind is Outcome.AUTH:
                    assert command.key_id not in self.retired, "a key retired twice"
                    self.retired.add(command.key_id)
            case ev.Keep():
                self.keep(command)
            case ev.End():
                self.end = command
            case ev.Say():
                assert command.text

    def start(self, command: ev.StartWorker) -> None:
        assert command.worker_id not in self.processes, "a worker's name used twice"
        assert command.key_id not in self.retired, "a worker on a retired key"
        users = [p for p in self.processes.values() if p.key_id == command.key_id and not p.released]
        slots = self.slots[command.key_id]
        if self.policy.managed and slots:
            assert len(users) < slots, "more leases than slots"
        self.processes[command.worker_id] = Process(key_id=command.key_id, shard_id=command.shard_id)
        self.started += 1

    def keep(self, command: ev.Keep) -> None:
        match command.event:
            case TrialDone(trial_id=trial_id, status=status):
                assert trial_id not in self.scored | self.invalid, "a trial ended twice"
                (self.scored if status is TrialStatus.SCORED else self.invalid).add(trial_id)
                for process in self.processes.values():
                    if trial_id in process.held:
                        process.held.remove(trial_id)
            case TrialRequeued(trial_id=trial_id):
                for process in self.processes.values():
                    if trial_id in process.held:
                        process.held.remove(trial_id)
            case TrialStarted(trial_id=trial_id):
                assert not any(trial_id in process.held for process in self.processes.values())
            case _:
                pass

    # --- what may happen ---

    def finish(self, worker_id: str, trial_id: str, cause: str = "") -> None:
        self.feed(
            ev.TrialFinished(
                worker_id=worker_id,
                trial_id=trial_id,
                status=TrialStatus.INVALID if cause else TrialStatus.SCORED,
                score=None if cause else make_score(),
                cause=cause,
                detail="",
                turns=3,
            )
        )

    def exit(self, worker_id: str, code: int) -> None:
        process = self.processes[worker_id]
        self.feed(ev.WorkerExited(worker_id=worker_id, exit_code=code))
        assert process.released, "a process is gone and its key is not free"

    def deny(self, worker_id: str) -> None:
        process = self.processes[worker_id]
        self.feed(ev.LeaseDenied(worker_id=worker_id))
        assert not process.released, "a key given back that was never had"

    def say_sent(self, worker_id: str, process: Process) -> None:
        said = ev.AllSent(worker_id=worker_id, nth=process.asked)
        process.asked, process.sent = 0, True
        self.feed(said)

    def call_ends(self, worker_id: str, process: Process, outcome: Outcome, *, answered: bool) -> None:
        if outcome is not Outcome.OK:
            process.sent = False  # it may have to be sent once more
        self.feed(ev.CallFinished(worker_id=worker_id, outcome=outcome, latency_s=0.5, answered=answered))

    def wait(self, seconds: float) -> None:
        self.clock.sleep_s(seconds)
        self.feed(ev.Tick())

    def options(self, dice: random.Random) -> list[Callable[[], None]]:
        """Everything that could happen next, likelier things listed more often."""
        able: list[Callable[[], None]] = [lambda: self.wait(0.05), lambda: self.wait(2.0), lambda: self.wait(40.0)]
        for worker_id, process in self.processes.items():
            able += self.of_worker(worker_id, process, dice)
        if dice.random() < 0.15:
            able.append(lambda: self.feed(ev.StopRequested(kill=False)))
        if dice.random() < 0.05:
            able.append(lambda: self.feed(ev.StopRequested(kill=True)))
        return able

    def of_worker(self, worker_id: str, process: Process, dice: random.Random) -> list[Callable[[], None]]:
        if process.killed:
            return [lambda: self.exit(worker_id, -9)] * 3
        able: list[Callable[[], None]] = []
        if process.told and not process.held:
            able += [lambda: self.exit(worker_id, 0)] * 3
        for trial_id in process.held[:2]:
            cause = dice.choice(CAUSES)
            able += [lambda t=trial_id: self.finish(worker_id, t)] * 3  # type: ignore[misc]
            able.append(lambda t=trial_id, c=cause: self.finish(worker_id, t, c))  # type: ignore[misc]
            if process.told == "now":
                handed = ev.TrialHandedBack(worker_id=worker_id, trial_id=trial_id)
                able += [lambda h=handed: self.feed(h)] * 3  # type: ignore[misc]
        if process.asked:
            able += [lambda: self.say_sent(worker_id, process)] * 12
            stale = ev.AllSent(worker_id=worker_id, nth=process.asked - 1)
            able.append(lambda: self.feed(stale))
        if process.seen and process.seen[0] not in process.held:
            able.append(lambda: self.finish(worker_id, process.seen[0]))  # a late result
        if process.held:
            outcome = dice.choice(list(Outcome))
            able.append(lambda: self.feed(ev.CallLeaves(worker_id=worker_id, wait_window_s=dice.random() / 10)))
            answered = outcome is not Outcome.TRANSIENT or dice.random() < 0.5
            able.append(lambda: self.call_ends(worker_id, process, outcome, answered=answered))
            kind = dice.choice((Outcome.AUTH, Outcome.QUOTA))
            park_s = dice.choice((0.0, 1.0, 200.0, 3e9))
            trouble = ev.KeyTrouble(worker_id=worker_id, kind=kind, detail="no", park_s=park_s)
            if dice.random() < 0.25:
                able.append(lambda: self.feed(trouble))
        if dice.random() < 0.25:
            able.append(lambda: self.exit(worker_id, -9))
        fresh = len(process.seen) == len(process.held) and not process.told
        if self.denies and fresh and worker_id == f"w{self.started - 1:03d}":
            able += [lambda: self.deny(worker_id)] * 2
        return able

    def be_fair(self) -> int:
        """Let every trial be scored and every told worker end, until the run does; return the rounds it took."""
        rounds = 0
        while self.end is None:
            rounds += 1
            assert rounds < 400, f"the run does not end: {self.state.shards}, {self.state.keys}"
            for worker_id in list(self.processes):
                process = self.processes[worker_id]
                if process.killed:
                    self.exit(worker_id, -9)
                    continue
                for trial_id in list(process.held):
                    self.finish(worker_id, trial_id)
                if process.told and not process.held and self.end is None:
                    self.exit(worker_id, 0)
            if self.end is None:
                self.wait(20.0 if not self.processes else 0.5)
        return rounds


@st.composite
def worlds(draw: st.DrawFn, *, hands_on: bool = False) -> World:
    """Up to four shards over up to three keys of one or two providers, under any policy, or one that hands keys on."""
    providers = draw(st.sampled_from([("a",), ("a", "b")]))
    keys = [
        make_key(f"key{n}", provider=providers[n % len(providers)], slots=draw(st.sampled_from([1, 1, 2, 0])))
        for n in range(draw(st.integers(len(providers), 3)))
    ]
    shards = []
    for n in range(draw(st.integers(1, 4))):
        static = keys[draw(st.integers(0, len(keys) - 1))]
        shards.append(
            make_shard(
                f"s{n}",
                trials=draw(st.integers(1, 6)),
                position=n,
                model=f"m{n // 2}",
                provider=static.provider,
                key_id=static.key_id,
                group=n % 2,
                workers=draw(st.integers(1, 4)),
            )
        )
    policy = draw(st.sampled_from([one for one in policies() if one.hands_on or not hands_on]))
    trials = [trial_id for shard in shards for trial_id in shard.trial_ids]
    done = draw(st.lists(st.sampled_from(trials), unique=True, max_size=3))
    denies, one_turn = policy.managed and draw(st.booleans()), hands_on or draw(st.booleans())
    return World(shards, keys, policy, denies=denies, done=done, one_turn=one_turn)


def policies() -> list[Policy]:
    """Every policy a run can have, and the two stubs."""
    natives = [make_policy("native", order=order, stagger_s=3.0) for order in ("serial", "concurrent", "grouped")]
    managed = [make_policy(name, order="serial", stagger_s=0.0) for name in ("serial", "batched", "pool")]
    return [*managed, *natives, StubPolicy(), StubPolicy(joins=True), StubPolicy(hands_on=True)]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(world=worlds(), seed=st.integers(0, 2**32), steps=st.integers(5, 120))
def test_every_trial_is_in_one_place_and_every_run_ends(world: World, seed: int, steps: int) -> None:
    """Whatever happens, each trial is queued, held once, or ended once; keys come back; a fair world ends the run."""
    live(world, seed, steps)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(world=worlds(hands_on=True), seed=st.integers(0, 2**32), steps=st.integers(20, 120))
def test_a_key_that_is_handed_on_while_replies_are_out_loses_nothing(world: World, seed: int, steps: int) -> None:
    """The same of runs whose keys go to the next model once the last request has left; two may not send on one slot."""
    live(world, seed, steps)


def live(world: World, seed: int, steps: int) -> None:
    # Given any run in any world
    dice = random.Random(seed)
    world.feed(ev.Tick())
    # When anything happens, one thing after another (World checks each command and recounts after each step)
    for _ in range(steps):
        if world.end is not None:
            break
        dice.choice(world.options(dice))()
    # And then the world is fair
    world.be_fair()
    # Then the run has ended by what became of its trials
    end = world.end
    assert end is not None
    event(end.status.value)
    event(f"a worker went on: {world.went_on > 0}")
    event(f"a key was handed on: {world.handed_on > 0}")
    assert (end.status is RunStatus.COMPLETE) == (world.scored == set(world.shard_of))
    assert end.no_usable_key == (end.status is RunStatus.FAILED)
    assert world.processes == {}
    if end.status is RunStatus.FAILED:
        assert any(not key.usable(world.clock.now_s()) for key in world.state.keys.values())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(world=worlds())
def test_a_run_in_which_nothing_goes_wrong_is_complete(world: World) -> None:
    """Under every policy, every trial is scored once, and no worker is started that finds nothing to do."""
    # Given any run
    world.denies = False
    # When nothing goes wrong
    world.feed(ev.Tick())
    world.be_fair()
    # Then it is complete
    assert world.end == ev.End(status=RunStatus.COMPLETE, no_usable_key=False)
    assert set(world.shard_of) == world.scored
    # And every worker that was started had something to do
    assert world.started == world.fed
