"""The planner's advice in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchrunner.suites.workflow.advice import Advice, AdviceKind, Role, advice_text, planned_calls
from benchrunner.suites.workflow.plan import plan_task, plan_text
from benchrunner.suites.workflow.planner import Planner
from benchrunner.suites.workflow.problem import problem_of
from benchrunner.suites.workflow.tasks import make_task

AGAIN = Advice(kind=AdviceKind.AGAIN, tool="utility_cache")
DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize(
    ("on_failure", "words"),
    [
        ((), "not given"),
        ((AGAIN, AGAIN), "call it again"),
        ((Advice(kind=AdviceKind.HELPER, tool="a_b"),), "call a_b first"),
        ((AGAIN, Advice(kind=AdviceKind.GO_ON, tool="a_b")), "call it again, once; then go on with a_b"),
        (
            (AGAIN, AGAIN, Advice(kind=AdviceKind.FALLBACK, tool="a_b")),
            "call it again, up to 2 times; then call a_b, so that something succeeds",
        ),
        ((AGAIN, AGAIN, Advice(kind=AdviceKind.FINISH)), "call it again, up to 2 times; then say that you are done"),
    ],
)
def test_advice_reads_as_a_clause(on_failure: tuple[Advice, ...], words: str) -> None:
    """Retries are counted, and what follows them is named."""
    assert words == advice_text(on_failure)


def test_advice_ends_where_the_trial_does() -> None:
    """Five failures in a row end a trial, so the first step's advice is to retry four times, and no more."""
    problem = problem_of(("file_operations_reader", "data_processing_parser"), "simple_task")
    first, second = planned_calls(Planner(problem, 0.8))
    assert [advice.kind for advice in first.on_failure] == [AdviceKind.AGAIN] * 4
    assert (second.role, second.chance) == (Role.REQUIRED, 0.8)


def test_a_hopeless_task_is_left_with_what_it_can_win() -> None:
    """More required tools than calls: the plan secures a partial success and says that it is done."""
    required = tuple(problem_of(("utility_cache",), "simple_task").fallbacks[:11])
    calls = planned_calls(Planner(problem_of(required, "data_pipeline"), 0.8))
    planner = Planner(problem_of(required, "data_pipeline"), 0.8)
    found = planner.outlook(planner.start)
    assert found.p_full == 0.0
    assert 0.45 < found.value < 0.5
    assert len(calls) <= 2


def test_a_fallback_says_why_it_is_there() -> None:
    """It is no prerequisite, and its reason does not pretend that it is."""
    task = replace(
        make_task(seed=1, phase="5.4", difficulty="easy", task_type="api_integration", index=0),
        required_tools=("network_fetcher", "network_validator", "data_processing_parser"),
    )
    step = plan_task(task, 0.5).steps[0]
    assert step.role is Role.FALLBACK
    assert step.reason.endswith("secures a part of the credit")


def test_the_documented_plan_is_what_is_printed() -> None:
    """docs/workflow-suite.md shows a real plan."""
    task = replace(
        make_task(seed=1, phase="5.1", difficulty="easy", task_type="multi_stage_pipeline", index=0),
        required_tools=(
            "network_fetcher",
            "data_processing_parser",
            "data_processing_filter",
            "computation_predictor",
            "file_operations_writer",
        ),
    )
    shown = "\n".join(f"    {line}" for line in plan_text(plan_task(task)).splitlines())
    assert shown in (DOCS / "workflow-suite.md").read_text(encoding="utf-8")
