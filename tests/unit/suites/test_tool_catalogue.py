"""The 30 tools and the search over them."""

from __future__ import annotations

from collections import Counter

import pytest

from benchrunner.errors import SuiteError
from benchrunner.suites.workflow import tools
from benchrunner.suites.workflow.ranking import match_percents, rank_tools
from benchrunner.suites.workflow.tools import catalogue

DEPENDENCIES = {
    "data_processing_transformer": {"data_processing_parser"},
    "data_processing_validator": {"data_processing_parser"},
    "data_processing_aggregator": {"data_processing_parser"},
    "file_operations_writer": {"data_processing_transformer", "network_validator"},
    "network_validator": {"data_processing_parser", "data_processing_transformer"},
    "network_poster": {"data_processing_transformer", "integration_authenticator"},
    "computation_analyzer": {"data_processing_parser", "data_processing_aggregator"},
    "computation_calculator": {"data_processing_parser", "network_validator"},
    "utility_notifier": {"computation_analyzer", "network_monitor"},
}


def test_thirty_tools_stand_in_six_categories_of_five() -> None:
    """The registry is the benchmark's: 6 categories of 5 operations, named category_operation."""
    # Given / When
    found = catalogue().tools
    # Then
    assert len({tool.name for tool in found}) == 30
    assert set(Counter(tool.category for tool in found).values()) == {5}
    assert all(tool.name == f"{tool.category}_{tool.operation}" for tool in found)


def test_dependencies_and_levels_are_the_benchmarks() -> None:
    """Only nine tools have prerequisites, and a tool's level is one above its highest prerequisite."""
    assert {tool.name: set(tool.dependencies) for tool in catalogue().tools if tool.dependencies} == DEPENDENCIES
    for tool in catalogue().tools:
        expected = 1 + max((catalogue()[name].level for name in tool.dependencies), default=-1)
        assert expected == tool.level
    assert {"file_operations_writer", "computation_calculator", "utility_notifier"} == {
        tool.name for tool in catalogue().tools if tool.level == 3
    }


def test_error_codes_follow_the_category() -> None:
    """All tools can fail in three ways; files, network and computation add two each."""
    extra = {
        "file_operations": {"FILE_NOT_FOUND", "PERMISSION_DENIED"},
        "network": {"NETWORK_ERROR", "INVALID_RESPONSE"},
        "computation": {"CALCULATION_ERROR", "OVERFLOW"},
    }
    for tool in catalogue().tools:
        expected = {"INVALID_INPUT", "OPERATION_FAILED", "TIMEOUT"} | extra.get(tool.category, set())
        assert expected == {error.code for error in tool.errors}


def test_parameters_follow_the_templates() -> None:
    """Required parameters are those of the tool's template; everything takes optional `options`."""
    required = {
        tool.name: {p.name for p in tool.parameters if p.required}
        for tool in catalogue().tools
        if any(p.required for p in tool.parameters)
    }
    source, delivery = {"source"}, {"destination", "data"}
    formats, check = {"input_format", "output_format"}, {"schema", "data"}
    assert required == {
        "file_operations_reader": source,
        "file_operations_scanner": source,
        "network_fetcher": source,
        "data_processing_parser": source,
        "file_operations_writer": delivery,
        "network_poster": delivery,
        "utility_notifier": delivery,
        "data_processing_validator": check,
        "network_validator": check,
        "data_processing_transformer": formats,
        "file_operations_converter": formats,
        "integration_mapper": formats,
    }
    for tool in catalogue().tools:
        optional = {p.name for p in tool.parameters if not p.required}
        expected = {"options"}
        expected |= {"timeout", "retry_count"} if tool.category == "network" else set()
        expected |= {"precision"} if tool.category == "computation" else set()
        assert expected == optional


def test_a_changed_registry_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """tools.json cannot change without its checksum changing in the same commit."""
    # Given a checksum of another file
    monkeypatch.setattr(tools, "TOOLS_SHA256", "0" * 64)
    # When the registry is read afresh, then it is refused
    with pytest.raises(SuiteError, match=r"tools\.json"):
        catalogue.__wrapped__()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("network_fetcher", "network_fetcher"),
        ("Network_Fetcher", "network_fetcher"),
        ("network-fetcher", "network_fetcher"),
        ("network fetcher", "network_fetcher"),
        ("fetcher", "network_fetcher"),
        ("functions.network_fetcher", "network_fetcher"),
        ("network_fetcher_8", "network_fetcher"),
        ("validator", "data_processing_validator"),
        ("tool_name", None),
        ("e", None),
        ("", None),
        ("…", None),
    ],
)
def test_names_resolve_as_the_benchmark_says(written: str, meant: str | None) -> None:
    """Exact, then case-insensitive, then the first tool that holds the name or is held by it."""
    tool = catalogue().resolve(written)
    assert meant == (tool.name if tool else None)


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("read a file", "file_operations_reader"),
        ("validating records against a schema", "data_processing_validator"),
        ("download data from an API endpoint", "network_fetcher"),
        ("compress", "file_operations_compressor"),
        ("aggregation of rows by group", "data_processing_aggregator"),
        ("statistical analysis", "computation_analyzer"),
    ],
)
def test_search_puts_the_meant_tool_first(query: str, best: str) -> None:
    """Search works on words and their stems, and answers five tools at most."""
    hits = rank_tools(query)
    assert best == hits[0].name
    assert len(hits) <= 5


def test_search_for_nothing_known_finds_nothing() -> None:
    """A query without a known word gets no hits rather than arbitrary ones."""
    assert rank_tools("zzz the of 42") == ()
    assert set(match_percents("zzz").values()) == {60}
