"""Reading the field's task libraries as they are, and refusing those that cannot be used."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from pilot_bench_samples import CHECK, FETCH, FILTER, PARSE, READ, WRITE, entries, entry, library, old_entry

from benchrunner.errors import SuiteError
from benchrunner.suites.task_faults import MAX_SHOWN
from benchrunner.suites.workflow.importer import parse_library
from benchrunner.suites.workflow.registry_file import parse_registry
from benchrunner.suites.workflow.survey import survey


def refusal(tasks: list[Any]) -> str:
    with pytest.raises(SuiteError) as caught:
        parse_library(library(tasks), "lib.json")
    return str(caught.value)


def test_a_library_of_the_fields_size_is_counted_as_the_field_counts_it() -> None:
    """630 tasks load; types, order conflicts and missing prerequisites come out as the field's own files have them."""
    # Given a library with the field's 630 tasks in shape and number
    # When it is read and counted
    found = survey(parse_library(library(entries()), "lib.json"))
    # Then
    assert {name: tally.tasks for name, tally in found.by_type.items()} == {
        "simple_task": 40, "basic_task": 150, "data_pipeline": 190, "api_integration": 170, "multi_stage_pipeline": 80,
    }  # fmt: skip
    conflicts = {name: tally.order_conflict for name, tally in found.by_type.items() if tally.order_conflict}
    assert conflicts == {"simple_task": 1, "api_integration": 111, "multi_stage_pipeline": 5}
    assert (found.tasks, found.order_conflict, found.missing_prerequisite) == (630, 117, 281)
    assert (found.distinct_descriptions, found.difficulties) == (630, {"easy": 630})


def test_every_task_carries_its_own_flags() -> None:
    """A validator before the parser it depends on is an order conflict; a prerequisite nobody asks for is missing."""
    # Given one task of each kind
    tasks = [
        entry(0, "api_integration", (FETCH, CHECK, PARSE)),
        entry(1, "simple_task", (READ, CHECK, FILTER)),
        entry(2, "basic_task", (READ, PARSE, CHECK)),
    ]
    # When
    read = parse_library(library(tasks), "lib.json")
    # Then
    assert [(one.task.order_conflict, one.missing) for one in read] == [(True, ()), (False, (PARSE,)), (False, ())]


def test_the_newer_form_keeps_inputs_outputs_and_wording() -> None:
    """What a task gives and expects reaches the model: text as it is, everything else as one line of JSON."""
    (one,) = parse_library(library([entry(7, "basic_task", (READ, PARSE, FILTER), level="hard")]), "lib.json")
    assert (one.task.task_id, one.task.difficulty, one.task.complexity) == ("task_00000007", "hard", "medium")
    assert one.task.inputs == {"source": "in/7.csv", "options": '{"header":true,"columns":["a","b"]}'}
    assert one.task.expected_outputs == {"success": "true", "errors": "[]"}


def test_the_older_form_is_read_too() -> None:
    """`id`, `test_input` and `expected_output` are known spellings; a description of paragraphs becomes one line."""
    (one,) = parse_library(library([old_entry(3, (WRITE,))]), "old.json")
    assert (one.task.task_id, one.task.required_tools) == ("task_00000003", (WRITE,))
    assert one.task.description == "You hold item 3. Save it, then send it."
    assert one.task.inputs == {"input_data": '{"data":[0.25,0.5]}'}
    assert one.task.expected_outputs == {"processed_data": '{"processed":true}'}
    assert one.task.difficulty == ""


def test_a_bare_list_of_tasks_is_a_library() -> None:
    """The object around `tasks` adds nothing the suite needs."""
    assert len(parse_library(orjson.dumps(entries()[:3]), "lib.json")) == 3


def test_a_tool_listed_twice_counts_once() -> None:
    """Full success asks for the order of first successes, so a second mention could never be met."""
    (one,) = parse_library(library([entry(0, "simple_task", (READ, FILTER, READ))]), "lib.json")
    assert (one.task.required_tools, one.repeated) == ((READ, FILTER), (READ,))


def test_all_faults_are_told_at_once_each_with_its_place() -> None:
    """Task number and id, field, value and the nearest valid word: one look at the message mends the file."""
    # Given a file with a fault of every kind
    tasks: list[Any] = [entry(number, "basic_task", (READ, PARSE)) for number in range(8)]
    tasks[0]["required_tools"][1] = "data_procesing_parser"
    tasks[1]["task_type"] = "basic_tusk"
    tasks[2]["instance_id"] = "task_00000001"
    tasks[3]["inputs"] = ["in.csv"]
    del tasks[4]["description"]
    tasks[5]["required_tools"] = [READ, 5]
    tasks[6] = "task_00000006"
    tasks[7] |= {"expected_outputs": None, "difficulty_level": 3, "required_tools": []}
    # When / Then
    assert refusal(tasks).splitlines() == [
        "lib.json has 10 faults:",
        '  - tasks[0] (task_00000000) required_tools[1] = "data_procesing_parser": no such tool; '
        'the nearest is "data_processing_parser"',
        '  - tasks[1] (task_00000001) task_type = "basic_tusk": no such task type; did you mean "basic_task"?',
        '  - tasks[2] (task_00000001) instance_id = "task_00000001": stands already at tasks[1]',
        '  - tasks[3] (task_00000003) inputs = ["in.csv"]: must be an object, not a list',
        "  - tasks[4] (task_00000004) description: is missing",
        "  - tasks[5] (task_00000005) required_tools[1] = 5: must be a tool's name, not a number",
        "  - tasks[6]: a task is an object, not text",
        "  - tasks[7] (task_00000007) expected_outputs = null: must be an object, not null",
        "  - tasks[7] (task_00000007) difficulty_level = 3: must be text, not a number",
        "  - tasks[7] (task_00000007) required_tools = []: must name at least one tool",
    ]


