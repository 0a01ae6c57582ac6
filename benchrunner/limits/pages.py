"""One domain's page in the ledger's buffer: what stands where in it, how it is read, and how it is laid.

    page:  cells of its own (P_...) · a description per window, the pace last · text · the entries of each window

Which pages count, and in what order, is the ledger's to say: a page laid here is nobody's until it is linked there.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import calcsize

from benchrunner.limits.domains import requests_per_s
from benchrunner.limits.pacing import PACE_CAPACITY, PACE_LIMIT, PACER_CELLS, Pacer
from benchrunner.limits.window import AMOUNT, WINDOW_CELLS, Window, capacity_for, entry_cells, lay_window
from benchrunner.records import Domain, DomainUse, Limit, WindowUse

(
    P_NEXT, P_TEXT, P_TEXT_BYTES, P_WINDOWS, P_PAUSE_GENERATION, P_PAUSE_UNTIL, P_MARGIN, P_FLOOR, P_CEILING,
    P_DRIFT, P_DRIFT_AT, P_WIRE, P_WIRE_AT, P_GRANTED, P_REFUSED, P_LANE, P_SPREAD,
    P_NO_MARGIN, P_PACER,
) = range(19)  # fmt: skip
"""Cells of a page, counted from its first. A page that takes another's place inherits them from P_PAUSE_GENERATION on.

A change here, or of what a window or a pacer keeps, is another LAYOUT_VERSION (limits/ledger.py).
"""

PAGE_CELLS = P_PACER + PACER_CELLS

_CELL_BYTES = calcsize("q")


class Page:
    """One domain as the directory describes it. `at` is where its page begins; what changes is read from there."""

    __slots__ = ("at", "label", "name", "pace", "pacer", "provider", "windows")

    def __init__(self, at: int, text: str, windows: tuple[Window, ...], pace: Window, pacer: Pacer) -> None:
        self.at, self.windows, self.pace, self.pacer = at, windows, pace, pacer
        self.name, self.label, self.provider = text.split("\0")

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The configured limits, in the order of the windows."""
        return tuple(window.limit for window in self.windows)

    @property
    def limit_per_s(self) -> float:
        """The configured rate; inf: none is."""
        return requests_per_s(self.limits)

    def has_room_for(self, domain: Domain) -> bool:
        """Return whether the domain's windows fit where they are: the same windows, with no more entries."""
        return len(self.windows) == len(domain.limits) and all(
            (window.kind, window.per_s) == (limit.kind, limit.per_s) and capacity_for(limit) <= window.capacity
            for window, limit in zip(self.windows, domain.limits, strict=True)
        )


def page_cells(domain: Domain) -> int:
    """Return how many cells the domain's page takes, its entries included."""
    entries = sum(entry_cells(capacity_for(limit)) for limit in domain.limits) + entry_cells(PACE_CAPACITY)
    return PAGE_CELLS + WINDOW_CELLS * (len(domain.limits) + 1) + _cells_of(_text(domain)) + entries


def read_page(buffer: memoryview, num: memoryview[float], cell: memoryview[int], at: int) -> Page:
    """Return the page at cell `at`; `num` and `cell` are the buffer's doubles and integers."""
    start = cell[at + P_TEXT] * _CELL_BYTES
    text = bytes(buffer[start : start + cell[at + P_TEXT_BYTES]]).decode()
    windows = (Window(num, cell, place, at + P_MARGIN) for place in _window_places(cell, at))
    pace = Window(num, cell, _pace_place(cell, at), at + P_NO_MARGIN)
    return Page(at, text, tuple(windows), pace, Pacer(num, cell, at + P_PACER))


def lay_page(buffer: memoryview, num: memoryview[float], cell: memoryview[int], at: int, domain: Domain) -> None:
    """Write the domain's page with empty windows into the `page_cells(domain)` cells from `at` on."""
    text = _text(domain)
    text_at = at + PAGE_CELLS + WINDOW_CELLS * (len(domain.limits) + 1)
    base = text_at + _cells_of(text)
    buffer[text_at * _CELL_BYTES : text_at * _CELL_BYTES + len(text)] = text
    for i in range(PAGE_CELLS):
        cell[at + i] = 0
    cell[at + P_TEXT], cell[at + P_TEXT_BYTES], cell[at + P_WINDOWS] = text_at, len(text), len(domain.limits)
    for place, limit in zip(_window_places(cell, at), domain.limits, strict=True):
        capacity = capacity_for(limit)
        lay_window(num, cell, place, base, limit, capacity)
        base += entry_cells(capacity)
    lay_window(num, cell, _pace_place(cell, at), base, PACE_LIMIT, PACE_CAPACITY)


def inherit(now_s: float, cell: memoryview[int], old: Page, fresh: Page) -> None:
    """Let a page just laid know what the one it takes the place of knows: pauses, margins, counts, cap and entries."""
    for i in range(P_PAUSE_GENERATION, PAGE_CELLS):
        cell[fresh.at + i] = cell[old.at + i]
    cell[fresh.at + P_PAUSE_GENERATION] += 1  # instants granted under the old windows are taken anew
    for window in fresh.windows:
        _carry_over(now_s, old.windows, window)
    _carry_over(now_s, (old.pace,), fresh.pace)


def set_amounts(cell: memoryview[int], at: int, limits: Sequence[Limit]) -> None:
    """Let the windows of the page at `at` keep the amounts of `limits`, of which nothing else differs."""
    for place, limit in zip(_window_places(cell, at), limits, strict=True):
        cell[place + AMOUNT] = limit.amount


def use_of(page: Page, num: memoryview[float], cell: memoryview[int], now_s: float) -> DomainUse:
    """Return the domain as it stands. Reads only."""
    return DomainUse(
        name=page.name,
        label=page.label,
        provider=page.provider,
        windows=tuple(
            WindowUse(kind=window.kind, amount=window.amount, per_s=window.per_s, used=window.used(now_s))
            for window in page.windows
        ),
        waiting=max(window.ahead(now_s) for window in (*page.windows, page.pace)),
        paused_for_s=max(0.0, num[page.at + P_PAUSE_UNTIL] - now_s),
        margin_s=num[page.at + P_MARGIN],
        granted=cell[page.at + P_GRANTED],
        cap_per_s=page.pacer.cap.per_s if page.pacer.learned else None,
    )


def _window_places(cell: memoryview[int], page_at: int) -> range:
    start = page_at + PAGE_CELLS
    return range(start, start + WINDOW_CELLS * cell[page_at + P_WINDOWS], WINDOW_CELLS)


def _pace_place(cell: memoryview[int], page_at: int) -> int:
    return page_at + PAGE_CELLS + WINDOW_CELLS * cell[page_at + P_WINDOWS]


def _carry_over(now_s: float, old: Sequence[Window], new: Window) -> None:
    """Fill a window with what its predecessor, or else the longest of its kind, knows of the past."""
    alike = [window for window in old if window.kind is new.kind]
    source = max(alike, key=lambda window: (window.per_s == new.per_s, window.per_s), default=None)
    for at_s, amount, permit_id in source.entries() if source else ():
        new.insert(now_s, at_s, amount, permit_id)


def _text(domain: Domain) -> bytes:
    return "\0".join((domain.name, domain.label, domain.provider)).encode()


def _cells_of(text: bytes) -> int:
    return -(-len(text) // _CELL_BYTES)
