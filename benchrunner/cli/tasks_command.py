"""`benchrunner tasks`: what task files hold, new ones, and one task as a model sees it."""

from __future__ import annotations

from pathlib import Path

import click

from benchrunner.cli.numbers import Number
from benchrunner.cli.options import config_option, json_option

_FILE = click.Path(path_type=Path)


@click.group("tasks", short_help="Check, generate and show tasks.")
def command() -> None:
    """Check task files, generate new ones, and show one task as a model gets to see it.

    \b
    Example: a library of your own, checked and run
      benchrunner tasks generate --difficulty easy -o easy.json
      benchrunner tasks check easy.json
      benchrunner phase 5.1 --tasks easy.json --instances 1
    """


@command.command("check", short_help="Tell what a task file holds, or all that is wrong with it.")
@click.argument("file", type=_FILE)
@click.option("--registry", type=_FILE, metavar="FILE", help="A registry of the field's; its aliases are resolved.")
@click.option(
    "--suite",
    type=click.Choice(["workflow", "jsonl"]),
    help="The suite the file is for.  [default: jsonl for *.jsonl, else workflow]",
)
@click.option("-o", "--output", type=_FILE, metavar="FILE", help="Also write the library here, aliases resolved.")
@json_option
def check(file: Path, registry: Path | None, suite: str | None, output: Path | None, as_json: bool) -> None:
    """Read a task library of the field's, or a file of questions, and count what is in it.

    A file that cannot be used is refused (exit code 2) with each fault's place. `order_conflict` counts tasks that
    ask for a tool before one it depends on, `missing_prerequisite` those whose tools depend on one that is not asked
    for.

    \b
    Examples:
      benchrunner tasks check task_library_easy.json
      benchrunner tasks check old.json --registry tool_registry_compatibility.json -o new.json
      benchrunner tasks check questions.jsonl --json
    """
    import sys

    from benchrunner.cli import task_files
    from benchrunner.errors import UsageError
    from benchrunner.reporting.console import console_for
    from benchrunner.reporting.tables import show, to_json

    if suite is None:
        suite = "jsonl" if file.suffix == ".jsonl" else "workflow"
    if suite == "jsonl":
        if registry is not None or output is not None:
            raise UsageError("--registry and -o are for task libraries of suite workflow")
        questions = task_files.question_counts(file)
        click.echo(to_json(questions) if as_json else task_files.question_text(questions))
        return
    found = task_files.survey_library(file, registry)
    if output is not None:
        task_files.write_library(found, output)
    if as_json:
        click.echo(task_files.survey_json(found.report))
    else:
        show(console_for(sys.stdout), task_files.survey_parts(found.report))


@command.command("generate", short_help="Write a library of generated tasks.")
@click.option("--difficulty", default="easy", show_default=True, help="How the tasks are worded.")
@click.option(
    "--count", type=Number(int), default=630, show_default=True, help="How many, in the field's shares per type."
)
@click.option("--seed", type=Number(int), help="What the tasks follow from.  [default: the config's]")
@click.option("-o", "--output", type=_FILE, metavar="FILE", help="Where to; stdout when absent.")
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@config_option
def generate(
    difficulty: str, count: int, seed: int | None, output: Path | None, force: bool, config_path: Path
) -> None:
    """Write generated tasks in the field's JSON form.

    The same seed gives the same ids, tools and inputs at every difficulty; only the wording differs. A single file is
    asked as it stands whatever difficulty a phase has; a directory has a file for each, named as below.

    \b
    Examples: a single file, then a directory that words each difficulty of phase 5.2
      benchrunner tasks generate --difficulty easy -o single.json
      benchrunner phase 5.1 --tasks single.json --instances 1
      mkdir library
      benchrunner tasks generate --difficulty very_easy -o library/tasks_very_easy.json
      benchrunner tasks generate --difficulty medium -o library/tasks_medium.json
      benchrunner phase 5.2 --tasks library --instances 1
    """
    from benchrunner.cli import task_files

    data = task_files.generated_library(seed=seed, difficulty=difficulty, count=count, config_path=config_path)
    if output is None:
        click.echo(data, nl=False)
    else:
        task_files.write_file(output, data, force=force)
        click.echo(f"wrote {count} tasks to {output}", err=True)


@command.command("show", short_help="Show one task as a model sees it.")
@click.argument("task_id", metavar="ID")
@click.option("--tasks", "library", type=_FILE, metavar="FILE", help="The library it is in.  [default: generated]")
@click.option("--phase", default="5.1", show_default=True, metavar="P", help="The phase a generated task is made for.")
@click.option("--difficulty", default="easy", show_default=True, help="The wording of a generated task.")
@click.option("--seed", type=Number(int), help="What a generated task follows from.  [default: the config's]")
@click.option("--prompt", metavar="P", help="Also show the opening messages under this prompt type.")
@click.option("--plan", "with_plan", is_flag=True, help="Also show the best plan, and what it is worth.")
@click.option(
    "--rate",
    type=Number(float, at_least=0, at_most=1),
    default=0.8,
    show_default=True,
    help="Tool success to plan for, 0 to 1.",
)
@config_option
def show_task(
    task_id: str,
    library: Path | None,
    phase: str,
    difficulty: str,
    seed: int | None,
    prompt: str | None,
    with_plan: bool,
    rate: float,
    config_path: Path,
) -> None:
    """Show a task, and on request the messages a trial of it starts with and its plan.

    \b
    Examples:
      benchrunner tasks show task_319516a8 --phase 5.2 --difficulty medium --plan
      benchrunner tasks generate --difficulty easy -o shown.json
      benchrunner tasks show task_98264a23 --tasks shown.json --prompt optimal
    """
    from benchrunner.cli import task_files

    if library is not None:
        task = task_files.library_task(library, task_id)
    else:
        task = task_files.generated_task(
            task_id, seed=seed, phase=phase, difficulty=difficulty, config_path=config_path
        )
    parts = [task_files.task_text(task)]
    if prompt is not None:
        parts.append(task_files.prompt_text(task, prompt, rate))
    if with_plan:
        parts.append(task_files.plan_of(task, rate))
    click.echo("\n\n".join(parts))
