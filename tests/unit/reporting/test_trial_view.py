"""One trial and its transcript, as people read it."""

from __future__ import annotations

from io import StringIO
from typing import Any

import orjson
import pytest
from result_samples import full, invalid

from benchrunner.reporting.console import console_for
from benchrunner.reporting.tables import show
from benchrunner.reporting.trial_view import trial_parts
from benchrunner.store.answers import TrialRow

TURN: dict[str, Any] = {
    "turn": 1,
    "sent": [{"role": "system", "content": "Act."}, {"role": "user", "content": "Goal:\n  read \x1b[31mit"}],
    "reply": "<use_tool>reader</use_tool>",
    "calls": [{"id": "c1", "name": "use_tool", "arguments": '{"name": "reader"}'}],
    "finish_reason": "stop",
    "variant": "native",
    "claims_completion": False,
    "results": [{"tool": "reader", "error": "timeout"}, {"tool": "parser", "error": ""}],
}


def text_of(trial: TrialRow, *, simulated: bool = True) -> str:
    stream = StringIO()
    show(console_for(stream, width=100), trial_parts(trial, simulated=simulated))
    return stream.getvalue()


def test_a_transcript_is_told_turn_by_turn() -> None:
    """Who said what, which tools were called, and what came of it; indents stay, control characters go."""
    text = text_of(full(transcript=orjson.dumps([TURN, {**TURN, "sent": []}]).decode()))
    assert text.startswith("SIMULATED trial t of run r1\nm; optimal, easy, tools 0.8; basic_task\nfull: workflow 0.90")
    assert (text.count("--- turn 1 ---"), text.count("--- turn 2 ---")) == (1, 1)
    assert "system:\nAct.\nuser:\nGoal:\n  read  [31mit\nreply:\n<use_tool>reader</use_tool>\n" in text
    assert 'calls use_tool({"name": "reader"})\ntool reader: timeout\ntool parser: ok\n' in text
    assert "finish stop; variant native; claims_completion false" in text
    assert "\x1b" not in text


def test_an_invalid_trial_names_its_cause_and_no_score() -> None:
    """It was never judged."""
    text = text_of(invalid(), simulated=False)
    assert text == (
        "trial t of run r1\nm; optimal, easy, tools 0.8; basic_task\ninvalid, in no score: rate_limit\n"
        "\nthe transcript is empty\n"
    )


@pytest.mark.parametrize("transcript", ["not json", '{"a": "dict"}', "[1, 2]", '[{"other": "shape"}]'])
def test_a_transcript_of_another_shape_is_shown_as_it_is(transcript: str) -> None:
    """A suite of somebody's own may keep what it likes."""
    assert text_of(full(transcript=transcript)).endswith(f"\n{transcript}\n")
