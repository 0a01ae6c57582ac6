"""What a run's live view draws: lines of fixed places, so that nothing jumps from one drawing to the next.

    title                      mark, phase, policy, time gone and left
    figures                    scored, invalid and why, refused, calls, tokens
    what holds the run back    now
    a line a key               bar of its fullest window, the model it serves, or what keeps it from serving
    a line a shard             those that run first; what has no room is counted in the last line

The number of lines depends on the screen and on how many keys and shards there are, never on how they stand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from rich.cells import cell_len, set_cell_size
from rich.console import Group, OverflowMethod
from rich.text import Text

from benchrunner.records import KeyProgress, LimitKind, ProgressSnapshot, ShardProgress, WindowProgress
from benchrunner.reporting.plain import cap_text, invalid_text, models_text, state_text
from benchrunner.reporting.wording import (
    backend_mark,
    count_text,
    duration_text,
    printable,
    status_text,
    time_left_text,
)

HEADER_LINES = 3
MOST_KEYS = 8
"""Keys shown one by one; of more, the first ones, and how many more there are."""

NARROW, ROOMY = 70, 110
"""Below the one, figures that can be done without are left out; from the other on, bars are longer."""

FULL = 0.95
LONGEST_NAME, SHORTEST_NAME, SHORTEST_REASON = 16, 9, 12
_ORDER = {"running": 0, "failed": 1, "waiting": 2, "left": 3, "done": 4}
_STYLE = {"running": "cyan", "failed": "red", "waiting": "dim", "left": "dim", "done": "green"}
_HEALTH = {"retired": "red", "parked": "yellow", "held": "yellow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """What can be drawn on."""

    width: int
    height: int
    ascii_only: bool = False

    @property
    def bar(self) -> int:
        """Return how many cells a bar has."""
        return 8 if self.width < NARROW else 12 if self.width < ROOMY else 24


def picture(snapshot: ProgressSnapshot, screen: Screen) -> Group:
    """Return the whole picture, never more than the screen's lines of the screen's width."""
    free = max(1, screen.height - HEADER_LINES)
    keys = _keys(snapshot.keys, min(MOST_KEYS, max(0, free - 2)), screen)
    shards = _shards(snapshot.shards, free - len(keys), screen)
    lines = [_title(snapshot, screen), _figures(snapshot), _binding(snapshot), *keys, *shards]
    return Group(*[_cut(line, screen) for line in lines[: screen.height]])


def choose_shards(shards: tuple[ShardProgress, ...], room: int) -> tuple[tuple[ShardProgress, ...], str]:
    """Return the shards to show in `room` lines, and what to say of the others ("": none).

    In their own order where all fit; else running ones first, then failed, waiting, left, done. The line about the
    others counts as one of `room`.
    """
    if len(shards) <= room:
        return shards, ""
    ranked = sorted(shards, key=lambda shard: _ORDER.get(shard.status, _ORDER["waiting"]))
    hidden = Counter(shard.status for shard in ranked[max(0, room - 1) :])
    said = ", ".join(f"{hidden[status]} {status_text(status)}" for status in _ORDER if hidden[status])
    return tuple(ranked[: max(0, room - 1)]), f"+ {said}"


def bar_text(done: float, total: float, *, cells: int, ascii_only: bool = False) -> str:
    """Return a bar of so many cells; it is full only when all is done, and empty only when nothing is."""
    if total <= 0 or done >= total:
        filled = cells
    else:
        filled = min(cells - 1, max(1 if done > 0 else 0, int(done * cells / total)))
    full, empty = ("#", "-") if ascii_only else ("━", "╌")
    return full * filled + empty * (cells - filled)


def cut_middle(text: str, width: int, *, ascii_only: bool = False) -> str:
    """Return `text` in at most `width` cells, its middle left out where it is longer.

    Most of what is kept is its beginning: a model's name and size stand there, variants at the end.
    """
    if cell_len(text) <= width:
        return text
    mark = "~" if ascii_only else "…"
    if width < 4:
        return set_cell_size(text, max(0, width))
    tail = max(1, width // 6)
    return set_cell_size(text, width - 1 - tail) + mark + text[-tail:]


def _title(snapshot: ProgressSnapshot, screen: Screen) -> Text:
    mark = f"{backend_mark(snapshot.backend)} " if snapshot.backend == "simulated" else ""
    name = printable(f"{snapshot.phase} {snapshot.policy}")
    left = time_left_text(snapshot.eta_s, snapshot.stopping_s, about="about ")
    times = f"  {', '.join(filter(None, (duration_text(snapshot.elapsed_s), left)))}"
    room = screen.width - len(mark) - cell_len(name) - len(times) - 2
    run_id = f"  {snapshot.run_id}" if cell_len(snapshot.run_id) <= room else ""
    return Text.assemble((mark, "bold yellow"), (name, "bold"), times, (run_id, "dim"))


def _figures(snapshot: ProgressSnapshot) -> Text:
    return Text.assemble(
        f"scored {snapshot.scored}/{snapshot.total}  ",
        (f"{invalid_text(snapshot)}  ", "red" if snapshot.invalid else ""),
        (f"refused {count_text(snapshot.refused)}  ", "red" if snapshot.refused else ""),
        f"calls {count_text(snapshot.calls)}  tokens {count_text(snapshot.tokens)}",
    )


def _binding(snapshot: ProgressSnapshot) -> Text:
    return Text(f"bound by {printable(snapshot.binding)}" if snapshot.binding else "", style="dim")


# --- keys -----------------------------------------------------------------------------------------------------------


def _keys(keys: tuple[KeyProgress, ...], room: int, screen: Screen) -> list[Text]:
    shown, more = (keys, 0) if len(keys) <= room else (keys[: max(0, room - 1)], len(keys) - max(0, room - 1))
    name_width = min(LONGEST_NAME, max((cell_len(key.key_id) for key in keys), default=0))
    uses = [_use_text(fullest(key)) for key in shown]
    use_width = max([0, *map(len, uses)])
    lines = []
    for key, use in zip(shown, uses, strict=True):
        # Of one that is stopped the reason matters more than its speed.
        speed = "" if screen.width < NARROW or state_text(key) else f"{key.requests_per_s:5.1f}/s  "
        name = (_fit(key.key_id, name_width, screen), "bold")
        line = Text.assemble(name, " ", _use_bar(fullest(key), screen), f" {use:<{use_width}} ", speed)
        lines.append(line + _doing(key, screen.width - line.cell_len, screen))
    if more:
        lines.append(Text(f"+ {more} more keys", style="dim"))
    return lines[:room]


def fullest(key: KeyProgress) -> WindowProgress | None:
    """Return the window of the key that has least room left; None: no limit is known."""
    return max(key.windows, key=lambda one: one.use.used / one.use.amount, default=None)


def _use_text(window: WindowProgress | None) -> str:
    if window is None:
        return "no limit"
    use = window.use
    unit = " tok" if use.kind is LimitKind.TOKENS else ""
    amount = count_text(use.amount)
    return f"{count_text(round(use.used)):>{len(amount)}}/{amount}{unit} in {use.per_s:g} s"


def _use_bar(window: WindowProgress | None, screen: Screen) -> tuple[str, str]:
    if window is None:
        return " " * screen.bar, ""
    share = window.use.used / window.use.amount
    text = bar_text(window.use.used, window.use.amount, cells=screen.bar, ascii_only=screen.ascii_only)
    return text, "yellow" if share >= FULL else "green"


def _doing(key: KeyProgress, room: int, screen: Screen) -> Text:
    """Return what keeps the key from serving, or whom it serves; then its cap and what was refused it."""
    refused = (f"  {count_text(key.refused)} refused" if key.refused else "", "red")
    if stopped := state_text(key):
        notes = Text.assemble(refused)
        said = Text(stopped, style=_HEALTH.get(key.health, "yellow"))
        # A provider's reason may be a paragraph; what was refused stands behind it all the same.
        said.truncate(max(SHORTEST_REASON, room - notes.cell_len), overflow=_overflow(screen))
        return said + notes
    cap = cap_text(key)
    notes = Text.assemble((f"  {cap}" if cap else "", "yellow"), refused)
    return Text(_models(key.models, room - notes.cell_len, screen)) + notes


def _models(models: tuple[str, ...], room: int, screen: Screen) -> str:
    """Return the models in so many cells: names cut in the middle, or only how many there are."""
    said = models_text(models)
    distinct = tuple(dict.fromkeys(models))
    if cell_len(said) <= room or not distinct:
        return said
    # Which models counts more than how many leases each has.
    for width in range(max(map(cell_len, distinct)), SHORTEST_NAME - 1, -1):
        said = models_text(distinct, shorten=partial(cut_middle, width=width, ascii_only=screen.ascii_only))
        if cell_len(said) <= room:
            return said
    return f"{len(distinct)} models" if len(distinct) > 1 else said


# --- shards ---------------------------------------------------------------------------------------------------------


def _shards(shards: tuple[ShardProgress, ...], room: int, screen: Screen) -> list[Text]:
    shown, rest = choose_shards(shards, room)
    counts = [f"{shard.scored}/{shard.total}" for shard in shards]
    count_width = max(map(len, counts), default=0)
    model_width, label_width = _name_widths(shards, screen.width - screen.bar - count_width - 4, screen)
    lines = []
    for shard in shown:
        style = _STYLE.get(shard.status, "")
        bar = bar_text(shard.scored, shard.total, cells=screen.bar, ascii_only=screen.ascii_only)
        count = f"{shard.scored}/{shard.total}"
        lines.append(
            Text.assemble(
                _fit(shard.model, model_width, screen),
                " ",
                _fit(shard.label, label_width, screen),
                " ",
                (bar, style),
                f" {count:>{count_width}} ",
                (_standing(shard), style),
                (f" {shard.invalid} invalid" if shard.invalid else "", "red"),
            )
        )
    if rest:
        lines.append(Text(rest, style="dim"))
    return lines[: max(0, room)]


def _standing(shard: ShardProgress) -> str:
    if shard.keys:
        return f"{','.join(map(printable, shard.keys))} {shard.running} running"
    return status_text(shard.status)


def _name_widths(shards: Sequence[ShardProgress], room: int, screen: Screen) -> tuple[int, int]:
    """Return the cells for models and for labels: what they want, or what leaves the last column its place."""
    model = max((cell_len(shard.model) for shard in shards), default=0)
    label = max((cell_len(shard.label) for shard in shards), default=0)
    room = max(8, room - (15 if screen.width < NARROW else 20))
    if model + label > room:
        label = min(label, max(room - model, room * 2 // 5))
        model = min(model, room - label)
    return model, label


def _fit(text: str, width: int, screen: Screen) -> str:
    """Return `text` in exactly `width` cells."""
    return set_cell_size(cut_middle(printable(text), width, ascii_only=screen.ascii_only), width)


def _cut(text: Text, screen: Screen) -> Text:
    text.no_wrap, text.overflow = True, _overflow(screen)
    text.rstrip()
    return text


def _overflow(screen: Screen) -> OverflowMethod:
    return "crop" if screen.ascii_only else "ellipsis"
