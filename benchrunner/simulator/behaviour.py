"""The simulated models: what they say and how long they take, from the seed, their skill and the conversation alone.

A model makes up its mind about a task once (what it takes the steps to be), from draws keyed by the opening messages;
each turn it looks at what has come of its actions and takes the next one. Nothing is remembered between calls: the
same conversation gets the same reply, in any process.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from random import Random
from types import MappingProxyType
from typing import Final

import orjson

from benchrunner.records import ChatReply, ChatRequest, Message, ToolCall, ToolDefinition
from benchrunner.simulator.conversation import Conversation, read_conversation
from benchrunner.simulator.intent import Draw, intended_tools, missing_queries
from benchrunner.simulator.skill import Skill, skill_at, skill_of
from benchrunner.suites.workflow.protocol import FIND_TAG, FINISH_PHRASE, USE_TAG, tag

MAX_SEARCHES: Final = 5  # in one message
CHARACTERS_PER_TOKEN: Final = 4
_READABLE_SLIPS: Final = 0.5  # of a careless model's ways of writing an action, those that can still be read
_TAGGED: Final = re.compile(rf"<({FIND_TAG}|{USE_TAG})>([^<\n]*)</")
_Z_95: Final = 1.6449  # standard deviations from the median to the 95th percentile


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How a model behaves. Latencies of one reply: median and 95th percentile, seconds, log-normal between."""

    skill: Skill
    latency_p50_s: float
    latency_p95_s: float
    thinks_aloud: bool = False  # opens its replies with a <think> block


# Latencies as measured in the field: for the qwen models p50 and p95 of a turn, for the others the mean at low load.
PROFILES: Final[Mapping[str, Profile]] = MappingProxyType(
    {
        "DeepSeek-V3-0324": Profile(skill=skill_of(671), latency_p50_s=1.3, latency_p95_s=2.6),
        "DeepSeek-R1-0528": Profile(skill=skill_of(671), latency_p50_s=13.3, latency_p95_s=26.6, thinks_aloud=True),
        "qwen2.5-72b-instruct": Profile(skill=skill_of(72), latency_p50_s=2.4, latency_p95_s=4.5),
        "qwen2.5-32b-instruct": Profile(skill=skill_of(32), latency_p50_s=1.3, latency_p95_s=2.1),
        "qwen2.5-14b-instruct": Profile(skill=skill_of(14), latency_p50_s=1.2, latency_p95_s=2.0),
        "qwen2.5-7b-instruct": Profile(skill=skill_of(7), latency_p50_s=1.5, latency_p95_s=2.0),
        "qwen2.5-3b-instruct": Profile(skill=skill_of(3), latency_p50_s=2.8, latency_p95_s=4.2),
        "Llama-3.3-70B-Instruct": Profile(skill=skill_of(70), latency_p50_s=12.1, latency_p95_s=24.2),
    }
)
FALLBACK: Final = Profile(skill=skill_of(14), latency_p50_s=1.2, latency_p95_s=2.0)


def simulated_model(
    name: str,
    *,
    seed: int,
    competence: float | None = None,
    latency_p50_s: float | None = None,
    latency_p95_s: float | None = None,
) -> SimulatedModel:
    """Return the model built in under `name`, or the fallback; whatever is not None replaces the built-in value.

    A new median alone keeps the built-in spread around it.
    """
    profile = PROFILES.get(name, FALLBACK)
    p50_s = profile.latency_p50_s if latency_p50_s is None else latency_p50_s
    spread = profile.latency_p95_s / profile.latency_p50_s
    return SimulatedModel(
        name,
        profile.skill if competence is None else skill_at(competence),
        seed,
        latency_p50_s=p50_s,
        latency_p95_s=p50_s * spread if latency_p95_s is None else max(p50_s, latency_p95_s),
        thinks_aloud=profile.thinks_aloud,
    )


