"""One request of a dialogue, from the permit to the reply: waits for limits, sends, and acts on the outcome.

    reserve ──> sleep until shortly before ──> connection open, `sent` row committed ──> sleep to the instant
       ▲                                                                                       │
       └──────────── late, or its domain was paused meanwhile ◄────────────── spend ◄──────────┘
                                                                                │ may send
                                         ok: reply ◄── classify ◄── send ◄──────┘
                                         anything else: the one action of its class (docs/concepts.md)

Runs in the worker's dialogue threads; each call is lent a connection of its own. Knows nothing of trials' content.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from benchrunner.clock import WallClock, utc_text
from benchrunner.engine.messages import Begin, CallEnded, CapMoved, KeyRefused, Message, Sending, Withdrawn
from benchrunner.limits.backoff import backoff_s
from benchrunner.limits.cap import CapChange
from benchrunner.providers.base import ChatProvider
from benchrunner.providers.classify import CUT_SHORT
from benchrunner.records import CallResult, ChatReply, ChatRequest, Outcome

LEAD_S = 0.03
"""How long before its instant a call opens its connection and has its `sent` row committed."""

WARM_FOR_S = 0.5
"""How long an opened connection is taken for open without a look at it."""

RECORD_DEADLINE_S = 120.0
"""How long a call waits for its `sent` row; a database locked that long ends the trial, not the request."""

ROOM_FACTOR = 4
"""A reply cut off by our own cap is asked for once more with this many times the room."""

EMPTY_RETRIES = 3
"""How often an empty reply is asked for again: it costs next to nothing, and seldom comes twice."""

CHARS_PER_TOKEN = 4.0


class TrialLost(Exception):
    """Infrastructure ended the trial; `cause` is what `trials.error_class` will say."""

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(cause, detail)
        self.cause, self.detail = cause, detail


class HandBack(Exception):
    """The worker is to stop: the trial goes back to the queue."""


class Gate(Protocol):
    """What lets calls leave: shared windows under a managed policy, the shard's own pace under `native`."""

    def wait(self, tokens: int, prepare: Callable[[], None], stopped: Callable[[float], bool]) -> Pass:
        """Return once the caller must send at once. `prepare` is called shortly before; `stopped(s)` sleeps `s`
        seconds and says whether the worker is to stop. Raises HandBack then.
        """
        ...

    def departed(self, granted: Pass, at_mono_s: float) -> None:
        """Count the call from when it went to the network, if it was held up on the way there."""
        ...

    def settle(self, granted: Pass, tokens: int) -> None:
        """Correct the estimate to the tokens used."""
        ...

    def throttled(self, granted: Pass, scope: str, for_s: float) -> str:
        """Hold back every call of the domain the provider named, for its hint (0: it gave none) or a while of our own.

        Returns the domain's label.
        """
        ...

    def succeeded(self, granted: Pass) -> None:
        """Note that the provider answered this call: what was learned from throttles is relaxed a little."""
        ...


@dataclass(slots=True)
class Pass:
    """A call that may leave now. `sent_mono_s` is corrected to when it really left."""

    wait_s: float
    sent_mono_s: float
    permit: object = None
    cap_changes: tuple[CapChange, ...] = ()  # what this call's end moved, filled in by `throttled` and `succeeded`


@dataclass(slots=True)
class Patience:
    """What a call has left before its trial is given up."""

    tries: int = 0  # transient failures so far
    throttled_since_s: float | None = None  # when the present row of throttles began
    roomier: bool = False
    empties: int = 0


