"""How the conditions of a run came out: the view `phase_summary`, added up and in the order they were planned."""

from __future__ import annotations

import sqlite3

from benchrunner.store.answers import Ask, ConditionRow

# The view's rates cannot be added up, its counts can; means are weighted with what they are means of.
_CONDITIONS = """
SELECT model, prompt, difficulty, tool_success_rate, {task_type} AS task_type,
       sum(planned) AS planned, sum(scored) AS scored, sum(invalid) AS invalid,
       sum("full") AS "full", sum(partial) AS partial, sum(failure) AS failure,
       1.0 * sum("full" + partial) / nullif(sum(scored), 0) AS success_rate,
       (sum("full") + 0.5 * sum(partial)) / nullif(sum(scored), 0) AS weighted_success_score,
       sum(final_score * scored) / nullif(sum(scored), 0) AS final_score,
       sum(turns * scored) / nullif(sum(scored), 0) AS turns
FROM phase_summary
WHERE run_id = :run
GROUP BY model, prompt, difficulty, tool_success_rate{group}
"""

_PLANNED = """
SELECT model, prompt, difficulty, tool_success_rate, {task_type} AS task_type
FROM trials WHERE run_id = :run GROUP BY 1, 2, 3, 4, 5 ORDER BY min(trials.rowid)
"""


def read_conditions(ask: Ask, run_id: str, *, by_task_type: bool) -> tuple[ConditionRow, ...]:
    """Return one row per condition, or per condition and task type, in the order they were planned."""
    task_type = "task_type" if by_task_type else "''"
    sql = _CONDITIONS.format(task_type=task_type, group=", task_type" if by_task_type else "")
    found = {_cell(row): ConditionRow(**dict(row)) for row in ask(sql, {"run": run_id})}
    return tuple(found[_cell(row)] for row in ask(_PLANNED.format(task_type=task_type), {"run": run_id}))


def _cell(row: sqlite3.Row) -> tuple[object, ...]:
    return (row["model"], row["prompt"], row["difficulty"], row["tool_success_rate"], row["task_type"])
