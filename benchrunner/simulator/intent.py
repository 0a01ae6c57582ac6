"""What a simulated model takes the steps of a task to be: read off a plan, or found by searching.

Pure: the skill and keyed draws decide. A draw's key names the decision, so that it comes out the same at every turn.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from benchrunner.simulator.conversation import Conversation, ShownStep
from benchrunner.simulator.skill import Skill

Draw = Callable[..., float]
"""Returns a number in 0..1 that belongs to the key it is given."""

PLAN_SLIP: Final = 0.4  # with a plan to hold on to, so much of the weakness in keeping order shows
OWN_SLIP: Final = 0.55  # without one
CONFUSION: Final = 0.6  # share of a plan's odd places that make a trusting model stumble
_DETOUR: Final = "file_operations_converter"  # what a model reaches for when formats do not fit
_FIRST_OF_ALL: Final = re.compile(r"Call (\S+) first of all")
_ODD_PARAMETER: Final = re.compile(r'=(?:0|\[\]|"unset"|"none")(?:,|$)')


def missing_queries(seen: Conversation, skill: Skill, draw: Draw) -> list[str]:
    """Return what the model still has to search for before it knows its steps."""
    return [query for query in _queries(seen, skill, draw) if query not in seen.searched]


def intended_tools(seen: Conversation, skill: Skill, draw: Draw) -> list[str]:
    """Return the tools the model means to call, in order, as far as it knows them."""
    if _works_from_plan(seen, skill, draw):
        tools = _from_plan(seen, skill, draw)
        slip = PLAN_SLIP
    else:
        tools = _from_searches(seen, skill, draw)
        slip = OWN_SLIP
    tools = list(dict.fromkeys(tools))
    if len(tools) > 1 and draw("swap") < (1.0 - skill.keeping_order) * slip:
        place = int(draw("swap place") * (len(tools) - 1))
        tools[place], tools[place + 1] = tools[place + 1], tools[place]
    if len(tools) > 1 and draw("drop") < (1.0 - skill.keeping_order) * slip:
        del tools[int(draw("drop place") * len(tools))]
    return tools


def _trusts(skill: Skill, draw: Draw) -> bool:
    return draw("trust") < skill.trusting_plans


def _works_from_plan(seen: Conversation, skill: Skill, draw: Draw) -> bool:
    """Return whether the model holds on to the plan: one with fewer steps than the goal names may be seen through."""
    if not seen.task.steps:
        return False
    return _trusts(skill, draw) or len(seen.clauses()) <= len(seen.task.steps)


def _queries(seen: Conversation, skill: Skill, draw: Draw) -> list[str]:
    if _works_from_plan(seen, skill, draw):
        return list(dict.fromkeys(step.label for step in seen.task.steps if not _is_name(step.label)))
    return list(dict.fromkeys(_as_query(clause) for clause in seen.clauses()))


def _as_query(clause: str) -> str:
    return clause.replace("<", " ").replace('"', " ")[:80].strip()


def _from_searches(seen: Conversation, skill: Skill, draw: Draw) -> list[str]:
    queries = _queries(seen, skill, draw)
    if len(queries) > 1:
        return [tool for query in queries if (tool := _pick(seen, skill, draw, query))]
    # One query for everything: the best hits, as many as the goal says there are.
    found = seen.hits.get(queries[0], [])
    return found[: seen.counted_steps() or 3]


def _pick(seen: Conversation, skill: Skill, draw: Draw, query: str) -> str | None:
    hits = seen.hits.get(query, [])
    if not hits:
        return None
    if len(hits) > 1 and draw("pick", query) < (1.0 - skill.finding_tools) * 0.5:
        return hits[1]
    return hits[0]


def _from_plan(seen: Conversation, skill: Skill, draw: Draw) -> list[str]:
    trusts = _trusts(skill, draw)
    tools: list[str] = []
    previous: ShownStep | None = None
    for place, step in enumerate(seen.task.steps):
        tool = step.label if _is_name(step.label) else _pick(seen, skill, draw, step.label)
        if tool is not None:
            tools += _stumble(tool, step, previous, draw("stumble", place)) if trusts else [tool]
        previous = step
    if not trusts:
        return _in_stated_order(tools, seen)
    if seen.task.goal.endswith("...") and len(tools) > 1 and draw("cut goal") < CONFUSION / 2:
        tools.pop()  # nothing in what is left of the goal asks for the last step
    for note in seen.task.notes:
        told = _FIRST_OF_ALL.match(note)
        if told and told[1] in tools:
            tools.remove(told[1])
            tools.insert(0, told[1])
    return tools


def _stumble(tool: str, step: ShownStep, previous: ShownStep | None, draw: float) -> list[str]:
    """Return what a trusting model makes of a step: one whose details do not add up is left out, or gets a detour."""
    misfit = previous is not None and bool(previous.gives) and step.takes != previous.gives
    odd = bool(_ODD_PARAMETER.search(step.parameters))
    if not (misfit or odd) or draw >= CONFUSION:
        return [tool]
    if draw < CONFUSION / 2:
        return []
    return [_DETOUR, tool]


def _in_stated_order(tools: list[str], seen: Conversation) -> list[str]:
    """Return the tools so that each stands after those it is said to need; otherwise as they were."""
    ordered: list[str] = []

    def place(tool: str, within: tuple[str, ...]) -> None:
        for needed in seen.needs.get(tool, ()):
            if needed in tools and needed not in ordered and needed not in within:
                place(needed, (*within, tool))
        if tool not in ordered:
            ordered.append(tool)

    for tool in tools:
        place(tool, ())
    return ordered


def _is_name(label: str) -> bool:
    return "_" in label and " " not in label
