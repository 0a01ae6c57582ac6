"""The audit of a run: every promise that its rows can prove or disprove, looked at again from the rows alone."""

from __future__ import annotations

from dataclasses import dataclass

from benchrunner.policies import make_policy
from benchrunner.records import RunStatus
from benchrunner.reporting.audit_findings import Check
from benchrunner.reporting.audit_rows import check_leases, check_plan, check_references, check_results
from benchrunner.reporting.audit_scores import ScoreCheck, check_dialogues
from benchrunner.reporting.audit_windows import check_windows
from benchrunner.reporting.stored_config import read_stored_config
from benchrunner.store.audit_queries import AuditReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What came of auditing a run. `holds`: no check found anything."""

    run_id: str
    phase: str
    policy: str
    backend: str
    simulated: bool
    version: str  # of the program that made the run
    status: RunStatus
    planned: int
    scored: int
    invalid: int
    holds: bool
    checks: tuple[Check, ...]


def audit(reader: AuditReader, reference: str | None = None, *, tasks_file: str | None = None) -> Audit:
    """Return the audit of the run that `reference` names (None: the newest). Raises StoreError.

    `tasks_file`: where the run's task file stands now, for suites whose scorers stand beside it.
    """
    with reader.at_one_instant():
        return _audit(reader, reference, tasks_file)


def _audit(reader: AuditReader, reference: str | None, tasks_file: str | None) -> Audit:
    run = reader.find_run(reference)
    simulated = run.backend == "simulated"
    config = read_stored_config(reader.run_record(run.run_id).config, f"run {run.run_id}")
    scores = ScoreCheck(config, tasks_file)
    scores.look_at(reader.scored_trials(run.run_id))
    managed = make_policy(run.policy, order="serial", stagger_s=0.0).managed
    checks = (
        scores.done(),
        check_dialogues(reader.call_lines(run.run_id), scores.turns),
        check_results(reader.repeated_trials(run.run_id), run.scored),
        check_windows(reader, run.run_id, config, simulated=simulated),
        check_leases(run, config, reader.lease_rows(run.run_id), managed=managed),
        check_plan(
            run, config, reader.cell_counts(run.run_id), reader.shard_counts(run.run_id), scores.task_types
        ),
        check_references(reader.orphan_rows()),
    )
    return Audit(
        run_id=run.run_id,
        phase=run.phase,
        policy=run.policy,
        backend=run.backend,
        simulated=simulated,
        version=run.version,
        status=run.status,
        planned=run.planned,
        scored=run.scored,
        invalid=run.invalid,
        holds=not any(check.faults for check in checks),
        checks=checks,
    )
