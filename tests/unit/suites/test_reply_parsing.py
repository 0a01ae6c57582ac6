"""Reading actions out of replies, however they are spelled."""

from __future__ import annotations

import pytest

from benchrunner.suites.workflow.parsing import MAX_ACTIONS, ActionKind, parse_reply


@pytest.mark.parametrize(
    ("text", "subject", "variant"),
    [
        ("<use_tool>network_fetcher</use_tool>", "network_fetcher", "strict"),
        ("First I fetch.\n<use_tool> network_fetcher </use_tool>\nThen I wait.", "network_fetcher", "strict"),
        ("<USE_TOOL>network_fetcher</USE_TOOL>", "network_fetcher", "strict"),
        ("<use_tool>network_fetcher", "network_fetcher", "unclosed"),
        ("<use_tool>network_fetcher\nThis gets the data.", "network_fetcher", "unclosed"),
        ("<use_tool>\n`network_fetcher`\n</use_tool>", "network_fetcher", "strict"),
        ("<use_tool>network_fetcher(source='a')</use_tool>", "network_fetcher", "parentheses"),
        ("<use_tool>network_fetcher[source]</use_tool>", "network_fetcher", "brackets"),
        ("<use_tool>network_fetcher source=a timeout=3</use_tool>", "network_fetcher", "assignments"),
        ("<use_tool>network_fetcher, source: a</use_tool>", "network_fetcher", "assignments"),
        ("<use_tool>network_fetcher to get the data</use_tool>", "network_fetcher", "words"),
        ("<use_tool>network fetcher</use_tool>", "network fetcher", "words"),
        ('<use_tool>network_fetcher {"source": "a"}</use_tool>', "network_fetcher", "json"),
        ('<use_tool>{"name": "network_fetcher", "arguments": {"a": 1}}</use_tool>', "network_fetcher", "json"),
        ('<use_tool>```json\n{"tool": "network_fetcher"}\n```</use_tool>', "network_fetcher", "json"),
        ('<use_tool>{"function": {"name": "network_fetcher"}}</use_tool>', "network_fetcher", "json"),
        ('<use_tool>{"name": "network_fetcher", "arguments": {</use_tool>', "network_fetcher", "json"),
        ('<use_tool>{"name": "network_fetcher"}', "network_fetcher", "json+unclosed"),
        ('<use_tool name="network_fetcher"></use_tool>', "network_fetcher", "attribute"),
        ("<use_tool name='network_fetcher'/>", "network_fetcher", "attribute"),
        ("<use_tool=network_fetcher>", "network_fetcher", "attribute"),
        ("<tool_call>network_fetcher</tool_call>", "network_fetcher", "alias"),
        ('<tool_call>\n{"name": "network_fetcher", "arguments": {}}\n', "network_fetcher", "alias+json+unclosed"),
        ("<use_tool>network_fetcher</tool_call>", "network_fetcher", "mismatched"),
        ("&lt;use_tool&gt;network_fetcher&lt;/use_tool&gt;", "network_fetcher", "escaped"),
    ],
)
def test_a_call_is_read_however_it_is_spelled(text: str, subject: str, variant: str) -> None:
    """A lost closing tag or a habit of another harness costs no call; the spelling is recorded."""
    # When
    parsed = parse_reply(text)
    # Then
    assert [(ActionKind.USE, subject)] == [(action.kind, action.subject) for action in parsed.actions]
    assert variant == parsed.variant


def test_arguments_are_kept() -> None:
    """They decide nothing, but the transcript shows them."""
    (action,) = parse_reply('<use_tool>{"name": "network_fetcher", "arguments": {"source": "a"}}</use_tool>').actions
    assert action.arguments == "{'source': 'a'}"


def test_all_three_kinds_are_read_in_order() -> None:
    """A reply may hold several actions; unclosed ones end where the next begins."""
    parsed = parse_reply(
        "<find_tool>read a\nfile</find_tool> <show_tool>network_fetcher <use_tool>utility_cache</use_tool>"
        '<tool_search>{"query": "parse"}</tool_search><tool_info>a_b</tool_info>'
    )
    assert [(action.kind.value, action.subject) for action in parsed.actions] == [
        ("find", "read a file"),
        ("show", "network_fetcher"),
        ("use", "utility_cache"),
        ("find", "parse"),
        ("show", "a_b"),
    ]


@pytest.mark.parametrize(
    "text",
    ["", "hello", "OK", "I call network_fetcher now.", "<use_tool></use_tool>", "</use_tool>", "<use_tool>!</use_tool>",
     "<use_tool>{}</use_tool>", "<b>bold</b>", "<use_tools>x</use_tools>"],
)  # fmt: skip
def test_a_reply_without_an_action_has_none(text: str) -> None:
    """Nothing is guessed from prose or an empty tag."""
    parsed = parse_reply(text)
    assert parsed.actions == ()
    assert parsed.variant == "none"


def test_reasoning_is_no_action() -> None:
    """What a model only thinks, in a whole, a headless or a cut block, is neither a call nor a claim."""
    call = "<use_tool>network_fetcher</use_tool>"
    assert len(parse_reply(f"<think>{call} Task completed.</think>{call}").actions) == 1
    assert len(parse_reply(f"maybe {call}? no.</think>{call}").actions) == 1
    assert len(parse_reply(f"{call} <thinking>{call}</thinking> {call}").actions) == 2
    cut = parse_reply(f"<think>then {call} and the task is complete")
    assert cut.actions == ()
    assert not cut.claims_completion


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("Task completed.", True),
        ("The task is complete.", True),
        ("the task is now fully completed!", True),
        ("WORKFLOW COMPLETE", True),
        ("The workflow has been successfully completed", True),
        ("All steps are done.", True),
        ("I have completed the task.", True),
        ("Once the task is complete I will report.", False),
        ("I go on until the workflow is finished.", False),
        ("It is not the case that the task is complete.", False),
        ("The task is not complete.", False),
        ("When I am there. Task completed.", True),
        ("OK", False),
    ],
)
def test_a_claim_of_completion_is_told_from_an_announcement(text: str, claims: bool) -> None:
    """Only a statement that the work is done counts."""
    assert claims == parse_reply(text).claims_completion


def test_a_flood_of_actions_is_bounded() -> None:
    """A reply that repeats itself thousands of times costs neither time nor space."""
    assert len(parse_reply("<use_tool>teapot</use_tool>" * 50_000).actions) == MAX_ACTIONS
    assert parse_reply("<think>" * 50_000).actions == ()
