"""Learned caps: the rate a domain really bears, found from refusals where the configured limit is wrong or missing.

    cap
     │ limit ─────────────────────────────────────────────────
     │   refused                               ╱ bold
     │      ×┐              ......────''''''' probing a little
     │       │      .──''''' where it was last refused
     │       └── cut
     └─────────┬──────────┬──────────┬───────── calls at this pace
               0      RETURN_CALLS  twice that

After a cut the cap returns quickly to near the level that was refused, lingers there, and only then probes further:
the idea of CUBIC (RFC 9438, section 4.1). Its clock is not time but *calls that left at the cap's own pace*: so the
share of refused calls does not depend on the rate, and a cap that nobody leans on stays where it is. Past the old level
it goes on in a line first, since strangers on the same limit make refusals come early or late by chance, and as a cubic
only half a stretch later, when luck is no longer a likely reason. For the same reason one refusal moves the remembered
level only part of the way.

Time is an argument; the state is a frozen record.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

INF = float("inf")

KEEP = 0.85
"""What one refusal leaves of the cap. CUBIC keeps 0.7 (RFC 9438, section 4.6) because it has a queue to drain as well;
a limit on the rate has none, and what is cut too much is throughput."""

KEEP_REPEATED = 0.6
"""What is left when the level after a cut is refused too, before anything was answered: it was far too high. Seven in a
row go from 1/s to the floor. Also the first cut of a domain whose limit nobody configured: the rate that was sent
there says nothing about what it bears."""

RETURN_CALLS = 42
"""So many calls after a refusal the cap is back where it was refused: 2-4 % are refused at a sharp limit. On the one of
field-facts, section 4, even the best constant rate has 3.8 % refused, using 87 % of what strangers leave; this has
4-5 % at 80-87 % (docs/decisions/learned-caps.md)."""

PROBE_LINE, PROBE_CUBE, BOLD_AFTER = 0.2, 0.6, 1.5
"""How far beyond the refused level, as shares of it: the line after a second stretch of RETURN_CALLS; the cubic a
stretch after it begins, which is after BOLD_AFTER stretches. A limit lifted fourfold is found within some 120 calls."""

TRUST = 0.3
"""How far one refusal moves the remembered level (on a scale of ratios). With strangers it is a noisy measurement: at
the same share of refusals, following it all the way costs 5 % of the throughput."""

CLOSE = 1.3
"""Up to this ratio to the remembered level, or its inverse, a refusal measures the same level again. Beyond it the
limit is another one and the refusal is believed; so is the one after a bold probe, which may have overshot."""

FIRST_GUESS = 4.0
"""After the very first refusal the remembered level is this many times the rate observed: four calls at once, as
workers start, are 4/s to us and may have been too many at once, not too many a second. Too high costs one call."""

CROWD_MOST = 4.0
"""Refusals of one crowd that lengthen the return, each by RETURN_CALLS: where several calls are in flight, all of them
are refused before the first is known, and each is to be paid for. Bounded, since the crowd that met a limit nobody knew
says little about the next."""

FLOOR_PER_S = 1 / 30
"""A cap never falls below one request in half a minute: something must find out when the provider recovers. The longest
windows seen are a minute (field-facts, section 3), so two tries fall into each."""

AT_PACE = 1.25
"""A call left at the cap's pace when it came at most this many spacings after the one before it."""

FORGET_S = 3600.0
"""A domain that was not refused for an hour has no cap: quotas and neighbours change from one run to the next. Even at
the floor an hour holds 120 calls, so a limit that is still there is met before it is forgotten."""

NOISE = 1.25
"""A cap is worth a line when it is this many times what was last said of it, or the inverse. A single cut is less, so
the cuts and returns of a settled cap are not told."""

RATE_SPAN_S = 10.0
"""The rate before a first refusal is what left in the last one or two of these spans: about as long as the field's
burst of five retries (8 s), and short against a window of a minute."""

