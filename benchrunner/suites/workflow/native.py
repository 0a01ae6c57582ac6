"""The native protocol: the same three actions through the provider's function calling.

Tools, answers, stop rules and scores are those of the text protocol; only the wrapping differs. What a model gets wrong
about a call (torn arguments, a tool's name where a function's belongs) is read as far as it can be, and never sent
back as it was: services refuse a history with calls that are not well formed, and the trial would be lost to
infrastructure for what the model did.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import orjson

from benchrunner.records import ChatReply, Message, ToolCall, ToolDefinition
from benchrunner.suites.workflow.answers import Answer
from benchrunner.suites.workflow.parsing import MAX_ACTIONS, MAX_ARGUMENTS, Action, ActionKind, ParsedReply, parse_reply
from benchrunner.suites.workflow.prompts import COT
from benchrunner.suites.workflow.protocol import FIND_TAG, FINISH_PHRASE, SHOW_TAG, USE_TAG
from benchrunner.suites.workflow.speech import Heard, Speech, sendable

VARIANT: Final = "native"  # deviations follow it: "native+direct", "native+torn"
UNREAD: Final = "Not carried out: the arguments of this call could not be read."
NOT_DONE: Final = "Not carried out."

_KINDS: Final[Mapping[str, ActionKind]] = {
    FIND_TAG: ActionKind.FIND,
    SHOW_TAG: ActionKind.SHOW,
    USE_TAG: ActionKind.USE,
}
_SUBJECTS: Final = ("name", "tool_name", "tool", "query")  # where a model puts what a call is about
_TORN_SUBJECT: Final = re.compile(rf'"(?:{"|".join(_SUBJECTS)})"\s{{0,9}}:\s{{0,9}}"([^"\n]*)')
_PLAIN: Final = re.compile(r"[\w.\- ]{1,300}")
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9_-]")

_SYSTEM: Final = f"""\
You carry out a data task by calling tools. The tools are listed nowhere: look for them in the registry.

How to act (call one of your functions; what comes of it is in the next message):
- look for tools by what they do: {FIND_TAG}
- see one tool's parameters, results and errors: {SHOW_TAG}
- call a tool: {USE_TAG}

Rules:
- One tool call per message. Wait for its outcome before the next one.
- A call can fail. Calling the same tool again may succeed.
- Tools take their arguments from the inputs of the task; you need not write them out.
- Never ask the user anything; where something is open, take the value given under "Inputs".
- When everything has been done, say: {FINISH_PHRASE}"""

_REASONING: Final = """

