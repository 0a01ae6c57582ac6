"""What lets a call leave: permits from shared windows, or a shard's own pace."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from benchrunner.clock import Clock
from benchrunner.engine.calls import LEAD_S, HandBack, Pass
from benchrunner.limits.local import Windows
from benchrunner.records import Domain, Permit

PROMPT_S = 0.001
"""A request that is on its way this soon after its permit was spent needs no correction."""

LONGEST_NAP_S = 1.0
"""A waiting call asks this often for an earlier instant: a pause taken back, or tokens that were estimated and not
used, are not slept through.
"""

THROTTLE_PAUSE_S = 1.0
"""How long a throttle without a hint holds its domain back. Refusals cluster: a second after one, the next try is
refused with a chance of 0.64-0.73 (field-facts, section 3). Longer is not needed: the domain's learned cap spaces what
follows, up to half a minute apart when nothing gets through.
"""


class PermitGate:
    """Permits from the machine-wide windows of a key and its (account, model)."""

    def __init__(self, windows: Windows, domains: Sequence[Domain], clock: Clock) -> None:
        """`domains`: the key's first, then the (account, model)'s. Shared by a worker's threads."""
        self._windows, self._clock = windows, clock
        self._names = tuple(domain.name for domain in domains)
        self._labels = {"key": domains[0], "model": domains[-1]}

    def wait(self, tokens: int, prepare: Callable[[], None], stopped: Callable[[float], bool]) -> Pass:
        """Return at the instant of a spent permit."""
        windows, clock = self._windows, self._clock
        began_s = clock.now_s()
        permit = windows.reserve(self._names, tokens)
        try:
            while True:
                ahead_s = permit.not_before_mono_s - clock.now_s()
                if ahead_s > LEAD_S:
                    nap_s = ahead_s - LEAD_S
                    if stopped(min(nap_s, LONGEST_NAP_S)):
                        raise HandBack
                    if nap_s > LONGEST_NAP_S:
                        permit = windows.hasten(permit)
                    continue
                if stopped(0.0):
                    raise HandBack
                prepare()
                ahead_s = permit.not_before_mono_s - clock.now_s()
                clock.sleep_s(ahead_s)
                if stopped(0.0):  # its key may be another model's since
                    raise HandBack
                # Lateness that `prepare` caused says nothing about how exactly this machine wakes and sends.
                permit, may_send = windows.spend(permit, learn_drift=ahead_s > 0)
                if may_send:
                    sent_s = permit.not_before_mono_s
                    return Pass(wait_s=sent_s - began_s, sent_mono_s=sent_s, permit=permit)
        except BaseException:
            windows.give_back(permit)
            raise

    def departed(self, granted: Pass, at_mono_s: float) -> None:
        """Count the call from its departure: the provider counts arrivals, and a thread may lose the processor."""
        if at_mono_s - granted.sent_mono_s > PROMPT_S and isinstance(granted.permit, Permit):
            granted.permit = self._windows.depart(granted.permit, at_mono_s)
        granted.sent_mono_s = at_mono_s

    def settle(self, granted: Pass, tokens: int) -> None:
        """Correct the token windows."""
        if isinstance(granted.permit, Permit):
            self._windows.settle(granted.permit, tokens)

    def throttled(self, granted: Pass, scope: str, for_s: float) -> str:
        """Pause the domain for the provider's hint, or a second, and cut its cap."""
        domain = self._labels.get(scope, self._labels["key"])
        # The pause first: what leaves between the two calls would be refused, and cut the cap once more.
        self._windows.pause(domain.name, for_s or THROTTLE_PAUSE_S)
        change = self._windows.note_refusal(domain.name, granted.sent_mono_s)
        if change is not None:
            granted.cap_changes = (change,)
        return domain.label

    def succeeded(self, granted: Pass) -> None:
        """Let the caps of the call's domains grow."""
        if isinstance(granted.permit, Permit):
            granted.cap_changes = self._windows.note_answer(granted.permit)


class PaceGate:
    """A shard's own even pace, as under `native`: it asks nobody and knows of nobody."""

    def __init__(self, pace_qps: float, clock: Clock) -> None:
        """Send at most `pace_qps` requests per second from this shard."""
        self._interval_s, self._clock = 1.0 / pace_qps, clock
        self._lock = threading.Lock()  # keeps any two sends of this shard at least an interval apart
        self._next_s = 0.0
        self._held_until_s = 0.0

    def wait(self, tokens: int, prepare: Callable[[], None], stopped: Callable[[float], bool]) -> Pass:
        """Return when the shard's pace allows."""
        began_s = self._clock.now_s()
        at_s = self._take_turn()
        while True:
            ahead_s = at_s - self._clock.now_s()
            if ahead_s > LEAD_S:
                if stopped(min(ahead_s - LEAD_S, LONGEST_NAP_S)):
                    raise HandBack
                continue
            if stopped(0.0):
                raise HandBack
            prepare()
            self._clock.sleep_s(at_s - self._clock.now_s())
            if stopped(0.0):
                raise HandBack
            sent_s = self._clock.now_s()
            if max(at_s, sent_s) >= self._held_until_s:
                return Pass(wait_s=sent_s - began_s, sent_mono_s=sent_s)
            at_s = self._take_turn()  # the hold came after its turn was given out

    def _take_turn(self) -> float:
        with self._lock:
            at_s = max(self._next_s, self._held_until_s, self._clock.now_s())
            self._next_s = at_s + self._interval_s
        return at_s

    def departed(self, granted: Pass, at_mono_s: float) -> None:
        """Nothing is counted here."""
        granted.sent_mono_s = at_mono_s

    def settle(self, granted: Pass, tokens: int) -> None:
        """Nothing is counted here."""

    def throttled(self, granted: Pass, scope: str, for_s: float) -> str:
        """Hold this shard, and only it, for the provider's hint or a second."""
        with self._lock:
            self._held_until_s = max(self._held_until_s, self._clock.now_s() + (for_s or 1.0))
        return ""

    def succeeded(self, granted: Pass) -> None:
        """Nothing is kept here."""
