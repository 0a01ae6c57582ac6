"""The headline: phase 5.2 in the field scores as it does in the clean, trial by trial. Without classes not."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from process_kit import Workspace

from benchrunner.clock import SystemClock
from benchrunner.config.binding import bind
from benchrunner.config.load import load_config
from benchrunner.engine.backend import base_url, simulator_plan
from benchrunner.planning.sharding import PhasePlan, plan_phase
from benchrunner.providers.chat import HttpChatProvider
from benchrunner.records import Key, Level, ModelEntry, Outcome, Trial
from benchrunner.simulator.start import start_simulator
from benchrunner.suites import load_suite
from benchrunner.suites.base import Suite

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

RUN = ("phase", "5.2", "--policy", "pool", "--instances", "2", "--quiet")
SPEED = 20
DEAD_KEY = "key_dies=key1@0.2-2.2"  # two dead minutes of one key
IDENTITY = "model, difficulty, task_id, instance"
SCORES = f"select {IDENTITY}, level, workflow_score, phase2_score, quality_score, final_score, turns from trials"
TRIES = 5
"""What the field's runner did: five tries within about eight seconds, then the test was the model's failure."""


def scores_of(workspace: Workspace) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    rows = [tuple(row.values()) for row in workspace.rows(f"{SCORES} where status = 'scored'")]
    return {row[:4]: row[4:] for row in rows}


def test_phase_5_2_in_the_field_scores_what_it_scores_in_the_clean(workspace: Workspace) -> None:
    """Throttles, lost tags, empties, two dead minutes of a key: no score changes; taken for failures many would."""
    # Given a clean run
    workspace.edit_config("speed = 1 ", f"speed = {SPEED} ")
    clean = workspace.run(*RUN)
    assert clean.code == 0, clean.err
    expected = scores_of(workspace)
    assert len(expected) == 100
    workspace.db.unlink()
    # When the same is run under the field's faults
    workspace.edit_config('profile = "clean"', 'profile = "field"')
    field = workspace.run(*RUN, "--fault", DEAD_KEY)
    # Then every trial is scored, and as it was
    assert field.code == 0, field.err
    assert workspace.count("select count(*) from calls where outcome <> 'ok'") > 0
    assert scores_of(workspace) == expected
    # And with the classes switched off, each failed call the model's, many of the same trials are failures
    naive = play_without_classes(workspace)
    assert set(naive) == set(expected)
    wronged = [trial for trial, level in naive.items() if level != expected[trial][0]]
    assert all(naive[trial] == "failure" for trial in wronged)
    assert len(wronged) >= 10
    print(f"\n{len(wronged)} of {len(naive)} trials scored as failures that were none; here 0")


def play_without_classes(workspace: Workspace) -> dict[tuple[Any, ...], str]:
    """Return each trial's level as a runner without failure classes has it: what goes wrong is the model's failure."""
    config = load_config(workspace.path / "phases.toml", environ={})
    from benchrunner.config.injected import with_faults

    config = with_faults(config, (DEAD_KEY,))
    phase = config.phase("5.2")
    suite = load_suite("workflow")
    models = {model.name: model for model in config.phase_models(phase)}
    plan = plan_phase(phase, tuple(models.values()), suite, run_id="naive", seed=config.run.seed, instances=2)
    secrets = {key.key_id: f"naive-{key.key_id}" for key in config.keys if key.provider == "ideallab"}
    with start_simulator(simulator_plan(config, ("ideallab",), secrets)) as running:
        (provider,), keys = bind(config, {"ideallab": base_url(running, "openai")}, secrets)
        by_id = {key.key_id: key for key in keys}
        client = HttpChatProvider(provider)
        with ThreadPoolExecutor(20) as pool:
            levels = pool.map(
                lambda trial: play(trial, plan, suite, client, models[trial.condition.model], by_id), plan.trials
            )
            found = {identity(trial): level for trial, level in zip(plan.trials, levels, strict=True)}
        client.close()
    return found


def identity(trial: Trial) -> tuple[Any, ...]:
    return trial.condition.model, trial.condition.difficulty, trial.task_id, trial.instance


def play(
    trial: Trial, plan: PhasePlan, suite: Suite, client: HttpChatProvider, model: ModelEntry, keys: dict[str, Key]
) -> str:
    """Return the level of one trial on its static key; five failed tries in a row close it as a failure."""
    clock, rng = SystemClock(), random.Random(trial.seed)
    dialogue = suite.dialogue(trial, plan.task_of(trial))
    request = next(dialogue)
    while True:
        for attempt in range(TRIES):
            result = client.send(
                request, model=model, deployment=model.name, key=keys[model.key_id], timeout_s=model_timeout_s()
            )
            if result.outcome is Outcome.OK and result.reply is not None:
                break
            clock.sleep_s(rng.uniform(0.5, 1.5) * 1.5**attempt / SPEED)
        else:
            dialogue.close()
            return Level.FAILURE.value
        assert result.reply is not None
        try:
            request = dialogue.send(result.reply)
        except StopIteration as stop:
            level: Level = stop.value.level
            return level.value


def model_timeout_s() -> float:
    """Return the field's 150 s at the simulator's speed."""
    return 150.0 / SPEED
