"""Tool search: a deterministic lexical ranking over names, descriptions and keywords."""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import cache, lru_cache

from benchrunner.suites.workflow.tools import Tool, catalogue

NAME_WEIGHT = 3.0  # a word of the name says more about a tool than one of its description
KEYWORD_WEIGHT = 1.5
TEXT_WEIGHT = 1.0

_WORD = re.compile(r"[a-z]+")
_SUFFIXES = (
    "izations", "ization", "ators", "ator", "ations", "ation", "ating", "ates", "ated", "ate", "izing", "izes", "ize",
    "ions", "ion", "ings", "ing", "ers", "er", "ors", "or", "ies", "ied", "es", "ed", "s", "e", "y",
)  # fmt: skip
_STOPWORDS = frozenset((
    "a", "an", "the", "and", "or", "of", "to", "in", "on", "at", "by", "for", "from", "with", "then", "them", "it",
    "its", "is", "are", "be", "as", "that", "this", "into", "use", "using", "tool", "tools", "need", "want", "find",
    "search", "which", "can", "please", "one", "step", "next", "finally",
))  # fmt: skip
_MIN_STEM = 3


def stems(text: str) -> list[str]:
    """Return the words of `text` cut to their stems, in order, without the words that say nothing."""
    return [_stem(word) for word in _WORD.findall(text.casefold()) if word not in _STOPWORDS]


@lru_cache(maxsize=4096)
def _stem(word: str) -> str:
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _MIN_STEM:
            return word[: -len(suffix)]
    return word


@cache
def _index() -> dict[str, tuple[tuple[int, float], ...]]:
    """Return stem -> (position of tool, weight), the weight already scaled by how rare the stem is."""
    tools = catalogue().tools
    weights: list[dict[str, float]] = []
    for tool in tools:
        found: dict[str, float] = {}
        sources = (
            (tool.name.replace("_", " "), NAME_WEIGHT),
            (" ".join(tool.keywords), KEYWORD_WEIGHT),
            (tool.description, TEXT_WEIGHT),
        )
        for text, weight in sources:
            for stem in stems(text):
                found[stem] = max(found.get(stem, 0.0), weight)
        weights.append(found)
    spread = Counter(stem for found in weights for stem in found)
    rarity = {stem: math.log(1 + len(tools) / count) for stem, count in spread.items()}
    return {
        stem: tuple((position, found[stem] * rarity[stem]) for position, found in enumerate(weights) if stem in found)
        for stem in spread
    }


def _scores(query: str) -> dict[int, float]:
    index = _index()
    scores: dict[int, float] = {}
    for stem in set(stems(query)):
        for position, weight in index.get(stem, ()):
            scores[position] = scores.get(position, 0.0) + weight
    # Rounded, because the sum's last bits follow the set's order, which differs between processes.
    return {position: round(score, 6) for position, score in scores.items()}


def rank_tools(query: str, count: int = 5) -> tuple[Tool, ...]:
    """Return up to `count` tools that share words with `query`, best first; ties keep registry order."""
    scores = _scores(query)
    tools = catalogue().tools
    best = sorted(scores, key=lambda position: (-scores[position], position))
    return tuple(tools[position] for position in best[:count])


def match_percents(text: str) -> dict[str, int]:
    """Return how well `text` speaks of each tool, 60..99: its score against the best one any tool gets."""
    scores = _scores(text)
    best = max(scores.values(), default=1.0)
    return {
        tool.name: 60 + round(39 * scores.get(position, 0.0) / best) for position, tool in enumerate(catalogue().tools)
    }
