"""How a model acts and is answered: the seam between a dialogue and its protocol, and the text protocol itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from benchrunner.records import ChatReply, Message, ToolCall, ToolDefinition
from benchrunner.suites.workflow import protocol
from benchrunner.suites.workflow.answers import Answer
from benchrunner.suites.workflow.parsing import ParsedReply, parse_reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A reply as a protocol understands it."""

    message: Message  # what stands for the reply in the requests that follow
    parsed: ParsedReply
    calls: tuple[ToolCall, ...] = ()  # the function calls as the model wrote them
    actions_of_calls: tuple[int | None, ...] = ()  # per call its place among the actions; None: it could not be read


class Speech(Protocol):
    """One protocol. Stateless."""

    @property
    def tools(self) -> tuple[ToolDefinition, ...]:
        """Return the functions that every request offers."""
        ...

    @property
    def how_to_act(self) -> str:
        """Return what a reply without any action is told."""
        ...

    def open(self, messages: tuple[Message, ...], prompt: str) -> tuple[Message, ...]:
        """Return the opening messages as this protocol words them; `messages` are those of the text protocol."""
        ...

    def hear(self, reply: ChatReply, turn: int) -> Heard:
        """Return what a reply asks for. Never raises, whatever the reply holds."""
        ...

    def tell(self, heard: Heard, answer: Answer) -> tuple[Message, ...]:
        """Return the messages that carry an answer."""
        ...


class TextSpeech:
    """Tags in the text of a message; one user message answers them all."""

    tools: tuple[ToolDefinition, ...] = ()
    how_to_act: str = (
        "Your message held no action. Write one of these and nothing around the name: "
        f"{protocol.tag(protocol.FIND_TAG, 'what the tool should do')} or "
        f"{protocol.tag(protocol.SHOW_TAG, 'tool_name')} or {protocol.tag(protocol.USE_TAG, 'tool_name')}."
    )

    def open(self, messages: tuple[Message, ...], prompt: str) -> tuple[Message, ...]:
        """Return the messages as they are."""
        return messages

    def hear(self, reply: ChatReply, turn: int) -> Heard:
        """Return the actions whose tags stand in the text; function calls nobody offered are not looked at."""
        text = sendable(reply.text)
        return Heard(message=Message(role="assistant", content=text), parsed=parse_reply(text))

    def tell(self, heard: Heard, answer: Answer) -> tuple[Message, ...]:
        """Return one user message."""
        lines = [line for lines in answer.by_action for line in lines]
        return (Message(role="user", content="\n".join([*lines, *answer.closing])),)


TEXT_SPEECH: Final[Speech] = TextSpeech()


def sendable(text: str) -> str:
    """Return `text` without lone surrogates, which JSON may smuggle in and neither a request nor a row can hold."""
    return text.encode("utf-8", "replace").decode()
