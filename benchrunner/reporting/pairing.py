"""Which trial of one run stands against which of another: the same task, asked in the same way. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from benchrunner.errors import UsageError, did_you_mean
from benchrunner.records import Level, Task, TrialStatus
from benchrunner.store.answers import ResultRow

ModelPairs = tuple[tuple[str, str], ...]
"""(model of A, model of B), in the order of A."""
_Place = tuple[str, str, str, float, str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The same trial in both runs, scored in both."""

    a: ResultRow
    b: ResultRow

    @property
    def success_a(self) -> bool:
        """Return whether A succeeded, fully or partially: what every success rate counts."""
        return self.a.level is not Level.FAILURE

    @property
    def success_b(self) -> bool:
        """Return whether B did."""
        return self.b.level is not Level.FAILURE


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Trials that are in no pair, and why. None of them counts as a failure."""

    invalid_a: int = 0  # infrastructure took A's trial; B's is there
    invalid_b: int = 0
    invalid_both: int = 0
    unended: int = 0  # on one side at least; none invalid
    other_task: int = 0  # both have the trial, but the task behind the same id is another
    only_a: int = 0  # B has no such trial
    only_b: int = 0

    def sentence(self) -> str:
        """Return the counts that are not 0 in words."""
        words = {
            "invalid_a": "invalid in A",
            "invalid_b": "invalid in B",
            "invalid_both": "invalid in both",
            "unended": "not ended",
            "other_task": "with another task under the same id",
            "only_a": "in A alone",
            "only_b": "in B alone",
        }
        told = [f"{count} {words[one.name]}" for one in fields(self) if (count := getattr(self, one.name))]
        return ", ".join(told) or "none"


def paired_models(models_a: Sequence[str], models_b: Sequence[str], named: Sequence[tuple[str, str]]) -> ModelPairs:
    """Return which models are held against each other: the `named` ones, else those of one name, else one against one.

    Raises UsageError for a name a run does not have, and where nothing says which models belong together.
    """
    for side, known, names in (("A", models_a, [a for a, _ in named]), ("B", models_b, [b for _, b in named])):
        for name in names:
            if name not in known:
                raise UsageError(f'run {side} has no model "{name}"; {did_you_mean(name, known)}')
    if named:
        return tuple(dict.fromkeys(named))
    shared = tuple((model, model) for model in models_a if model in models_b)
    if shared:
        return shared
    if len(models_a) == len(models_b) == 1:
        return ((models_a[0], models_b[0]),)
    raise UsageError(
        f"the runs share no model (A: {', '.join(models_a)}; B: {', '.join(models_b)}); "
        "--pair MODEL_A=MODEL_B says which to hold against which"
    )


def pair_trials(
    results_a: Sequence[ResultRow],
    results_b: Sequence[ResultRow],
    tasks_a: Iterable[Task],
    tasks_b: Iterable[Task],
    models: ModelPairs,
    *,
    every: bool = True,
) -> tuple[tuple[Pair, ...], LeftOut]:
    """Return the pairs, in the order of `models` and then of A, and what is in none.

    `every`: trials of models that are in no pair are counted as left out; else nobody asked for them.
    """
    bodies_a, bodies_b = _bodies(tasks_a), _bodies(tasks_b)
    by_place = {_place(one, one.model): one for one in results_b}
    pairs: list[Pair] = []
    reasons: Counter[str] = Counter()
    taken_a: set[str] = set()
    taken_b: set[str] = set()
    for model_a, model_b in models:
        for a in results_a:
            if a.model != model_a:
                continue
            b = by_place.get(_place(a, model_b))
            if b is None:
                continue
            taken_a.add(a.trial_id)
            taken_b.add(b.trial_id)
            task = (a.difficulty, a.task_id)
            if bodies_a[task] != bodies_b[task]:
                reasons["other_task"] += 1
            elif a.status is b.status is TrialStatus.SCORED:
                pairs.append(Pair(a=a, b=b))
            else:
                reasons[_why_unscored(a, b)] += 1
    asked_a, asked_b = {model for model, _ in models}, {model for _, model in models}
    reasons["only_a"] = sum(one.trial_id not in taken_a and (every or one.model in asked_a) for one in results_a)
    reasons["only_b"] = sum(one.trial_id not in taken_b and (every or one.model in asked_b) for one in results_b)
    return tuple(pairs), LeftOut(**reasons)


def _why_unscored(a: ResultRow, b: ResultRow) -> str:
    invalid = (a.status is TrialStatus.INVALID, b.status is TrialStatus.INVALID)
    names = {(True, True): "invalid_both", (True, False): "invalid_a", (False, True): "invalid_b"}
    return names.get(invalid, "unended")


def _bodies(tasks: Iterable[Task]) -> dict[tuple[str, str], str]:
    return {(task.difficulty, task.task_id): task.body for task in tasks}


def _place(one: ResultRow, model: str) -> _Place:
    """Return where `model` has the trial that `one` is."""
    return model, one.prompt, one.difficulty, one.tool_success_rate, one.task_id, one.instance
