"""What the pages show, asked of a real file."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from benchrunner.browse import pages
from benchrunner.records import TrialDone, TrialStatus
from benchrunner.store.writer import RunWriter

sys.path.insert(0, str(Path(__file__).parents[1] / "store"))
from recorded_run import AT, FULL_SCORE, planned, scored


def answer(page: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    return asyncio.run(page)


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[pages.Ask]:
    """Ask a runs.db of one simulated run: three trials scored, one lost, four not begun."""
    plan = planned()
    with RunWriter.open(tmp_path / "runs.db") as writer:
        writer.add_run(plan.run, plan.shards, plan.trials, plan.tasks)
        writer.record([scored(trial, FULL_SCORE) for trial in plan.trials[:3]])
        lost = TrialDone(
            trial_id=plan.trials[3].trial_id, status=TrialStatus.INVALID, ended_at=AT, error_class="transient"
        )
        writer.record([lost])
    with closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
        connection.row_factory = sqlite3.Row

        async def asked(sql: str, parameters: Mapping[str, object]) -> list[dict[str, Any]]:
            return [dict(row) for row in connection.execute(sql, dict(parameters))]

        yield asked


def test_a_run_page_counts_over_scored_trials_and_names_what_was_lost(ask: pages.Ask) -> None:
    """The totals, the conditions in planned order, the losses by cause."""
    shown = answer(pages.run_page(ask, "r1"))
    totals = shown["totals"]
    assert (totals["planned"], totals["scored"], totals["invalid"], totals["calls"]) == (8, 3, 1, 0)
    assert [(row["model"], row["scored"], row["invalid"]) for row in shown["conditions"]] == [
        ("m-big", 3, 1),
        ("m-small", 0, 0),
    ]
    assert [bar.rate for bar in shown["bars"]] == [100.0, None]
    assert shown["losses"] == [{"model": "m-big", "cause": "transient", "trials": 1}]
    assert (shown["load"], totals["took_s"], totals["wall_s"]) == (None, None, None)


def test_a_trial_page_has_its_turns_its_task_and_its_neighbours(ask: pages.Ask) -> None:
    """The trial before and the one after are of the same run."""
    shown = answer(pages.trial_page(ask, "r1/m-big/1"))
    assert (shown["trial"]["backend"], shown["trial"]["status"]) == ("simulated", "scored")
    assert shown["neighbours"] == {"before": "r1/m-big/0", "after": "r1/m-big/2"}
    assert shown["task_facts"] == (("n", "1"),)


def test_rows_that_are_not_there_show_nothing(ask: pages.Ask) -> None:
    """Datasette answers with its own page then."""
    assert answer(pages.run_page(ask, "r9")) == {}
    assert answer(pages.trial_page(ask, "r9/0")) == {}


def test_a_ready_query_names_the_run_it_speaks_of(ask: pages.Ask) -> None:
    """So that "the newest" is no guess; an unknown one is said to be unknown."""
    assert answer(pages.query_page(ask, ("success",), "", ""))["asked_run"]["id"] == "r1"
    assert answer(pages.query_page(ask, ("success",), "r9", "")) == {"asked_run": None, "no_run": "r9"}


def test_simulated_runs_are_marked_on_every_page(ask: pages.Ask) -> None:
    """No simulated result is ever unmarked."""
    assert asyncio.run(pages.simulated_mark(ask)).startswith("SIMULATED: every run in this file")


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [((2, 1), "1 of 2 runs in this file are SIMULATED; each is marked."), ((2, 0), ""), ((0, 0), "")],
)
def test_live_runs_are_not_called_simulated(counts: tuple[int, int], sentence: str) -> None:
    """Only what is simulated is marked."""

    async def counted(sql: str, parameters: Mapping[str, object]) -> list[dict[str, Any]]:
        return [{"runs": counts[0], "simulated": counts[1]}]

    assert asyncio.run(pages.simulated_mark(counted)) == sentence


def test_a_keys_limit_is_its_lowest_rate_at_the_speed_of_its_run() -> None:
    """A simulated run's clock may be sped up; a live one's never is."""
    limits = [
        {"kind": "requests", "amount": 10, "per_s": 1.0},
        {"kind": "requests", "amount": 300, "per_s": 60.0},
        {"kind": "tokens", "amount": 1, "per_s": 60.0},
    ]
    config = json.dumps({"simulator": {"speed": 4.0}, "keys": [{"key_id": "k", "limits": limits}, {"key_id": "free"}]})
    assert pages.key_limits(config, "simulated") == {"k": 20.0}
    assert pages.key_limits(config, "live") == {"k": 5.0}


@pytest.mark.parametrize("config", ["{}", "[]", "", '{"keys": [{"limits": [{}]}]}', '{"keys": 3}'])
def test_a_configuration_that_cannot_be_read_has_no_limits(config: str) -> None:
    """A chart without a line is still a chart."""
    assert pages.key_limits(config, "live") == {}
