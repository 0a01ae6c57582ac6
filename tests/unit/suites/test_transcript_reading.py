"""What a finished dialogue's transcript says about its tools, read back from text alone."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat

import pytest

from benchrunner.records import ChatReply, TrialScore
from benchrunner.suites.workflow.dialogue import play
from benchrunner.suites.workflow.tasks import encode_task, make_task
from benchrunner.suites.workflow.transcript import ToolUse, read_tool_use

TASK = make_task(seed=1, phase="5.1", difficulty="easy", task_type="basic_task", index=0)
BODY = encode_task(TASK)
FIRST, SECOND, THIRD = TASK.required_tools


def transcript(replies: Iterable[str], protocol: str = "text", seed: int = 0) -> str:
    dialogue = play(TASK, prompt="optimal", tool_success_rate=1.0, trial_seed=seed, protocol=protocol)
    next(dialogue)
    try:
        for text in replies:
            dialogue.send(ChatReply(text=text, finish_reason="stop"))
    except StopIteration as end:
        score: TrialScore = end.value
        return score.transcript
    raise AssertionError("the replies ran out before the dialogue ended")


def use(name: str) -> str:
    return f"<use_tool>{name}</use_tool>"


def test_coverage_is_the_share_of_required_tools_that_ever_succeeded() -> None:
    """Failed calls, calls of other tools and repeats do not count."""
    found = set()
    for seed in range(40):
        text = transcript([use(FIRST), use("utility_cache"), use(FIRST), use(SECOND), *repeat("hm", 6)], seed=seed)
        found.add(read_tool_use(BODY, text).coverage)
    assert found <= {0.0, 1 / 3, 2 / 3}
    assert 2 / 3 in found


@pytest.mark.parametrize("protocol", ["text", "native"])
def test_an_assisted_turn_is_a_reply_made_after_format_help(protocol: str) -> None:
    """Ten useless replies were helped nine times: the tenth help reached nobody. A claim of completion gets no help."""
    assert read_tool_use(BODY, transcript(repeat("hm"), protocol)).assisted_turns == 9
    assert read_tool_use(BODY, transcript(repeat("Task completed."), protocol)).assisted_turns == 0


def test_one_help_is_one_assisted_turn() -> None:
    """Searches and unknown tools are actions: no help is given for them."""
    text = transcript(["hm", use(FIRST), "<find_tool>x</find_tool>", use("teapot"), *repeat("Task completed.", 6)])
    assert read_tool_use(BODY, text).assisted_turns == 1


@pytest.mark.parametrize(
    "body", ["", "{", "[]", '{"required_tools": 3}', '{"required_tools": []}', '{"prompt": "2+2?"}']
)
@pytest.mark.parametrize("text", ["", "[", "{}", "[3]", '[{"results": 3}]', '[{"reply": "4"}, {"reply": "5"}]'])
def test_texts_of_other_suites_give_zeros(body: str, text: str) -> None:
    """A suite without tools has no coverage and no assistance, and nothing is raised over its texts."""
    assert read_tool_use(body, text) == ToolUse(coverage=0.0, assisted_turns=0)
    assert read_tool_use(BODY, "[3]").coverage == 0.0
