"""Every error the program raises on purpose, in one tree.

Each class hands all its arguments, positionally, to ``super().__init__``, so that it survives pickling on its way
through a Manager or a pipe. ``exit_code`` is what the command line answers with (docs/cli.md, "Exit codes").
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class BenchrunnerError(Exception):
    """The root: something went wrong that a sentence can explain."""

    exit_code = 1


class UsageError(BenchrunnerError):
    """The command line asked for something that does not exist; nothing was started."""

    exit_code = 2


class ConfigError(BenchrunnerError):
    """phases.toml (or the environment it names) is wrong; carries *all* faults, one sentence each."""

    exit_code = 2

    def __init__(self, where: str, faults: tuple[str, ...]) -> None:
        super().__init__(where, faults)
        self.where, self.faults = where, faults

    def __str__(self) -> str:
        if len(self.faults) == 1:
            return f"{self.where}: {self.faults[0]}"
        return f"{self.where} has {len(self.faults)} faults:\n" + "\n".join(f"  - {fault}" for fault in self.faults)


class StoreError(BenchrunnerError):
    """runs.db cannot be opened, read or written; the file was left as it is."""

    exit_code = 2


class StoreLost(StoreError):
    """runs.db went on refusing writes while a run was under way; what was committed stays, the run can be resumed."""

    exit_code = 1


class StateError(BenchrunnerError):
    """The machine-wide state directory or a file in it cannot be trusted or used."""

    exit_code = 2


class SuiteError(BenchrunnerError):
    """A suite, or the task file it reads, is wrong."""

    exit_code = 2


class RegistryError(BenchrunnerError):
    """The key registry was asked for something it does not hold, or cannot be reached."""


class UnknownKey(RegistryError):
    """A call named a key the registry does not hold."""

    def __init__(self, key_id: str, known: tuple[str, ...]) -> None:
        super().__init__(key_id, known)
        self.key_id, self.known = key_id, known

    def __str__(self) -> str:
        return f"no key {self.key_id!r}; the registry holds {', '.join(self.known)}"


class InvalidTransition(BenchrunnerError):
    """RunState was handed an event that its state does not allow; carries the story so far."""

    def __init__(self, event: str, state: str, story: tuple[str, ...]) -> None:
        super().__init__(event, state, story)
        self.event, self.state, self.story = event, state, story

    def __str__(self) -> str:
        return f"{self.event} does not fit {self.state}; before it: " + " | ".join(self.story[-8:])


class EngineError(BenchrunnerError):
    """Workers cannot be started; what was finished is kept."""


class SimulatorError(BenchrunnerError):
    """The embedded provider did not start or went away."""


def pip_line(extra: str) -> str:
    """Return how an optional part of benchrunner is installed, for the end of a sentence that says it is missing."""
    return f"pip install 'benchrunner[{extra}]' (in a clone: pip install -e '.[{extra}]')"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown `word`: the nearest known one, else all of them."""
    words = list(dict.fromkeys(known))
    folded = {one.casefold(): one for one in reversed(words)}
    near = get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    if near:
        return f'did you mean "{folded[near[0]]}"?'
    return "there is none yet" if not words else f"valid: {', '.join(words)}"
