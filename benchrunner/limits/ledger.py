"""The windows of all domains in one buffer, and the one decision over them: the earliest instant all of them allow.

The buffer is a bytearray (tests, forecasts under a virtual clock) or a memory-mapped file (production); the decision is
the same code. It starts with a header, followed by one page per domain, each with its windows (limits/pages.py):

    header: magic · layout version · boot · layout generation · next permit id · cells used · first page

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
from benchrunner.limits.domains import requests_per_s
from benchrunner.limits.margins import learn_lateness, set_bounds, widen
from benchrunner.limits.pages import (
    P_GRANTED,
    P_LANE,
    P_NEXT,
    P_PAUSE_GENERATION,
    P_PAUSE_UNTIL,
    P_REFUSED,
    P_SPREAD,
    Page,
    inherit,
    lay_page,
    page_cells,
    read_page,
    set_amounts,
    use_of,
)
from benchrunner.limits.window import Window
from benchrunner.records import Domain, DomainUse, LimitKind, Permit

CELL_BYTES = 8
MAGIC = int.from_bytes(b"bnchrnr\0", "little")
LAYOUT_VERSION = 3
HEADER_CELLS = 16

H_MAGIC, H_VERSION, H_BOOT, H_GENERATION, H_NEXT_ID, H_USED, H_FIRST = range(7)

NEARLY_FULL = 0.9
"""A refusal tells something about spacing only when a window was at least this full; else strangers share the limit."""

Grant = tuple[int, float, int]
"""Permit id, instant, sum of the domains' pause generations."""


class _Joint:
    """The pages and windows that calls over the same domains go through, looked up once."""

    __slots__ = ("only", "paced", "pacers", "pages", "windows")

    def __init__(self, pages: Sequence[Page]) -> None:
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
        self._pages: dict[str, Page] = {}
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
        return self.cell[H_USED] + sum(page_cells(domain) for domain in fresh)

    def register(self, now_s: float, domains: Iterable[Domain]) -> None:
        """Hold windows for every domain. Repeating it changes nothing; changed limits take effect, entries stay."""
        for domain in domains:
            _check(domain)
            self._review_cap(now_s, domain)
            old = self._pages.get(domain.name)
            if old is None or self._needs_page(domain):
                self._announce_change()
                self._add_page(now_s, domain, old)
            elif old.limits != domain.limits:
                self._announce_change()
                set_amounts(self.cell, old.at, domain.limits)
                # Instants granted under the old limits may be too many under the new ones: they are taken anew.
                self.cell[old.at + P_PAUSE_GENERATION] += 1
            else:
                set_bounds(self.num, old.at, now_s, domain)
                continue
            self.reload()
            set_bounds(self.num, self._pages[domain.name].at, now_s, domain)

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
                learn_lateness(self.num, page_at, now_s, late_s)
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
            learn_lateness(self.num, page_at, now_s, at_s - permit.not_before_mono_s)
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
        self.cell[page.at + P_REFUSED] += 1
        if any(window.used(now_s) >= NEARLY_FULL * window.amount for window in page.windows):
            widen(self.num, page.at, now_s)
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
        return tuple(use_of(page, self.num, self.cell, now_s) for page in pages)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _take(self, joint: _Joint, now_s: float, tokens: int, spend_now: bool = False, from_s: float = 0.0) -> Grant:
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

    def _keep_cap(self, page: Page, old: Cap, new: Cap, cause: str) -> CapChange | None:
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

    def _join(self, names: tuple[str, ...]) -> _Joint:
        joint = _Joint([self._page(name) for name in dict.fromkeys(names)])
        self._joints[names] = joint
        return joint

    def _page(self, name: str) -> Page:
        page = self._pages.get(name)
        if page is None:
            held = ", ".join(sorted(self._pages)) or "nothing"
            raise RegistryError(f"no domain {name!r} is registered; the windows hold {held}")
        return page

    def _announce_change(self) -> None:
        """Make every other process read the directory before its next decision. First, in case we die on the way."""
        self.cell[H_GENERATION] += 1

    def _read_page(self, at: int) -> Page:
        return read_page(self._bytes, self.num, self.cell, at)

    def _needs_page(self, domain: Domain) -> bool:
        """Return whether the domain's windows do not fit where they are (other windows, or more entries)."""
        page = self._pages.get(domain.name)
        return page is None or not page.has_room_for(domain)

    def _add_page(self, now_s: float, domain: Domain, old: Page | None) -> None:
        cell = self.cell
        at = cell[H_USED]
        cell[H_USED] = at + page_cells(domain)
        lay_page(self._bytes, self.num, cell, at, domain)
        if old is None:
            cell[at + P_NEXT] = cell[H_FIRST]
            cell[H_FIRST] = at
            return
        inherit(now_s, cell, old, self._read_page(at))
        cell[at + P_NEXT] = cell[old.at + P_NEXT]
        cell[self._link_to(old.at)] = at

    def _link_to(self, page_at: int) -> int:
        link = H_FIRST
        while self.cell[link] != page_at:
            link = self.cell[link] + P_NEXT
        return link


def _check(domain: Domain) -> None:
    for limit in domain.limits:
        if limit.amount < 1 or limit.per_s <= 0:
            raise ValueError(f"domain {domain.label!r}: a limit of {limit.amount} per {limit.per_s} s allows nothing")


def _name(page: Page) -> str:
    return page.name
