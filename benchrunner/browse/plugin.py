"""Datasette's plugin of this room: what its templates are told, and how a cell of runs.db is shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from datasette import hookimpl  # type: ignore[import-untyped]
from datasette.utils import tilde_decode, tilde_encode  # type: ignore[import-untyped]
from markupsafe import Markup

from benchrunner.browse import pages
from benchrunner.browse.column_texts import table_texts
from benchrunner.browse.metadata import DATABASE, HIDDEN
from benchrunner.browse.ready_queries import READY_QUERIES, ready_query

_ROOM = Path(__file__).parent
TEMPLATES, STATIC = _ROOM / "templates", _ROOM / "static"

_LINKED = {"run_id": "runs", "trial_id": "trials", "shard_id": "shards"}
"""Columns that name a row of another table, in answers and views, where no foreign key says so."""
_LONG_TEXTS = {("runs", "config"): "configuration", ("tasks", "body"): "task", ("trials", "transcript"): "transcript"}


def row_path(table: str, row_id: object) -> str:
    """Return the address of a row's page."""
    return f"/{DATABASE}/{table}/{tilde_encode(str(row_id))}"


def table_path(table: str, **filters: object) -> str:
    """Return the address of a table's rows that have these values."""
    return f"/{DATABASE}/{table}".rstrip("/") + (f"?{urlencode(filters)}" if filters else "")


def query_path(name: str, **parameters: object) -> str:
    """Return the address of a ready query with these parameters."""
    return table_path(name, **parameters)


def seconds(value: float | None) -> str:
    """Return a duration as people read it, "" for none."""
    if value is None:
        return ""
    if value < 100:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def instant(value: str | None) -> str:
    """Return an instant to the second, "" for none."""
    return "" if not value else value[:19].replace("T", " ") + " UTC"


def number(value: int | float | None) -> str:
    """Return a count with its thousands apart, a mean to two places, "" for none."""
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def score(value: float | None) -> str:
    """Return a score to three places, a word for none."""
    return "none" if value is None else f"{value:.3f}"


@hookimpl  # type: ignore[untyped-decorator]
def prepare_jinja2_environment(env: Any) -> None:
    """Give the templates the words they use."""
    env.filters |= {"seconds": seconds, "instant": instant, "number": number, "score": score}
    env.globals |= {
        "row_path": row_path,
        "table_path": table_path,
        "query_path": query_path,
        "ready_queries": READY_QUERIES,
        "table_texts": [text for text in table_texts() if text.name not in HIDDEN],
    }


@hookimpl  # type: ignore[untyped-decorator]
def extra_template_vars(
    table: str | None, view_name: str, request: Any, datasette: Any
) -> Callable[[], Awaitable[dict[str, Any]]]:
    """Return what a page of this room shows besides Datasette's own."""

    async def ask(sql: str, parameters: Mapping[str, object]) -> list[dict[str, Any]]:
        answer = await datasette.get_database(DATABASE).execute(sql, dict(parameters))
        return [dict(row) for row in answer.rows]

    async def shown() -> dict[str, Any]:
        found: dict[str, Any] = {"simulated_mark": await pages.simulated_mark(ask)}
        match view_name, table:
            case "index", _:
                found |= await pages.home(ask)
            case "row", "runs":
                found |= await pages.run_page(ask, _row_id(request))
            case "row", "trials":
                found |= await pages.trial_page(ask, _row_id(request))
            case _:
                query = ready_query(request.url_vars.get("table") if request is not None else None)
                if query is not None:
                    run, key = (request.args.get(name) or "" for name in ("run", "key"))
                    found |= {"asked": query, **await pages.query_page(ask, query.charts, run, key)}
        return found

    return shown


def _row_id(request: Any) -> str:
    return str(tilde_decode(request.url_vars["pks"]))


@hookimpl  # type: ignore[untyped-decorator]
def render_cell(value: object, column: str, table: str | None) -> Markup | None:
    """Link the ids in answers and views; keep whole transcripts and configurations out of tables."""
    if not isinstance(value, str) or not value:
        return None
    if (table, column) in _LONG_TEXTS:
        return Markup('<span class="br-folded">{} of {:,} characters</span>').format(
            _LONG_TEXTS[table or "", column], len(value)
        )
    if column in _LINKED:
        return Markup('<a href="{}">{}</a>').format(row_path(_LINKED[column], value), value)
    if value == "simulated" and column == "backend":
        return Markup('<strong class="br-mark">{}</strong>').format("SIMULATED")
    return None