Before each action, reason step by step: what has been reached, what is missing, which tool gets you there and what
that tool needs to have happened before. Then call the function in the same message."""


def _definition(name: str, description: str, /, **parameters: Mapping[str, str]) -> ToolDefinition:
    required = [next(iter(parameters))]
    schema = {"type": "object", "properties": parameters, "required": required, "additionalProperties": False}
    return ToolDefinition(name=name, description=description, parameters=orjson.dumps(schema).decode())


_TOOL_NAME: Final = {"type": "string", "description": "The tool's name as the registry gives it."}
FUNCTIONS: Final = (
    _definition(
        FIND_TAG,
        "Look for tools in the registry by what they do. Gives the best matches with their descriptions.",
        query={"type": "string", "description": "What the tool should do."},
    ),
    _definition(SHOW_TAG, "See one tool's parameters, results, errors and prerequisites.", name=_TOOL_NAME),
    _definition(
        USE_TAG,
        "Call a tool of the registry. Gives its outcome.",
        name=_TOOL_NAME,
        arguments={"type": "object", "description": "Its arguments; may be left out."},
    ),
)


class NativeSpeech:
    """Function calls, each answered by a tool message of its own."""

    tools: tuple[ToolDefinition, ...] = FUNCTIONS
    how_to_act: str = f"Your message held no action. Call one of your functions: {FIND_TAG}, {SHOW_TAG} or {USE_TAG}."

    def open(self, messages: tuple[Message, ...], prompt: str) -> tuple[Message, ...]:
        """Return the same task under a system message that speaks of functions in place of tags."""
        system = Message(role="system", content=_SYSTEM + (_REASONING if prompt == COT else ""))
        return (system, *(message for message in messages if message.role != "system"))

    def hear(self, reply: ChatReply, turn: int) -> Heard:
        """Return the calls as actions. Tags in the text are words here; a claim of completion is heard all the same."""
        text = sendable(reply.text)
        calls = tuple(
            ToolCall(call_id=sendable(call.call_id), name=sendable(call.name), arguments=sendable(call.arguments))
            for call in reply.tool_calls[:MAX_ACTIONS]
        )
        actions: list[Action] = []
        places: list[int | None] = []
        deviations: set[str] = set()
        for call in calls:
            action = _read_call(call, deviations)
            places.append(None if action is None else len(actions))
            if action is not None:
                actions.append(action)
        parsed = ParsedReply(
            actions=tuple(actions),
            variant="+".join([VARIANT, *sorted(deviations)]) if calls else "none",
            claims_completion=parse_reply(text).claims_completion,
        )
        said = tuple(
            _well_formed(call, actions[place] if place is not None else None, f"call_{turn}_{number}")
            for number, (call, place) in enumerate(zip(calls, places, strict=True))
        )
        said = _with_distinct_ids(said, turn)
        message = Message(role="assistant", content=text, tool_calls=said)
        return Heard(message=message, parsed=parsed, calls=calls, actions_of_calls=tuple(places))

    def tell(self, heard: Heard, answer: Answer) -> tuple[Message, ...]:
        """Return one tool message per call, the closing lines in the last; a user message where there was no call."""
        closing = "\n".join(answer.closing)
        if not heard.calls:
            return (Message(role="user", content=closing),)
        texts = []
        for place in heard.actions_of_calls:
            lines = answer.by_action[place] if place is not None and answer.by_action else ()
            texts.append("\n".join(lines) or (UNREAD if place is None else NOT_DONE))
        if closing:
            texts[-1] += "\n" + closing
        return tuple(
            Message(role="tool", content=text, tool_call_id=call.call_id)
            for text, call in zip(texts, heard.message.tool_calls, strict=True)
        )


NATIVE_SPEECH: Final[Speech] = NativeSpeech()


def _read_call(call: ToolCall, deviations: set[str]) -> Action | None:
    """Return what a call asks for, None when that cannot be made out; notes how it strayed."""
    name = call.name.strip()
    kind = _kind(name)
    if kind is None:
        # The registry's tools are no functions of the request, but what is meant is plain.
        deviations.add("direct")
        return Action(kind=ActionKind.USE, subject=name, arguments=call.arguments[:MAX_ARGUMENTS]) if name else None
    subject, arguments, torn = _read_arguments(call.arguments)
    if torn:
        deviations.add("torn")
    if not subject:
        return None
    return Action(kind=kind, subject=" ".join(subject.split())[:300], arguments=arguments[:MAX_ARGUMENTS])


def _kind(name: str) -> ActionKind | None:
    # "functions.use_tool": the name space some models know their functions under.
    return _KINDS.get(name.strip().casefold().rpartition(".")[2])


def _read_arguments(text: str) -> tuple[str, str, bool]:
    """Return (subject, the tool's own arguments, whether the text is not the JSON object it should be)."""
    value = _object(text)
    if value is None:
        match = _TORN_SUBJECT.search(text)
        if match:
            return match[1].strip(), "", True
        bare = text.strip().strip("\"'`").strip()
        return (bare if _PLAIN.fullmatch(bare) else ""), "", True
    subject = next((found.strip() for key in _SUBJECTS if isinstance(found := value.get(key), str)), "")
    inner = value.get("arguments")
    return subject, orjson.dumps(inner).decode() if inner else "", False


def _object(text: str) -> dict[str, object] | None:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _well_formed(call: ToolCall, action: Action | None, spare_id: str) -> ToolCall:
    """Return the call as any service takes it back: a plain name, arguments that are a JSON object, an id."""
    arguments = call.arguments
    if _object(arguments) is None:
        said: dict[str, str] = {}
        if action is not None and _kind(call.name) is not None:
            said = {"query" if action.kind is ActionKind.FIND else "name": action.subject}
        arguments = orjson.dumps(said).decode()
    name = _NOT_IN_A_NAME.sub("_", call.name.strip())[:64] or "unnamed"
    return ToolCall(call_id=call.call_id or spare_id, name=name, arguments=arguments)


def _with_distinct_ids(calls: tuple[ToolCall, ...], turn: int) -> tuple[ToolCall, ...]:
    if len({call.call_id for call in calls}) == len(calls):
        return calls
    return tuple(
        ToolCall(call_id=f"call_{turn}_{number}", name=call.name, arguments=call.arguments)
        for number, call in enumerate(calls)
    )
