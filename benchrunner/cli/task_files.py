"""Task files on behalf of `benchrunner tasks`: read, counted, written, and single tasks put into words."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from rich.console import RenderableType
from rich.text import Text

from benchrunner import __version__
from benchrunner.config.load import load_config
from benchrunner.config.schema import RunTable
from benchrunner.errors import SuiteError, UsageError, did_you_mean
from benchrunner.reporting.tables import Column, table, to_json
from benchrunner.suites.questions import parse_questions, scorer_counts
from benchrunner.suites.task_faults import read_task_file
from benchrunner.suites.workflow.field_format import encode_library, generate_library
from benchrunner.suites.workflow.importer import ImportedTask, parse_library
from benchrunner.suites.workflow.plan import plan_task, plan_text
from benchrunner.suites.workflow.prompts import PROMPTS, opening
from benchrunner.suites.workflow.registry_file import parse_registry
from benchrunner.suites.workflow.survey import Survey, Tally, survey
from benchrunner.suites.workflow.tasks import TASK_TYPES, WorkflowTask, make_task
from benchrunner.suites.workflow.tools import catalogue
from benchrunner.suites.workflow.wording import DIFFICULTIES

SEARCHED_INSTANCES = 1000
"""Generated tasks per type among which `tasks show` looks for an id: more than any phase takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryReport:
    """What `tasks check` tells of a library."""

    file: str
    survey: Survey
    not_simulated: tuple[str, ...]  # tools that only the registry given knows: a phase refuses tasks that need them


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedLibrary:
    """A library that can be used, and what there is to tell of it."""

    tasks: tuple[ImportedTask, ...]
    report: LibraryReport


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionCounts:
    """What `tasks check` tells of a file of questions."""

    file: str
    questions: int
    scorers: dict[str, int]


def survey_library(file: Path, registry: Path | None) -> CheckedLibrary:
    """Return the library's tasks and counts. Raises SuiteError with all that is wrong with it or the registry."""
    tools = None if registry is None else parse_registry(read_task_file(registry), str(registry))
    tasks = parse_library(read_task_file(file), str(file), tools)
    used = dict.fromkeys(tool for one in tasks for tool in one.task.required_tools)
    unknown = tuple(tool for tool in used if tool not in catalogue())
    report = LibraryReport(file=str(file), survey=survey(tasks), not_simulated=unknown)
    return CheckedLibrary(tasks=tasks, report=report)


def survey_json(report: LibraryReport) -> str:
    """Return a library's counts as one flat JSON object, with those of each type under `by_type`."""
    return to_json({"file": report.file, **asdict(report.survey), "not_simulated": report.not_simulated})


def survey_parts(report: LibraryReport) -> list[RenderableType]:
    """Return a library's counts as a table and sentences."""
    found = report.survey
    rows: list[tuple[str, Tally]] = [(name, tally) for name, tally in found.by_type.items() if tally.tasks]
    counts = table(
        f"{report.file}: {found.tasks} tasks over {found.tools} tools",
        [Column(title="task type"), *(Column(title=title, numeric=True) for title, _ in _COUNTS)],
        ((name, *(getattr(tally, field) for _, field in _COUNTS)) for name, tally in [*rows, ("all", found)]),
    )
    levels = ", ".join(f"{level or 'none stated'} {count}" for level, count in found.difficulties.items())
    lines = [
        f"order_conflict: {found.order_conflict} tasks ask for a tool before one that it depends on",
        f"missing_prerequisite: {found.missing_prerequisite} tasks lack a tool that one of theirs depends on",
        f"difficulty_level: {levels}",
    ]
    if found.repeated_tool:
        lines.append(f"repeated tools: {found.repeated_tool} tasks list one twice; the first mention counts")
    if found.renamed_tool:
        lines.append(f"aliases: {found.renamed_tool} tasks name a tool by one; only with --registry are they known")
    if report.not_simulated:
        lines.append(f"not simulated by the suite, so no phase can use their tasks: {', '.join(report.not_simulated)}")
    return [counts, Text("\n".join(lines))]


_COUNTS = tuple(
    (title, field)
    for title, field in zip(
        ("tasks", "order conflict", "missing prereq", "texts", "sequences"), Tally.__dataclass_fields__, strict=True
    )
)


