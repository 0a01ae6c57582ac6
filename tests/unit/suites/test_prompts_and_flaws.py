"""The opening messages, and what the flaws do to them."""

from __future__ import annotations

from hashlib import sha256

import pytest

from benchrunner.errors import SuiteError
from benchrunner.suites.workflow import WorkflowSuite
from benchrunner.suites.workflow.flaws import FLAW_GROUPS
from benchrunner.suites.workflow.plan import plan_task
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


def test_the_optimal_plan_is_the_required_order() -> None:
    """The plan's steps are the required tools; each says why, what it needs and what to do instead."""
    for task in tasks():
        plan = plan_task(task)
        assert task.required_tools == plan.sequence
        for step in plan.steps:
            assert step.prerequisites == catalogue()[step.tool].dependencies
            assert 60 <= step.match_percent <= 99
            assert not set(step.alternatives) & set(task.required_tools)
            assert len(step.alternatives) <= 2


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
        ends = (task.required_tools[0], task.required_tools[-1])
        assert sequence == (ends if len(task.required_tools) > 2 else ends[:1])


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
        assert len(changed) == len(task.required_tools) // 2 + 1
        assert all(old.lstrip().startswith("with:") for old, _ in changed)


def test_an_incomplete_description_is_cut_and_gives_no_reasons() -> None:
    """The goal ends early; the plan keeps its steps but loses reasons and prerequisites."""
    for task in tasks("hard"):
        (_, user), sequence = opening(task, "flawed_incomplete_description")
        goal = next(line for line in user.content.splitlines() if line.startswith("Goal:"))
        assert len(goal) < len(f"Goal: {task.description}")
        assert sequence == task.required_tools
        assert user.content.count("why: not given") == len(task.required_tools)


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
    assert (WorkflowSuite.version, sha256(text.encode()).hexdigest()[:16]) == ("1", "039387743ceda2e4")
