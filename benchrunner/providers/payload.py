"""Readers of what providers put into response bodies: a chat completion, or an error object of some shape. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from benchrunner.records import ChatReply, ToolCall

_ERROR_DEPTH = 5
_CODE_FIELDS = ("code", "error_code", "errorCode", "errCode", "type")
_TEXT_FIELDS = ("message", "msg", "error_msg", "errorMessage", "errMsg", "detail", "error", "error_description")
_SEARCH_LIMIT = 16_384
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorWords:
    """What an error body says, whatever its shape."""

    code: str  # the most telling code, "" where there is none
    codes: tuple[str, ...]
    text: str  # the provider's sentence, or the start of a body that is no JSON

    @property
    def searchable(self) -> str:
        """Return all codes and words in one string, for the pattern tables."""
        return "\n".join((*self.codes, self.text))


def load_json(body: bytes) -> object:
    """Return the body's JSON value, None when it is torn or something else altogether."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        # orjson is strict where gateways are not: half of an emoji as a lone surrogate, NaN in a usage block.
        try:
            loaded: object = json.loads(body)
        except (ValueError, RecursionError):
            return None
        return loaded


def read_reply(document: object) -> ChatReply | None:
    """Return the first choice of a chat completion; None when the document is not one.

    Text is content only: what a reasoning model thought aloud in `reasoning_content` is not its answer.
    """
    if not isinstance(document, dict):
        return None
    choices = document.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return None
    message = choices[0].get("message")
    if not isinstance(message, dict):
        return None
    usage = document.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    finish_reason = choices[0].get("finish_reason")
    served = document.get("model")
    return ChatReply(
        text=_content(message.get("content")),
        finish_reason=finish_reason if isinstance(finish_reason, str) else "",
        prompt_tokens=_count(counts.get("prompt_tokens")),
        completion_tokens=_count(counts.get("completion_tokens")),
        served_model=served if isinstance(served, str) else "",
        tool_calls=_tool_calls(message.get("tool_calls")),
    )


def _tool_calls(listed: object) -> tuple[ToolCall, ...]:
    """Return the function calls of a message. Arguments stay as the model wrote them: torn JSON is its own doing."""
    calls = []
    for entry in listed if isinstance(listed, list) else ():
        function = entry.get("function") if isinstance(entry, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(function, dict) or not isinstance(name, str):
            continue
        arguments = function.get("arguments")
        if isinstance(arguments, dict):  # some servers hand the object on instead of its text
            arguments = json.dumps(arguments, ensure_ascii=False)
        call_id = entry.get("id")
        calls.append(
            ToolCall(
                call_id=_content(call_id),
                name=_content(name),
                arguments=_content(arguments),
            )
        )
    return tuple(calls)


def _content(content: object) -> str:
    if isinstance(content, list):  # typed parts
        parts = (part.get("text") for part in content if isinstance(part, dict))
        content = "".join(part for part in parts if isinstance(part, str))
    if not isinstance(content, str):
        return ""
    # A lone surrogate cannot be sent back, stored or printed.
    return content if content.isascii() else content.encode("utf-8", "replace").decode("utf-8")


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        return None
    return int(value)


def read_error(document: object, body: bytes) -> ErrorWords:
    """Return the codes and the sentence of an error body, however deep a gateway wrapped them."""
    if document is None:
        text = body[:_SEARCH_LIMIT].decode("utf-8", "replace")
        title = _TITLE.search(text)
        is_page = "<html" in text[:2000].lower() or title is not None
        code = "html" if is_page else "not_json" if text.strip() else "no_body"
        return ErrorWords(code=code, codes=(), text=(title.group(1) if title else text).strip())
    found_codes: list[str] = []
    found_texts: list[str] = []
    for kind, value in _error_fields(document, _ERROR_DEPTH):
        (found_codes if kind == "code" else found_texts).append(value[:_SEARCH_LIMIT])
    codes = tuple(dict.fromkeys(found_codes))
    text = " | ".join(dict.fromkeys(found_texts)) or body[:_SEARCH_LIMIT].decode("utf-8", "replace")
    if not isinstance(document, dict) or ("choices" in document and not codes):
        return ErrorWords(code="no_choices", codes=codes, text=text)
    return ErrorWords(code=codes[0] if codes else "", codes=codes, text=text)


def _error_fields(value: object, depth: int) -> Iterator[tuple[str, str]]:
    """Yield ("code", ...) and ("text", ...) pairs, outer before inner; follows JSON written into a message."""
    if depth == 0:
        return
    if isinstance(value, list):
        for item in value[:8]:
            yield from _error_fields(item, depth - 1)
        return
    if not isinstance(value, dict):
        return
    for name in _CODE_FIELDS:
        code = value.get(name)
        if isinstance(code, str | int) and not isinstance(code, bool) and str(code):
            yield "code", str(code)
    for name in _TEXT_FIELDS:
        text = value.get(name)
        if isinstance(text, str) and text:
            yield "text", text
            if text.lstrip()[:1] == "{":
                yield from _error_fields(load_json(text.encode("utf-8", "replace")), depth - 1)
    for name, inner in value.items():
        if name not in ("choices", "usage") and isinstance(inner, dict | list):
            yield from _error_fields(inner, depth - 1)
