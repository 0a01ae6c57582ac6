"""The windows of all domains in one buffer, and the one decision over them: the earliest instant all of them allow.

The buffer is a bytearray (tests, forecasts under a virtual clock) or a memory-mapped file (production); the decision is
the same code. It starts with a header, followed by one page per domain, each with its windows:

    header: magic · layout version · boot · layout generation · next permit id · cells used · first page
    page:   next page · text · pause · pause generation · learned margin · limits · learned cap ... window, ... pace

Pages form a list, newest first. A page is written whole before it is linked, and a page that takes another's place is
linked by one store; what a killed writer left unlinked is lost space, not a wrong count.

A learned cap (limits/cap.py) is kept by one more window of the page, the pace. Whether a domain has a cap is part of
the directory, so one without costs a permit nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from benchrunner.errors import RegistryError
from benchrunner.limits.cap import (
    NO_CAP,
    Cap,
    CapChange,
    clamp,
    cut_by_throttle,
    is_forgotten,
    is_news,
    raise_by_answer,
)
from benchrunner.limits.domains import (
    DRIFT_HALF_LIFE_S,
    WIRE_HALF_LIFE_S,
    bumped_wire_s,
    cold_drift_s,
    decayed,
    learned_drift_s,
    margin_s,
    requests_per_s,
)
from benchrunner.limits.pacing import PACE_CAPACITY, PACE_LIMIT, PACER_CELLS, Pacer
from benchrunner.limits.window import AMOUNT, WINDOW_CELLS, Window, capacity_for, entry_cells, lay_window
from benchrunner.records import Domain, DomainUse, Limit, LimitKind, Permit, WindowUse

CELL_BYTES = 8
MAGIC = int.from_bytes(b"bnchrnr\0", "little")
LAYOUT_VERSION = 3
HEADER_CELLS = 16

H_MAGIC, H_VERSION, H_BOOT, H_GENERATION, H_NEXT_ID, H_USED, H_FIRST = range(7)

(
    P_NEXT, P_TEXT, P_TEXT_BYTES, P_WINDOWS, P_PAUSE_GENERATION, P_PAUSE_UNTIL, P_MARGIN, P_FLOOR, P_CEILING,
    P_DRIFT, P_DRIFT_AT, P_WIRE, P_WIRE_AT, P_GRANTED, P_REFUSED, P_LANE, P_SPREAD,
    P_NO_MARGIN, P_PACER,
) = range(19)  # fmt: skip
PAGE_CELLS = P_PACER + PACER_CELLS

NEARLY_FULL = 0.9
"""A refusal tells something about spacing only when a window was at least this full; else strangers share the limit."""

Grant = tuple[int, float, int]
"""Permit id, instant, sum of the domains' pause generations."""


class _Page:
    """One domain as the directory describes it."""

    __slots__ = ("at", "label", "name", "pace", "pacer", "provider", "windows")

    def __init__(self, at: int, text: str, windows: tuple[Window, ...], pace: Window, pacer: Pacer) -> None:
        self.at, self.windows, self.pace, self.pacer = at, windows, pace, pacer
        self.name, self.label, self.provider = text.split("\0")

    @property
    def limits(self) -> tuple[Limit, ...]:
        return tuple(window.limit for window in self.windows)

    @property
    def limit_per_s(self) -> float:
        """The configured rate; inf: none is."""
        return requests_per_s(self.limits)


class _Joint:
    """The pages and windows that calls over the same domains go through, looked up once."""

    __slots__ = ("only", "paced", "pacers", "pages", "windows")

    def __init__(self, pages: Sequence[_Page]) -> None:
        self.pages = tuple(page.at for page in pages)
        self.pacers = tuple(page.pacer for page in pages)
        self.paced = tuple(page for page in pages if page.pacer.learned)
        self.windows = tuple(window for page in pages for window in page.windows)
        self.windows += tuple(page.pace for page in self.paced)
        # By far the most frequent shape has a shorter way: a single window over requests.
        single = len(self.windows) == 1 and self.windows[0].kind is LimitKind.REQUESTS
        self.only = self.windows[0] if single else None

    def keep_pace(self) -> None:
        """Take the caps as they are now: they move without the directory's changing."""
        for page in self.paced:
            page.pace.per_s = page.pacer.spacing_s


