"""A report's sentences: what ran, what came of it, how long it took. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from benchrunner.records import RunStatus
from benchrunner.reporting.report import ModelResult, Report, RunReport, best_and_worst
from benchrunner.reporting.report_figures import bound_s, interval, percent, took_s
from benchrunner.reporting.wording import duration_text

NAMED = 2  # of models that share the first place
NEAR = 0.02  # a forecast this close came true


def title(report: Report) -> str:
    """Return the report's title."""
    phases = tuple(dict.fromkeys(run.summary.phase for run in report.runs))
    if len(report.runs) == 1:
        return f"Phase {report.runs[0].name}"
    return f"Phase{'s' if len(phases) > 1 else ''} {', '.join(phases)}: {len(report.runs)} runs"


def warning(report: Report) -> str:
    """Return what must be known before any number is read, "" for measured results."""
    if not report.simulated:
        return ""
    if len(report.simulated) == len(report.runs):
        return "These are results of the embedded provider's simulated models. No real model was asked."
    return (
        f"Simulated, not measured: {', '.join(report.simulated)}. "
        "In those runs the embedded provider's models answered, not real ones."
    )


def facts(run: RunReport) -> tuple[tuple[str, str], ...]:
    """Return the run's header: what, how, when, how much, how long."""
    one = run.summary
    took = duration_text(one.makespan_s)
    found: list[tuple[str, str]] = [
        ("run", one.run_id),
        ("status", one.status.value),
        ("policy", f"{one.policy}, engine {one.engine}"),
        ("backend", one.backend),
        ("seed", f"{one.seed}"),
        ("version", one.version),
        ("started", _second(one.started_at)),
        ("ended", _second(one.ended_at) if one.ended_at else "not ended"),
        ("coverage", f"{one.scored} of {one.planned} scored" + (f", {one.invalid} invalid" if one.invalid else "")),
        ("calls", f"{one.calls}, {one.refused} refused" + (f", {one.unanswered} unanswered" if one.unanswered else "")),
        ("wall time", duration_text(one.wall_s)),
        ("first request to last reply", took),
    ]
    if one.forecast_s is not None:
        found.append(("forecast", duration_text(one.forecast_s)))
    bound = bound_s(run)
    if bound is not None and one.makespan_s:
        found.append(("lower bound", f"{duration_text(bound)} ({percent(bound / one.makespan_s)} of the time taken)"))
    return tuple(found)


def in_plain_words(run: RunReport) -> str:
    """Return one paragraph on the run for somebody who reads nothing else of it."""
    sentences = (_asked(run), _coverage(run), _success(run), _infrastructure(run), _time(run))
    return _joined(sentences)


def in_short(run: RunReport) -> str:
    """Return the run's outcome for a list of runs."""
    return _joined((_coverage(run), _success(run)))


def _joined(sentences: Iterable[str]) -> str:
    return " ".join(sentence for sentence in sentences if sentence).replace(" %", "\u00a0%")


def _asked(run: RunReport) -> str:
    one = run.summary
    names = dict.fromkeys(result.name for result in run.conditions)
    under = f" under {len(names)} conditions" if len(names) > 1 else ""
    simulated = "simulated " if one.simulated else ""
    return (
        f"Phase {run.name} put {_count(len(run.models), f'{simulated}model')} to the test{under}."
    )


def _coverage(run: RunReport) -> str:
    one = run.summary
    left = one.planned - one.scored - one.invalid
    if one.scored == one.planned:
        return f"All {one.planned} trials are scored."
    parts = [f"{one.scored} of {one.planned} trials ({percent(one.scored / one.planned)}) are scored"]
    if one.invalid:
        parts.append(f"{one.invalid} were lost to infrastructure and count for no model")
    if left:
        parts.append(f"{left} have not ended" if one.status is RunStatus.RUNNING else f"{left} were not run")
    return ", ".join(parts) + "."


def _success(run: RunReport) -> str:
    if len(run.models) == 1:
        only = run.models[0]
        return "" if only.success_rate is None else f"{only.model} succeeded in {_with_interval(only)}."
    pair = best_and_worst(run.models)
    if pair is None:
        return ""
    best, worst = pair
    over = " over all conditions" if len({result.name for result in run.conditions}) > 1 else ""
    if best.success_rate == worst.success_rate:
        return f"All models that may be compared succeeded equally often{over}: in {_with_interval(best)}."
    equals = [one.model for one in run.models if one.success_rate == best.success_rate and not one.low_coverage]
    first = f"{len(equals)} of {len(run.models)} models" if len(equals) > NAMED else " and ".join(equals)
    last = f"{worst.model} with {_with_interval(worst)}"
    return f"Most successful{over}: {first} with {_with_interval(best)}; least: {last}."


def _with_interval(one: ModelResult) -> str:
    return f"{percent(one.success_rate)} (95 % interval {interval(one.interval)})"


def _infrastructure(run: RunReport) -> str:
    one = run.summary
    if not one.calls:
        return "No request was sent."
    refused = "none refused" if not one.refused else f"{one.refused} refused ({percent(one.refused / one.calls, 1)})"
    return f"The providers got {one.calls} requests, {refused}."


def _time(run: RunReport) -> str:
    one, took = run.summary, took_s(run)
    if one.makespan_s is None:
        return ""
    said = f"From the first request to the last reply it took {duration_text(one.makespan_s)}"
    if took is None or not one.forecast_s:
        return said + "."
    ratio = took / one.forecast_s - 1
    if abs(ratio) < NEAR:
        return f"{said}, as forecast."
    compared = f"{percent(abs(ratio))} {'longer' if ratio > 0 else 'less'} than forecast"
    if ratio >= 1:
        compared = f"{ratio + 1:.1f} times as long as forecast"
    return f"{said}, {compared} ({duration_text(one.forecast_s)})."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _second(at: str) -> str:
    return at[:19].replace("T", " ") + " UTC"
