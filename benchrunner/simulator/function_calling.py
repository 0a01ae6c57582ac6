"""Messages and function calls off the wire and back, with the checks that real services make. Pure."""

from __future__ import annotations

import orjson

from benchrunner.records import ChatReply, Message, ToolCall, ToolDefinition


class Malformed(ValueError):
    """A request's messages or functions are not as the services want them; the text says where."""


def read_message(entry: object, position: int) -> Message:
    """Return one message of a request. Raises Malformed."""
    where = f"messages[{position}]"
    role = entry.get("role") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(role, str):
        raise Malformed(f"{where} needs a role and a content, both text")
    listed = entry.get("tool_calls")
    calls = _read_calls(listed, where) if role == "assistant" and listed is not None else ()
    content = entry.get("content")
    if content is None and calls:
        content = ""
    if not isinstance(content, str):
        raise Malformed(f"{where} needs a role and a content, both text")
    call_id = entry.get("tool_call_id", "")
    if role == "tool" and not (isinstance(call_id, str) and call_id):
        raise Malformed(f"{where} needs the tool_call_id that it answers")
    return Message(role=role, content=content, tool_calls=calls, tool_call_id=call_id if role == "tool" else "")


def _read_calls(listed: object, where: str) -> tuple[ToolCall, ...]:
    if not isinstance(listed, list) or not listed:
        raise Malformed(f"{where}.tool_calls must be a list with at least one")
    return tuple(_read_call(entry, f"{where}.tool_calls[{place}]") for place, entry in enumerate(listed))


def _read_call(entry: object, where: str) -> ToolCall:
    function = entry.get("function") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(function, dict):
        raise Malformed(f"{where} needs an id and a function")
    call_id, name, arguments = entry.get("id"), function.get("name"), function.get("arguments")
    if not (isinstance(call_id, str) and isinstance(name, str) and isinstance(arguments, str) and call_id and name):
        raise Malformed(f"{where} needs an id, and a function with name and arguments, all text")
    try:
        value = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        # As servers refuse it that hand the arguments to the model's chat template.
        raise Malformed(f"{where}.function.arguments is not the JSON text of an object")
    return ToolCall(call_id=call_id, name=name, arguments=arguments)


def check_calls_answered(messages: tuple[Message, ...]) -> None:
    """Raise Malformed unless every function call is answered once, right after the message that made it."""
    open_ids: list[str] = []
    for position, message in enumerate(messages):
        if message.role == "tool":
            if message.tool_call_id not in open_ids:
                raise Malformed(f"messages[{position}] answers no open tool call of the message before it")
            open_ids.remove(message.tool_call_id)
            continue
        if open_ids:
            raise Malformed(f"messages[{position}] comes before the answers to {', '.join(open_ids)}")
        open_ids = [call.call_id for call in message.tool_calls]
        if len(set(open_ids)) < len(open_ids):
            raise Malformed(f"messages[{position}].tool_calls holds one id twice")
    if open_ids:
        raise Malformed(f"the last messages do not answer {', '.join(open_ids)}")


def read_tools(listed: object) -> tuple[ToolDefinition, ...]:
    """Return the functions a request offers. Raises Malformed."""
    if listed is None:
        return ()
    if not isinstance(listed, list) or not listed:
        raise Malformed("'tools' must be a list with at least one")
    tools = []
    for place, entry in enumerate(listed):
        function = entry.get("function") if isinstance(entry, dict) and entry.get("type") == "function" else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(function, dict) or not isinstance(name, str) or not name:
            raise Malformed(f"tools[{place}] must be a function with a name")
        parameters = function.get("parameters", {})
        if not isinstance(parameters, dict):
            raise Malformed(f"tools[{place}].function.parameters must be a JSON schema")
        tools.append(
            ToolDefinition(
                name=name,
                description=str(function.get("description", "")),
                parameters=orjson.dumps(parameters).decode(),
            )
        )
    return tuple(tools)


def shown_message(reply: ChatReply) -> dict[str, object]:
    """Return the message of a completion: content is null where a reply holds function calls and no words."""
    if not reply.tool_calls:
        return {"role": "assistant", "content": reply.text}
    calls = [
        {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in reply.tool_calls
    ]
    return {"role": "assistant", "content": reply.text or None, "tool_calls": calls}
