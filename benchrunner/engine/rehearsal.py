"""Rehearses trials against the embedded provider's models, without a provider: what they will do there is settled.

What a simulated model says and how long it takes follow from seeds and the conversation alone, so a dialogue played
here makes the same calls as in the run to come. A real provider cannot be rehearsed. Faults that the provider is told
to make are left out. Only the built-in tool-use suite is rehearsed: another one's code runs in workers alone, where its
crashes cost a worker and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from benchrunner.config.settings import Config
from benchrunner.planning.load import TOKENS_PER_CALL
from benchrunner.planning.sharding import PhasePlan
from benchrunner.planning.trial_shapes import Expectation, TrialShape, latency_sigma, shape_trials
from benchrunner.records import ModelEntry, Trial
from benchrunner.simulator.behaviour import FALLBACK, PROFILES, SimulatedModel, simulated_model
from benchrunner.suites.base import Suite
from benchrunner.suites.workflow.suite import WorkflowSuite


def simulated_shapes(
    config: Config, plan: PhasePlan, suite: Suite, models: Mapping[str, ModelEntry], *, most_rehearsed: int, rng: Random
) -> tuple[dict[str, TrialShape], str]:
    """Return a shape for each trial of a simulated phase, from rehearsal or else the profiles, and which it was."""
    if isinstance(suite, WorkflowSuite):
        known = rehearse(config, plan, suite, models, most=most_rehearsed)
        words = "all trials" if len(known) == len(plan.trials) else f"{len(known)} of {len(plan.trials)} trials"
        return shape_trials(plan, suite, {}, known=known, rng=rng), f"{words} rehearsed"
    # No history, which would be of other speeds: what the embedded provider will do is told by its profile.
    expected = {name: _expectation(config, name) for name in models}
    return shape_trials(plan, suite, expected, known={}, rng=rng), "the embedded provider's profile"


def _expectation(config: Config, model: str) -> Expectation:
    p50_s, p95_s = simulated_latency_s(config, model)
    return Expectation(
        latency_p50_s=p50_s, latency_sigma=latency_sigma(p50_s, p95_s), tokens_per_call=TOKENS_PER_CALL
    )


def simulated_latency_s(config: Config, model: str) -> tuple[float, float]:
    """Return median and 95th percentile of the simulated model's replies, at the speed of the embedded provider."""
    if not config.simulator.latency:
        return 0.0, 0.0
    built_in, wished = PROFILES.get(model, FALLBACK), config.simulated.get(model)
    p50_s = wished.latency_s if wished and wished.latency_s is not None else built_in.latency_p50_s
    p95_s = p50_s * built_in.latency_p95_s / built_in.latency_p50_s
    if wished and wished.latency_p95_s is not None:
        p95_s = max(p50_s, wished.latency_p95_s)
    return p50_s / config.simulator.speed, p95_s / config.simulator.speed


def rehearse(
    config: Config, plan: PhasePlan, suite: Suite, models: Mapping[str, ModelEntry], *, most: int
) -> dict[str, TrialShape]:
    """Return the shapes of at most `most` trials by id, spread evenly over the plan; of all if there are no more."""
    voices = {name: _voice(config, name) for name in {trial.condition.model for trial in plan.trials}}
    shapes = {}
    for trial in _spread(plan.trials, most):
        name = trial.condition.model
        shapes[trial.trial_id] = _play(config, plan, suite, models[name], voices[name], trial)
    return shapes


def _spread(trials: Sequence[Trial], most: int) -> list[Trial]:
    if len(trials) <= most:
        return list(trials)
    # Not every n-th: a grid's rows repeat, and a step that divides a row would see one column only.
    return [trials[(2 * place + 1) * len(trials) // (2 * most)] for place in range(most)]


def _voice(config: Config, name: str) -> SimulatedModel:
    wished = config.simulated.get(name)
    return simulated_model(
        name,
        seed=config.run.seed if config.simulator.seed is None else config.simulator.seed,
        competence=wished.skill if wished else None,
        latency_p50_s=wished.latency_s if wished else None,
        latency_p95_s=wished.latency_p95_s if wished else None,
    )


def _play(
    config: Config, plan: PhasePlan, suite: Suite, entry: ModelEntry, voice: SimulatedModel, trial: Trial
) -> TrialShape:
    latencies_s: list[float] = []
    tokens = 0
    dialogue = suite.dialogue(trial, plan.task_of(trial), protocol=entry.protocol)
    try:
        request = next(dialogue)
        while True:
            reply = voice.reply(request.messages, request.tools)
            tokens += (reply.prompt_tokens or 0) + (reply.completion_tokens or 0)
            latency_s = voice.latency_s(request.messages) / config.simulator.speed if config.simulator.latency else 0.0
            latencies_s.append(latency_s)
            request = dialogue.send(reply)
    except StopIteration:
        pass
    return TrialShape(latencies_s=tuple(latencies_s), tokens_per_call=tokens / len(latencies_s))
