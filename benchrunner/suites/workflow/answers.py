"""What a trial's course has come to, and what the model is answered: the same under either protocol.

An answer has lines for each action that was carried out and closing lines for the message as a whole. No line ever
names a required tool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchrunner.suites.workflow import protocol
from benchrunner.suites.workflow.parsing import Action, ActionKind, ParsedReply
from benchrunner.suites.workflow.ranking import rank_tools
from benchrunner.suites.workflow.simulation import ToolSimulation
from benchrunner.suites.workflow.stop_rules import FAILURE_STREAK, MAX_SUCCESSES, SAME_TOOL_STREAK
from benchrunner.suites.workflow.tools import Tool, catalogue

HITS: Final = 5  # tools shown per search
MAX_LOOKUPS: Final = 5  # searches or tool infos answered per message


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a reply is answered. `by_action` has one entry per action of the reply, () where it was not carried out."""

    by_action: tuple[tuple[str, ...], ...]
    closing: tuple[str, ...]


@dataclass(slots=True)
class Course:
    """What has happened in a dialogue so far."""

    tools: ToolSimulation
    required: frozenset[str]
    claimed_completion: bool = False
    format_helps: int = 0
    unknown_calls: int = 0

    def is_over(self) -> bool:
        """Return whether a rule other than the turn limit ends the trial here."""
        executions = self.tools.executions
        if self.claimed_completion and self.required <= {e.tool for e in executions if e.ok}:
            return True
        last = executions[-FAILURE_STREAK:]
        if len(last) == FAILURE_STREAK and not any(execution.ok for execution in last):
            return True
        successes = [execution.tool for execution in executions if execution.ok]
        if len(successes) > MAX_SUCCESSES:
            return True
        return len(successes) >= SAME_TOOL_STREAK and len(set(successes[-SAME_TOOL_STREAK:])) == 1

    def answer(self, parsed: ParsedReply, how_to_act: str) -> Answer:
        """Carry out what a reply asks for and return what it is told.

        Searches come first, then infos, then calls; the first kind there is ends the turn. `how_to_act` is told to a
        reply that asks for nothing.
        """
        self.claimed_completion = self.claimed_completion or parsed.claims_completion
        for kind in ActionKind:
            if any(action.kind is kind for action in parsed.actions):
                return self._use(parsed.actions) if kind is ActionKind.USE else _look_up_all(kind, parsed.actions)
        if parsed.claims_completion:
            return Answer(by_action=(), closing=(f"Noted. {self._progress()} If a step is left, call its tool.",))
        self.format_helps += 1
        return Answer(by_action=(), closing=(how_to_act, f"{self._progress()} {_go_on()}"))

    def _use(self, actions: Sequence[Action]) -> Answer:
        by_action: list[tuple[str, ...]] = []
        for action in actions:
            # Checked before each call and not only after a turn: a message may hold forty of them.
            over = bool(by_action) and self.is_over()
            by_action.append(() if over else (self._use_one(action),))
        return Answer(by_action=tuple(by_action), closing=(f"{self._progress()} {_go_on()}",))

    def _use_one(self, action: Action) -> str:
        tool = catalogue().resolve(action.subject)
        if tool is None:
            self.unknown_calls += 1
            return _unknown(action)
        execution, outcome = self.tools.call(tool)
        return f"{protocol.OK_MARK if execution.ok else protocol.FAILED_MARK} {tool.name} -> {outcome}"

    def _progress(self) -> str:
        count = len({execution.tool for execution in self.tools.executions if execution.ok})
        return f"Tools that have succeeded so far: {count}."


def _go_on() -> str:
    return f"Go on with the next step, or say: {protocol.FINISH_PHRASE}"


def _look_up_all(kind: ActionKind, actions: Sequence[Action]) -> Answer:
    by_action: list[tuple[str, ...]] = []
    answered = 0
    for action in actions:
        wanted = action.kind is kind and answered < MAX_LOOKUPS
        answered += wanted
        by_action.append(tuple(_look_up(action)) if wanted else ())
    closing = []
    if sum(action.kind is kind for action in actions) > MAX_LOOKUPS:
        closing.append(f"Only the first {MAX_LOOKUPS} requests of your message were answered.")
    if any(action.kind is ActionKind.USE for action in actions):
        closing.append("The tool calls of your message were not carried out: look up first, then call.")
    return Answer(by_action=tuple(by_action), closing=tuple(closing))


def _look_up(action: Action) -> list[str]:
    if action.kind is ActionKind.SHOW:
        tool = catalogue().resolve(action.subject)
        return [_unknown(action)] if tool is None else _schema(tool)
    hits = rank_tools(action.subject, HITS)
    if not hits:
        categories = ", ".join(dict.fromkeys(tool.category.replace("_", " ") for tool in catalogue().tools))
        return [f'Nothing found for "{action.subject[:80]}". The registry covers: {categories}.']
    lines = [f'{protocol.FOUND_MARK} "{action.subject[:80]}"']
    for tool in hits:
        lines += _schema(tool)
    return lines


def _unknown(action: Action) -> str:
    return f"{protocol.UNKNOWN_MARK} {action.subject[:80]}: no tool has that name; look for one first."


def _schema(tool: Tool) -> list[str]:
    parameters = ", ".join(f"{p.name}: {p.type}{'' if p.required else ' (optional)'}" for p in tool.parameters)
    returns = ", ".join(f"{r.name}: {r.type}" for r in tool.returns)
    return [
        f"{protocol.TOOL_MARK} {tool.name} - {tool.description}",
        f"  takes {parameters}; gives {returns}; can fail with {', '.join(e.code for e in tool.errors)}",
        f"  {protocol.AFTER_MARK} {', '.join(tool.dependencies) or 'nothing'}",
    ]
