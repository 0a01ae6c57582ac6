"""The simulated tools: whether a call succeeds, and what it answers.

Every draw is keyed by (trial seed, tool, attempt number), so a call's fate depends neither on what other tools were
called in between nor on which process plays the trial. The same draw is held against a higher base rate: what
succeeded at 0.6 succeeds at 0.9 too.
"""

from __future__ import annotations

from hashlib import blake2b
from random import Random

from benchrunner.suites.workflow.outputs import failure_context, success_output
from benchrunner.suites.workflow.tools import ErrorCode, Tool
from benchrunner.suites.workflow.trace import Execution

MIN_P, MAX_P = 0.10, 0.95
NEVER_MET, LOST_AGAIN, STREAK = 0.5, 0.7, 0.9
STREAK_WINDOW = 3  # executions looked back on, once there are as many


def success_probability(base: float, *, never_met: int, lost_again: int, recent_failures: int) -> float:
    """Return the chance that a call succeeds, 0.10..0.95.

    `never_met`: prerequisites without a success so far; `lost_again`: those that succeeded but whose latest try
    failed; `recent_failures`: failures among the last three executions, 0 before there were three.
    """
    p = base * NEVER_MET**never_met * LOST_AGAIN**lost_again * STREAK**recent_failures
    return min(MAX_P, max(MIN_P, p))


def call_rng(trial_seed: int, tool: str, attempt: int) -> Random:
    """Return the generator of one call: the same for the same trial, tool and attempt, on every machine."""
    digest = blake2b(f"{trial_seed}/{tool}/{attempt}".encode(), digest_size=8).digest()
    return Random(int.from_bytes(digest, "big"))


class ToolSimulation:
    """The tools of one trial. Holds what was executed so far; one dialogue, hence one thread, uses it."""

    def __init__(self, *, trial_seed: int, base: float) -> None:
        self._trial_seed = trial_seed
        self._base = base
        self.executions: list[Execution] = []
        self._attempts: dict[str, int] = {}
        self._succeeded: set[str] = set()
        self._last_ok: dict[str, bool] = {}

    def probability(self, tool: Tool) -> float:
        """Return the chance that calling `tool` now succeeds."""
        never_met = sum(name not in self._succeeded for name in tool.dependencies)
        lost_again = sum(name in self._succeeded and not self._last_ok[name] for name in tool.dependencies)
        recent = self.executions[-STREAK_WINDOW:]
        failures = sum(not execution.ok for execution in recent) if len(recent) == STREAK_WINDOW else 0
        return success_probability(self._base, never_met=never_met, lost_again=lost_again, recent_failures=failures)

    def call(self, tool: Tool) -> tuple[Execution, str]:
        """Carry out one call; return it and the text of its outcome: JSON, or ``CODE: words``."""
        attempt = self._attempts.get(tool.name, 0) + 1
        rng = call_rng(self._trial_seed, tool.name, attempt)
        unmet = tuple(name for name in tool.dependencies if not self._last_ok.get(name, False))
        error: ErrorCode | None = None
        if rng.random() >= self.probability(tool):
            error = rng.choice(tool.errors)
        execution = Execution(tool=tool.name, attempt=attempt, error=error.code if error else "", unmet=unmet)
        self._attempts[tool.name] = attempt
        self._last_ok[tool.name] = execution.ok
        if execution.ok:
            self._succeeded.add(tool.name)
        self.executions.append(execution)
        if error is not None:
            return execution, f"{error.code}: {error.description} {failure_context(error.code, rng)}"
        return execution, success_output(tool, rng)
