"""The benchmarks run: a few calls of each, for the code's sake. No figure of theirs is looked at."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from process_kit import ROOT, short_name

sys.path.insert(0, str(ROOT))  # benchmarks are no installed package

from benchmarks.__main__ import with_tables
from benchmarks.figures import Figure


def bench(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m benchmarks ARGUMENTS` with a temporary directory of its own."""
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    with short_name(scratch) as temporary:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", *arguments],
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", "TMPDIR": str(temporary)},
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
    assert list(scratch.iterdir()) == [], "a benchmark left files behind"
    return done


def figures_of(done: subprocess.CompletedProcess[str], name: str) -> dict[str, dict[str, Any]]:
    """Return a benchmark's figures by name."""
    assert done.returncode == 0, done.stderr
    found = {figure["name"]: figure for figure in json.loads(done.stdout)["benchmarks"][name]}
    assert all(math.isfinite(figure["value"]) for figure in found.values())
    return found


@pytest.mark.slow
@pytest.mark.alone
def test_w1_tells_what_the_server_saw(tmp_path: Path) -> None:
    """W1 runs whole commands on the strict provider; refused is what the server counted, lost what runs.db lacks."""
    # When two calls of each of the ten shards are measured
    figures = figures_of(bench(tmp_path, "w1", "--tiny", "--json"), "w1")
    # Then all of them were sent, and none was refused or lost
    assert figures["pool_refused"]["beside"] == "of 20 sent"
    assert (figures["pool_refused"]["value"], figures["pool_lost"]["value"]) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "one_of_its_figures"),
    [
        ("startup", "first_request_s"),
        ("sustained", "strict_calls_per_s"),
        ("memory", "worker_mib"),
        ("permits", "permits_per_s"),
        ("writer", "rows_per_s"),
        ("database", "show_s"),
        ("growth", "pure_growth"),
    ],
)
def test_each_benchmark_runs_and_leaves_nothing(name: str, one_of_its_figures: str, tmp_path: Path) -> None:
    """Every benchmark's code path runs to its end, prints JSON and leaves no file."""
    figures = figures_of(bench(tmp_path, name, "--tiny", "--json"), name)
    assert figures[one_of_its_figures]["value"] > 0


@pytest.mark.slow
def test_an_unknown_benchmark_is_named_beside_the_known_ones(tmp_path: Path) -> None:
    """A wrong name is refused with the right ones; nothing is measured."""
    done = bench(tmp_path, "startup", "permit", "--tiny")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no benchmark permit; there is w1, peers, startup" in done.stderr


def test_the_docs_hold_a_place_for_each_table() -> None:
    """`--write-docs` replaces a benchmark's own table and leaves every other word of the page alone."""
    # Given the page as it is, and a figure that missed its target
    page = (ROOT / "docs" / "performance.md").read_text()
    missed = Figure(name="x", what="a figure", value=3.0, unit="ms", at_most=2.0)
    # When it is written, twice
    once = with_tables(page, {"writer": [missed], "growth": []})
    again = with_tables(once, {"writer": [missed]})
    # Then it stands there, once, with its verdict, between what stood there before
    before, _, rest = page.partition("<!-- writer: begin -->")
    after = rest.partition("<!-- writer: end -->")[2]
    assert again.count("| a figure | 3 ms | <= 2 ms | MISSED |  |") == 1
    assert again.startswith(before)
    assert again.endswith(after)


def test_a_figure_says_whether_its_target_is_met() -> None:
    """At least and at most include the bound itself; without a target there is no verdict."""
    assert Figure(name="x", what="x", value=0.97, at_least=0.97).verdict == "met"
    assert Figure(name="x", what="x", value=0.969, at_least=0.97).verdict == "MISSED"
    assert Figure(name="x", what="x", value=0.0, at_most=0).verdict == "met"
    assert Figure(name="x", what="x", value=5.0).verdict == ""