class SimulatedModel:
    """One model. Immutable: any thread may ask it."""

    def __init__(
        self,
        name: str,
        skill: Skill,
        seed: int,
        *,
        latency_p50_s: float = FALLBACK.latency_p50_s,
        latency_p95_s: float = FALLBACK.latency_p95_s,
        thinks_aloud: bool = False,
    ) -> None:
        self.name, self.skill, self.seed = name, skill, seed
        self._latency_p50_s = latency_p50_s
        self._sigma = math.log(latency_p95_s / latency_p50_s) / _Z_95 if latency_p50_s > 0 else 0.0
        self._thinks_aloud = thinks_aloud

    def reply(self, messages: Sequence[Message], tools: Sequence[ToolDefinition] = ()) -> ChatReply:
        """Return what the model answers to this conversation, with usage at four characters a token.

        It calls functions where `tools` offers those of the suite, and writes tags otherwise.
        """
        seen = read_conversation(messages)
        calls: tuple[ToolCall, ...] = ()
        text = "I have nothing to add to that."
        if seen.task.goal:
            draw = self._draw(_opening(messages))
            if {FIND_TAG, USE_TAG} <= {tool.name for tool in tools}:
                text, calls = self._call(seen, draw)
            else:
                text = self._speak(seen, draw)
        return ChatReply(
            text=text,
            finish_reason="tool_calls" if calls else "stop",
            prompt_tokens=_tokens(ChatRequest(messages=tuple(messages), tools=tuple(tools)).characters),
            completion_tokens=_tokens(Message(role="assistant", content=text, tool_calls=calls).characters),
            served_model=self.name,
            tool_calls=calls,
        )

    def latency_s(self, messages: Sequence[Message]) -> float:
        """Return how long the reply to this conversation takes, seconds."""
        if self._latency_p50_s <= 0:
            return 0.0
        key = f"{self.seed}/{self.name}/latency/{_digest(messages)}"
        rng = Random(int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big"))
        return self._latency_p50_s * math.exp(self._sigma * rng.gauss(0.0, 1.0))

    def _draw(self, opening: str) -> Draw:
        prefix = f"{self.seed}/{opening}/"

        def draw(*key: str | int) -> float:
            digest = blake2b((prefix + "/".join(map(str, key))).encode("utf-8", "replace"), digest_size=8).digest()
            return int.from_bytes(digest, "big") / 2**64

        return draw

    def _speak(self, seen: Conversation, draw: Draw) -> str:
        action, thought = self._act(seen, draw)
        if action.startswith("<") and draw("format", seen.turns) >= self.skill.format_discipline:
            action = _misspelt(action, draw("spelling", seen.turns))
        return self._aloud(action, thought, seen)

    def _aloud(self, words: str, thought: str, seen: Conversation) -> str:
        spoken = f"{thought}\n{words}".rstrip() if seen.asked_to_reason else words
        return f"<think>{thought}</think>\n{spoken}" if self._thinks_aloud else spoken

    def _call(self, seen: Conversation, draw: Draw) -> tuple[str, tuple[ToolCall, ...]]:
        """Return the words and the function calls of one turn: what `_speak` would write as tags."""
        action, thought = self._act(seen, draw)
        calls = tuple(
            ToolCall(
                call_id=f"call_{seen.turns}_{place}_{int(draw('id', seen.turns, place) * 16**8):08x}",
                name=name,
                arguments=orjson.dumps({"query" if name == FIND_TAG else "name": content}).decode(),
            )
            for place, (name, content) in enumerate(_TAGGED.findall(action))
        )
        if not calls:
            return self._aloud(action, thought, seen), ()
        if draw("format", seen.turns) >= self.skill.format_discipline:
            spelling = draw("spelling", seen.turns)
            if spelling < _READABLE_SLIPS:
                torn = tuple(replace(call, arguments=call.arguments.rstrip("}")) for call in calls)
                return self._aloud("", thought, seen), torn
            return self._aloud(_misspelt(action, spelling), thought, seen), ()
        return self._aloud("", thought, seen), calls

    def _act(self, seen: Conversation, draw: Draw) -> tuple[str, str]:
        """Return the next action (or closing words), and a thought that goes with it."""
        queries = missing_queries(seen, self.skill, draw)
        if queries:
            at_once = MAX_SEARCHES if draw("search at once") < self.skill.finding_tools else 1
            finds = "\n".join(tag(FIND_TAG, query) for query in queries[:at_once])
            return finds, "I do not know yet which tools do this, so I look for them."
        tool = self._next_tool(seen, draw)
        if tool is not None:
            return tag(USE_TAG, tool), f"{len(seen.outcomes)} calls were made so far; {tool} comes next."
        if draw("finish", seen.turns) < self.skill.finishing:
            return FINISH_PHRASE, "Nothing is left to do."
        return "Here is a summary of the results obtained so far.", "I should sum up what was reached."

    def _next_tool(self, seen: Conversation, draw: Draw) -> str | None:
        """Return the first intended tool that has not succeeded and that the model has not given up on."""
        succeeded = {tool for tool, ok in seen.outcomes if ok}
        for tool in intended_tools(seen, self.skill, draw):
            if tool in succeeded:
                continue
            failures = sum(name == tool for name, _ in seen.outcomes)
            if failures and draw("retry", tool, failures, seen.claims) >= self.skill.recovering:
                continue
            if failures:
                helpers = [name for name in seen.needs.get(tool, ()) if name not in succeeded]
                if helpers and draw("helper", tool) < self.skill.recovering**2:
                    return helpers[0]
            return tool
        return None


def _misspelt(action: str, draw: float) -> str:
    """Return an action as a careless model writes it: half of the ways can still be read, the last one cannot."""
    content = action.partition(">")[2].partition("<")[0]
    if draw < 0.25:
        return action.rpartition("</")[0]
    if draw < _READABLE_SLIPS and action.startswith(f"<{USE_TAG}>"):
        return f"<{USE_TAG}>{content}(options={{}})</{USE_TAG}>"
    return f"The next thing to do is {content}, which I am going to call now to get on with the task."


def _opening(messages: Sequence[Message]) -> str:
    end = next((place for place, message in enumerate(messages) if message.role == "assistant"), len(messages))
    return _digest(messages[:end])


def _digest(messages: Sequence[Message]) -> str:
    text = "\x1e".join(
        "\x1f".join((message.role, message.content, *(call.arguments for call in message.tool_calls)))
        for message in messages
    )
    return blake2b(text.encode("utf-8", "replace"), digest_size=12).hexdigest()


def _tokens(characters: int) -> int:
    return math.ceil(characters / CHARACTERS_PER_TOKEN)
