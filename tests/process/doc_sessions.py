"""Console sessions in Markdown pages: what a page tells a reader to type, and whether it shows what then happens.

    $ command                       what is typed
    line                            what is shown under it: that very line, run ids and numbers other than 0 aside
    ...                             any number of lines that the page leaves out
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

LEFT_OUT = "..."
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_RUN_ID = re.compile(r"\d{8}T\d{6}-[\w.-]+?-[0-9a-f]{4}\b")
_NUMBER = re.compile(r"(?<![A-Za-z_\d.])\d+(?:[.,:]\d+)*")  # by itself: not that of `key0`


@dataclass(frozen=True)
class Step:
    """One command of a page and the lines shown under it."""

    command: str
    shown: tuple[str, ...]


def console_steps(text: str) -> list[Step]:
    """Return every command of the page's console blocks, in order."""
    found: list[tuple[str, list[str]]] = []
    for block in _BLOCK.findall(text):
        fresh = True
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
                fresh = False
            else:
                assert not fresh, f"a console block begins with output: {line!r}"
                found[-1][1].append(line)
    return [Step(command, tuple(shown)) for command, shown in found]


def plain(line: str) -> str:
    """Return the line without what differs from run to run: ids, numbers, the width of columns.

    A 0 stays what it is: that nothing was refused is what the page claims.
    """
    return " ".join(_NUMBER.sub(lambda number: "0" if number[0] == "0" else "9", _RUN_ID.sub("RUN", line)).split())


def shows(shown: tuple[str, ...], printed: str) -> bool:
    """Return whether the lines shown are those printed, but for what `plain` takes away and `...` leaves out."""
    wanted = [LEFT_OUT if line.strip() == LEFT_OUT else plain(line) for line in shown]
    pattern = "".join("(?:.*\n)*?" if line == LEFT_OUT else re.escape(line) + "\n" for line in wanted if line)
    lines = "".join(f"{plain(line)}\n" for line in printed.splitlines() if line.strip())
    return re.fullmatch(pattern, lines) is not None


@dataclass
class Reader:
    """Somebody who types a page's commands one after the other into one shell."""

    here: Path
    env: dict[str, str]
    timeout_s: float = 100.0
    transcript: list[tuple[str, str]] = field(default_factory=list)

    def type(self, step: Step) -> None:
        """Run the command where the last one left off; fail unless it ends with 0 and prints what is shown."""
        if step.command.startswith("cd "):
            self.here = (self.here / step.command[3:].strip()).resolve()
            assert self.here.is_dir(), f"$ {step.command}: there is no such directory"
            return
        ended = subprocess.run(
            ["bash", "-c", step.command],
            cwd=self.here,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # as on a terminal
            text=True,
            timeout=self.timeout_s,
            check=False,
        )
        self.transcript.append((step.command, ended.stdout))
        assert ended.returncode == 0, f"$ {step.command}\n{ended.stdout}"
        if step.shown:
            page = "\n".join(step.shown)
            assert shows(step.shown, ended.stdout), f"$ {step.command}\n{ended.stdout}\n--- the page shows\n{page}"
