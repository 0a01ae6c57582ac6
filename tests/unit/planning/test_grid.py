from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from planning_samples import StubSuite, model_entry, phase_of

from benchrunner.errors import SuiteError, UsageError
from benchrunner.planning.grid import identity_of, plan_grid, trial_seed
from benchrunner.planning.sharding import PhasePlan
from benchrunner.records import Condition, Task

LayOut = Callable[..., PhasePlan]
A, B = model_entry("a", "key0"), model_entry("b", "key0")


def test_trials_follow_model_prompt_difficulty_rate_type_and_instance(lay_out: LayOut) -> None:
    """The order of trials is the order of the file, the innermost thing changing first."""
    # Given a phase that varies everything
    phase = phase_of(
        "a", "b", prompts=("optimal", "cot"), difficulties=("easy", "medium"), tool_success_rates=(0.9, 0.5)
    )
    # When it is laid out
    trials = lay_out(phase, A, B, instances=2).trials
    # Then the order is the lexical order of the places
    places = [
        (
            phase.models.index(one.condition.model),
            phase.prompts.index(one.condition.prompt),
            phase.difficulties.index(one.condition.difficulty),
            phase.tool_success_rates.index(one.condition.tool_success_rate),
            StubSuite.task_types.index(one.task_type),
            one.instance,
        )
        for one in trials
    ]
    assert sorted(places) == places
    assert len(set(places)) == 2 * 2 * 2 * 2 * 2 * 2
    assert [f"r1/{n:05d}" for n in range(64)] == [one.trial_id for one in trials]


def test_every_model_gets_the_same_tasks(lay_out: LayOut) -> None:
    """Tasks follow from seed, phase, difficulty and type alone, so models can be compared pair by pair."""
    plan = lay_out(phase_of("a", "b"), A, B)
    of_model = {name: [one.task_id for one in plan.trials if one.condition.model == name] for name in plan.phase.models}
    assert of_model["a"] == of_model["b"]


def test_one_task_id_in_two_difficulties_stays_two_tasks(lay_out: LayOut) -> None:
    """Imported libraries word one task in several difficulties under one id; each trial gets its own wording."""
    plan = lay_out(phase_of("a", difficulties=("easy", "medium")), A)
    assert {f"7/9.1/{one.condition.difficulty}/{one.task_type}/{one.instance}" for one in plan.trials} == {
        plan.task_of(one).body for one in plan.trials
    }


def test_a_trial_seed_does_not_know_the_run_or_its_neighbours(lay_out: LayOut) -> None:
    """A trial planned alone, in another run, has the seed it has in the full run."""
    # Given the full phase, and one model of it in a run of another name
    full = lay_out(phase_of("a", "b"), A, B)
    alone = lay_out(phase_of("a", "b"), B, run_id="r2")
    # Then the same trials have the same seeds
    seeds = {identity_of(one): one.seed for one in full.trials}
    assert {identity_of(one): one.seed for one in alone.trials}.items() <= seeds.items()
    assert len(full.trials) == len({one.seed for one in full.trials})


def test_a_trial_seed_is_63_bits_and_fixed_for_good() -> None:
    """The derivation of seeds is part of what makes old runs repeatable: this value must never change."""
    condition = Condition(model="m", prompt="p", difficulty="d", tool_success_rate=0.8)
    seed = trial_seed(20250826, "5.1", condition, "task", 0)
    assert 0 <= seed < 2**63
    assert seed == 8296321526087728150


def test_task_types_named_in_the_phase_replace_all(lay_out: LayOut) -> None:
    """A phase that names task types runs those alone."""
    plan = lay_out(phase_of("a", task_types=("hard",)), A, instances=3)
    assert [one.task_type for one in plan.trials] == ["hard"] * 3


@pytest.mark.parametrize("instances", [0, -3])
def test_fewer_than_one_instance_is_a_usage_error(lay_out: LayOut, instances: int) -> None:
    """A run of nothing is refused, not reported as complete."""
    with pytest.raises(UsageError, match=f"at least 1, not {instances}"):
        lay_out(phase_of("a"), A, instances=instances)


def test_a_word_the_suite_lacks_is_refused_with_the_nearest(lay_out: LayOut) -> None:
    """A phase run with another suite tells at once which of its words do not fit, all of them."""
    phase = phase_of("a", prompts=("optimul", "cot"), difficulties=("esay",))
    with pytest.raises(SuiteError) as caught:
        lay_out(phase, A)
    assert str(caught.value) == (
        'phase 9.1 does not fit suite stub: no prompt "optimul"; did you mean "optimal"?. '
        'no difficulty "esay"; did you mean "easy"?'
    )


def test_a_suite_without_listed_words_takes_any(lay_out: LayOut) -> None:
    """A suite that has no prompts or difficulties of its own leaves the phase's as labels."""
    suite = StubSuite()
    suite.prompts = suite.difficulties = ()
    plan = lay_out(phase_of("a", prompts=("anything",), difficulties=("whatever",)), A, suite=suite, instances=1)
    assert (plan.trials[0].condition.prompt, plan.trials[0].condition.difficulty) == ("anything", "whatever")


def test_a_suite_that_gives_too_few_tasks_is_refused(lay_out: LayOut) -> None:
    """Fewer tasks than asked for would make conditions of unequal size, unnoticed."""
    with pytest.raises(SuiteError, match="gave 19 tasks of simple, easy; 20 were asked for"):
        lay_out(phase_of("a"), A, suite=StubSuite(shortage=1))


class _Twins(StubSuite):
    def tasks(self, *, seed: int, phase: str, difficulty: str, task_type: str, count: int) -> tuple[Task, ...]:
        tasks = super().tasks(seed=seed, phase=phase, difficulty=difficulty, task_type=task_type, count=count)
        return tuple(replace(task, task_id="same") for task in tasks)


def test_a_suite_that_gives_one_id_twice_is_refused(lay_out: LayOut) -> None:
    """Two tasks under one id would make two trials one, and one of the results would be lost."""
    with pytest.raises(SuiteError, match="task id same stands twice in easy"):
        lay_out(phase_of("a"), A, suite=_Twins())


def test_a_grid_without_a_model_is_a_usage_error() -> None:
    """Filtering every model away is a mistake of the command line."""
    with pytest.raises(UsageError, match=r"phase 9\.1 has no model to run"):
        plan_grid(phase_of("a"), (), StubSuite(), run_id="r1", seed=1)
