"""From a reply's text to the actions in it. Lenient about spelling, and never raises, whatever the text.

What a gateway or a habit does to a tag must not decide a score: a closing tag that got lost, arguments in round or
square brackets, ``key=value`` pairs, JSON, attributes, the tag names of other harnesses. How the reply was spelled is
kept as its `variant`, so that a report can count it.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from enum import StrEnum

from benchrunner.suites.workflow.protocol import FIND_TAG, SHOW_TAG, USE_TAG

MAX_ACTIONS = 40  # read from one reply: more than any rule of the dialogue lets happen in one turn
MAX_ARGUMENTS = 500  # characters of a call's arguments worth keeping
_MAX_CONTENT = 4000  # characters of one tag's content worth reading


class ActionKind(StrEnum):
    """What a reply can ask for."""

    FIND = "find"
    SHOW = "show"
    USE = "use"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One request of a reply. `subject` is a query or a tool's name as the model wrote it."""

    kind: ActionKind
    subject: str
    arguments: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedReply:
    """A reply, read. `variant` is "none" (no action), "strict", or the deviations joined by "+"."""

    actions: tuple[Action, ...]
    variant: str
    claims_completion: bool


_KINDS = {
    FIND_TAG: ActionKind.FIND,
    SHOW_TAG: ActionKind.SHOW,
    USE_TAG: ActionKind.USE,
    "tool_search": ActionKind.FIND,
    "tool_info": ActionKind.SHOW,
    "tool_call": ActionKind.USE,
}
_OWN_TAGS = frozenset((FIND_TAG, SHOW_TAG, USE_TAG))

_TAG = re.compile(
    rf"<\s{{0,3}}(?P<close>/?)\s{{0,3}}(?P<name>{'|'.join(_KINDS)})\b(?P<attributes>[^<>]{{0,600}})>", re.IGNORECASE
)
_ATTRIBUTE = re.compile(
    r"""(?:\b(?:name|tool|tool_name|query|q)\s{0,3})?[=:]\s{0,3}(?:"([^"]*)"|'([^']*)'|([^\s"'/>]+))"""
)
_NAME = re.compile(r"[A-Za-z][\w.\-]*")
_WORDS = re.compile(r"[A-Za-z_]+(?:[ \t]+[A-Za-z_]+){0,5}")
_JSON_NAME = re.compile(r'"(?:name|tool|tool_name|function|query)"\s{0,9}:\s{0,9}"([^"\n]*)"')
_ASSIGNMENT = re.compile(r"[,;:]?\s*[A-Za-z_]\w*\s*[=:]")

_THOUGHT_TAG = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)

_COMPLETION = re.compile(
    r"\b(?:(?:task|workflow|job|process)(?: has been| have been| was| is)?(?: now)?(?: fully| successfully)?"
    r" (?:complete|completed|finished|done)|(?:completed|finished) the (?:task|workflow)"
    r"|all (?:the )?(?:steps|tasks) (?:are |have been |were )?(?:now )?(?:complete|completed|finished|done))\b",
    re.IGNORECASE,
)
# "Once the task is complete I will report" announces, it does not claim.
_NOT_A_CLAIM = re.compile(
    r"\b(?:once|when|until|till|if|before|after|unless|not|never|whether|isn't|cannot)\b[^.!?\n]{0,60}$", re.IGNORECASE
)


def parse_reply(text: str) -> ParsedReply:
    """Return the actions of `text` in order, how they were spelled, and whether it says that the work is finished.

    What stands inside a reasoning block (``<think>``) is no action and no claim.
    """
    spoken = _without_thoughts(text)
    deviations: set[str] = set()
    if "&lt;" in spoken:
        unescaped = html.unescape(spoken)
        if _TAG.search(unescaped) and not _TAG.search(spoken):
            deviations.add("escaped")
            spoken = unescaped
    actions = _actions(spoken, deviations)
    if not actions:
        variant = "none"
    else:
        variant = "+".join(sorted(deviations)) or "strict"
    return ParsedReply(actions=actions, variant=variant, claims_completion=claims_completion(spoken))


def claims_completion(text: str) -> bool:
    """Return whether `text` states that the task is finished, rather than speaking of a time when it will be."""
    return any(
        not _NOT_A_CLAIM.search(text[max(0, match.start() - 80) : match.start()])
        for match in _COMPLETION.finditer(text)
    )


