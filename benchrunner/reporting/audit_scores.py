"""Where scores come from: each derived anew from its transcript, each dialogue resting on answered calls alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from benchrunner.errors import SuiteError
from benchrunner.records import SENT, Outcome, TrialScore
from benchrunner.reporting.audit_findings import Check, Tally
from benchrunner.reporting.stored_config import StoredConfig
from benchrunner.store.audit_queries import CallLine, ScoredTrial
from benchrunner.suites import load_suite
from benchrunner.suites.base import Rescoring, Suite

_COMPARED: Final = (
    "level",
    "workflow_score",
    "phase2_score",
    "quality_score",
    "final_score",
    "error_class",
    "turns",
    "tool_calls",
)


class ScoreCheck:
    """Derives the scores of trials anew, one by one as they are read."""

    def __init__(self, config: StoredConfig, tasks_file: str | None) -> None:
        """Load the suite the run was asked by. `tasks_file`: where the suite may find its file, None: as stored."""
        self._tally = Tally(name="scores")
        self._config = config
        self._protocols = {model.name: model.protocol for model in config.models}
        self._derived = 0
        self._suite = self._load(tasks_file)
        self._rescoring = _rescoring(self._suite)
        self.turns: dict[str, int] = {}
        """The turns of every trial that went through, which its calls must agree with."""

    def _load(self, tasks_file: str | None) -> Suite | None:
        try:
            suite = load_suite(self._config.suite, tasks_file or self._config.tasks)
        except SuiteError as error:
            self._tally.add(f"suite {self._config.suite}", expected="a suite to derive scores by", found=str(error))
            return None
        was, now = _rules_version(self._config.suite_version), _rules_version(_version(suite))
        if was and now and was != now:
            self._tally.add(f"suite {suite.name}", expected=f"version {was}, as the run had it", found=f"version {now}")
            return None
        return suite

    @property
    def task_types(self) -> tuple[str, ...]:
        """Return the suite's task types, () where it could not be loaded."""
        return () if self._suite is None else self._suite.task_types

    def look_at(self, scored: Iterable[ScoredTrial]) -> None:
        """Derive each trial's score and note where the stored one differs."""
        for one in scored:
            trial_id = one.trial.trial_id
            self.turns[trial_id] = one.score.turns
            if one.task is None:
                self._tally.add(trial_id, expected=f"task {one.trial.task_id}", found="not in the database")
                continue
            if self._rescoring is None:
                continue
            protocol = self._protocols.get(one.trial.condition.model, "text")
            self._derived += 1
            try:
                score = self._rescoring.rescore(one.trial, one.task, one.score.transcript, protocol=protocol)
            except SuiteError as error:
                self._tally.add(trial_id, expected="a transcript that can be replayed", found=str(error))
                continue
            expected, found = _differences(score, one.score)
            if expected:
                self._tally.add(trial_id, expected=expected, found=found)

    def done(self) -> Check:
        """Return the check."""
        if self._suite is not None and self._rescoring is None:
            return self._tally.done(f"none: suite {self._suite.name} cannot derive a score anew")
        suite = f"suite {self._config.suite}"
        return self._tally.done(f"{self._derived} scores derived anew from their transcripts ({suite})")


def _rescoring(suite: object) -> Rescoring | None:
    return suite if isinstance(suite, Rescoring) else None


def _version(suite: Suite) -> str:
    try:
        return suite.version
    except SuiteError:
        # The version of a suite with a task file reads it. The tasks themselves stand in the database.
        return ""


def _rules_version(version: str) -> str:
    """Return the part of a version that speaks of rules; what follows `+` speaks of the task file."""
    return version.partition("+")[0]


def _differences(derived: TrialScore, stored: TrialScore) -> tuple[str, str]:
    """Return the fields in which the two differ, as they should be and as they are."""
    names = [name for name in _COMPARED if getattr(derived, name) != getattr(stored, name)]

    def told(score: TrialScore) -> str:
        return ", ".join(f"{name} {getattr(score, name)!s}" for name in names)

    return told(derived), told(stored)


@dataclass(slots=True)
class _Execution:
    """The calls of a trial since it was last begun."""

    turn: int = -1
    attempt: int = 0
    outcome: str = Outcome.OK
    fault: tuple[str, str] | None = None  # expected, found: the first there is

    def follow(self, turn: int, attempt: int, outcome: str) -> None:
        expected = (self.turn + 1, 1) if self.outcome == Outcome.OK else (self.turn, self.attempt + 1)
        if self.fault is None and (turn, attempt) != expected:
            after = f" after {self.outcome}" if self.turn >= 0 else ""
            self.fault = (
                f"turn {expected[0]}, attempt {expected[1]}{after}",
                f"turn {turn}, attempt {attempt} ({outcome})",
            )
        elif self.fault is None and self.outcome == SENT:
            self.fault = (f"an end of turn {self.turn}, attempt {self.attempt}", "none, and the dialogue went on")
        self.turn, self.attempt, self.outcome = turn, attempt, outcome


def check_dialogues(calls: Iterator[CallLine], turns: Mapping[str, int]) -> Check:
    """Return whether the dialogue of each scored trial rests on `ok` calls: one a turn, no turn left out.

    `calls` in the order they were announced, `turns` by scored trial. What counts are a trial's last calls from its
    first turn on: a crash may have ended other dialogues of it before.
    """
    tally = Tally(name="dialogues")
    last: dict[str, _Execution] = {}
    count = 0
    for trial_id, turn, attempt, outcome in calls:
        count += 1
        if turn == 0 and attempt == 1:
            last[trial_id] = _Execution()
        last.setdefault(trial_id, _Execution()).follow(turn, attempt, outcome)
    for trial_id, wanted in turns.items():
        execution = last.get(trial_id)
        if execution is None:
            tally.add(trial_id, expected=f"{wanted} ok calls", found="no call at all")
        elif execution.fault is not None:
            tally.add(trial_id, expected=execution.fault[0], found=execution.fault[1])
        elif execution.outcome != Outcome.OK:
            tally.add(
                trial_id,
                expected="a last call that ended ok",
                found=f"turn {execution.turn}, attempt {execution.attempt}: {execution.outcome}",
            )
        elif execution.turn + 1 != wanted:
            tally.add(trial_id, expected=f"{wanted} ok calls, one a turn", found=f"{execution.turn + 1}")
    return tally.done(f"the {count} calls of {len(turns)} scored trials: one ok call a turn, no turn left out")