SHORTEST_SPAN_S = 1.0
"""A burst at the start of everything counts over this long at least: thirty calls in 20 ms are 30/s, not 1,500/s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """What is learned of one domain. Rates are requests per second; inf: nothing is learned."""

    per_s: float = INF  # the cap now
    cut_to_per_s: float = INF  # where the last cut left it
    refused_per_s: float = INF  # the level that was refused before that
    guessed: float = 0.0  # 1: that level may be far too high; the next refusal is believed
    calls: float = 0.0  # that left at the cap's pace since the cut, as of the last answer; 0: none was answered
    calls_before: float = 0.0  # that had left at a pace when it was cut
    crowd: float = 1.0  # refusals of the crowd that made the cut
    cut_at_s: float = 0.0
    told_per_s: float = INF  # what was last said of it

    @property
    def learned(self) -> bool:
        """Return whether there is a cap at all."""
        return self.per_s < INF

    @property
    def spacing_s(self) -> float:
        """Return the least time between two sends; 0.0 without a cap."""
        return 1.0 / self.per_s


NO_CAP = Cap()


@dataclass(frozen=True, slots=True, kw_only=True)
class CapChange:
    """A cap that moved by more than noise."""

    label: str  # the domain's
    before_per_s: float  # inf: there was none
    after_per_s: float  # inf: it was forgotten
    cause: str  # what came before, e.g. "a throttle"

    @property
    def detail(self) -> str:
        """Return what a person reads: ``2.4 -> 1.2 requests/s after a throttle``."""
        if self.after_per_s == INF:
            return f"{_rate_text(self.before_per_s)} requests/s -> no cap after {self.cause}"
        return f"{_rate_text(self.before_per_s)} -> {_rate_text(self.after_per_s)} requests/s after {self.cause}"


def cut_by_throttle(
    cap: Cap, *, now_s: float, sent_s: float, paced: float, observed_per_s: float, limit_per_s: float
) -> Cap:
    """Return the cap after the provider refused a call that left at `sent_s`.

    Calls that were in flight when the cap was last cut tell nothing new: one cut per reaction, as TCP cuts once per
    round trip. `paced` is how many calls ever left at a cap's pace; `observed_per_s` is the rate at which calls left
    just before; `limit_per_s` is the configured one (inf: none is), which a cap never exceeds.
    """
    if cap.learned and sent_s <= cap.cut_at_s:
        return replace(cap, crowd=min(CROWD_MOST, cap.crowd + 1.0))
    if not cap.learned:
        level = min(limit_per_s, observed_per_s)
        refused, guessed = min(limit_per_s, FIRST_GUESS * level), True
        keep = KEEP if limit_per_s < INF else KEEP_REPEATED
    elif cap.calls:
        level, keep = cap.per_s, KEEP
        again = not cap.guessed and 1 / CLOSE < level / cap.refused_per_s < CLOSE
        refused = cap.refused_per_s ** (1 - TRUST) * level**TRUST if again else level
        guessed = level >= CLOSE * cap.refused_per_s
    else:
        # Not one call got through: that says nothing about the level before, which may be right again in a minute.
        level, refused, guessed = cap.per_s, cap.refused_per_s, cap.guessed > 0
        keep = KEEP_REPEATED
    cut_to = _within(keep * level, limit_per_s)
    return replace(
        cap,
        per_s=cut_to,
        cut_to_per_s=cut_to,
        refused_per_s=max(cut_to, refused),
        guessed=float(guessed),
        calls=0.0,
        calls_before=paced,
        crowd=1.0,
        cut_at_s=now_s,
    )


def raise_by_answer(cap: Cap, *, sent_s: float, paced: float, limit_per_s: float) -> Cap:
    """Return the cap after a call that left at `sent_s`, at the cap's own pace, was answered.

    One answer counts every call that left since the cut: refusals come sooner than answers, and would be here by now.
    """
    if not cap.learned or sent_s <= cap.cut_at_s:
        return cap
    calls = max(1.0, paced - cap.calls_before)
    # Never down: a crowd that turned out larger makes the way longer, not the road already covered shorter.
    return replace(cap, calls=calls, per_s=_within(max(cap.per_s, _curve(cap, calls)), limit_per_s))


def clamp(cap: Cap, limit_per_s: float) -> Cap:
    """Return the cap under a configured limit that may have changed."""
    return replace(cap, per_s=_within(cap.per_s, limit_per_s)) if cap.learned else cap


def is_forgotten(cap: Cap, now_s: float) -> bool:
    """Return whether the last refusal is so long ago that there is no cap any more."""
    return cap.learned and now_s - cap.cut_at_s >= FORGET_S


def is_news(cap: Cap) -> bool:
    """Return whether the cap differs from what was last said of it by more than noise."""
    if not cap.learned or cap.told_per_s == INF:
        return cap.learned or cap.told_per_s < INF
    return not 1 / NOISE < cap.per_s / cap.told_per_s < NOISE


def _curve(cap: Cap, calls: float) -> float:
    stretches = calls / (RETURN_CALLS * cap.crowd)
    if stretches <= 1.0:
        return cap.refused_per_s - (cap.refused_per_s - cap.cut_to_per_s) * (1.0 - stretches) ** 3
    bold = max(0.0, stretches - BOLD_AFTER)
    return cap.refused_per_s * (1.0 + PROBE_LINE * (stretches - 1.0) + PROBE_CUBE * bold**3)


def _within(per_s: float, limit_per_s: float) -> float:
    return min(limit_per_s, max(FLOOR_PER_S, per_s))


def _rate_text(per_s: float) -> str:
    return f"{per_s:.3g}" if per_s < INF else "none"
