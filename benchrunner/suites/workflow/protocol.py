"""The words that both sides of a dialogue rely on: tags, and the marks that open a line of an answer.

The tag names are none of the special tokens of the tested models. (``<tool_call>`` is one in Qwen2.5: a gateway
stripped its closing half and every call was lost.)
"""

from __future__ import annotations

FIND_TAG = "find_tool"
SHOW_TAG = "show_tool"
USE_TAG = "use_tool"

TEXT = "text"  # the protocols: tags in messages ...
NATIVE = "native"  # ... or the provider's function calling, with functions named like the tags

FINISH_PHRASE = "Task completed."

OK_MARK = "[ok]"  # "[ok] file_operations_reader -> {...}"
FAILED_MARK = "[failed]"  # "[failed] file_operations_reader -> TIMEOUT: ..."
UNKNOWN_MARK = "[unknown]"  # "[unknown] reader of files: ..."
FOUND_MARK = "[found for]"  # '[found for] "read a file"', then one TOOL_MARK line per hit
TOOL_MARK = "tool:"  # "tool: file_operations_reader - Opens a file ..."
AFTER_MARK = "works best after:"  # a tool's prerequisites, within its schema

TASK_HEADING = "# Task"
GOAL_MARK = "Goal:"
PLAN_HEADING = "# Execution plan"
STEP_MARK = "Step"  # "Step 1. file_operations_reader (match 97 %, confidence 0.90)"
NEEDS_MARK = "needs first:"
WITH_MARK = "with:"
FLOW_MARK = "takes:"  # "takes: raw text, gives: records"
NOTES_HEADING = "Notes on this plan:"


def tag(name: str, content: str) -> str:
    """Return `content` between the opening and closing tag `name`."""
    return f"<{name}>{content}</{name}>"
