"""Whole dialogues by function calling, over real connections, in both dialects."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from benchrunner.providers.base import ChatProvider
from benchrunner.providers.chat import HttpChatProvider
from benchrunner.records import Key, Level, ModelEntry, Outcome, Provider, TrialScore
from benchrunner.simulator.plan import SimulatedKey, SimulatedModelPlan, SimulatorPlan
from benchrunner.simulator.start import RunningSimulator, start_simulator
from benchrunner.suites.workflow.dialogue import play
from benchrunner.suites.workflow.tasks import TASK_TYPES, make_task

pytestmark = pytest.mark.slow

MODEL = ModelEntry(name="m", provider="lab", key_id="key0", deployments=("m",), limits=(), protocol="native")
KEY = Key(key_id="key0", provider="lab", account="lab", secret="sk-native-0123456789", fingerprint="f", limits=())
PLAN = SimulatorPlan(
    keys=(SimulatedKey(secret=KEY.secret, key_id="key0", provider="lab", account="lab", limits=()),),
    models=(
        SimulatedModelPlan(
            name="m", provider="lab", deployments=("m",), limits=(), latency_p50_s=0.0, latency_p95_s=0.0, skill=0.5
        ),
    ),
    seed=3,
)


def _openai(simulator: RunningSimulator) -> ChatProvider:
    return HttpChatProvider(Provider(name="lab", kind="openai", base_url=simulator.base_url))


def _azure(simulator: RunningSimulator) -> ChatProvider:
    return HttpChatProvider(Provider(name="lab", kind="azure", base_url=simulator.origin, api_version="2024-12-01"))


@pytest.fixture(scope="module", params=[_openai, _azure], ids=["openai", "azure"])
def provider(request: pytest.FixtureRequest) -> Iterator[ChatProvider]:
    make: Callable[[RunningSimulator], ChatProvider] = request.param
    with start_simulator(PLAN) as simulator:
        made = make(simulator)
        yield made
        made.close()


def converse(provider: ChatProvider, task_type: str, prompt: str, seed: int) -> TrialScore:
    task = make_task(seed=1, phase="5.1", difficulty="easy", task_type=task_type, index=seed)
    dialogue = play(task, prompt=prompt, tool_success_rate=0.8, trial_seed=seed, protocol="native")
    request = next(dialogue)
    while True:
        result = provider.send(request, model=MODEL, deployment="m", key=KEY, timeout_s=10.0)
        assert result.outcome is Outcome.OK, result.detail
        assert result.reply is not None
        try:
            request = dialogue.send(result.reply)
        except StopIteration as end:
            score: TrialScore = end.value
            return score


def test_a_middling_model_gets_through_every_type_of_task(provider: ChatProvider) -> None:
    """Every request of every dialogue is accepted, slips of format included, and tools are really called."""
    # Given / When trials of all types, with a plan and without
    scores = [
        converse(provider, task_type, prompt, seed)
        for task_type in TASK_TYPES
        for prompt in ("optimal", "baseline")
        for seed in range(4)
    ]
    # Then
    assert {score.level for score in scores} >= {Level.FULL, Level.PARTIAL}
    assert sum(score.tool_calls for score in scores) > 40
    transcripts = "".join(score.transcript for score in scores)
    assert '"variant":"native"' in transcripts
    assert '"variant":"native+torn"' in transcripts
