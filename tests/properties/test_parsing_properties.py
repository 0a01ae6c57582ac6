"""The parser takes any text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchrunner.suites.workflow.parsing import ActionKind, parse_reply
from benchrunner.suites.workflow.tools import catalogue

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=200)
SHARDS = st.sampled_from(
    ["<use_tool>", "</use_tool>", "<tool_call>", "</tool_call>", "<find_tool", "<show_tool name=", ">", "/>", "&lt;",
     "<think>", "</think>", '{"name":', '"network_fetcher"', "}", "{", "[" * 3000, '"', "'", "`", "(", "=", "\n", " ",
     "network_fetcher", "Task completed.", "once ", "json", "\ud800", "9" * 5000, '{"a":' * 1500]
)  # fmt: skip
PROSE = st.text(st.characters(codec="utf-8", exclude_characters="<>&"), max_size=80)


@given(ANY_TEXT)
def test_no_text_makes_the_parser_raise(text: str) -> None:
    """Whatever a model says is read: actions have a subject, and the variant says whether there are any."""
    parsed = parse_reply(text)
    assert all(action.subject for action in parsed.actions)
    assert (parsed.variant == "none") == (not parsed.actions)


@given(st.lists(st.one_of(SHARDS, ANY_TEXT), max_size=30).map("".join))
def test_no_torn_tag_makes_the_parser_raise(text: str) -> None:
    """Nor do pieces of tags, JSON and reasoning blocks in any order."""
    parsed = parse_reply(text)
    assert all(action.subject and len(action.arguments) <= 500 for action in parsed.actions)


@given(PROSE, st.sampled_from([tool.name for tool in catalogue().tools]), PROSE)
def test_a_proper_call_is_found_in_any_prose(before: str, name: str, after: str) -> None:
    """What stands around a tag does not hide it."""
    parsed = parse_reply(f"{before}<use_tool>{name}</use_tool>{after}")
    assert [(ActionKind.USE, name)] == [(action.kind, action.subject) for action in parsed.actions]
    assert parsed.variant == "strict"


@given(ANY_TEXT)
def test_resolving_any_name_gives_a_tool_or_none(text: str) -> None:
    """A name from outside never raises, and what it resolves to stands in the registry."""
    tool = catalogue().resolve(text)
    assert tool is None or tool in catalogue().tools
