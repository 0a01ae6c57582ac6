"""Scores, levels and whole dialogues keep their bounds for any course of events."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from benchrunner.records import ChatReply, Level, TrialScore
from benchrunner.suites.workflow.dialogue import play
from benchrunner.suites.workflow.error_classes import ErrorClass, classify_error
from benchrunner.suites.workflow.levels import rule_level
from benchrunner.suites.workflow.prompts import PROMPTS
from benchrunner.suites.workflow.scoring import score
from benchrunner.suites.workflow.simulation import success_probability
from benchrunner.suites.workflow.stop_rules import MAX_TURNS
from benchrunner.suites.workflow.tasks import TASK_TYPES, make_task
from benchrunner.suites.workflow.tools import catalogue
from benchrunner.suites.workflow.trace import Execution, Trace

NAMES = [tool.name for tool in catalogue().tools]
SEQUENCES = st.lists(st.sampled_from(NAMES), min_size=1, max_size=6, unique=True).map(tuple)
EXECUTIONS = st.builds(
    Execution,
    tool=st.sampled_from(NAMES),
    attempt=st.integers(1, 9),
    error=st.sampled_from(["", "", "TIMEOUT", "INVALID_INPUT"]),
)
TRACES = st.builds(
    Trace,
    executions=st.lists(EXECUTIONS, max_size=20).map(tuple),
    claimed_completion=st.booleans(),
    at_turn_limit=st.booleans(),
    format_helps=st.integers(0, 10),
    unknown_calls=st.integers(0, 3),
)


@given(TRACES, SEQUENCES, SEQUENCES, st.sampled_from(TASK_TYPES))
def test_scores_stay_within_bounds(trace: Trace, required: tuple[str, ...], plan: tuple[str, ...], kind: str) -> None:
    """0..1 for all, workflow at most 0.92; full trials keep their floors; the class is empty exactly for them."""
    level = rule_level(trace, kind, required)
    found = score(trace, required, plan, level)
    assert all(0.0 <= value <= 1.0 for value in (found.workflow, found.phase2, found.quality, found.final))
    assert found.workflow <= 0.92 + 1e-9
    assert level is not Level.FULL or (found.quality >= 0.7 and found.phase2 >= 0.75)
    error_class = classify_error(trace, required, level)
    assert (error_class == "") == (level is Level.FULL)
    assert error_class in {"", *ErrorClass}
    assert error_class != ErrorClass.TIMEOUT


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_the_chance_stays_within_bounds_and_grows_with_the_base(
    one: float, other: float, never_met: int, lost_again: int, failures: int
) -> None:
    """0.10..0.95, and never smaller for a higher base rate."""
    low, high = (
        success_probability(base, never_met=never_met, lost_again=lost_again, recent_failures=failures)
        for base in sorted((one, other))
    )
    assert 0.10 <= low <= high <= 0.95


REPLIES = st.one_of(
    st.sampled_from(NAMES).map(lambda name: f"<use_tool>{name}</use_tool>"),
    st.sampled_from(["Task completed.", "<find_tool>read</find_tool>", "<show_tool>network_poster", "hm", ""]),
    st.text(max_size=40),
)


@settings(max_examples=60)
@given(
    st.lists(REPLIES, min_size=MAX_TURNS, max_size=MAX_TURNS),
    st.sampled_from(PROMPTS),
    st.sampled_from(TASK_TYPES),
    st.integers(0, 2**63),
)
def test_every_dialogue_ends_scored_within_ten_turns(replies: list[str], prompt: str, kind: str, seed: int) -> None:
    """Whatever a model says, the dialogue asks at most ten times and returns a score."""
    task = make_task(seed=1, phase="5.1", difficulty="easy", task_type=kind, index=seed % 50)
    dialogue = play(task, prompt=prompt, tool_success_rate=0.8, trial_seed=seed)
    next(dialogue)
    score: TrialScore | None = None
    sent = 0
    while score is None:
        try:
            dialogue.send(ChatReply(text=replies[sent], finish_reason="stop"))
        except StopIteration as end:
            score = end.value
        sent += 1
    assert score.turns == sent
