"""A task library as a source of tasks: which file words which difficulty, and which tasks a phase draws from it.

    FILE        one wording, whatever difficulty is asked for; each task records the wording it states
    DIRECTORY   one file per difficulty, named ..._DIFFICULTY.json; other files are passed over

Nothing is read before the first task is asked for: a worker plays tasks without ever needing the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from benchrunner.errors import SuiteError
from benchrunner.suites.task_faults import digest_of, read_task_file
from benchrunner.suites.workflow.importer import ImportedTask, parse_library
from benchrunner.suites.workflow.tasks import TASK_TYPES, WorkflowTask
from benchrunner.suites.workflow.wording import DIFFICULTIES


class Library:
    """The tasks under a path. Reads each file once; used by the planning process only."""

    def __init__(self, path: Path) -> None:
        """Remember the path; nothing is read yet."""
        self._path = path
        self._read: dict[Path, tuple[ImportedTask, ...]] = {}

    def tasks(
        self, *, seed: int, phase: str, difficulty: str, task_type: str, count: int
    ) -> tuple[WorkflowTask, ...]:
        """Return `count` different tasks drawn by (seed, phase, task type), the same ids at every difficulty.

        Raises SuiteError when the library cannot be used, words no such difficulty, or holds fewer.
        """
        path = self._wording(difficulty)
        found = [one.task for one in self._tasks_of(path) if one.task.task_type == task_type]
        if len(found) < count:
            raise SuiteError(_too_few(path, found, task_type, count))
        return draw(found, seed=seed, phase=phase, count=count)

    def digest(self) -> str:
        """Return a short hash of what the library's files hold. Raises SuiteError when they cannot be read."""
        files = self._files().values() if self._path.is_dir() else (self._path,)
        return digest_of(*(read_task_file(path) for path in files))

    def mean_length(self, task_type: str) -> float | None:
        """Return how many tools a task of the type requires on average; None when the library has none."""
        lengths = [
            len(one.task.required_tools)
            for one in self._tasks_of(self._wording(None))
            if one.task.task_type == task_type
        ]
        return sum(lengths) / len(lengths) if lengths else None

    def _tasks_of(self, path: Path) -> tuple[ImportedTask, ...]:
        if path not in self._read:
            self._read[path] = parse_library(read_task_file(path), str(path))
        return self._read[path]

    def _wording(self, difficulty: str | None) -> Path:
        """Return the file to take for a difficulty; None: any, one that was read already before others."""
        if not self._path.is_dir():
            if self._path.suffix == ".jsonl":
                raise SuiteError(f"{self._path} holds questions; they are asked with --suite jsonl")
            return self._path
        if difficulty is None and self._read:
            return next(iter(self._read))
        files = self._files()
        if difficulty is None:
            return next(iter(files.values()))
        if difficulty not in files:
            raise SuiteError(f"{self._path} has no file ..._{difficulty}.json; it words {', '.join(files)}")
        return files[difficulty]

    def _files(self) -> dict[str, Path]:
        """Return the directory's libraries by the difficulty they word; at least one."""
        files: dict[str, Path] = {}
        for path in sorted(self._path.glob("*.json")):
            level = level_of(path)
            if level and level in files:
                raise SuiteError(f"{self._path} words {level} twice: {files[level].name} and {path.name}")
            if level:
                files[level] = path
        if not files:
            raise SuiteError(f"{self._path} holds no task library: none of its files is named ..._DIFFICULTY.json")
        return files


def draw(tasks: Sequence[WorkflowTask], *, seed: int, phase: str, count: int) -> tuple[WorkflowTask, ...]:
    """Return `count` of `tasks` without repetition, in an order that follows from seed, phase and each task's id.

    Fewer instances are the beginning of more, and a task added to the file displaces none but those behind it.
    """

    def rank(task: WorkflowTask) -> bytes:
        return blake2b(f"{seed}/{phase}/{task.task_id}".encode(), digest_size=8).digest()

    return tuple(sorted(tasks, key=lambda task: (rank(task), task.task_id))[:count])


def level_of(path: Path) -> str | None:
    """Return the difficulty a file's name ends in, or None. The longest counts: ..._very_easy is not easy."""
    for level in sorted(DIFFICULTIES, key=len, reverse=True):
        if path.stem == level or path.stem.endswith(f"_{level}"):
            return level
    return None


def _too_few(path: Path, found: Sequence[WorkflowTask], task_type: str, count: int) -> str:
    if found:
        way_out = f"ask for {len(found)} instances or fewer"
        return f"{path} holds {len(found)} tasks of {task_type}, {count} were asked for; {way_out}"
    return f"{path} holds no task of {task_type}; leave it out of the phase's task_types ({', '.join(TASK_TYPES)})"
