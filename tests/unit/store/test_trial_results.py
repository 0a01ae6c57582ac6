"""How trials stand, one by one: what comparisons read."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorded_run import FULL_SCORE, invalid, planned, scored

from benchrunner.errors import StoreError
from benchrunner.records import Level, TrialStarted, TrialStatus
from benchrunner.store.queries import RunReader
from benchrunner.store.writer import RunWriter


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Return a database with one run: a trial scored, one invalid, one running, one pending, of one model."""
    plan = planned(models=("m-big",))
    with RunWriter.open(tmp_path / "runs.db") as writer:
        writer.add_run(plan.run, plan.shards, plan.trials, plan.tasks)
        one, two, three, _ = plan.trials
        started = TrialStarted(trial_id=three.trial_id, started_at="2025-08-26T10:00:00.000000Z")
        writer.record([scored(one), invalid(two, "stall"), started])
    return tmp_path / "runs.db"


def test_every_trial_is_there_in_the_order_planned(database: Path) -> None:
    """Scored or not; only what was scored has a level and a score."""
    with RunReader.open(database) as reader:
        rows = list(reader.results("r1"))
    assert [row.task_id for row in rows] == ["t0", "t1", "t2", "t3"]
    assert [(row.status, row.level, row.final_score, row.error_class) for row in rows] == [
        (TrialStatus.SCORED, Level.FULL, FULL_SCORE.final_score, ""),
        (TrialStatus.INVALID, None, None, "stall"),
        (TrialStatus.RUNNING, None, None, ""),
        (TrialStatus.PENDING, None, None, ""),
    ]
    assert (rows[0].model, rows[0].prompt, rows[0].difficulty, rows[0].tool_success_rate, rows[0].instance) == (
        "m-big", "optimal", "easy", 0.8, 0
    )  # fmt: skip


@pytest.mark.parametrize("reference", ["r1/m-big/0", "m-big/0"])
def test_one_trial_is_found_by_its_id_or_the_end_of_it(database: Path, reference: str) -> None:
    """With its transcript and its task."""
    with RunReader.open(database) as reader:
        trial = reader.ended_trial("r1", reference)
    assert (trial.trial_id, trial.transcript, trial.task_body) == ("r1/m-big/0", '[{"turn": 0}]', '{"n": 0}')


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("m-big/2", "trial m-big/2 of run r1 is running; it has no result yet"),
        ("m-big/9", "run r1 has no trial 'm-big/9'; nearest: m-big/"),
        ("", "run r1 has no trial ''; nearest: "),
    ],
)
def test_a_trial_without_a_result_is_refused_with_a_sentence(database: Path, reference: str, sentence: str) -> None:
    """One that has not ended, and one that is not there, are two things."""
    with RunReader.open(database) as reader, pytest.raises(StoreError, match=sentence):
        reader.ended_trial("r1", reference)
