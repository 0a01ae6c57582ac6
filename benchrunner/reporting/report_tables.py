"""The tables of a report, in a form that a page and Markdown share: a caption, headings, rows of text."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchrunner.records import SENT
from benchrunner.reporting.report import ConditionResult, Report, RunReport
from benchrunner.reporting.report_figures import NONE, error_classes, interval, limit_text, marked, percent, wilson
from benchrunner.reporting.wording import SIMULATED, duration_text

LOW = "low"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTable:
    """A table. Its first `words` columns are words, the others numbers."""

    title: str
    columns: tuple[str, ...]
    sections: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]  # (heading, rows); heading "": none
    words: int = 1
    note: str = ""
    strong: frozenset[tuple[int, int]] = field(default_factory=frozenset)  # (row, column) to be set in bold


def results(run: RunReport) -> ReportTable:
    """Return the results, one line a model and condition."""
    legacy = any(one.legacy_rate is not None for one in run.conditions)
    ranked = len(run.models) > 1
    sections: dict[str, list[tuple[str, ...]]] = {}
    for one in run.conditions:
        row = one.summary
        rank = NONE if row.rank is None else f"{row.rank}"
        sections.setdefault(one.name, []).append(
            (
                row.model,
                f"{row.scored}/{row.planned}",
                percent(row.coverage) + (f" {LOW}" if row.low_coverage else ""),
                percent(row.success_rate),
                wilson(one),
                interval(one.over_tasks),
                percent(one.full_rate),
                NONE if row.weighted_success_score is None else f"{row.weighted_success_score:.2f}",
                NONE if row.final_score is None else f"{row.final_score:.3f}",
                NONE if row.turns is None else f"{row.turns:.1f}",
                *((percent(one.legacy_rate),) if legacy else ()),
                *((rank,) if ranked else ()),
            )
        )
    note = (
        "Success: full or partial, over scored trials. 95 % intervals in percent: by Wilson's score, and by bootstrap "
        "over tasks (which says nothing at 0 and 100 %). Weighted: full counts 1, partial 0.5. Score: mean final score."
    )
    if legacy:
        note += " Field's rule: success by the older, score-based levels, for comparison with published tables."
    if any(one.summary.low_coverage for one in run.conditions):
        note += (
            f" Coverage marked {LOW} is below {percent(run.summary.coverage_floor)}: infrastructure took too much of "
            "that condition, so it is not ranked."
        )
    return ReportTable(
        title=marked(f"Results{f', {run.shared}' if run.shared else ''}", run),
        columns=(
            "model", "scored", "coverage", "success", "95 % Wilson", "95 % tasks", "full", "weighted", "score", "turns",
            *(("field’s rule",) if legacy else ()), *(("rank",) if ranked else ()),
        ),
        sections=tuple((heading, tuple(rows)) for heading, rows in sections.items()),
        note=note,
    )  # fmt: skip


def grid(run: RunReport) -> ReportTable | None:
    """Return success by model and condition, None where there is only one condition."""
    names = tuple(dict.fromkeys(one.name for one in run.conditions))
    if len(names) < 2:
        return None
    cells = {(one.summary.model, one.name): one for one in run.conditions}
    rows, strong = [], set()
    for number, model in enumerate(one.model for one in run.models):
        row = [model]
        for column, name in enumerate(names, start=1):
            one = cells.get((model, name))
            row.append(NONE if one is None else f"{percent(one.summary.success_rate)} [{wilson(one)}]{_low(one)}")
            if one is not None and one.summary.rank == 1:
                strong.add((number, column))
        rows.append(tuple(row))
    low = any(one.summary.low_coverage for one in run.conditions)
    return ReportTable(
        title=marked("Success by model and condition, 95 % Wilson interval", run),
        columns=("model", *names),
        sections=(("", tuple(rows)),),
        note="Bold: the highest of its column." + (" †: low coverage, not ranked." if low else ""),
        strong=frozenset(strong),
    )


def _low(one: ConditionResult) -> str:
    return " †" if one.summary.low_coverage else ""


def bounds(run: RunReport) -> ReportTable | None:
    """Return what the rates would be if all trials not scored had failed, or succeeded; None where all are scored."""
    rows = [
        (
            one.summary.model,
            *((one.name,) if one.name else ()),
            f"{one.summary.planned - one.summary.scored}",
            percent(one.summary.success_worst),
            percent(one.summary.success_best),
        )
        for one in run.conditions
        if one.summary.scored < one.summary.planned
    ]
    if not rows:
        return None
    named = any(one.name for one in run.conditions)
    return ReportTable(
        title=marked("Success if all trials not scored had failed, or succeeded", run),
        columns=("model", *(("condition",) if named else ()), "not scored", "worst", "best"),
        sections=(("", tuple(rows)),),
        words=2 if named else 1,
    )


def invalid_trials(run: RunReport) -> ReportTable | None:
    """Return how many trials infrastructure took and why, None where it took none."""
    if not run.summary.losses:
        return None
    rows = tuple((loss.model, loss.cause, f"{loss.trials}") for loss in run.summary.losses)
    return ReportTable(
        title=marked("Invalid trials, in no rate", run),
        columns=("model", "cause", "trials"),
        sections=(("", rows),),
        words=2,
        note=f"`benchrunner resume {run.summary.run_id}` runs them again.",
    )


def call_faults(run: RunReport) -> ReportTable | None:
    """Return how many attempts did not end well, by outcome, key and model; None where all did."""
    if not run.faulty_calls:
        return None
    rows = tuple(
        (_outcome(one.outcome), one.key_id, one.model, f"{one.calls}")
        for one in sorted(run.faulty_calls, key=lambda one: (one.outcome, -one.calls, one.key_id, one.model))
    )
    return ReportTable(
        title=marked("Attempts that did not end well", run),
        columns=("outcome", "key", "model", "attempts"),
        sections=(("", rows),),
        words=3,
        note="Attempts are tried again by the rules of docs/concepts.md; none counts against a model.",
    )


def _outcome(outcome: str) -> str:
    return "no answer yet" if outcome == SENT else outcome


def model_errors(run: RunReport) -> ReportTable | None:
    """Return how many scored trials of each model were no full success, by class; None where all were."""
    if not run.model_errors:
        return None
    classes = error_classes(run)
    scored = {one.model: one.scored for one in run.models}
    by_model: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for (model, kind), trials in run.model_errors.items():
        by_model[model][kind] += trials
    rows = tuple((model, f"{scored[model]}", *(f"{by_model[model][kind]}" for kind in classes)) for model in scored)
    return ReportTable(
        title=marked("Scored trials that are no full success, by error class", run),
        columns=("model", "scored", *classes),
        sections=(("", rows),),
        note="Errors of the model; what infrastructure did is not among them.",
    )


def keys(run: RunReport) -> ReportTable | None:
    """Return what each key was asked, None where none was."""
    if not run.traffic:
        return None
    rows = []
    for one in run.traffic:
        rows.append(
            (
                one.row.key_id,
                f"{one.row.calls}",
                f"{one.row.refused}",
                f"{one.row.unanswered}",
                f"{one.row.peak_1s}",
                limit_text(run.plan.request_limit(one.row.key_id)),
                f"{one.row.mean_wait_window_s:.2f} s",
            )
        )
    return ReportTable(
        title=marked("Keys", run),
        columns=("key", "calls", "refused", "no answer", "most in any 1 s", "request limit", "mean wait"),
        sections=(("", tuple(rows)),),
    )


def key_events(run: RunReport) -> ReportTable | None:
    """Return what happened to keys and domains, counted; None where nothing did."""
    counts = Counter((event.subject, event.kind) for event in run.key_events)
    if not counts:
        return None
    last = {(event.subject, event.kind): event.detail for event in run.key_events}
    rows = tuple((subject, kind, last[subject, kind], f"{count}") for (subject, kind), count in counts.items())
    return ReportTable(
        title=marked("What happened to keys", run),
        columns=("key or domain", "event", "the last time", "times"),
        sections=(("", rows),),
        words=3,
    )


def overview(report: Report) -> ReportTable:
    """Return one line a run."""
    rows = tuple(
        (
            run.name,
            run.summary.run_id,
            run.summary.policy,
            SIMULATED if run.summary.simulated else run.summary.backend,
            run.summary.status.value,
            f"{run.summary.scored}/{run.summary.planned}",
            f"{run.summary.invalid}",
            f"{run.summary.calls}",
            f"{run.summary.refused}",
            duration_text(run.summary.makespan_s),
            duration_text(run.summary.forecast_s),
        )
        for run in report.runs
    )
    return ReportTable(
        title="Runs",
        columns=(
            "phase", "run", "policy", "backend", "status", "scored", "invalid", "calls", "refused", "took", "forecast",
        ),
        sections=(("", rows),),
        words=5,
        note="Took: first request to last reply.",
    )  # fmt: skip


def tables_of(run: RunReport) -> Iterator[ReportTable]:
    """Yield every table of a run that has something to say, in reading order."""
    made: Sequence[ReportTable | None] = (
        grid(run),
        results(run),
        bounds(run),
        invalid_trials(run),
        model_errors(run),
        call_faults(run),
        keys(run),
        key_events(run),
    )
    yield from (table for table in made if table is not None)
