"""When a trial ends, whatever the model still has to say: the numbers that the dialogue and the planner both go by."""

from __future__ import annotations

from typing import Final

MAX_TURNS: Final = 10
FAILURE_STREAK: Final = 5  # so many failures in a row end a trial
MAX_SUCCESSES: Final = 15  # more than these end it
SAME_TOOL_STREAK: Final = 5  # so many successes of one tool in a row end it