def format_header(buffer: memoryview, boot: int) -> None:
    """Make the buffer an empty ledger of this boot; whatever it held is void."""
    cell = buffer.cast("q")
    # A process that still holds the former content must see that it changed, even if all else comes out alike.
    generation = cell[H_GENERATION] + 1 if cell[H_MAGIC] == MAGIC else 1
    cell[H_MAGIC] = 0  # until all is written, nobody takes it for a ledger
    cell[H_VERSION], cell[H_BOOT], cell[H_GENERATION] = LAYOUT_VERSION, boot, generation
    cell[H_NEXT_ID], cell[H_USED], cell[H_FIRST] = 1, HEADER_CELLS, 0
    cell[H_MAGIC] = MAGIC
    cell.release()


def header_fits(buffer: memoryview, boot: int) -> bool:
    """Return whether the buffer holds a ledger of this layout, made since this boot."""
    cell = buffer.cast("q")
    fits = (cell[H_MAGIC], cell[H_VERSION], cell[H_BOOT]) == (MAGIC, LAYOUT_VERSION, boot)
    cell.release()
    return fits


class Ledger:
    """All domains in one buffer. Time is an argument. One caller at a time: the owner of the buffer sees to that."""

    def __init__(self, buffer: memoryview) -> None:
        self._bytes = buffer
        self.num: memoryview[float] = buffer.cast("d")
        self.cell: memoryview[int] = buffer.cast("q")
        self.generation = -1
        self._pages: dict[str, _Page] = {}
        self._joints: dict[tuple[str, ...], _Joint] = {}
        self.reload()

    def release(self) -> None:
        """Let go of the buffer, so that a mapping can be closed."""
        self._pages.clear()
        self._joints.clear()
        self.num.release()
        self.cell.release()
        self._bytes.release()

    # --- directory --------------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Read the directory anew. Needed whenever `cell[H_GENERATION]` differs from `generation`."""
        self._joints.clear()
        self._pages.clear()
        at = self.cell[H_FIRST]
        while at:
            page = self._read_page(at)
            self._pages.setdefault(page.name, page)
            at = self.cell[at + P_NEXT]
        self.generation = self.cell[H_GENERATION]

    def cells_wanted(self, domains: Iterable[Domain]) -> int:
        """Return how many cells the buffer must have before `register(domains)`."""
        fresh = (domain for domain in domains if self._needs_page(domain))
        return self.cell[H_USED] + sum(_page_cells(domain) for domain in fresh)

    def register(self, now_s: float, domains: Iterable[Domain]) -> None:
        """Hold windows for every domain. Repeating it changes nothing; changed limits take effect, entries stay."""
        for domain in domains:
            _check(domain)
            self._review_cap(now_s, domain)
            old = self._pages.get(domain.name)
            if old is None or self._needs_page(domain):
                self._announce_change()
                self._write_page(now_s, domain, old)
            elif old.limits != domain.limits:
                self._announce_change()
                for window_at, limit in zip(self._window_places(old.at), domain.limits, strict=True):
                    self.cell[window_at + AMOUNT] = limit.amount
                # Instants granted under the old limits may be too many under the new ones: they are taken anew.
                self.cell[old.at + P_PAUSE_GENERATION] += 1
            else:
                self._set_bounds(now_s, old.at, domain)
                continue
            self.reload()
            self._set_bounds(now_s, self._pages[domain.name].at, domain)

    def _review_cap(self, now_s: float, domain: Domain) -> None:
        page = self._pages.get(domain.name)
        if page is None or not page.pacer.learned:
            return
        cap = page.pacer.cap
        kept = NO_CAP if is_forgotten(cap, now_s) else clamp(cap, requests_per_s(domain.limits))
        if kept != cap:
            self._keep_cap(page, cap, kept, "other limits")

    # --- permits ----------------------------------------------------------------------------------------------------

    def reserve(self, now_s: float, names: tuple[str, ...], tokens: int) -> Grant:
        """Count one call of `tokens` tokens in every window of the domains, at the earliest instant all allow."""
        joint = self._joints.get(names) or self._join(names)
        if joint.paced:
            joint.keep_pace()
        cell = self.cell
        for page_at in joint.pages:
            cell[page_at + P_GRANTED] += 1
        return self._take(joint, now_s, tokens)

    def spend(self, now_s: float, permit: Permit, learn_drift: bool) -> tuple[Grant | None, bool]:
        """Return the permit as it stands (None: unchanged) and whether the call goes out now, counted as sent."""
        joint = self._joints.get(permit.domains) or self._join(permit.domains)
        if joint.paced:
            joint.keep_pace()
        late_s = now_s - permit.not_before_mono_s
        valid = self._generation_of(joint) == permit.generation
        if valid and late_s < 0.0:
            return None, False
        calls = self._entries_of(joint, permit)
        if not valid:  # it lines up anew: all that waited behind the pause would come at its end otherwise
            self._withdraw(calls)
            grant = self._take(joint, now_s, permit.tokens, spend_now=True)
            may_send = grant[1] <= now_s
            if may_send:
                for pacer in joint.pacers:
                    pacer.note_send(now_s)
            return grant, may_send
        if learn_drift:
            for page_at in joint.pages:
                self._learn(page_at, now_s, late_s)
        permit_id, generation = permit.permit_id, permit.generation
        if all(window.may_send(now_s, amount, place) for window, amount, place in calls):
            for window, amount, place in calls:
                if place:
                    window.spend(place, now_s)
                else:
                    window.insert(now_s, now_s, amount, -permit_id)
            for pacer in joint.pacers:
                pacer.note_send(now_s)
            return (permit_id, now_s, generation), True
        # Somebody in front of it left late. It follows as soon as it may, keeping its turn; a new place at the end of
        # the queue would cost the key a whole slot for a few milliseconds.
        self._withdraw(calls)
        at_s = max(window.next_send(now_s, amount) for window, amount, _ in calls)
        for window, amount, _ in calls:
            window.insert(now_s, at_s, amount, permit_id)
        return (permit_id, at_s, generation), False

    def depart(self, now_s: float, permit: Permit, at_s: float) -> None:
        """Let a spent permit count from `at_s`, when its last byte was handed to the network.

        Those behind it find out when they ask to be spent, and follow a little later if they would come too close.
        """
        joint = self._joints.get(permit.domains) or self._join(permit.domains)
        for page_at in joint.pages:
            self._learn(page_at, now_s, at_s - permit.not_before_mono_s)
        for window in joint.windows:
            if window.charge(permit.tokens) and (place := window.find(permit.not_before_mono_s, -permit.permit_id)):
                window.spend(place, at_s)

    def hasten(self, now_s: float, permit: Permit) -> Grant | None:
        """Return an earlier instant for an unspent permit; None: there is none, it keeps its own.

        A permit whose domains were paused since, or got other limits, may get a later one.
        """
        joint = self._joints.get(permit.domains) or self._join(permit.domains)
        if joint.paced:
            joint.keep_pace()
        entries = self._entries_of(joint, permit)
        if not all(place for _, _, place in entries):
            return None
        self._withdraw(entries)
        charges = [(window, amount) for window, amount, _ in entries]
        generation = self._generation_of(joint)
        at_s = self._earliest(charges, now_s, self._paused_until(joint, now_s))
        if generation == permit.generation:
            at_s = min(at_s, permit.not_before_mono_s)  # a margin that grew meanwhile must not cost it its place
        for window, amount in charges:
            window.insert(now_s, at_s, amount, permit.permit_id)
        return (permit.permit_id, at_s, generation) if at_s != permit.not_before_mono_s else None

    def settle(self, now_s: float, permit: Permit, tokens_used: int) -> None:
        """Let a sent call count the tokens it really used. An entry that left its window meanwhile needs nothing."""
        joint = self._joints.get(permit.domains) or self._join(permit.domains)
        for window in joint.windows:
            if window.kind is LimitKind.TOKENS and permit.tokens:
                place = window.find(permit.not_before_mono_s, -permit.permit_id)
                if place:
                    window.settle(place, max(0, tokens_used))

    def give_back(self, now_s: float, permit: Permit) -> None:
        """Withdraw a permit that was not spent; a spent one stays counted."""
        joint = self._joints.get(permit.domains) or self._join(permit.domains)
        self._withdraw(self._entries_of(joint, permit))

    # --- pauses and learning ----------------------------------------------------------------------------------------

    def pause(self, now_s: float, name: str, for_s: float) -> None:
        """Grant nothing in the domain for `for_s` seconds, and have every unspent permit taken anew."""
        page_at = self._page(name).at
        # The instant first: a permit taken between the two stores would be granted behind the pause all the same.
        self.num[page_at + P_PAUSE_UNTIL] = max(self.num[page_at + P_PAUSE_UNTIL], now_s + for_s)
        self.cell[page_at + P_PAUSE_GENERATION] += 1

    def resume(self, now_s: float, name: str) -> None:
        """End the domain's pause. Permits that wait behind it keep their instants."""
        page_at = self._page(name).at
        self.num[page_at + P_PAUSE_UNTIL] = min(now_s, self.num[page_at + P_PAUSE_UNTIL])
        self.num[page_at + P_LANE] = min(now_s, self.num[page_at + P_LANE])

    def note_refusal(self, now_s: float, name: str, sent_s: float) -> CapChange | None:
        """Cut the domain's cap, unless the refused call was already on its way at the last cut.

        Also widens the margin if a window of the domain was nearly full: arrivals bunched up.
        """
        page = self._page(name)
        num, at = self.num, page.at
        self.cell[at + P_REFUSED] += 1
        if any(window.used(now_s) >= NEARLY_FULL * window.amount for window in page.windows):
            left = decayed(num[at + P_WIRE], now_s - num[at + P_WIRE_AT], WIRE_HALF_LIFE_S)
            num[at + P_WIRE] = bumped_wire_s(left, num[at + P_CEILING])
            num[at + P_WIRE_AT] = now_s
            self._set_margin(at, now_s)
        cap = page.pacer.cap
        cut = cut_by_throttle(
            cap,
            now_s=now_s,
            sent_s=sent_s,
            paced=page.pacer.paced,
            observed_per_s=page.pacer.observed_per_s(now_s),
            limit_per_s=page.limit_per_s,
        )
        return self._keep_cap(page, cap, cut, "a throttle")

    def note_answer(self, now_s: float, permit: Permit) -> tuple[CapChange, ...]:
        """Raise the caps of the spent permit's domains, if it left at their pace; forget what is too old."""
        joint = self._joints.get(permit.domains) or self._join(permit.domains)
        changes = []
        for page in joint.paced:
            pacer, cap, sent_s = page.pacer, page.pacer.cap, permit.not_before_mono_s
            if is_forgotten(cap, now_s):
                changes.append(self._keep_cap(page, cap, NO_CAP, "an hour without a throttle"))
            elif pacer.left_at_pace(sent_s):
                raised = raise_by_answer(cap, sent_s=sent_s, paced=pacer.paced, limit_per_s=page.limit_per_s)
                changes.append(self._keep_cap(page, cap, raised, "calls without a throttle"))
        return tuple(change for change in changes if change is not None)

    def snapshot(self, now_s: float, names: Sequence[str] | None) -> tuple[DomainUse, ...]:
        """Return the named domains (None: all, by name) as they stand. Reads only."""
        pages = [self._page(name) for name in names] if names is not None else sorted(self._pages.values(), key=_name)
        return tuple(self._use(page, now_s) for page in pages)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _take(
        self, joint: _Joint, now_s: float, tokens: int, spend_now: bool = False, from_s: float = 0.0
    ) -> Grant:
        cell = self.cell
        permit_id = cell[H_NEXT_ID]
        cell[H_NEXT_ID] = permit_id + 1
        at_s = self._paused_until(joint, now_s)
        if at_s < from_s:
            at_s = from_s
        first = joint.pages[0]
        if at_s < self.num[first + P_LANE]:
            at_s = self.num[first + P_LANE]
        open_s = at_s
        only = joint.only
        if only is not None:
            at_s = only.earliest(now_s, at_s, 1)
            only.insert(now_s, at_s, 1, -permit_id if spend_now and at_s <= now_s else permit_id)
        else:
            charges = [(window, amount) for window in joint.windows if (amount := window.charge(tokens))]
            at_s = self._earliest(charges, now_s, at_s)
            for window, amount in charges:
                window.insert(now_s, at_s, amount, -permit_id if spend_now and at_s <= now_s else permit_id)
        if at_s == open_s:  # no window held it back: the next of a burst keeps its distance
            self.num[first + P_LANE] = at_s + self.num[first + P_SPREAD]
        return permit_id, at_s, self._generation_of(joint)

    def _keep_cap(self, page: _Page, old: Cap, new: Cap, cause: str) -> CapChange | None:
        """Let `new` count; return what there is to tell of it."""
        change = None
        if is_news(replace(new, told_per_s=old.told_per_s)):
            change = CapChange(label=page.label, before_per_s=old.told_per_s, after_per_s=new.per_s, cause=cause)
            new = replace(new, told_per_s=new.per_s)
        if old.learned == new.learned:
            page.pacer.keep(new)
            return change
        self._announce_change()
        # Instants granted without a pace (or for the sake of one) are taken anew.
        self.cell[page.at + P_PAUSE_GENERATION] += 1
        page.pacer.keep(new)
        self.reload()
        return change

    def _entries_of(self, joint: _Joint, permit: Permit) -> list[tuple[Window, int, int]]:
        """Return every window the permit is charged in, with its charge and its unspent entry's place (0: none)."""
        at_s, permit_id = permit.not_before_mono_s, permit.permit_id
        return [
            (window, amount, window.find(at_s, permit_id))
            for window in joint.windows
            if (amount := window.charge(permit.tokens))
        ]

    def _withdraw(self, entries: Sequence[tuple[Window, int, int]]) -> None:
        for window, _, place in entries:
            if place:
                window.withdraw(place)

    def _earliest(self, charges: Sequence[tuple[Window, int]], now_s: float, from_s: float) -> float:
        """Return the first instant that every window allows; each step goes to a release ahead, so it ends."""
        agreed, i, at_s = 0, 0, from_s
        while agreed < len(charges):
            window, amount = charges[i]
            allowed_s = window.earliest(now_s, at_s, amount)
            agreed = agreed + 1 if allowed_s == at_s else 1
            at_s = allowed_s
            i = (i + 1) % len(charges)
        return at_s

    def _paused_until(self, joint: _Joint, now_s: float) -> float:
        until_s = now_s
        for page_at in joint.pages:
            if self.num[page_at + P_PAUSE_UNTIL] > until_s:
                until_s = self.num[page_at + P_PAUSE_UNTIL]
        return until_s

    def _generation_of(self, joint: _Joint) -> int:
        generation = 0
        for page_at in joint.pages:
            generation += self.cell[page_at + P_PAUSE_GENERATION]
        return generation

    def _learn(self, at: int, now_s: float, late_s: float) -> None:
        num = self.num
        left = decayed(num[at + P_DRIFT], now_s - num[at + P_DRIFT_AT], DRIFT_HALF_LIFE_S)
        num[at + P_DRIFT] = learned_drift_s(left, min(late_s, num[at + P_CEILING]))
        num[at + P_DRIFT_AT] = now_s
        self._set_margin(at, now_s)

    def _set_margin(self, at: int, now_s: float) -> None:
        num = self.num
        drift_s = decayed(num[at + P_DRIFT], now_s - num[at + P_DRIFT_AT], DRIFT_HALF_LIFE_S)
        wire_s = decayed(num[at + P_WIRE], now_s - num[at + P_WIRE_AT], WIRE_HALF_LIFE_S)
        num[at + P_MARGIN] = margin_s(drift_s, wire_s, num[at + P_FLOOR], num[at + P_CEILING])

    def _set_bounds(self, now_s: float, at: int, domain: Domain) -> None:
        self.num[at + P_FLOOR], self.num[at + P_CEILING] = domain.margin_floor_s, domain.margin_ceiling_s
        self.num[at + P_SPREAD] = domain.spread_s
        left = decayed(self.num[at + P_DRIFT], now_s - self.num[at + P_DRIFT_AT], DRIFT_HALF_LIFE_S)
        self.num[at + P_DRIFT] = max(left, cold_drift_s(domain.cold_margin_s))
        self.num[at + P_DRIFT_AT] = now_s
        self._set_margin(at, now_s)

    def _join(self, names: tuple[str, ...]) -> _Joint:
        joint = _Joint([self._page(name) for name in dict.fromkeys(names)])
        self._joints[names] = joint
        return joint

    def _page(self, name: str) -> _Page:
        page = self._pages.get(name)
        if page is None:
            held = ", ".join(sorted(self._pages)) or "nothing"
            raise RegistryError(f"no domain {name!r} is registered; the windows hold {held}")
        return page

    def _use(self, page: _Page, now_s: float) -> DomainUse:
        return DomainUse(
            name=page.name,
            label=page.label,
            provider=page.provider,
            windows=tuple(
                WindowUse(kind=window.kind, amount=window.amount, per_s=window.per_s, used=window.used(now_s))
                for window in page.windows
            ),
            waiting=max(window.ahead(now_s) for window in (*page.windows, page.pace)),
            paused_for_s=max(0.0, self.num[page.at + P_PAUSE_UNTIL] - now_s),
            margin_s=self.num[page.at + P_MARGIN],
            granted=self.cell[page.at + P_GRANTED],
            cap_per_s=page.pacer.cap.per_s if page.pacer.learned else None,
        )

    def _announce_change(self) -> None:
        """Make every other process read the directory before its next decision. First, in case we die on the way."""
        self.cell[H_GENERATION] += 1

    def _window_places(self, page_at: int) -> range:
        start = page_at + PAGE_CELLS
        return range(start, start + WINDOW_CELLS * self.cell[page_at + P_WINDOWS], WINDOW_CELLS)

    def _pace_place(self, page_at: int) -> int:
        return page_at + PAGE_CELLS + WINDOW_CELLS * self.cell[page_at + P_WINDOWS]

    def _read_page(self, at: int) -> _Page:
        start = self.cell[at + P_TEXT] * CELL_BYTES
        text = bytes(self._bytes[start : start + self.cell[at + P_TEXT_BYTES]]).decode()
        windows = (Window(self.num, self.cell, place, at + P_MARGIN) for place in self._window_places(at))
        pace = Window(self.num, self.cell, self._pace_place(at), at + P_NO_MARGIN)
        return _Page(at, text, tuple(windows), pace, Pacer(self.num, self.cell, at + P_PACER))

    def _needs_page(self, domain: Domain) -> bool:
        """Return whether the domain's windows do not fit where they are (other windows, or more entries)."""
        page = self._pages.get(domain.name)
        if page is None or len(page.windows) != len(domain.limits):
            return True
        return any(
            (window.kind, window.per_s) != (limit.kind, limit.per_s) or capacity_for(limit) > window.capacity
            for window, limit in zip(page.windows, domain.limits, strict=True)
        )

    def _write_page(self, now_s: float, domain: Domain, old: _Page | None) -> None:
        num, cell = self.num, self.cell
        at = cell[H_USED]
        cell[H_USED] = at + _page_cells(domain)
        text = _text(domain)
        text_at = at + PAGE_CELLS + WINDOW_CELLS * (len(domain.limits) + 1)
        base = text_at + _cells_of(text)
        self._bytes[text_at * CELL_BYTES : text_at * CELL_BYTES + len(text)] = text
        for i in range(PAGE_CELLS):
            cell[at + i] = 0
        cell[at + P_TEXT], cell[at + P_TEXT_BYTES], cell[at + P_WINDOWS] = text_at, len(text), len(domain.limits)
        for place, limit in zip(self._window_places(at), domain.limits, strict=True):
            capacity = capacity_for(limit)
            lay_window(num, cell, place, base, limit, capacity)
            base += entry_cells(capacity)
        lay_window(num, cell, self._pace_place(at), base, PACE_LIMIT, PACE_CAPACITY)
        if old is None:
            cell[at + P_NEXT] = cell[H_FIRST]
            cell[H_FIRST] = at
            return
        for i in range(P_PAUSE_GENERATION, PAGE_CELLS):
            cell[at + i] = cell[old.at + i]
        cell[at + P_PAUSE_GENERATION] += 1  # instants granted under the old windows are taken anew
        fresh = self._read_page(at)
        for window in fresh.windows:
            _carry_over(now_s, old.windows, window)
        _carry_over(now_s, (old.pace,), fresh.pace)
        cell[at + P_NEXT] = cell[old.at + P_NEXT]
        cell[self._link_to(old.at)] = at

    def _link_to(self, page_at: int) -> int:
        link = H_FIRST
        while self.cell[link] != page_at:
            link = self.cell[link] + P_NEXT
        return link


def _carry_over(now_s: float, old: Sequence[Window], new: Window) -> None:
    """Fill a window with what its predecessor, or else the longest of its kind, knows of the past."""
    alike = [window for window in old if window.kind is new.kind]
    source = max(alike, key=lambda window: (window.per_s == new.per_s, window.per_s), default=None)
    for at_s, amount, permit_id in source.entries() if source else ():
        new.insert(now_s, at_s, amount, permit_id)


def _check(domain: Domain) -> None:
    for limit in domain.limits:
        if limit.amount < 1 or limit.per_s <= 0:
            raise ValueError(f"domain {domain.label!r}: a limit of {limit.amount} per {limit.per_s} s allows nothing")


def _text(domain: Domain) -> bytes:
    return "\0".join((domain.name, domain.label, domain.provider)).encode()


def _cells_of(text: bytes) -> int:
    return -(-len(text) // CELL_BYTES)


def _page_cells(domain: Domain) -> int:
    entries = sum(entry_cells(capacity_for(limit)) for limit in domain.limits) + entry_cells(PACE_CAPACITY)
    return PAGE_CELLS + WINDOW_CELLS * (len(domain.limits) + 1) + _cells_of(_text(domain)) + entries


def _name(page: _Page) -> str:
    return page.name
