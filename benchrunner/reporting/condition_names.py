"""What the conditions of a run are called: by what differs between them. What they share stands in titles."""

from __future__ import annotations

from collections.abc import Iterable

from benchrunner.reporting.summary import Cell


def condition_names(conditions: Iterable[Cell]) -> dict[Cell, str]:
    """Return what each condition is called: by what differs between them; "" where there is only one."""
    cells = dict.fromkeys(conditions)
    varies = [len(set(values)) > 1 for values in zip(*cells, strict=True)]
    return {
        (prompt, difficulty, rate): ", ".join(
            text for text, shown in zip((prompt, difficulty, f"tools {rate:g}"), varies, strict=True) if shown
        )
        for prompt, difficulty, rate in cells
    }


def shared_words(conditions: Iterable[Cell]) -> str:
    """Return what all conditions have in common, for a title."""
    cells = dict.fromkeys(conditions)
    if not cells:
        return ""
    prompt, difficulty, rate = next(iter(cells))
    same = [len(set(values)) == 1 for values in zip(*cells, strict=True)]
    parts = (f"prompt {prompt}", difficulty, f"tools {rate:g}")
    return "".join(f", {text}" for text, shown in zip(parts, same, strict=True) if shown)
