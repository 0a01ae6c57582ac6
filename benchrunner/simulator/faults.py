"""What the embedded provider does wrong, and when. Pure: the instant of an arrival is all it knows of time.

    arrival ──> key dead? bucket empty? window spent? ──yes──> refused (nothing is counted)
                   │ no
                   └──> the provider itself ──> not 200: passed on, no attempt of this conversation
                                            └─> 200: one attempt more ──> each fault by its share: spoilt or not

Whether an attempt is spoilt follows from the seed, the conversation and how many attempts at it this provider let
through before: not from when it came or what others did. So an attempt that is not spoilt brings the reply it always
would. (A resumed run has another provider, and its sitting makes other draws: `SimulatorPlan.sitting`.)
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from random import Random
from typing import Any, Final

import orjson

from benchrunner.records import InjectedFaults
from benchrunner.simulator.outages import ThrottleBucket, TokenWindow, is_dead
from benchrunner.simulator.plan import SimulatorPlan
from benchrunner.simulator.profiles import SLOWNESS, USUAL_SLOWNESS, faults_of
from benchrunner.simulator.wire import CHARACTERS_PER_TOKEN, Answer, Arrival, Ending, Fault, Handler, error
from benchrunner.suites.workflow.protocol import USE_TAG

HANG_S: Final = 180.0
"""How long a hanging request stays open, at speed 1: past the 150 s that clients wait by default."""

SLOWEST_S: Final = 140.0  # what is slower than clients wait is a hang, and those have a share of their own
CUT_TOKENS: Final = 16
_Z_95: Final = 1.6449
_CLOSING_TAG: Final = f"</{USE_TAG}>"


def make_fault(plan: SimulatorPlan) -> Fault | None:
    """Return what stands before the provider of this plan; None when nothing goes wrong there."""
    by_model = {
        model.name: faults_of(model.name, profile=plan.profile, over=plan.faults) for model in plan.models
    }
    if all(faults == InjectedFaults() for faults in by_model.values()):
        return None
    return FaultyFront(
        by_model, seed=f"{plan.seed}/{plan.sitting}", speed=plan.speed, latency=plan.latency
    )


class FaultyFront:
    """Stands before one embedded provider. Called from one thread, like the service itself."""

    def __init__(
        self, by_model: dict[str, InjectedFaults], *, seed: str, speed: float = 1.0, latency: bool = True
    ) -> None:
        """`speed` divides durations and multiplies rates; without `latency` no reply is slow."""
        self._by_model, self._seed, self._speed, self._latency = by_model, seed, speed, latency
        self._attempts: Counter[tuple[str, bytes]] = Counter()
        self._buckets: dict[tuple[str, str], ThrottleBucket] = {}
        self._windows: dict[tuple[str, str], TokenWindow] = {}
        self._began_s: float | None = None

    def __call__(self, arrival: Arrival, serve: Handler) -> Answer:
        """Return the answer to one request."""
        if self._began_s is None:
            self._began_s = arrival.at_s
        faults = self._by_model[arrival.model]
        now_s = (arrival.at_s - self._began_s) * self._speed  # as it would be at speed 1
        if faults.key_dies is not None and is_dead(faults.key_dies, arrival.key_id, now_s):
            return _named(_INVALID_KEY, "key_dies")
        bucket, window = self._bucket(arrival, faults), self._window(arrival, faults)
        if bucket is not None and bucket.refuses(now_s):
            return _named(_THROTTLED, "throttle_bucket")
        # Not at speed: configured token limits keep their minute and are multiplied instead, and so does this one.
        real_s = arrival.at_s - self._began_s
        if window is not None and (wait_s := window.wait_s(real_s)) > 0.0:
            return _named(_window_spent(window.limit, wait_s), "azure_window")
        answer = serve(arrival)
        if answer.status != 200:
            return answer
        if bucket is not None:
            bucket.take()
        if window is not None:
            window.add(real_s, _total_tokens(answer))
        return self._spoil(arrival, faults, answer)

    def _bucket(self, arrival: Arrival, faults: InjectedFaults) -> ThrottleBucket | None:
        if not faults.throttle_bucket:
            return None
        place = (arrival.account, arrival.model)
        if place not in self._buckets:
            self._buckets[place] = ThrottleBucket(faults.throttle_bucket, seed=f"{self._seed}/{'/'.join(place)}")
        return self._buckets[place]

    def _window(self, arrival: Arrival, faults: InjectedFaults) -> TokenWindow | None:
        if not faults.azure_window:
            return None
        place = (arrival.account, arrival.model)
        if place not in self._windows:
            self._windows[place] = TokenWindow(max(1, int(faults.azure_window * self._speed)))
        return self._windows[place]

    def _spoil(self, arrival: Arrival, faults: InjectedFaults, answer: Answer) -> Answer:
        conversation = _conversation(arrival)
        self._attempts[arrival.model, conversation] += 1
        attempt = self._attempts[arrival.model, conversation]

        def draw(name: str) -> int:
            key = f"{self._seed}/{arrival.model}/{name}/{attempt}/".encode() + conversation
            return int.from_bytes(blake2b(key, digest_size=8).digest(), "big")

        def hits(name: str) -> bool:
            share: float | None = getattr(faults, name)
            return share is not None and draw(name) < share * 2.0**64

        if self._latency and hits("slow"):
            answer = _named(replace(answer, delay_s=self._slow_s(arrival.model, draw("slowness"))), "slow")
        if hits("hang"):
            return _named(replace(answer, delay_s=HANG_S / self._speed, ending=Ending.CLOSE), "hang")
        for name, instead in _INSTEAD_OF_REPLY.items():
            if hits(name):
                return _named(instead(answer), name)
        for name, change in _CHANGED_REPLY.items():
            if hits(name):
                changed = change(answer)
                answer = answer if changed is answer else _named(changed, name)
        return answer

    def _slow_s(self, model: str, seed: int) -> float:
        slowness = SLOWNESS.get(model, USUAL_SLOWNESS)
        sigma = math.log(slowness.p95_s / slowness.p50_s) / _Z_95
        return min(SLOWEST_S, slowness.p50_s * math.exp(sigma * Random(seed).gauss(0.0, 1.0))) / self._speed


def _named(answer: Answer, name: str) -> Answer:
    return replace(answer, faults=(*answer.faults, name))


def _conversation(arrival: Arrival) -> bytes:
    digest = blake2b(digest_size=12)
    for message in arrival.messages:
        calls = (part for call in message.tool_calls for part in (call.name, call.arguments))
        digest.update("\x1f".join((message.role, message.content, *calls)).encode("utf-8", "replace") + b"\x1e")
    return digest.digest()


# --- refusals -----------------------------------------------------------------------------------------------------

_INVALID_KEY: Final = Answer(
    status=400, body=orjson.dumps({"code": "CE-003", "message": "the API key is invalid", "success": False})
)
_THROTTLED: Final = Answer(
    status=400,
    body=orjson.dumps(
        {
            "error": {
                "code": "MPE-429",
                "message": "the model's provider throttles: "
                + orjson.dumps(
                    {"code": "Throttling.RateQuota", "message": "request rate exceeded, try again later"}
                ).decode(),
            }
        }
    ),
)


def _window_spent(limit: int, wait_s: float) -> Answer:
    said = (
        f"UserByModelByMinuteTokens: more than {limit} tokens within 60 seconds for this user and model; "
        f"please wait {math.ceil(wait_s)} seconds before retrying"
    )
    return replace(error(429, said, kind="tokens", code="RateLimitReached"), status=429)


# --- instead of a reply -------------------------------------------------------------------------------------------


def _page(status: int, title: str) -> Callable[[Answer], Answer]:
    body = f"<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>".encode()

    def instead(answer: Answer) -> Answer:
        return replace(answer, status=status, body=body, content_type=b"text/html; charset=utf-8", headers=())

    return instead


def _unavailable(answer: Answer) -> Answer:
    refusal = error(503, "the service is unavailable for the moment", kind="server_error")
    return replace(answer, status=503, body=refusal.body, headers=())


def _torn(answer: Answer) -> Answer:
    return replace(answer, body=answer.body[: len(answer.body) // 2])


_INSTEAD_OF_REPLY: Final[dict[str, Callable[[Answer], Answer]]] = {
    "reset": lambda answer: replace(answer, ending=Ending.RESET),
    "bad_gateway": _page(502, "502 Bad Gateway"),
    "unavailable": _unavailable,
    "html_200": _page(200, "We will be back soon"),
    "torn_json": _torn,
}


# --- a changed reply ----------------------------------------------------------------------------------------------


def _total_tokens(answer: Answer) -> int:
    total: int = orjson.loads(answer.body)["usage"]["total_tokens"]
    return total


def _rewritten(answer: Answer, *, text: str, finish_reason: str | None = None, tokens: int | None = None) -> Answer:
    """Return the completion with another text; with `tokens` also without its function calls, which come last."""
    document: dict[str, Any] = orjson.loads(answer.body)
    choice, usage = document["choices"][0], document["usage"]
    choice["message"]["content"] = text
    if finish_reason is not None:
        choice["finish_reason"] = finish_reason
    if tokens is not None:
        choice["message"].pop("tool_calls", None)
        usage["completion_tokens"] = tokens
        usage["total_tokens"] = usage["prompt_tokens"] + tokens
    return replace(answer, body=orjson.dumps(document))


def _text(answer: Answer) -> str:
    return str(orjson.loads(answer.body)["choices"][0]["message"]["content"] or "")


def _emptied(answer: Answer) -> Answer:
    return _rewritten(answer, text="", finish_reason="stop", tokens=0)


def _cut(answer: Answer) -> Answer:
    """Return the reply cut at sixteen tokens; one that has hardly more than that, in its middle."""
    written: int = orjson.loads(answer.body)["usage"]["completion_tokens"]
    tokens = max(1, min(CUT_TOKENS, written // 2))
    return _rewritten(
        answer, text=_text(answer)[: tokens * CHARACTERS_PER_TOKEN], finish_reason="length", tokens=tokens
    )


def _stripped(answer: Answer) -> Answer:
    text = _text(answer)
    if _CLOSING_TAG not in text:
        return answer
    return _rewritten(answer, text=text.replace(_CLOSING_TAG, ""))


_CHANGED_REPLY: Final[dict[str, Callable[[Answer], Answer]]] = {
    "strip_closing_tag": _stripped,
    "cut_16": _cut,
    "empty": _emptied,
}
