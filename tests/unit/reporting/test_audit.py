"""An audit finds what was changed behind the program's back, and nothing in a run that was not."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import orjson
import pytest
from audited_run import TRIALS, audited, change, faults_of, instant, play_and_keep, rows_of

from benchrunner.errors import StoreError
from benchrunner.planning.sharding import PhasePlan
from benchrunner.reporting.audit_tables import audit_parts
from benchrunner.reporting.console import console_for
from benchrunner.reporting.tables import show, to_json
from benchrunner.store.audit_queries import AuditReader


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PhasePlan]:
    """Return a run that was played, and its plan."""
    database = tmp_path_factory.mktemp("played") / "runs.db"
    return database, play_and_keep(database)


@pytest.fixture
def database(played: tuple[Path, PhasePlan], tmp_path: Path) -> Path:
    """Return a copy of the run, for one test to change."""
    return Path(shutil.copy(played[0], tmp_path))


@pytest.fixture
def plan(played: tuple[Path, PhasePlan]) -> PhasePlan:
    """Return the plan of the run the database holds."""
    return played[1]


def test_a_run_nobody_touched_holds(database: Path, plan: PhasePlan) -> None:
    """Every score is derived anew, every call, lease and count is looked at, and nothing is found."""
    found = audited(database)
    assert (found.holds, faults_of(found)) == (True, {})
    said = {check.name: check.checked for check in found.checks}
    assert said["scores"] == f"{TRIALS} scores derived anew from their transcripts (suite workflow)"
    assert said["results"] == f"{TRIALS} accepted results, one a trial identity"
    assert said["leases"] == "4 leases of 2 keys: fences and slots"
    assert said["plan"] == f"{TRIALS} trials in 8 cells and 4 shards against the grid"
    assert "against 4 windows of 4 domains" in said["windows"]


@pytest.mark.parametrize(
    ("column", "value"),
    [("level", "'failure'"), ("final_score", "0.123"), ("error_class", "'other'"), ("tool_calls", "99")],
)
def test_a_changed_score_is_found(database: Path, plan: PhasePlan, column: str, value: str) -> None:
    """Whatever of a score was changed, the row is listed with what follows from the transcript."""
    # Given a trial that was a full success, changed in one column
    change(
        database,
        f"UPDATE trials SET {column} = {value} WHERE id = (SELECT min(id) FROM trials WHERE level = 'full')",
    )
    # When the run is audited
    found = audited(database)
    # Then that one row, and only it, does not hold
    assert faults_of(found) == {"scores": 1}
    ((where, expected, stored),) = rows_of(found, "scores")
    assert where.startswith("r1/")
    assert (expected.split()[0], stored.split()[0]) == (column, column)
    assert value.strip("'") in stored


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"error":""', '"error":"TIMEOUT"', "turn 1 results"),
        ("<use_tool>", "<show_tool>", "turn 1"),
        ("Begin.", "Begin!", "turn 1 sent"),
        ("[ok] ", "[failed] ", "turn 2 sent"),
        ('"variant":"strict"', '"variant":"none"', "turn 1 variant"),
    ],
)
def test_a_changed_transcript_is_found_with_its_place(
    database: Path, plan: PhasePlan, old: str, new: str, says: str
) -> None:
    """What the model said, what it was told, what its tools did: none can be changed unseen."""
    # Given a transcript of a plan that was followed, with one thing in its first turn changed
    change(
        database,
        "UPDATE trials SET transcript = substr(transcript, 1, instr(transcript, :old) - 1) || :new "
        "|| substr(transcript, instr(transcript, :old) + length(:old)) "
        "WHERE id = (SELECT min(id) FROM trials WHERE prompt = 'optimal' AND instr(transcript, :old) > 0 "
        "AND instr(transcript, '\"results\":[{') > 0 AND instr(transcript, '\"error\":\"\"') < "
        "instr(transcript, '\"turn\":2'))".replace(":old", "?1").replace(":new", "?2"),
        old,
        new,
    )
    # When the run is audited
    found = audited(database)
    # Then the row is listed with the turn
    assert faults_of(found) == {"scores": 1}
    ((_, expected, told),) = rows_of(found, "scores")
    assert expected == "a transcript that can be replayed"
    assert told.startswith(says)


@pytest.mark.parametrize("transcript", ["[]", "{}", "[1]", "no json", '[{"turn":1}]'])
def test_a_transcript_that_is_none_is_a_finding_and_no_crash(
    database: Path, plan: PhasePlan, transcript: str
) -> None:
    """An audit is for damaged rows too."""
    change(database, "UPDATE trials SET transcript = ? WHERE id = ?", transcript, plan.trials[0].trial_id)
    assert faults_of(audited(database)) == {"scores": 1}


def test_a_dialogue_cut_short_is_found(database: Path, plan: PhasePlan) -> None:
    """A trial cannot be scored before a rule of the suite ends it."""
    (row,) = (one for one in _scored(database) if one[0] == plan.trials[0].trial_id)
    turns = orjson.loads(row[1])[:-1]
    change(database, "UPDATE trials SET transcript = ? WHERE id = ?", orjson.dumps(turns).decode(), row[0])
    ((_, _, told),) = rows_of(audited(database), "scores")
    assert told == f"turn {len(turns)}: no rule ends the dialogue here"


def test_a_task_that_is_gone_is_found(database: Path, plan: PhasePlan) -> None:
    """Without its task no score can be derived, and the reference points nowhere."""
    trial = plan.trials[0]
    change(database, "DELETE FROM tasks WHERE task_id = ?", trial.task_id)
    faults = faults_of(audited(database))
    trials = sum(one.task_id == trial.task_id for one in plan.trials)
    assert faults == {"scores": trials, "references": trials}


@pytest.mark.parametrize(
    ("sql", "expected", "found"),
    [
        ("DELETE FROM calls WHERE trial_id = ?1 AND turn = 1", "turn 1, attempt 1 after ok", "turn 2, attempt 1 (ok)"),
        ("DELETE FROM calls WHERE trial_id = ?1", "ok calls", "no call at all"),
        ("UPDATE calls SET outcome = 'transient' WHERE trial_id = ?1 AND turn = 0", "turn 0, attempt 2", "turn 1"),
        (
            "UPDATE calls SET outcome = 'empty' WHERE id = (SELECT max(id) FROM calls WHERE trial_id = ?1)",
            "a last call that ended ok",
            "empty",
        ),
        (
            "DELETE FROM calls WHERE id = (SELECT max(id) FROM calls WHERE trial_id = ?1)",
            "ok calls, one a turn",
            "",
        ),
    ],
)
def test_a_score_that_does_not_rest_on_answered_calls_is_found(
    database: Path, plan: PhasePlan, sql: str, expected: str, found: str
) -> None:
    """One ok call a turn, none left out, nothing after the last."""
    trial_id = plan.trials[0].trial_id
    change(database, sql, trial_id)
    faults = faults_of(audited(database))
    assert faults == {"dialogues": 1}
    ((where, wanted, told),) = rows_of(audited(database), "dialogues")
    assert (where, expected in wanted, found in told) == (trial_id, True, True)


def test_tries_before_the_reply_and_a_dialogue_a_crash_ended_are_no_fault(database: Path, plan: PhasePlan) -> None:
    """Only the last dialogue of a trial counts, and in it a turn may take several tries."""
    # Given a trial that was begun before, by a worker that was killed in its second turn
    trial_id = plan.trials[0].trial_id
    change(database, "UPDATE calls SET id = id * 4")  # room between the ids
    copy = (
        "INSERT INTO calls (id, run_id, trial_id, turn, attempt, key_id, model, deployment, outcome, sent_at, "
        "wait_window_s, backoff_s) SELECT (SELECT min(id) FROM calls) - ?2, run_id, trial_id, ?3, 1, key_id, model, "
        "deployment, ?4, sent_at, 0, 0 FROM calls WHERE trial_id = ?1 AND turn = 0 AND attempt = 1 LIMIT 1"
    )
    change(database, copy, trial_id, 50, 0, "ok")
    change(database, copy, trial_id, -1, 1, "sent")
    # ... and whose first turn was refused once before it was answered
    first = "SELECT max(id) FROM calls WHERE turn = 0 AND trial_id = ?"
    change(database, f"UPDATE calls SET attempt = 2 WHERE id = ({first})", trial_id)
    refused = (
        "INSERT INTO calls (id, run_id, trial_id, turn, attempt, key_id, model, deployment, outcome, sent_at, "
        "wait_window_s, backoff_s) SELECT id - 1, run_id, trial_id, 0, 1, key_id, model, deployment, 'rate_limited', "
        "'2025-08-26T09:00:00.000000Z', 0, 0 FROM calls WHERE trial_id = ?1 AND attempt = 2"
    )
    change(database, refused, trial_id)
    # When the run is audited
    found = audited(database)
    # Then nothing is held against it, and the request without an end is said to be left out
    assert faults_of(found) == {}
    (windows,) = (check.checked for check in found.checks if check.name == "windows")
    assert windows.endswith("; 1 without an end left out")


def test_a_trial_that_is_missing_is_found(database: Path, plan: PhasePlan) -> None:
    """The grid says how many trials each cell has, the shard how many it has."""
    trial_id = plan.trials[0].trial_id
    change(database, "DELETE FROM calls WHERE trial_id = ?", trial_id)
    change(database, "DELETE FROM trials WHERE id = ?", trial_id)
    found = audited(database)
    assert faults_of(found) == {"plan": 2}
    assert list(rows_of(found, "plan")) == [
        ("m-big / optimal / easy / 0.8 / simple_task", "2 trials", "1"),
        ("r1/s00", "4 trials, as it says", "3"),
    ]


def test_a_second_accepted_result_is_found_where_the_index_is_gone(database: Path, plan: PhasePlan) -> None:
    """The schema forbids it; an audit does not take the schema's word for it."""
    # Given a database without the index, in which the second trial has become the first
    change(database, "DROP INDEX trials_identity")
    first, second = plan.trials[:2]
    change(
        database,
        "UPDATE trials SET task_id = ?1, instance = ?2, seed = ?3 WHERE id = ?4",
        first.task_id,
        first.instance,
        first.seed,
        second.trial_id,
    )
    # Then one identity has two results
    assert list(rows_of(audited(database), "results")) == [(first.trial_id, "one accepted result", "2")]


