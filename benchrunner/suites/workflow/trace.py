"""What was executed in a trial, in order: all that levels, scores and error classes are read from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One tool call that was carried out. `error` is "" for a success."""

    tool: str
    attempt: int  # 1-based, per tool
    error: str = ""
    unmet: tuple[str, ...] = ()  # prerequisites that had not succeeded, or whose latest try failed

    @property
    def ok(self) -> bool:
        """Return whether the tool succeeded."""
        return not self.error


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A finished dialogue, as far as it matters for its worth."""

    executions: tuple[Execution, ...]
    claimed_completion: bool
    at_turn_limit: bool  # ended because the turns were used up, not by another rule
    format_helps: int  # how often the model had to be told how to write an action
    unknown_calls: int  # calls of names that no tool has

    @property
    def successes(self) -> tuple[str, ...]:
        """Return the tools of the successful calls in order, repeats included."""
        return tuple(execution.tool for execution in self.executions if execution.ok)


def first_successes(trace: Trace, required: tuple[str, ...]) -> tuple[str, ...]:
    """Return the required tools that succeeded, in the order of their first success."""
    wanted = set(required)
    return tuple(dict.fromkeys(tool for tool in trace.successes if tool in wanted))
