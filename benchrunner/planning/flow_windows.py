"""Limits for calls that flow instead of being counted one by one: how fast a domain lets them through. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from benchrunner.records import Limit, LimitKind

LONG_WINDOW_S = 5.0
"""Longer windows are followed in `BINS` steps: what a minute's burst took is missing for a minute. A shorter one is a
rate. Its first burst is left out on purpose: it comes back as an echo in every later window, and when the last
dialogues wait that echo out together, what it saved at the start is lost again."""

BINS = 24

_EMPTY = 1e-9


@dataclass(slots=True)
class _Rate:
    """A short window: so much per second."""

    per_s: float

    def allowed_per_s(self, now_s: float) -> float:
        return self.per_s

    def lasts_s(self, now_s: float) -> float:
        return inf

    def pass_through(self, now_s: float, to_s: float, amount: float) -> None:
        """Nothing is kept: a rate has no memory."""


@dataclass(slots=True)
class _Sliding:
    """A long window, in bins of a `BINS`-th of it."""

    amount: float
    bin_s: float
    used: float = 0.0
    bins: deque[list[float]] = field(default_factory=deque)  # [number, amount]

    def _drop(self, now_s: float) -> int:
        number = int(now_s / self.bin_s + 1e-6)
        while self.bins and self.bins[0][0] <= number - BINS:
            self.used -= self.bins.popleft()[1]
        return number

    def allowed_per_s(self, now_s: float) -> float:
        number = self._drop(now_s)
        return max(0.0, self.amount - self.used) / max((number + 1) * self.bin_s - now_s, _EMPTY)

    def lasts_s(self, now_s: float) -> float:
        return max((self._drop(now_s) + 1) * self.bin_s - now_s, _EMPTY)

    def pass_through(self, now_s: float, to_s: float, amount: float) -> None:
        number = self._drop(now_s)
        self.used += amount
        if self.bins and self.bins[-1][0] == number:
            self.bins[-1][1] += amount
        else:
            self.bins.append([float(number), amount])


class FlowDomain:
    """The limits of one domain. Amounts are calls; a token counts as the share of a call it is, per flow."""

    def __init__(self, limits: Sequence[Limit], margin_s: float) -> None:
        """Take the domain's limits; `margin_s` is what sends are spaced with beyond each window."""
        self._windows: list[tuple[bool, _Rate | _Sliding]] = []
        for one in limits:
            window: _Rate | _Sliding
            if one.per_s > LONG_WINDOW_S:
                window = _Sliding(float(one.amount), (one.per_s + margin_s) / BINS)
            else:
                window = _Rate(one.amount / (one.per_s + margin_s))
            self._windows.append((one.kind is LimitKind.TOKENS, window))

    @property
    def has_memory(self) -> bool:
        """Return whether what it lets through depends on what it let through."""
        return any(isinstance(window, _Sliding) for _, window in self._windows)

    def allowed_per_s(self, now_s: float, tokens_per_call: float) -> float:
        """Return the calls per second that may leave from now on."""
        return min(
            (
                window.allowed_per_s(now_s) / (tokens_per_call if of_tokens else 1.0)
                for of_tokens, window in self._windows
            ),
            default=inf,
        )

    def lasts_s(self, now_s: float) -> float:
        """Return for how long that stays true; inf: for good."""
        return min((window.lasts_s(now_s) for _, window in self._windows), default=inf)

    def pass_through(self, now_s: float, to_s: float, calls: float, tokens: float) -> None:
        """Count what leaves between the two instants."""
        for of_tokens, window in self._windows:
            window.pass_through(now_s, to_s, tokens if of_tokens else calls)
