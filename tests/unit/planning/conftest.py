from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from planning_samples import FIVE, StubSuite, phase_of

from benchrunner.planning.sharding import PhasePlan, plan_phase
from benchrunner.records import ModelEntry, Phase, PhaseOrder, ShardOrder


@pytest.fixture
def scale_phase() -> Phase:
    """Phase 5.2's shape: five models, two difficulties, all at once."""
    return phase_of(
        *(model.name for model in FIVE),
        difficulties=("very_easy", "medium"),
        order=PhaseOrder.CONCURRENT,
        stagger_s=15.0,
        shard_order=ShardOrder.CONDITIONS,
    )


@pytest.fixture
def lay_out() -> Callable[..., PhasePlan]:
    """Lay a phase out for the models it names, with the stub suite."""

    def plan(phase: Phase, *models: ModelEntry, suite: StubSuite | None = None, **options: Any) -> PhasePlan:
        settings = {"run_id": "r1", "seed": 7} | options
        return plan_phase(phase, models, suite or StubSuite(), **settings)

    return plan