def test_a_run_that_says_complete_and_is_not_is_found(database: Path, plan: PhasePlan) -> None:
    """A status is a claim like any other."""
    change(database, "UPDATE trials SET status = 'invalid', level = NULL WHERE id = ?", plan.trials[0].trial_id)
    ((where, _, told),) = rows_of(audited(database), "plan")
    assert (where, told) == ("r1", f"complete, {TRIALS - 1} of {TRIALS} scored")


def test_leases_beyond_a_keys_slots_and_fences_that_fall_are_found(database: Path, plan: PhasePlan) -> None:
    """One slot: one lease at a time. A later lease has a higher fence."""
    # Given the second lease of a key granted before the first was released, and the last fence set back
    change(database, "UPDATE leases SET granted_at = ? WHERE fence = 2", instant(0.5))
    change(database, "UPDATE leases SET fence = 1 WHERE fence = 4")
    # When the run is audited
    found = audited(database)
    # Then both are listed
    assert faults_of(found) == {"leases": 2}
    assert [row[1:] for row in rows_of(found, "leases")] == [
        ("a fence above 3", "1"),
        ("at most 1 leases at once", f"2 at {instant(0.5)}"),
    ]


def test_under_native_slots_bind_nobody(tmp_path: Path) -> None:
    """Native consults no semaphore: what overlaps there is no fault."""
    play_and_keep(tmp_path / "n.db", policy="native")
    change(tmp_path / "n.db", "UPDATE leases SET granted_at = ? WHERE fence = 2", instant(0.5))
    assert faults_of(audited(tmp_path / "n.db")) == {}


