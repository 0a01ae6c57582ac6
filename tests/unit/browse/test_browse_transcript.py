"""Transcripts as turns: both shipped suites', and whatever else a file may hold."""

from __future__ import annotations

import json

import pytest

from benchrunner.browse.transcript import Said, ShownCall, ToolUsed, pretty_json, read_turns, task_facts


def test_a_turn_of_the_workflow_suite_keeps_who_said_what_and_what_came_of_it() -> None:
    """Messages, reply, function calls, results and the rest, in the order of the dialogue."""
    # Given a turn under the native protocol
    turn = {
        "turn": 3,
        "sent": [{"role": "tool", "content": "[failed]", "tool_call_id": "c1"}, {"role": "user", "content": "go on"}],
        "reply": "",
        "calls": [{"id": "c2", "name": "use_tool", "arguments": '{"tool": "reader"}'}],
        "finish_reason": "tool_calls",
        "variant": "native",
        "claims_completion": False,
        "actions": [{"kind": "use", "subject": "reader", "arguments": ""}],
        "results": [{"tool": "reader", "error": ""}, {"tool": "writer", "error": "TIMEOUT"}],
    }
    # When
    turns = read_turns(json.dumps([turn]))
    # Then
    assert turns is not None
    (shown,) = turns
    assert shown.number == 3
    assert shown.sent == (Said(role="tool", text="[failed]", about="c1"), Said(role="user", text="go on"))
    assert shown.reply == Said(role="assistant", text="")
    assert shown.calls == (ShownCall(call_id="c2", name="use_tool", arguments='{"tool": "reader"}'),)
    assert shown.results == (ToolUsed(tool="reader", error=""), ToolUsed(tool="writer", error="TIMEOUT"))
    assert shown.facts == (("variant", "native"), ("claims completion", "no"), ("actions", "use reader"))


def test_a_turn_of_a_question_shows_what_the_scorer_found() -> None:
    """Suites keep facts of their own; none is lost."""
    turn = {"turn": 1, "sent": [], "reply": "42", "scorer": "number", "found": 42, "score": 1.0}
    turns = read_turns(json.dumps([turn]))
    assert turns is not None
    assert turns[0].facts == (("scorer", "number"), ("found", "42"), ("score", "1.0"))


@pytest.mark.parametrize("text", [None, "", "[]"])
def test_no_transcript_is_no_turns(text: str | None) -> None:
    """A trial that is pending, or that infrastructure took, has none."""
    assert read_turns(text) == ()


@pytest.mark.parametrize("text", ["{", '{"reply": "x"}', "[1]", '[{"question": "?"}]', '"text"'])
def test_a_transcript_of_another_shape_is_left_to_be_shown_as_text(text: str) -> None:
    """A suite of somebody else's may keep what it likes."""
    assert read_turns(text) is None


@pytest.mark.parametrize("turn", [{"reply": None}, {"reply": {"a": 1}, "sent": "x", "calls": [1], "results": None}])
def test_odd_values_inside_a_turn_break_nothing(turn: dict[str, object]) -> None:
    """The page must open: it is where one looks when something is odd."""
    turns = read_turns(json.dumps([turn]))
    assert turns is not None
    assert (turns[0].number, turns[0].sent, turns[0].calls) == (1, (), ())


def test_only_long_messages_are_folded() -> None:
    """Prompts take screens; answers are what one came to read."""
    assert [Said(role="user", text="x" * length).is_long for length in (1200, 1201)] == [False, True]


def test_a_task_is_told_as_names_and_texts() -> None:
    """In its own order; a task that is no object is not told."""
    body = '{"task_type": "simple", "inputs": {"a": 1}, "required_tools": ["r", "w"], "order_conflict": false, "n": []}'
    assert task_facts(body) == (
        ("task type", "simple"),
        ("inputs", "a: 1"),
        ("required tools", "r, w"),
        ("order conflict", "no"),
        ("n", "none"),
    )
    assert task_facts("[1]") == task_facts("{") == task_facts(None) == ()


def test_json_is_indented_and_other_text_left_alone() -> None:
    """For the configuration of a run, and transcripts of another shape."""
    assert pretty_json('{"a":1}') == '{\n  "a": 1\n}'
    assert (pretty_json("{"), pretty_json(None)) == ("{", "")
