"""A run's progress on a terminal: one live picture on stderr that always fits the screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from benchrunner.clock import Clock
from benchrunner.records import KeyProgress, ProgressSnapshot, ShardProgress
from benchrunner.reporting.console import SteadyConsole
from benchrunner.reporting.plain import load_text, models_text, state_text
from benchrunner.reporting.wording import backend_mark, count_text, duration_text, printable

SHORTEST_REDRAW_S = 0.25
BAR_CELLS = 14
HEADER_LINES = 2
MOST_KEYS = 8
"""Keys shown one by one; of more, the first ones."""

_ORDER = {"running": 0, "failed": 1, "waiting": 2, "done": 3}
_STYLE = {"running": "cyan", "failed": "red", "waiting": "dim", "done": "green"}


class LiveProgress:
    """Redraws at most four times a second, whatever `update` is fed. One thread; `console` writes to stderr."""

    def __init__(self, console: SteadyConsole, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        # No refresh thread: it would draw between a worker's line and the next state, and outlive a crash of ours.
        self._live = Live(
            console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False, vertical_overflow="crop"
        )
        self._drawn_s: float | None = None
        self._pending: ProgressSnapshot | None = None
        self._terminal_gone = False

    def start(self) -> None:
        """Hide the cursor and begin to draw."""
        self._draw(lambda: self._live.start())

    def update(self, snapshot: ProgressSnapshot) -> None:
        """Show `snapshot`, or keep it for later if the last drawing is younger than SHORTEST_REDRAW_S."""
        now_s = self._clock.now_s()
        self._pending = snapshot
        if self._drawn_s is None or now_s - self._drawn_s >= SHORTEST_REDRAW_S:
            self._drawn_s = now_s
            self._draw_pending()

    def line(self, text: str) -> None:
        """Print one event above the picture."""
        self._draw(lambda: self._console.print(Text(printable(text))))

    def stop(self) -> None:
        """Draw the last state, leave it on the screen, and give the cursor back."""
        self._draw_pending()
        self._draw(lambda: self._live.stop())

    def _draw_pending(self) -> None:
        snapshot, self._pending = self._pending, None
        if snapshot is not None:
            width, height = self._console.size
            ascii_only = self._console.options.ascii_only
            picture_ = picture(snapshot, width=width, height=height, ascii_only=ascii_only)
            self._draw(lambda: self._live.update(picture_, refresh=True))

    def _draw(self, act: Callable[[], object]) -> None:
        if self._terminal_gone:
            return
        # The terminal may close under us (a lost ssh session). The run's results go to the store; it goes on.
        try:
            act()
        except (OSError, ValueError):
            self._terminal_gone = True


def picture(snapshot: ProgressSnapshot, *, width: int, height: int, ascii_only: bool = False) -> Group:
    """Return the whole picture, never more than `height` - 1 lines of `width` cells."""
    free = max(1, height - 1 - HEADER_LINES)
    keys = snapshot.keys[: min(MOST_KEYS, free - 1)]
    room = free - len(keys)
    shown, rest = choose_shards(snapshot.shards, room)
    parts: list[RenderableType] = [_title(snapshot), _figures(snapshot), _shards(shown, ascii_only=ascii_only)]
    if rest:
        parts.append(_line("  " + rest, "dim"))
    parts.append(_keys(keys))
    return Group(*parts)


def choose_shards(shards: tuple[ShardProgress, ...], room: int) -> tuple[tuple[ShardProgress, ...], str]:
    """Return the shards to show in `room` lines, in their own order, and what to say of the others ("": none).

    Running ones first, then failed, waiting, done. The line about the others counts as one of `room`.
    """
    if len(shards) <= room:
        return shards, ""
    ranked = sorted(range(len(shards)), key=lambda place: (_ORDER.get(shards[place].status, 2), place))
    kept = set(ranked[: room - 1])
    hidden = Counter(shards[place].status for place in ranked[room - 1 :])
    said = ", ".join(f"{hidden[status]} {status}" for status in _ORDER if hidden[status])
    return tuple(shard for place, shard in enumerate(shards) if place in kept), f"+ {said}"


def _title(snapshot: ProgressSnapshot) -> Text:
    mark = (
        Text(f"{backend_mark(snapshot.backend)} ", style="bold yellow") if snapshot.backend == "simulated" else Text()
    )
    head = Text(f"{snapshot.phase} {snapshot.policy}", style="bold")
    bound = "" if snapshot.lower_bound_s is None else f", bound {duration_text(snapshot.lower_bound_s)}"
    left = "" if snapshot.eta_s is None else f", {duration_text(snapshot.eta_s)} left"
    return _cut(
        Text.assemble(mark, head, f"  {duration_text(snapshot.elapsed_s)}{left}{bound}  ", (snapshot.run_id, "dim"))
    )


def _figures(snapshot: ProgressSnapshot) -> Text:
    return _cut(
        Text.assemble(
            f"scored {snapshot.scored}/{snapshot.total}  ",
            (f"invalid {snapshot.invalid}  ", "red" if snapshot.invalid else ""),
            f"calls {count_text(snapshot.calls)}  ",
            (f"refused {count_text(snapshot.refused)}  ", "red" if snapshot.refused else ""),
            f"tokens {count_text(snapshot.tokens)}",
        )
    )


def _shards(shards: tuple[ShardProgress, ...], *, ascii_only: bool) -> Table:
    grid = _grid(5)
    for shard in shards:
        style = _STYLE.get(shard.status, "")
        invalid = Text(f"{shard.invalid} inv", style="red") if shard.invalid else Text()
        grid.add_row(
            _line(shard.model),
            _line(shard.label),
            Text(bar_text(shard.scored, shard.total, ascii_only=ascii_only), style=style),
            Text(f"{shard.scored}/{shard.total}"),
            Text.assemble(_line(", ".join(shard.keys) or shard.status, style), " ", invalid),
        )
    return grid


def _keys(keys: tuple[KeyProgress, ...]) -> Table:
    grid = _grid(4)
    for key in keys:
        stopped = state_text(key)
        grid.add_row(
            _line(key.key_id, "bold"),
            Text(load_text(key)),
            Text(f"{count_text(key.refused)} refused", style="red" if key.refused else "dim"),
            _line(stopped, "yellow") if stopped else _line(models_text(key.models)),
        )
    return grid


def bar_text(done: int, total: int, *, ascii_only: bool) -> str:
    """Return a bar of BAR_CELLS cells; it is full only when all is done."""
    filled = BAR_CELLS if done >= total else done * BAR_CELLS // max(1, total)
    full, empty = ("#", "-") if ascii_only else ("━", "╌")
    return full * filled + empty * (BAR_CELLS - filled)


def _grid(columns: int) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    for _ in range(columns):
        grid.add_column(no_wrap=True, overflow="ellipsis")
    return grid


def _line(text: str, style: str = "") -> Text:
    return _cut(Text(printable(text) if text.strip() else "", style=style))


def _cut(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
