"""What a simulated model takes in from a conversation of the `workflow` suite. Reads text only, as a real one would."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import orjson

from benchrunner.records import Message, ToolCall
from benchrunner.suites.workflow import protocol

_STEP: Final = re.compile(
    rf"^{protocol.STEP_MARK} \d+\. (?P<label>.+) \(match .*\n(?P<details>(?: +.*\n?)*)", re.MULTILINE
)
_CLAUSES: Final = re.compile(r",\s*(?:and )?(?:then |finally )?|;\s*|\.\s*$|\s+and then ")
_NUMBER_WORDS: Final = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
_COUNTED: Final = re.compile(rf"\b({'|'.join(_NUMBER_WORDS)})(?:-phase| (?:\w+ ){{0,2}}(?:operations|phases))")
_FIND: Final = re.compile(rf"<{protocol.FIND_TAG}>([^<\n]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownStep:
    """One step of the plan in the prompt."""

    label: str
    needs: tuple[str, ...]
    parameters: str
    takes: str
    gives: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownTask:
    """What the message that sets the task says. `goal` "" means that it sets none of this suite."""

    goal: str = ""
    steps: tuple[ShownStep, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Conversation:
    """A conversation, read. `outcomes` and `hits` are in the order in which they came."""

    task: ShownTask = ShownTask()
    asked_to_reason: bool = False
    outcomes: list[tuple[str, bool]] = field(default_factory=list)  # (tool, succeeded)
    hits: dict[str, list[str]] = field(default_factory=dict)  # query -> tools found
    needs: dict[str, tuple[str, ...]] = field(default_factory=dict)  # tool -> what it works best after
    searched: set[str] = field(default_factory=set)  # queries asked so far, answered or not
    turns: int = 0  # own messages so far
    claims: int = 0  # how often the work was called finished

    def clauses(self) -> list[str]:
        """Return the parts of the goal that each ask for one thing; a goal that hides them gives itself."""
        goal = self.task.goal
        parts = [part.strip() for part in _CLAUSES.split(goal) if part and part.strip()]
        return parts if len(parts) > 1 and not self.counted_steps() else [goal]

    def counted_steps(self) -> int:
        """Return how many operations the goal says there are; 0 when it does not."""
        found = _COUNTED.search(self.task.goal)
        return _NUMBER_WORDS[found[1]] if found else 0


def read_conversation(messages: Sequence[Message]) -> Conversation:
    """Return what `messages` tell: the task, the plan if any, and what came of every action so far."""
    seen = Conversation()
    for message in messages:
        if message.role == "assistant":
            seen.turns += 1
            seen.claims += protocol.FINISH_PHRASE in message.content
            seen.searched.update(_FIND.findall(message.content))
            seen.searched.update(query for call in message.tool_calls if (query := _query(call)))
        elif message.role == "system":
            seen.asked_to_reason = "step by step" in message.content
        elif seen.task.goal:
            _read_answer(message.content, seen)
        else:
            seen.task = _read_task(message.content)
            seen.needs.update((step.label, step.needs) for step in seen.task.steps)
    return seen


# Kept for the texts of the dialogues in flight: the same task is read anew at each of a trial's turns.
@lru_cache(maxsize=1024)
def _read_task(text: str) -> ShownTask:
    head, _, notes = text.partition(f"\n{protocol.NOTES_HEADING}\n")
    goal = next((line for line in head.splitlines() if line.startswith(protocol.GOAL_MARK)), "")
    return ShownTask(
        goal=goal.removeprefix(protocol.GOAL_MARK).strip(),
        steps=tuple(_read_step(found) for found in _STEP.finditer(head)),
        notes=tuple(line[2:] for line in notes.splitlines() if line.startswith("- ")),
    )


def _read_step(found: re.Match[str]) -> ShownStep:
    details = dict.fromkeys((protocol.NEEDS_MARK, protocol.WITH_MARK, protocol.FLOW_MARK), "")
    for line in found["details"].splitlines():
        for mark in details:
            if line.lstrip().startswith(mark):
                details[mark] = line.lstrip().removeprefix(mark).strip()
    takes, _, gives = details[protocol.FLOW_MARK].partition(", gives: ")
    return ShownStep(
        label=found["label"],
        needs=_names(details[protocol.NEEDS_MARK]),
        parameters=details[protocol.WITH_MARK],
        takes=takes,
        gives=gives,
    )


def _query(call: ToolCall) -> str:
    """Return what a function call of the model's own searched for, "" for any other call."""
    if call.name != protocol.FIND_TAG:
        return ""
    try:
        arguments = orjson.loads(call.arguments)
    except orjson.JSONDecodeError:
        return ""
    query = arguments.get("query") if isinstance(arguments, dict) else None
    return query if isinstance(query, str) else ""


def _read_answer(text: str, seen: Conversation) -> None:
    query: str | None = None
    tool = ""
    for line in text.splitlines():
        if line.startswith(protocol.OK_MARK):
            seen.outcomes.append((line.split(" ", 2)[1], True))
        elif line.startswith(protocol.FAILED_MARK):
            seen.outcomes.append((line.split(" ", 2)[1], False))
        elif line.startswith(protocol.FOUND_MARK):
            query = line.removeprefix(protocol.FOUND_MARK).strip().strip('"')
            seen.hits[query] = []
        elif line.startswith(protocol.TOOL_MARK):
            tool = line.split(" ", 2)[1]
            if query is not None:
                seen.hits[query].append(tool)
        elif tool and line.strip().startswith(protocol.AFTER_MARK):
            seen.needs[tool] = _names(line.strip().removeprefix(protocol.AFTER_MARK))


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if "_" in name)
