"""What Datasette is told of runs.db: words for every table and column, units, orders, facets, ready queries."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchrunner.browse.column_texts import TableText, table_texts
from benchrunner.browse.ready_queries import READY_QUERIES, ReadyQuery

DATABASE: Final = "runs"
"""What the database is called in every address, whatever its file is called: links and templates rely on it."""

STYLE: Final = "benchrunner-pages"
"""The folder under which style.css is served."""

_NEWEST_FIRST: Final = {
    "runs": "started_at", "calls": "sent_at", "leases": "granted_at", "key_events": "at",
}  # fmt: skip
_FIRST_FIRST: Final = {"shards": "position"}
_FACETS: Final = {
    "runs": ("phase", "status", "backend"),
    "trials": ("model", "status", "level", "difficulty"),
    "calls": ("outcome", "key_id"),
    "leases": ("key_id", "reason"),
    "key_events": ("kind",),
}
_LABELS: Final = {"runs": "phase", "shards": "model", "trials": "task_type"}
"""What a link to a row says beside the row's id."""
HIDDEN: Final = ("id_blocks", "_sqlite_migrations")
"""Tables that say nothing about runs."""

SETTINGS: Final = {
    "default_page_size": 50,
    "sql_time_limit_ms": 8000,  # a run of 100,000 calls is summed up in one; only this machine's user waits
    "facet_time_limit_ms": 500,
    "truncate_cells_html": 300,
    "suggest_facets": False,  # tries every column of every page: seconds on a table of a million calls
    "allow_download": False,  # a file that a run is writing is not whole without its log
    "default_cache_ttl": 0,  # a run may be writing
}


def metadata_for(path: Path) -> dict[str, Any]:
    """Return Datasette's metadata for the runs.db at `path`."""
    texts = table_texts()
    return {
        "title": f"benchrunner: {path.name}",
        "extra_css_urls": [f"/{STYLE}/style.css"],
        "databases": {
            DATABASE: {
                "title": path.name,
                "description": "Every run: what was planned, every request that left, every result. Read only.",
                "tables": {**{one.name: _table(one) for one in texts}, **{name: {"hidden": True} for name in HIDDEN}},
                "queries": {query.name: _query(query) for query in READY_QUERIES},
            }
        },
    }


def _table(text: TableText) -> dict[str, Any]:
    columns = dict(text.columns)
    found: dict[str, Any] = {
        "description": text.text,
        "columns": columns,
        "units": {name: "s" for name in columns if name.endswith("_s")},
        "facets": list(_FACETS.get(text.name, ())),
    }
    for option, choices in (("sort_desc", _NEWEST_FIRST), ("sort", _FIRST_FIRST), ("label_column", _LABELS)):
        if text.name in choices:
            found[option] = choices[text.name]
    return found


def _query(query: ReadyQuery) -> Mapping[str, Any]:
    return {
        "title": query.title,
        "description": query.text,
        "sql": query.sql.strip(),
        "params": list(query.parameters),
        "hide_sql": True,
    }