def test_a_missing_id_and_missing_fields_are_located_by_number() -> None:
    """A task without an id is named by its place in the list."""
    assert refusal([{"task_type": "basic_task"}]).splitlines()[1:] == [
        "  - tasks[0] instance_id or id: is missing",
        "  - tasks[0] description: is missing",
        "  - tasks[0] inputs or test_input: is missing",
        "  - tasks[0] expected_outputs or expected_output: is missing",
        "  - tasks[0] required_tools: is missing",
    ]


def test_a_file_full_of_faults_is_told_in_bounds() -> None:
    """The first faults are spelt out, the rest counted."""
    lines = refusal([entry(number, "odd", (READ,)) for number in range(100)]).splitlines()
    assert (lines[0], len(lines), lines[-1]) == ("lib.json has 100 faults:", MAX_SHOWN + 2, "  - and 80 more")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"tasks": [\n  {"id": "a",\n   "task_type": }]}', "lib.json: line 3, column 17: this is not JSON"),
        (library(entries()[:2])[:-40], "this is not JSON"),
        (b"", "lib.json: line 1, column 1: this is not JSON"),
        (b"[]", "lib.json: tasks: there is none"),
        (b"3", 'an object whose "tasks" is a list, not a number'),
        (b'{"task": []}', 'an object whose "tasks" is a list, not one without "tasks"'),
        (b'{"tasks": {}}', 'an object whose "tasks" is a list, not an object'),
    ],
)
def test_what_is_no_library_is_refused_with_the_place(data: bytes, said: str) -> None:
    """Torn JSON is located by line and column, another shape by what it is."""
    with pytest.raises(SuiteError) as caught:
        parse_library(data, "lib.json")
    assert said in str(caught.value)


# --- registries ------------------------------------------------------------------------------------------------------


def tool(name: str, *dependencies: str, **more: object) -> dict[str, Any]:
    return {name: {"name": name, "description": name, "parameters": [], "dependencies": list(dependencies), **more}}


def test_aliases_of_a_registry_are_resolved_and_then_gone() -> None:
    """A numbered alias stands for its canonical tool; its own dependencies do not count."""
    # Given a compatibility registry
    raw = (
        tool(PARSE)
        | tool(CHECK, PARSE, canonical_name=CHECK, is_canonical=True)
        | tool(f"{CHECK}_20", FETCH, canonical_name=CHECK, is_canonical=False)
        | tool(FETCH, aliases=["fetch_it"])
    )
    registry = parse_registry(orjson.dumps(raw), "tools.json")
    # When a library names tools by aliases
    (one,) = parse_library(
        library([entry(0, "simple_task", ("fetch_it", f"{CHECK}_20", PARSE))]), "lib.json", registry
    )
    # Then only canonical names are left
    assert one.task.required_tools == (FETCH, CHECK, PARSE)
    assert (one.renamed, one.task.order_conflict) == (("fetch_it", f"{CHECK}_20"), True)


def test_an_alias_without_its_registry_is_an_unknown_tool() -> None:
    """Nothing is guessed from a number at the end of a name."""
    assert 'required_tools[0] = "file_operations_reader_8": no such tool; the nearest is "file_operations_reader"' in (
        refusal([entry(0, "simple_task", ("file_operations_reader_8",))])
    )


def test_a_registry_tells_all_its_faults() -> None:
    """Dependencies and aliases that lead nowhere are located by tool."""
    # Given
    raw = (
        tool("a", "nowhere")
        | tool("b_1", canonical_name="gone", is_canonical=False)
        | tool("c_1", is_canonical=False)
        | {"d": [], "e": {"dependencies": "a"}}
        | tool("f_1", canonical_name="b_1", is_canonical=False)
    )
    # When
    with pytest.raises(SuiteError) as caught:
        parse_registry(orjson.dumps(raw), "tools.json")
    # Then
    assert str(caught.value).splitlines() == [
        "tools.json has 6 faults:",
        "  - d: a tool is an object, not a list",
        '  - e dependencies = "a": must be a list of tool names',
        "  - c_1 canonical_name: an alias must name the tool it stands for",
        '  - b_1 canonical_name = "gone": is not in the registry',
        '  - f_1 canonical_name = "b_1": is an alias itself',
        '  - a dependencies: "nowhere" is not in the registry',
    ]


@pytest.mark.parametrize("data", [b"[]", b"{}", b"{"])
def test_what_is_no_registry_is_refused(data: bytes) -> None:
    """A list, an empty object and torn JSON are none."""
    with pytest.raises(SuiteError, match=r"tools\.json"):
        parse_registry(data, "tools.json")