def test_a_lease_left_open_by_an_ended_run_is_found(database: Path, plan: PhasePlan) -> None:
    """No lease outlives its run."""
    change(database, "UPDATE leases SET released_at = NULL WHERE fence = 4")
    assert [row[1] for row in rows_of(audited(database), "leases")] == ["released when the run ended"]


def test_scores_of_another_version_of_the_suite_are_not_judged_by_this_one(database: Path, plan: PhasePlan) -> None:
    """It is said that the versions differ, once, instead of a thousand differences that follow from it."""
    change(database, "UPDATE runs SET config = json_set(config, '$.run.suite_version', '0')")
    found = audited(database)
    assert faults_of(found) == {"scores": 1}
    ((where, expected, _),) = rows_of(found, "scores")
    assert (where, expected) == ("suite workflow", "version 0, as the run had it")


def test_a_suite_that_is_not_installed_is_a_finding(database: Path, plan: PhasePlan) -> None:
    """What could not be proven is not said to hold."""
    change(database, "UPDATE runs SET config = json_set(config, '$.run.suite', 'elsewhere')")
    found = audited(database)
    assert (found.holds, list(faults_of(found))) == (False, ["scores"])


def test_a_configuration_that_cannot_be_read_is_an_error(database: Path, plan: PhasePlan) -> None:
    """Without limits and grid there is nothing to audit against; exit 2, not "everything holds"."""
    change(database, "UPDATE runs SET config = 'torn'")
    with pytest.raises(StoreError, match="the configuration of run r1 cannot be read"):
        audited(database)


def test_what_is_found_is_shown_bounded_and_told_whole_to_scripts(database: Path, plan: PhasePlan) -> None:
    """Ten rows of a check on the screen, the rest counted; every line fits; --json is the record."""
    change(database, "UPDATE trials SET final_score = 0.5")
    found = audited(database)
    stream = io.StringIO()
    show(console_for(stream, width=80), audit_parts(found))
    text = stream.getvalue()
    assert f"SIMULATED audit of run r1: {TRIALS} rows do not hold" in text
    assert f"scores: {TRIALS} rows where it does not hold; {TRIALS - 10} more" in text
    assert max(map(len, text.splitlines())) <= 80
    read = orjson.loads(to_json(found))
    assert (read["holds"], read["simulated"]) == (False, True)
    assert len(read["checks"][0]["findings"]) == TRIALS


def _scored(database: Path) -> list[tuple[str, str]]:
    with AuditReader.open(database) as reader:
        return [(one.trial.trial_id, one.score.transcript) for one in reader.scored_trials("r1")]
