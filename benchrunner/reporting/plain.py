"""A run's progress where there is no terminal: one timestamped line an event, and one line of figures now and then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import isinf
from typing import IO

from benchrunner.clock import Clock
from benchrunner.records import KeyProgress, ProgressSnapshot
from benchrunner.reporting.wording import backend_mark, count_text, duration_text, printable, time_left_text

EVERY_S = 15.0


class PlainProgress:
    """Writes lines to `stream`, flushed one by one, so that a log can be followed. One thread."""

    wants_every_s = 1.0

    def __init__(self, stream: IO[str], clock: Clock, *, every_s: float = EVERY_S) -> None:
        self._stream = stream
        self._clock = clock
        self._every_s = every_s
        self._said_s: float | None = None
        self._last: ProgressSnapshot | None = None
        self._last_is_said = True
        self._reader_gone = False

    def start(self) -> None:
        """Do nothing: a log needs no opening."""

    def update(self, snapshot: ProgressSnapshot) -> None:
        """Write a line of figures if the last is `every_s` old; the first comes at once."""
        now_s = self._clock.now_s()
        self._last, self._last_is_said = snapshot, False
        if self._said_s is None or now_s - self._said_s >= self._every_s:
            self._said_s = now_s
            self._say_figures(snapshot)

    def line(self, text: str) -> None:
        """Write one event."""
        if self._reader_gone:
            return
        # A reader that went away (nohup, a closed pipe) must not end a run whose results go to the store.
        try:
            self._stream.write(f"{self._clock.utc()[:19]}Z {printable(text)}\n")
            self._stream.flush()
        except (OSError, ValueError):
            self._reader_gone = True

    def stop(self) -> None:
        """Write the last figures if they were not written yet."""
        if self._last is not None and not self._last_is_said:
            self._say_figures(self._last)

    def _say_figures(self, snapshot: ProgressSnapshot) -> None:
        self._last_is_said = True
        self.line(figures_text(snapshot))


def figures_text(snapshot: ProgressSnapshot) -> str:
    """Return one line with where the run stands and what each key is doing."""
    mark = f"{backend_mark(snapshot.backend)} " if snapshot.backend == "simulated" else ""
    running = sum(shard.status == "running" for shard in snapshot.shards)
    left = f", {said}" if (said := time_left_text(snapshot.eta_s, snapshot.stopping_s)) else ""
    binding = f", bound by {snapshot.binding}" if snapshot.binding else ""
    figures = (
        f"{mark}{snapshot.phase} {snapshot.policy}: {snapshot.scored}/{snapshot.total} scored, "
        f"{invalid_text(snapshot)}, {running} of {len(snapshot.shards)} shards running, "
        f"{count_text(snapshot.calls)} calls, {snapshot.refused} refused{left}{binding}"
    )
    return " | ".join([figures, *(f"{key.key_id} {load_text(key)} {_doing(key)}" for key in snapshot.keys)])


def invalid_text(snapshot: ProgressSnapshot) -> str:
    """Return how many trials are invalid, and what most of them were lost to."""
    return f"invalid {snapshot.invalid}" + (f" ({printable(snapshot.top_cause)})" if snapshot.top_cause else "")


def load_text(key: KeyProgress) -> str:
    """Return a key's requests per second against its limit; a key without a limit has none to show."""
    limit = "" if isinf(key.limit_per_s) else f"/{key.limit_per_s:g}"
    return f"{key.requests_per_s:.1f}{limit} req/s"


def state_text(key: KeyProgress) -> str:
    """Return what keeps a key from serving, for how long, and why; "" when nothing does."""
    if key.health == "usable" and key.paused_for_s <= 0:
        return ""
    said = "paused" if key.health == "usable" else key.health
    for_s = key.paused_for_s if key.health == "usable" else key.parked_for_s
    said += f" {duration_text(for_s)}" if for_s > 0 else ""
    reason = printable(key.reason)
    if not reason:
        return said
    return f"{said} {reason}" if key.health == "held" else f"{said}: {reason}"


def cap_text(key: KeyProgress) -> str:
    """Return the requests per second that refusals taught the key to keep to; "" where there were none."""
    return "" if key.cap_per_s is None else f"cap {key.cap_per_s:.2g}/s"


def models_text(models: tuple[str, ...], shorten: Callable[[str], str] = str) -> str:
    """Return the models a key serves, each once, with how many leases it has if there are several; `idle` for none."""
    counts = Counter(map(printable, models))
    named = ((shorten(name), count) for name, count in counts.items())
    return ", ".join(name if count == 1 else f"{name} x{count}" for name, count in named) or "idle"


def _doing(key: KeyProgress) -> str:
    refused = f"{key.refused} refused" if key.refused else ""
    return ", ".join(filter(None, (state_text(key) or models_text(key.models), cap_text(key), refused)))
