"""What `resume` goes on with: a stored run, planned again from the config it began with."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from benchrunner.cli.options import checked_engine
from benchrunner.config.injected import stored_faults
from benchrunner.config.load import load_config
from benchrunner.config.settings import Config
from benchrunner.config.snapshot import config_hash, config_json
from benchrunner.engine.launch import RunRequest
from benchrunner.engine.run_dir import live_runs
from benchrunner.errors import ConfigError, UsageError
from benchrunner.records import Phase, RunRecord, RunStatus
from benchrunner.store.queries import RunReader
from benchrunner.suites import load_suite

SHOWN_DIFFERENCES = 8


def request_for(
    run: str | None,
    db: Path,
    config_path: Path,
    *,
    tasks: Path | None,
    force: bool,
    wait_s: float,
    engine: str | None = None,
    address: str | None = None,
) -> tuple[RunRequest, str]:
    """Return the request that goes on with the run, and a sentence on what is kept and what is left.

    `engine` None: the one it began with.

    Raises UsageError when there is nothing to resume, ConfigError when config or suite say something else than they
    did, unless `force`.
    """
    with RunReader.open(db) as reader:
        run_id = reader.newest_unfinished() if run is None else reader.find_run(run).run_id
        if run_id is None:
            raise UsageError(f"every run in {db} is complete; there is nothing to resume")
        if reader.find_run(run_id).status is RunStatus.COMPLETE:
            raise UsageError(f"run {run_id} is complete; there is nothing to resume")
        if any(directory.name == run_id for directory in live_runs()):
            raise UsageError(f"run {run_id} is in progress; it can be resumed once it has ended")
        record = reader.run_record(run_id)
        left = {trial.trial_id for trial in reader.unfinished_trials(run_id)}
        scored = frozenset(trial.trial_id for trial in reader.trials(run_id) if trial.trial_id not in left)
        last_fence = max((lease.fence for lease in reader.lease_rows(run_id)), default=0)
        in_flight = sum(key.unanswered for key in reader.key_rows(run_id))
    config, phase = _as_it_was(load_config(config_path, environ=os.environ), record, db, tasks, force=force)
    request = RunRequest(
        config=config,
        phase=phase,
        argv=record.argv,
        batch_id=record.batch_id,
        resume_of=run_id,
        done=scored,
        last_fence=last_fence,
        wait_s=wait_s,
        engine=checked_engine(engine or record.engine, address),
        address=address,
    )
    billed = f", in flight when killed {in_flight} (may have been billed twice)" if in_flight else ""
    return request, f"resuming {run_id}: kept {len(scored)}, run {len(left)}{billed}"


def _as_it_was(config: Config, record: RunRecord, db: Path, tasks: Path | None, *, force: bool) -> tuple[Config, Phase]:
    """Return config and phase with the run's own wishes put in. Raises ConfigError where they differ all the same."""
    stored = orjson.loads(record.config)
    run, (wished,) = stored["run"], stored["phases"]
    tasks = tasks or config.run.tasks
    if run["tasks"] and tasks is None and (here := Path(run["tasks"])).exists():
        # Only its name is stored; that it is the same file is seen by the suite's version.
        tasks = here if load_suite(run["suite"], here).version == run["suite_version"] else None
    if run["tasks"] and tasks is None:
        raise UsageError(f"run {record.run_id} draws from the task file {run['tasks']}; say where it is: --tasks FILE")
    config = replace(
        config,
        run=replace(
            config.run,
            seed=record.seed,
            backend=record.backend,
            suite=run["suite"],
            db=db,
            tasks=tasks,
        ),
        simulator=replace(config.simulator, faults=stored_faults(stored["simulator"].get("faults"))),
    )
    version = load_suite(config.run.suite, config.run.tasks).version
    phase = replace(
        config.phase(record.phase),
        policy=record.policy,
        instances=wished["instances"],
        stagger_s=wished["stagger_s"],
        models=tuple(wished["models"]),
    )
    if not force and config_hash(config, phase, suite_version=version) != record.config_hash:
        now = orjson.loads(config_json(config, phase, suite_version=version))
        changes = list(differences(stored, now))
        more = len(changes) - SHOWN_DIFFERENCES
        shown = [*changes[:SHOWN_DIFFERENCES], *([f"... and {more} more"] if more > 0 else [])]
        raise ConfigError(
            f"{config.path} is not what run {record.run_id} began with (--force goes on all the same); it", tuple(shown)
        )
    return config, phase


def differences(was: Any, now: Any, where: str = "") -> Iterator[str]:
    """Yield a sentence for each place where two configurations, as JSON, are not the same."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for name in sorted(was.keys() | now.keys()):
            yield from differences(was.get(name), now.get(name), f"{where}.{name}" if where else name)
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for place, (one, other) in enumerate(zip(was, now, strict=True)):
            yield from differences(one, other, f"{where}[{place}]")
    elif was != now:
        yield f"{where}: was {orjson.dumps(was).decode()[:80]}, is {orjson.dumps(now).decode()[:80]}"
