"""What a simulated model is good at, and how that grows with its size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

SIZE_OF_FULL_COMPETENCE_B: Final = 200.0  # billions of parameters; above it nothing is gained


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """Each a probability, 0..1. All but `trusting_plans` help."""

    finding_tools: float  # picks the tool that a search meant, and searches for everything at once
    keeping_order: float  # neither swaps nor drops a step
    recovering: float  # calls a failed tool again, rather than going on without it
    trusting_plans: float  # follows a plan that does not add up
    format_discipline: float  # writes the tags as told
    finishing: float  # says so when nothing is left to do


def skill_of(size_b: float) -> Skill:
    """Return the skill of a model with `size_b` billion parameters (> 0)."""
    return skill_at(math.log(max(1.0, size_b)) / math.log(SIZE_OF_FULL_COMPETENCE_B))


def skill_at(competence: float) -> Skill:
    """Return the skill at a competence, 0 (knows the tags, little more) to 1 (the best of the field); clamped."""
    x = min(1.0, max(0.0, competence))
    return Skill(
        finding_tools=0.30 + 0.65 * x,
        keeping_order=0.15 + 0.82 * x,
        recovering=0.25 + 0.70 * x,
        trusting_plans=0.95 - 0.45 * x,
        format_discipline=0.45 + 0.54 * x,
        finishing=0.55 + 0.43 * x,
    )
