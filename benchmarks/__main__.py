"""Runs the benchmarks: `python -m benchmarks [NAME...] [--json] [--tiny] [--write-docs]`."""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import import_module

from benchmarks.figures import Figure, markdown
from benchmarks.workspace import ROOT
from benchrunner.clock import SystemClock

NAMES = ("w1", "peers", "startup", "sustained", "memory", "permits", "writer", "database", "growth", "ray")
DOCS = ROOT / "docs" / "performance.md"


def main() -> int:
    """Run the named benchmarks, all of them by default, in order; 0 even when a target is missed, which is printed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure what the runner costs; docs/performance.md says how. All of it takes some ten minutes.",
        epilog="Example: python -m benchmarks w1 permits",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(NAMES)} (default: all)")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    parser.add_argument("--tiny", action="store_true", help="a few calls of each, only to see it run")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/performance.md")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in NAMES]:
        parser.error(f"no benchmark {', '.join(unknown)}; there is {', '.join(NAMES)}")
    if options.write_docs and options.tiny:
        parser.error("--tiny measures nothing worth writing down")
    clock = SystemClock()
    chosen = [name for name in NAMES if not options.names or name in options.names]
    found: dict[str, list[Figure]] = {}
    out = sys.stderr if options.json else sys.stdout
    print(machine(), file=out, flush=True)
    compileall.compile_dir(ROOT / "benchrunner", quiet=1)  # as pip leaves it; an edited tree would pay in the first run
    for name in chosen:
        started_s = clock.now_s()
        print(name, file=out, flush=True)
        found[name] = []
        for figure in measurer(name)(tiny=options.tiny):
            found[name].append(figure)
            print(figure.line(), file=out, flush=True)
        print(f"  ({clock.now_s() - started_s:.0f} s)", file=out, flush=True)
    if options.json:
        figures = {name: [figure.plain() for figure in of_name] for name, of_name in found.items()}
        print(json.dumps({"machine": machine(), "tiny": options.tiny, "benchmarks": figures}, indent=1))
    if options.write_docs:
        DOCS.write_text(with_tables(DOCS.read_text(), found))
    return 0


def measurer(name: str) -> Callable[..., Iterator[Figure]]:
    """Return the `measure` of a benchmark; imported only when asked for, so that one broken does not stop the rest."""
    measure: Callable[..., Iterator[Figure]] = import_module(f"benchmarks.{name}").measure
    return measure


def machine() -> str:
    """Return what the figures were taken on, and how busy it was."""
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()},"
        f" load {os.getloadavg()[0]:.1f} at the start"
    )


def with_tables(text: str, found: dict[str, list[Figure]]) -> str:
    """Return the page with the measured benchmarks' tables between their marks. Raises ValueError where one is missing.

    A benchmark that measured nothing keeps the table it has.
    """
    today = datetime.now(UTC).date().isoformat()
    for name, figures in found.items():
        if not figures:
            continue
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, begun, rest = text.partition(begin)
        _, ended, after = rest.partition(end)
        if not begun or not ended:
            raise ValueError(f"{DOCS.name} has no place for {name}: {begin} ... {end}")
        text = f"{before}{begin}\n{markdown(figures)}\n\n{today}, {machine()}.\n{end}{after}"
    return text


if __name__ == "__main__":
    sys.exit(main())