def _without_thoughts(text: str) -> str:
    spoken: list[str] = []
    thinking = False
    position = 0
    for tag in _THOUGHT_TAG.finditer(text):
        if not tag[1]:
            if not thinking:
                spoken.append(text[position : tag.start()])
            thinking = True
        else:
            if not thinking:
                spoken.clear()  # some chat templates open the block in the prompt, so that only its end shows
            thinking = False
            position = tag.end()
    if not thinking:  # else the reply was cut in the middle of a thought
        spoken.append(text[position:])
    return " ".join(spoken)


def _actions(text: str, deviations: set[str]) -> tuple[Action, ...]:
    actions: list[Action] = []
    tags = list(_TAG.finditer(text))
    for position, match in enumerate(tags):
        if match["close"]:
            continue
        following = tags[position + 1] if position + 1 < len(tags) else None
        content = text[match.end() : following.start() if following else len(text)][:_MAX_CONTENT]
        own_name = match["name"].casefold()
        kind = _KINDS[own_name]
        found: set[str] = set() if own_name in _OWN_TAGS else {"alias"}
        closed = following is not None and bool(following["close"])
        attribute = _attribute(match["attributes"])
        if attribute:
            found.add("attribute")
            action = Action(kind=kind, subject=attribute, arguments=content.strip()[:MAX_ARGUMENTS] if closed else "")
        else:
            if not closed:
                found.add("unclosed")
            elif following is not None and following["name"].casefold() != own_name:
                found.add("mismatched")
            action = _read_content(kind, content, closed, found)
        if action.subject:
            actions.append(action)
            deviations |= found
        if len(actions) == MAX_ACTIONS:
            break
    return tuple(actions)


def _attribute(attributes: str) -> str:
    match = _ATTRIBUTE.search(attributes)
    return next((group.strip() for group in match.groups() if group), "") if match else ""


def _read_content(kind: ActionKind, content: str, closed: bool, found: set[str]) -> Action:
    content = content.strip().strip("`").strip()
    if content[:4] == "json":
        content = content[4:].lstrip()
    if content.startswith("{"):
        found.add("json")
        subject, arguments = _read_json(content)
        return Action(kind=kind, subject=subject, arguments=arguments)
    if not closed:
        # Nothing says where an unclosed tag ends but the line.
        content = content.partition("\n")[0].strip().strip("`").strip()
    if kind is ActionKind.FIND:
        return Action(kind=kind, subject=" ".join(content.strip("\"'").split())[:300])
    return _read_call(kind, content.lstrip("\"'*: "), found)


def _read_call(kind: ActionKind, content: str, found: set[str]) -> Action:
    name = _NAME.match(content)
    if name is None:
        return Action(kind=kind, subject="")
    rest = content[name.end() :].strip().strip("\"'*`").strip()
    if not rest:
        return Action(kind=kind, subject=name[0])
    arguments = rest[:MAX_ARGUMENTS]
    if rest[0] == "(":
        found.add("parentheses")
    elif rest[0] == "[":
        found.add("brackets")
    elif rest[0] == "{":
        found.add("json")
    elif _ASSIGNMENT.match(rest):
        found.add("assignments")
    else:
        found.add("words")
        words = _WORDS.match(content)
        if words is not None and "_" not in name[0]:
            return Action(kind=kind, subject=words[0])
    return Action(kind=kind, subject=name[0], arguments=arguments)


def _read_json(content: str) -> tuple[str, str]:
    """Return (subject, arguments) of a JSON call; torn JSON gives the name alone."""
    try:
        value, _ = json.JSONDecoder().raw_decode(content)
    except (ValueError, RecursionError):
        match = _JSON_NAME.search(content)
        return (match[1].strip(), "") if match else ("", "")
    if isinstance(value.get("function"), dict):
        value = value["function"]
    subjects = (value.get(key) for key in ("name", "tool", "tool_name", "function", "query"))
    subject = next((found.strip() for found in subjects if isinstance(found, str)), "")
    arguments = next((value[key] for key in ("arguments", "parameters", "args", "input") if value.get(key)), "")
    return subject, str(arguments)[:MAX_ARGUMENTS]
