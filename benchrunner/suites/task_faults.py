"""Task files at the edge: their bytes, and everything that is wrong with them told at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson

from benchrunner.errors import SuiteError

MAX_SHOWN: Final = 20  # faults spelt out; a file of the wrong kind has one in every line
SHOWN_CHARS: Final = 60
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


@dataclass(slots=True)
class TaskFaults:
    """The faults of one task file, in the order in which they were met."""

    where: str  # the file, as the user named it
    sentences: list[str] = field(default_factory=list)

    def add(self, place: str, sentence: str) -> None:
        """Note that `place` (a line, a task, a field) is wrong in the way `sentence` says."""
        self.sentences.append(f"{place}: {sentence}" if place else sentence)

    def raise_any(self) -> None:
        """Raise one SuiteError with the first MAX_SHOWN faults and the number of the others, if there are any."""
        if not self.sentences:
            return
        if len(self.sentences) == 1:
            raise SuiteError(f"{self.where}: {self.sentences[0]}")
        more = len(self.sentences) - MAX_SHOWN
        lines = [*self.sentences[:MAX_SHOWN], *([f"and {more} more"] if more > 0 else [])]
        listed = "\n".join(f"  - {line}" for line in lines)
        raise SuiteError(f"{self.where} has {len(self.sentences)} faults:\n{listed}")


def read_task_file(path: Path) -> bytes:
    """Return the file's bytes without a byte order mark. Raises SuiteError when it cannot be read or is not UTF-8."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SuiteError(f"the task file {path} cannot be read: {error.strerror or error}") from error
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SuiteError(f"{path}: line {line} is not UTF-8 text (byte {error.start} of the file)") from error
    return data.removeprefix(_BYTE_ORDER_MARK)


def digest_of(*contents: bytes) -> str:
    """Return a short hash of task files' contents: what a suite's version changes with."""
    digest = sha256()
    for content in contents:
        digest.update(len(content).to_bytes(8))  # so that no two splits of the same bytes are alike
        digest.update(content)
    return digest.hexdigest()[:12]


def parse_json(data: bytes, where: str) -> Any:
    """Return the JSON value of a whole file. Raises SuiteError with the line and column where it is torn."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as fault:
        place = f"line {fault.lineno}, column {fault.colno}"
        raise SuiteError(f"{where}: {place}: this is not JSON: {fault.msg}") from fault


def shown(value: object) -> str:
    """Return a value as JSON cut to one short line, for a fault's sentence."""
    text = orjson.dumps(value).decode()
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 3] + "..."


def kind_of(value: object) -> str:
    """Return what JSON calls a value's type, with its article."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "an object"
