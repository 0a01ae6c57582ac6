"""Why a trial is not a full success: one class, by fixed rules over its trace, and only ever the model's doing.

What infrastructure did never gets here: such a trial ends invalid and is run again. A simulated tool's TIMEOUT is an
event the model had to deal with; it is no time-out of a call.
"""

from __future__ import annotations

from enum import StrEnum

from benchrunner.records import Level
from benchrunner.suites.workflow.tools import catalogue
from benchrunner.suites.workflow.trace import Execution, Trace, first_successes


class ErrorClass(StrEnum):
    """The model's classes, in the order in which they are tried. The first that fits is the trial's."""

    TOOL_CALL_FORMAT = "tool_call_format"
    MAX_TURNS = "max_turns"
    TIMEOUT = "timeout"  # kept for the field's tables; a time-out here is infrastructure and never scored
    TOOL_SELECTION = "tool_selection"
    PARAMETER_CONFIG = "parameter_config"
    SEQUENCE_ORDER = "sequence_order"
    DEPENDENCY = "dependency"
    OTHER = "other"


PARAMETER_CODES = frozenset(("INVALID_INPUT", "PERMISSION_DENIED"))


def classify_error(trace: Trace, required: tuple[str, ...], level: Level) -> str:
    """Return the error class of a trial, "" for a full success."""
    if level is Level.FULL:
        return ""
    if not trace.executions and not trace.unknown_calls:
        return ErrorClass.TOOL_CALL_FORMAT
    if trace.format_helps and not trace.executions:
        return ErrorClass.TOOL_CALL_FORMAT
    if trace.at_turn_limit:
        return ErrorClass.MAX_TURNS
    reached = first_successes(trace, required)
    missing = [tool for tool in dict.fromkeys(required) if tool not in reached]
    if not trace.successes or (missing and any(e.tool not in _useful(required) for e in trace.executions)):
        return ErrorClass.TOOL_SELECTION
    last_try: dict[str, Execution] = {execution.tool: execution for execution in trace.executions}
    if any(tool in last_try and last_try[tool].error in PARAMETER_CODES for tool in missing):
        return ErrorClass.PARAMETER_CONFIG
    in_order = reached == tuple(tool for tool in dict.fromkeys(required) if tool in reached)
    if not in_order or any(tool not in last_try for tool in missing):
        return ErrorClass.SEQUENCE_ORDER
    if any(last_try[tool].unmet for tool in missing):
        return ErrorClass.DEPENDENCY
    return ErrorClass.OTHER


def _useful(required: tuple[str, ...]) -> frozenset[str]:
    """Return the required tools and all their prerequisites: calling one of those is help, not a wrong choice."""
    useful: set[str] = set()
    waiting = list(required)
    while waiting:
        name = waiting.pop()
        if name not in useful:
            useful.add(name)
            waiting.extend(catalogue()[name].dependencies)
    return frozenset(useful)