def question_counts(file: Path) -> QuestionCounts:
    """Return the counts of a file of questions. Raises SuiteError with all that is wrong with it."""
    questions = parse_questions(read_task_file(file), str(file), (file.absolute().parent, Path.cwd()))
    return QuestionCounts(file=str(file), questions=len(questions), scorers=scorer_counts(questions))


def question_text(counts: QuestionCounts) -> str:
    """Return the counts as a sentence."""
    scorers = ", ".join(f"{name} {count}" for name, count in counts.scorers.items())
    return f"{counts.file}: {counts.questions} questions; scorers: {scorers}"


def write_library(checked: CheckedLibrary, output: Path) -> None:
    """Write the library in the field's newer form, with real tool names. Raises UsageError when the file is there."""
    origin = {"generator": f"benchrunner {__version__}", "imported_from": Path(checked.report.file).name}
    write_file(output, encode_library([one.task for one in checked.tasks], origin), force=False)


def generated_library(*, seed: int | None, difficulty: str, count: int, config_path: Path) -> bytes:
    """Return the JSON text of a generated library. Raises UsageError for a difficulty or count that cannot be."""
    if difficulty not in DIFFICULTIES:
        raise UsageError(f'no difficulty "{difficulty}"; {did_you_mean(difficulty, DIFFICULTIES)}')
    if count < 1:
        raise UsageError(f"--count must be at least 1, not {count}")
    seed = _seed(seed, config_path)
    tasks = generate_library(seed=seed, difficulty=difficulty, count=count)
    return encode_library(
        tasks, {"generator": f"benchrunner {__version__}", "seed": seed, "difficulty_level": difficulty}
    )


def write_file(path: Path, data: bytes, *, force: bool) -> None:
    """Write a new file, or with `force` over an old one. Raises UsageError when that cannot be done."""
    try:
        with path.open("wb" if force else "xb") as file:
            file.write(data)
    except FileExistsError:
        raise UsageError(f"{path} is there already; nothing was written") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error


def library_task(library: Path, task_id: str) -> WorkflowTask:
    """Return a task of a library by its id. Raises SuiteError when the library is wrong or has none such."""
    by_id = {one.task.task_id: one.task for one in parse_library(read_task_file(library), str(library))}
    if task_id not in by_id:
        raise SuiteError(f'{library} has no task "{task_id}" among its {len(by_id)}; {_nearest(task_id, by_id)}')
    return by_id[task_id]


def generated_task(
    task_id: str, *, seed: int | None, phase: str, difficulty: str, config_path: Path
) -> WorkflowTask:
    """Return a generated task by its id. Raises SuiteError when the phase's first tasks hold none such."""
    seed = _seed(seed, config_path)
    for task_type in TASK_TYPES:
        for index in range(SEARCHED_INSTANCES):
            task = make_task(seed=seed, phase=phase, difficulty=difficulty, task_type=task_type, index=index)
            if task.task_id == task_id:
                return task
    raise SuiteError(
        f'no generated task "{task_id}" for phase {phase} and seed {seed} among {SEARCHED_INSTANCES} of each type; '
        "--phase, --seed or --tasks say where else it may be"
    )


def task_text(task: WorkflowTask) -> str:
    """Return all of a task as indented JSON."""
    return orjson.dumps(task, option=orjson.OPT_INDENT_2).decode()


def prompt_text(task: WorkflowTask, prompt: str, rate: float) -> str:
    """Return the messages a trial of the task starts with. Raises UsageError for an unknown prompt type."""
    if prompt not in PROMPTS:
        raise UsageError(f'no prompt "{prompt}"; {did_you_mean(prompt, PROMPTS)}')
    messages, _ = opening(task, prompt, rate)
    return "\n\n".join(f"--- {message.role}\n{message.content}" for message in messages)


def plan_of(task: WorkflowTask, rate: float) -> str:
    """Return the task's best plan for tools that succeed at `rate`, beside the required order."""
    return plan_text(plan_task(task, rate))


def _nearest(task_id: str, known: dict[str, WorkflowTask]) -> str:
    hint = did_you_mean(task_id, known)
    return hint if hint.startswith("did you mean") else f"the first is {next(iter(known))}"


def _seed(seed: int | None, config_path: Path) -> int:
    """Return the seed asked for, else the config's, else that of a config which names none."""
    if seed is not None:
        return seed
    if config_path.exists():
        return load_config(config_path, environ=os.environ).run.seed
    return RunTable.model_validate({}).seed