class Caller:
    """Sends the calls of one dialogue thread."""

    def __init__(
        self,
        *,
        begin: Begin,
        provider: ChatProvider,
        gate: Gate,
        clock: WallClock,
        tell: Callable[[Sequence[Message]], None],
        next_ref: Callable[[], int],
        recorded: Callable[[int, float], bool],
        stopped: Callable[[float], bool],
    ) -> None:
        """`tell` reaches the supervisor in one packet; `recorded(ref, deadline_s)` waits for Recorded; `stopped(s)`
        sleeps `s` seconds or until the worker is to stop at once, and says whether it is.
        """
        self._begin, self._provider, self._gate, self._clock = begin, provider, gate, clock
        self._tell, self._next_ref, self._recorded, self._stopped = tell, next_ref, recorded, stopped
        self._untold: list[Message] = []
        self._completion_tokens = 200.0  # running mean of what this model answers
        self._deployment = 0

    def call(
        self,
        request: ChatRequest,
        *,
        trial_id: str,
        turn: int,
        budget: TimeBudget,
        rng: random.Random,
        leaves: Callable[[bool], None],
    ) -> ChatReply:
        """Return the model's reply to `request`.

        `leaves` is told True when the request has left, False when it must be sent again. Raises TrialLost when
        infrastructure ends the trial, HandBack when the worker is to stop.

        How the last attempt ended is told with what comes next, the trial's end or the next request: see `untold`.
        """
        if self._untold:
            self._tell(self.untold())  # now, not with the request: that may wait long for its permit
        patience = Patience()
        attempt, pause_before_s = 0, 0.0
        while True:
            attempt += 1
            if budget.used_up:  # before the first try too: slow replies use it up just as failures do
                raise TrialLost("api_timeout", f"used {budget.spent_s:.0f} s of provider time")
            leaves(False)
            if self._stopped(pause_before_s):
                raise HandBack
            result = self._attempt(request, trial_id, turn, attempt, pause_before_s, leaves)
            pause_before_s = 0.0
            budget.spend(result.latency_s)
            reply = result.reply
            if result.outcome is not Outcome.RATE_LIMITED:
                patience.throttled_since_s = None
            match result.outcome:
                case Outcome.OK if reply is not None:
                    return reply
                case Outcome.RATE_LIMITED:
                    self._bear_throttle(result, patience)
                case Outcome.TRUNCATED if not patience.roomier:
                    patience.roomier = True
                    room = (request.max_tokens or self._begin.model.max_tokens) * ROOM_FACTOR
                    request = replace(request, max_tokens=room)
                case Outcome.EMPTY if patience.empties < EMPTY_RETRIES:
                    patience.empties += 1
                case Outcome.TRUNCATED:
                    raise TrialLost("truncated_reply", "cut off at our own cap even with more room")
                case Outcome.EMPTY:
                    raise TrialLost("empty_reply", f"the reply was empty {EMPTY_RETRIES + 1} times")
                case Outcome.AUTH | Outcome.QUOTA:
                    park_s = result.retry_after_s if result.retry_after_s is not None else float("inf")
                    # JSON knows no infinity; a century serves.
                    self._say(KeyRefused(kind=result.outcome, detail=result.detail, park_s=min(park_s, 3e9)))
                    raise HandBack
                case Outcome.BAD_REQUEST:
                    raise TrialLost("bad_request", result.detail)
                case _:
                    patience.tries += 1
                    if patience.tries >= self._begin.max_tries or budget.used_up:
                        raise TrialLost(_transient_cause(result), result.detail)
                    pause_before_s = max(backoff_s(patience.tries, rng), result.retry_after_s or 0.0)
                    budget.spend(pause_before_s)

    def untold(self) -> list[Message]:
        """Return what the supervisor has not been told yet; the caller tells it. A packet of its own costs two wakings.
        """
        untold, self._untold = self._untold, []
        return untold

    def _bear_throttle(self, result: CallResult, patience: Patience) -> None:
        now_s = self._clock.now_s()
        since_s = patience.throttled_since_s
        if since_s is None:
            patience.throttled_since_s = since_s = now_s
        if now_s - since_s > self._begin.patience_s:
            raise TrialLost("rate_limit", result.detail)

    def _attempt(
        self,
        request: ChatRequest,
        trial_id: str,
        turn: int,
        attempt: int,
        backoff: float,
        leaves: Callable[[bool], None],
    ) -> CallResult:
        begin = self._begin
        deployment = begin.model.deployments[self._deployment % len(begin.model.deployments)]
        self._deployment += 1
        estimate = round(request.characters / CHARS_PER_TOKEN + self._completion_tokens)
        ref = self._next_ref()
        asked_s = self._clock.now_s()

        announced = False
        warmed_s = -WARM_FOR_S

        def prepare() -> None:
            nonlocal announced, warmed_s
            # A permit taken anew is often due milliseconds later: nothing has happened to the connection by then.
            if self._clock.now_s() - warmed_s >= WARM_FOR_S:
                self._provider.warm()
                warmed_s = self._clock.now_s()
            if announced:
                return
            announced = True
            self._say(
                Sending(
                    ref=ref,
                    trial_id=trial_id,
                    turn=turn,
                    attempt=attempt,
                    deployment=deployment,
                    sent_at=self._clock.utc(),
                    wait_window_s=round(self._clock.now_s() - asked_s, 6),
                    backoff_s=round(backoff, 6),
                )
            )
            if not self._recorded(ref, RECORD_DEADLINE_S):
                raise HandBack

        try:
            granted = self._gate.wait(estimate, prepare, self._stopped)
        except HandBack:
            if announced:
                self._say(Withdrawn(ref=ref))
            raise

        def departed(at_mono_s: float) -> None:
            self._gate.departed(granted, at_mono_s)
            leaves(True)

        result = self._provider.send(
            request,
            model=begin.model,
            deployment=deployment,
            key=begin.key,
            timeout_s=begin.provider.timeout_s,
            departed=departed,
        )
        self._account(granted, result, estimate)
        paused, pause_s = "", 0.0
        if result.outcome is Outcome.RATE_LIMITED:
            pause_s = result.retry_after_s or 0.0
            paused = self._gate.throttled(granted, result.scope, pause_s)
        elif result.outcome is Outcome.OK:
            self._gate.succeeded(granted)
        for change in granted.cap_changes:
            self._untold.append(CapMoved(domain=change.label, detail=change.detail))
        reply = result.reply
        sent_epoch_s = self._clock.epoch_s() - (self._clock.now_s() - granted.sent_mono_s)
        self._untold.append(
            CallEnded(
                ref=ref,
                outcome=result.outcome,
                sent_at=utc_text(sent_epoch_s),
                wait_window_s=round(granted.wait_s, 6),
                backoff_s=round(backoff, 6),
                latency_s=round(result.latency_s, 6),
                http_status=result.http_status,
                provider_code=result.provider_code,
                detail=result.detail,
                prompt_tokens=reply.prompt_tokens if reply else None,
                completion_tokens=reply.completion_tokens if reply else None,
                finish_reason=reply.finish_reason if reply else "",
                retry_after_s=result.retry_after_s,
                paused_domain=paused,
                paused_for_s=pause_s,
            )
        )
        if result.outcome is not Outcome.OK:
            self._tell(self.untold())  # another attempt may be a long way off
        return result

    def _say(self, message: Message) -> None:
        self._tell([*self.untold(), message])

    def _account(self, granted: Pass, result: CallResult, estimate: int) -> None:
        reply = result.reply
        if reply is None or reply.prompt_tokens is None:
            return
        completion = reply.completion_tokens or 0
        self._completion_tokens += 0.1 * (completion - self._completion_tokens)
        if reply.prompt_tokens + completion != estimate:
            self._gate.settle(granted, reply.prompt_tokens + completion)


@dataclass(slots=True)
class TimeBudget:
    """Provider time one trial may use; waiting for limits does not count."""

    limit_s: float
    spent_s: float = 0.0

    def spend(self, seconds: float) -> None:
        """Count `seconds` of latency or backoff."""
        self.spent_s += seconds

    @property
    def used_up(self) -> bool:
        """Return whether the trial has had its time."""
        return self.spent_s >= self.limit_s


def _transient_cause(result: CallResult) -> str:
    if result.provider_code == CUT_SHORT:
        return "truncated_reply"
    # A connection that cannot be opened in time is a network that is not there; only a reply can be too slow.
    return "api_timeout" if result.provider_code == "read_timeout" else "connection"
