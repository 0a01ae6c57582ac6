"""The opening messages, and what the flaws do to them."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from benchrunner.errors import SuiteError
from benchrunner.suites.workflow import WorkflowSuite
from benchrunner.suites.workflow.advice import Role
from benchrunner.suites.workflow.flaws import FLAW_GROUPS
from benchrunner.suites.workflow.plan import plan_task, plan_text
from benchrunner.suites.workflow.prompts import PROMPTS, opening
from benchrunner.suites.workflow.tasks import TASK_TYPES, WorkflowTask, make_task
from benchrunner.suites.workflow.tools import catalogue
from benchrunner.suites.workflow.wording import DIFFICULTIES


def tasks(difficulty: str = "easy", count: int = 20) -> list[WorkflowTask]:
    return [
        make_task(seed=11, phase="5.3", difficulty=difficulty, task_type=task_type, index=index)
        for task_type in TASK_TYPES
        for index in range(count)
    ]


def of_tools(*required: str) -> WorkflowTask:
    return WorkflowTask(
        task_id="task_00000001",
        task_type="simple_task",
        difficulty="easy",
        complexity="easy",
        description="Work.",
        inputs={},
        expected_outputs={},
        required_tools=required,
    )


SHORT = [of_tools(tool.name) for tool in catalogue().tools] + [
    of_tools("network_fetcher", "data_processing_parser"),
    of_tools("network_validator", "data_processing_parser"),
    of_tools("utility_logger", "utility_cache"),
]


@pytest.mark.parametrize("flaw", FLAW_GROUPS)
def test_every_flaw_shows_in_every_prompt(flaw: str) -> None:
    """Whatever the task, even an imported one of a single tool, the damaged prompt differs from the optimal one."""
    generated = [task for difficulty in DIFFICULTIES for task in tasks(difficulty, count=40)]
    for task in [*generated, *SHORT]:
        assert opening(task, flaw)[0] != opening(task, "optimal")[0]


def test_no_flaw_is_announced() -> None:
    """The damaged prompt keeps the optimal layout and system message; nothing tells the model that it is damaged."""
    for task in tasks():
        optimal, _ = opening(task, "optimal")
        for flaw in FLAW_GROUPS:
            flawed, _ = opening(task, flaw)
            assert flawed[0] == optimal[0]
            text = flawed[1].content.casefold()
            assert not any(word in text for word in ("flaw", "damage", flaw, flaw.removeprefix("flawed_")))
            lines = optimal[1].content.splitlines()
            marks = {line.split(":")[0] for line in lines if line.startswith("   ") and ":" in line}
            flawed_lines = flawed[1].content.splitlines()
            assert marks == {line.split(":")[0] for line in flawed_lines if line.startswith("   ") and ":" in line}


def test_the_optimal_plan_is_the_required_order_and_its_helpers() -> None:
    """The steps are the required tools in order and missing prerequisites; each says why, what it needs, what else."""
    for task in tasks():
        plan = plan_task(task)
        assert task.required_tools == tuple(step.tool for step in plan.steps if step.role is Role.REQUIRED)
        assert plan.value >= plan.naive_value
        for place, step in enumerate(plan.steps):
            assert step.prerequisites == catalogue()[step.tool].dependencies
            assert 60 <= step.match_percent <= 99
            assert not set(step.alternatives) & set(plan.sequence)
            assert len(step.alternatives) <= 2
            served = [other.tool for other in plan.steps[place:] if step.tool in other.prerequisites]
            assert step.role is Role.REQUIRED or served
            assert step.on_failure


def test_the_optimal_prompt_tells_what_to_do_when_a_step_fails() -> None:
    """The planner's advice stands under its step, in the words that the person reads too."""
    # Given a task whose tools need three prerequisites that are not required, and little time for them
    task = replace(
        of_tools(
            "network_fetcher",
            "data_processing_parser",
            "data_processing_filter",
            "computation_predictor",
            "file_operations_writer",
        ),
        task_type="multi_stage_pipeline",
    )
    # When
    (_, user), sequence = opening(task, "optimal")
    # Then both missing prerequisites are steps, and the second is given up when it keeps failing
    assert sequence[-3:] == ("data_processing_transformer", "network_validator", "file_operations_writer")
    told = [line.strip() for line in user.content.splitlines() if line.lstrip().startswith("if it fails:")]
    retried = "if it fails: call it again"
    assert told[:-2] == [retried] * 5
    assert told[-2] == "if it fails: call it again, up to 3 times; then go on with file_operations_writer"
    assert told[-1] == retried
    assert plan_text(plan_task(task)).splitlines() == [
        "plan for tools that succeed at 0.8:",
        "  1. network_fetcher              required  p 0.80  if it fails: call it again",
        "  2. data_processing_parser       required  p 0.80  if it fails: call it again",
        "  3. data_processing_filter       required  p 0.80  if it fails: call it again",
        "  4. computation_predictor        required  p 0.80  if it fails: call it again",
        "  5. data_processing_transformer  helper    p 0.80  if it fails: call it again",
        "  6. network_validator            helper    p 0.80  "
        "if it fails: call it again, up to 3 times; then go on with file_operations_writer",
        "  7. file_operations_writer       required  p 0.80  if it fails: call it again",
        "                 value  p(full)",
        "this plan        0.894    0.813",
        "required order   0.756    0.537",
    ]


