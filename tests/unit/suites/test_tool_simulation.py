"""The simulated tools."""

from __future__ import annotations

from collections import Counter

import orjson
import pytest

from benchrunner.suites.workflow.simulation import ToolSimulation, call_rng, success_probability
from benchrunner.suites.workflow.tools import catalogue

READER = catalogue()["file_operations_reader"]
PARSER = catalogue()["data_processing_parser"]
TRANSFORMER = catalogue()["data_processing_transformer"]
WRITER = catalogue()["file_operations_writer"]


@pytest.mark.parametrize(
    ("base", "never_met", "lost_again", "failures", "expected"),
    [
        (0.8, 0, 0, 0, 0.8),
        (0.8, 1, 0, 0, 0.4),
        (0.8, 2, 0, 0, 0.2),
        (0.8, 0, 1, 0, 0.56),
        (0.8, 0, 0, 3, 0.8 * 0.729),
        (0.8, 1, 1, 2, 0.8 * 0.5 * 0.7 * 0.81),
        (0.5, 2, 0, 3, 0.10),
        (1.0, 0, 0, 0, 0.95),
    ],
)
def test_the_chance_follows_the_formula(
    base: float, never_met: int, lost_again: int, failures: int, expected: float
) -> None:
    """clamp(base x 0.5^u x 0.7^v x 0.9^f, 0.10, 0.95)."""
    found = success_probability(base, never_met=never_met, lost_again=lost_again, recent_failures=failures)
    assert expected == pytest.approx(found)


def test_the_state_of_prerequisites_counts() -> None:
    """A prerequisite never met halves the chance; three executions in, recent failures start to count."""
    # Given a writer, whose two prerequisites have not run
    simulation = ToolSimulation(trial_seed=1, base=0.8)
    assert simulation.probability(WRITER) == pytest.approx(0.2)
    # When one of them has succeeded
    while not any(e.tool == TRANSFORMER.name and e.ok for e in simulation.executions):
        simulation.call(TRANSFORMER)
    # Then only the other one still costs
    recent = simulation.executions[-3:]
    failures = sum(not execution.ok for execution in recent) if len(recent) == 3 else 0
    assert simulation.probability(WRITER) == pytest.approx(0.4 * 0.9**failures)


def test_a_calls_fate_does_not_depend_on_the_calls_between() -> None:
    """The draw belongs to (trial, tool, attempt): other tools called before do not shift it."""
    # Given two trials of one seed at a rate where no streak or prerequisite matters
    alone, among_others = ToolSimulation(trial_seed=9, base=1.0), ToolSimulation(trial_seed=9, base=1.0)
    # When one calls only the reader, the other something else in between
    lonely = [alone.call(READER) for _ in range(2)]
    busy = []
    for _ in range(2):
        busy.append(among_others.call(READER))
        among_others.call(catalogue()["utility_cache"])
    # Then outcome and output are the same
    assert [text for _, text in lonely] == [text for _, text in busy]
    assert call_rng(9, READER.name, 1).random() == call_rng(9, READER.name, 1).random()
    assert call_rng(9, READER.name, 1).random() != call_rng(9, READER.name, 2).random()
    assert call_rng(8, READER.name, 1).random() != call_rng(9, READER.name, 1).random()


def test_what_succeeds_at_a_low_rate_succeeds_at_a_higher_one() -> None:
    """All rates share their draws, so phase 5.4 compares rates and not luck."""
    for seed in range(200):
        low, high = ToolSimulation(trial_seed=seed, base=0.5), ToolSimulation(trial_seed=seed, base=0.9)
        assert low.call(READER)[0].ok <= high.call(READER)[0].ok


def test_failures_draw_their_codes_evenly() -> None:
    """Every declared code turns up, within four standard errors of an even share."""
    codes = Counter(
        execution.error
        for seed in range(4000)
        if not (execution := ToolSimulation(trial_seed=seed, base=0.5).call(READER)[0]).ok
    )
    total = sum(codes.values())
    share = 1 / len(READER.errors)
    assert set(codes) == {error.code for error in READER.errors}
    for count in codes.values():
        assert abs(count / total - share) <= 4 * (share * (1 - share) / total) ** 0.5


def test_every_tool_answers_small_json() -> None:
    """A success is a JSON object that says so, under 200 characters."""
    for tool in catalogue().tools:
        seed = next(s for s in range(1000) if ToolSimulation(trial_seed=s, base=0.9).call(tool)[0].ok)
        _, text = ToolSimulation(trial_seed=seed, base=0.9).call(tool)
        assert orjson.loads(text)["success"] is True
        assert len(text) < 200


def test_a_failure_says_its_code_first() -> None:
    """The words of a failure start with its code, and name what it lacked."""
    seed = next(s for s in range(1000) if not ToolSimulation(trial_seed=s, base=0.5).call(TRANSFORMER)[0].ok)
    execution, text = ToolSimulation(trial_seed=seed, base=0.5).call(TRANSFORMER)
    assert text.startswith(f"{execution.error}: ")
    assert execution.unmet == (PARSER.name,)
