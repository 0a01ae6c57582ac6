"""The embedded provider itself: who may ask, what fits under every limit, what is answered. No clock, no socket."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, unquote

import orjson

from benchrunner.records import Limit, LimitKind
from benchrunner.simulator.plan import Behaviour, SimulatedKey, SimulatedModelPlan, SimulatorPlan, scaled_limits
from benchrunner.simulator.strict_window import StrictWindow
from benchrunner.simulator.wire import (
    Answer,
    Arrival,
    Ending,
    Fault,
    HttpRequest,
    Refused,
    capped,
    completion,
    count_tokens,
    error,
    read_request,
    throttled,
)

_OPENAI_PATH = "/v1/chat/completions"
_AZURE_PREFIX, _AZURE_SUFFIX = "/openai/deployments/", "/chat/completions"


def _no_such_place(path: str) -> Answer:
    return error(404, f"there is nothing at {path}", kind="invalid_request_error")


class _Domain:
    """The windows of one key, or of one (account, model) pair."""

    def __init__(self, whose: str, code: str, limits: tuple[Limit, ...], speed: float) -> None:
        self.whose, self.code = whose, code
        self.windows = tuple(
            (limit.kind, StrictWindow(amount=limit.amount, per_s=limit.per_s)) for limit in scaled_limits(limits, speed)
        )

    def refusal(self, at_s: float, units: Mapping[LimitKind, int]) -> Answer | None:
        for kind, window in self.windows:
            wait_s = window.wait_s(at_s, units[kind])
            if wait_s > 0.0:
                said = (
                    f"rate limit of {self.whose} exceeded: {window.amount} {kind.value} per {window.per_s:g} seconds; "
                    f"please wait {wait_s:.3f} seconds"
                )
                return throttled(said, kind=kind.value, code=self.code, wait_s=wait_s)
        return None

    def count(self, at_s: float, units: Mapping[LimitKind, int]) -> None:
        for kind, window in self.windows:
            window.add(at_s, units[kind])

    def room_headers(self, at_s: float) -> tuple[tuple[bytes, bytes], ...]:
        headers: list[tuple[bytes, bytes]] = []
        for kind in LimitKind:
            first = next((window for own, window in self.windows if own is kind), None)
            if first is not None:
                left = max(0, first.amount - first.used(at_s))
                headers.append((f"x-ratelimit-limit-{kind.value}".encode(), str(first.amount).encode()))
                headers.append((f"x-ratelimit-remaining-{kind.value}".encode(), str(left).encode()))
        return tuple(headers)


class _KeyCount:
    """What one key was seen to do."""

    def __init__(self) -> None:
        self.accepted = self.refused = self.failed = self.peak_models = 0
        self.in_flight: Counter[str] = Counter()


class SimulatedService:
    """One embedded provider. Called from one thread; `at_s` need not be in order."""

    def __init__(self, plan: SimulatorPlan, behaviours: Mapping[str, Behaviour], *, fault: Fault | None = None) -> None:
        self._plan = plan
        self._behaviours = behaviours
        self._fault = fault
        self._keys: dict[str, SimulatedKey] = {key.secret: key for key in plan.keys}
        self._models: dict[tuple[str, str], SimulatedModelPlan] = {
            (model.provider, deployment): model for model in plan.models for deployment in model.deployments
        }
        self._domains: dict[tuple[str, ...], _Domain] = {}
        self._counts = {key.key_id: _KeyCount() for key in plan.keys}
        self._turned_away: Counter[int] = Counter()  # by status: strangers, unknown models, unreadable bodies
        self._faults: Counter[str] = Counter()  # by name: answers that a fault had a hand in
        self._number = 0

    def answer(self, request: HttpRequest) -> tuple[Answer, Arrival | None]:
        """Return the response, and the call it puts in flight, which `leave` must be told the end of."""
        try:
            if request.method == "GET":
                return self._look(request), None
            arrival = self._arrive(request)
        except Refused as refused:
            self._turned_away[refused.answer.status] += 1
            return refused.answer, None
        answer = self._fault(arrival, self._serve) if self._fault else self._serve(arrival)
        self._faults.update(answer.faults)
        count = self._counts[arrival.key_id]
        if answer.status == 429:
            count.refused += 1
            return answer, None
        if answer.status == 200 and answer.ending is Ending.RESPONSE:
            count.accepted += 1
        else:
            count.failed += 1
        count.in_flight[arrival.model] += 1
        count.peak_models = max(count.peak_models, len(count.in_flight))
        return answer, arrival

    def leave(self, arrival: Arrival) -> None:
        """Take a call out of flight: its response is sent, or its caller gone."""
        in_flight = self._counts[arrival.key_id].in_flight
        in_flight[arrival.model] -= 1
        if not in_flight[arrival.model]:
            del in_flight[arrival.model]

    def _look(self, request: HttpRequest) -> Answer:
        if request.path == "/stats":
            return Answer(status=200, body=orjson.dumps(self.stats()))
        if request.path == "/v1/models":
            key = self._key("openai", request.headers)
            names = [name for provider, name in self._models if provider == key.provider]
            listed = [{"id": name, "object": "model", "owned_by": "simulated"} for name in names]
            return Answer(status=200, body=orjson.dumps({"object": "list", "data": listed}))
        raise Refused(_no_such_place(request.path))

    def _key(self, dialect: str, headers: Mapping[str, str]) -> SimulatedKey:
        if dialect == "azure":
            secret = headers.get("api-key", "")
        else:
            scheme, _, secret = headers.get("authorization", "").partition(" ")
            secret = secret.strip() if scheme.lower() == "bearer" else ""
        key = self._keys.get(secret)
        if key is None:
            said = "the API key is missing or not known here"
            raise Refused(error(401, said, kind="invalid_request_error", code="invalid_api_key"))
        return key

    def _arrive(self, request: HttpRequest) -> Arrival:
        path, headers = request.path, request.headers
        azure = path.startswith(_AZURE_PREFIX) and path.endswith(_AZURE_SUFFIX)
        if not azure and path != _OPENAI_PATH:
            raise Refused(_no_such_place(path))
        if request.method != "POST":
            raise Refused(error(405, f"{request.method} is not allowed here", kind="invalid_request_error"))
        dialect = "azure" if azure else "openai"
        key = self._key(dialect, headers)
        if azure and not parse_qs(request.query).get("api-version"):
            raise Refused(error(404, "api-version is missing", kind="invalid_request_error", code="404"))
        asked = read_request(request.body)
        deployment = asked.deployment
        if azure:
            deployment = unquote(path.removeprefix(_AZURE_PREFIX).removesuffix(_AZURE_SUFFIX))
        model = self._models.get((key.provider, deployment))
        if model is None:
            code = "DeploymentNotFound" if azure else "model_not_found"
            said = f"no model or deployment {deployment!r} for this key"
            raise Refused(error(404, said, kind="invalid_request_error", code=code))
        return Arrival(
            at_s=request.at_s,
            epoch_s=request.epoch_s,
            dialect=dialect,
            key_id=key.key_id,
            account=key.account,
            model=model.name,
            deployment=deployment,
            messages=asked.messages,
            max_tokens=asked.max_tokens,
            tools=asked.tools,
        )

    def _serve(self, arrival: Arrival) -> Answer:
        key_domain, model_domain = self._domains_of(arrival)
        behaviour = self._behaviours[arrival.model]
        prompt_tokens = count_tokens(arrival.messages, arrival.tools)
        reply = capped(behaviour.reply(arrival.messages, arrival.tools), prompt_tokens, arrival.max_tokens)
        # The reply is known on arrival, so its tokens are counted there: the strictest a provider can be.
        units = {
            LimitKind.REQUESTS: 1,
            LimitKind.TOKENS: (reply.prompt_tokens or 0) + (reply.completion_tokens or 0),
        }
        for domain in (key_domain, model_domain):
            refusal = domain.refusal(arrival.at_s, units)
            if refusal is not None:  # nothing was counted: a refused request weighs nothing
                return replace(refusal, headers=refusal.headers + domain.room_headers(arrival.at_s))
        for domain in (key_domain, model_domain):
            domain.count(arrival.at_s, units)
        self._number += 1
        delay_s = behaviour.latency_s(arrival.messages) / self._plan.speed if self._plan.latency else 0.0
        answer = completion(
            replace(reply, served_model=arrival.model),
            number=self._number,
            created_epoch_s=arrival.epoch_s,
            delay_s=delay_s,
        )
        shown = key_domain if key_domain.windows else model_domain
        return replace(answer, headers=shown.room_headers(arrival.at_s))

    def _domains_of(self, arrival: Arrival) -> tuple[_Domain, _Domain]:
        by_key = self._domains.get(("key", arrival.key_id))
        if by_key is None:
            limits = next(key.limits for key in self._plan.keys if key.key_id == arrival.key_id)
            by_key = _Domain(f"key {arrival.key_id}", "rate_limit_exceeded", limits, self._plan.speed)
            self._domains["key", arrival.key_id] = by_key
        place = ("model", arrival.account, arrival.model)
        by_model = self._domains.get(place)
        if by_model is None:
            limits = next(model.limits for model in self._plan.models if model.name == arrival.model)
            whose = f"account {arrival.account} and model {arrival.model}"
            by_model = self._domains[place] = _Domain(whose, "RateLimitReached", limits, self._plan.speed)
        return by_key, by_model

    def stats(self) -> dict[str, Any]:
        """Return the counters of `GET /stats`: per key, domain and fault, and of what was turned away."""
        return {
            "keys": {
                key_id: {
                    "accepted": count.accepted,
                    "refused": count.refused,
                    "failed": count.failed,
                    "in_flight": dict(count.in_flight),
                    "peak_models_in_flight": count.peak_models,
                }
                for key_id, count in self._counts.items()
            },
            "windows": [
                {
                    "domain": "/".join(place),
                    "kind": kind.value,
                    "amount": window.amount,
                    "per_s": window.per_s,
                    "fullest": window.fullest,
                }
                for place, domain in self._domains.items()
                for kind, window in domain.windows
            ],
            "faults": dict(self._faults),
            "turned_away": {str(status): count for status, count in self._turned_away.items()},
        }