def test_a_plan_is_made_for_the_tools_of_its_trial() -> None:
    """At another tool success rate the best plan may be another one."""
    conflict = of_tools("network_fetcher", "network_validator", "data_processing_parser")
    task = replace(conflict, task_type="data_pipeline")
    assert opening(task, "optimal", 0.8)[1] != opening(task, "optimal", 0.5)[1]
    assert opening(task, "optimal", 0.8) == opening(task, "optimal")


def test_a_disordered_plan_puts_dependent_steps_before_their_prerequisites() -> None:
    """Where a step has a prerequisite in the plan, the damaged plan contradicts it."""
    task = of_tools("file_operations_reader", "data_processing_parser", "data_processing_transformer")
    _, sequence = opening(task, "flawed_sequence_disorder")
    assert sequence == ("file_operations_reader", "data_processing_transformer", "data_processing_parser")
    independent = of_tools("file_operations_reader", "data_processing_filter", "utility_cache")
    _, sequence = opening(independent, "flawed_sequence_disorder")
    assert sequence == ("utility_cache", "data_processing_filter", "file_operations_reader")


def test_a_plan_with_missing_steps_keeps_its_ends() -> None:
    """Of a longer plan only the first and the last step are left."""
    for task in tasks():
        _, sequence = opening(task, "flawed_missing_step")
        whole = plan_task(task).sequence
        ends = (whole[0], whole[-1])
        assert sequence == (ends if len(whole) > 2 else ends[:1])


def test_insufficient_detail_names_no_tool() -> None:
    """Not one registry name is left in the prompt."""
    for task in tasks():
        (_, user), _ = opening(task, "flawed_insufficient_detail")
        assert not any(tool.name in user.content for tool in catalogue().tools)


def test_parameter_issues_corrupt_half_of_the_steps_and_one() -> None:
    """Severity severe: n // 2 + 1 parameter lines are wrong."""
    for task in tasks():
        good, _ = opening(task, "optimal")
        bad, _ = opening(task, "flawed_parameter_issues")
        pairs = zip(good[1].content.splitlines(), bad[1].content.splitlines(), strict=True)
        changed = [(old, new) for old, new in pairs if old != new]
        assert len(changed) == len(plan_task(task).steps) // 2 + 1
        assert all(old.lstrip().startswith("with:") for old, _ in changed)


def test_an_incomplete_description_is_cut_and_gives_no_reasons() -> None:
    """The goal ends early; the plan keeps its steps but loses reasons and prerequisites."""
    for task in tasks("hard"):
        (_, user), sequence = opening(task, "flawed_incomplete_description")
        goal = next(line for line in user.content.splitlines() if line.startswith("Goal:"))
        assert len(goal) < len(f"Goal: {task.description}")
        assert sequence == plan_task(task).sequence
        assert user.content.count("why: not given") == len(sequence)


def test_the_prompt_without_a_plan_names_no_tool() -> None:
    """Baseline and cot give the task with its inputs and outputs, and no tool list."""
    for task in tasks():
        for prompt in ("baseline", "cot"):
            messages, sequence = opening(task, prompt)
            text = "\n".join(message.content for message in messages)
            assert not any(tool.name in text for tool in catalogue().tools)
            assert all(value in text for value in (*task.inputs.values(), *task.expected_outputs.values()))
            assert sequence == task.required_tools
        assert opening(task, "baseline")[0][0] != opening(task, "cot")[0][0]


def test_an_unknown_prompt_is_refused() -> None:
    """The error names the known ones."""
    with pytest.raises(SuiteError, match="flawed_missing_step"):
        opening(tasks()[0], "best")


def test_the_version_changes_with_the_prompts() -> None:
    """Scores of one version compare: whoever changes tasks or prompts gives the suite a new version here and there."""
    text = "".join(
        message.content
        for difficulty in DIFFICULTIES
        for task in tasks(difficulty, count=3)
        for prompt in PROMPTS
        for message in opening(task, prompt)[0]
    )
    assert (WorkflowSuite().version, sha256(text.encode()).hexdigest()[:16]) == ("2", "45b30ef933282d49")
