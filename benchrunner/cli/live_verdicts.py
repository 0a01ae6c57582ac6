"""What the end of one live call means, and what to do about it, in words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchrunner.engine.live_check import Found, Unsent
from benchrunner.providers.chat import chat_url
from benchrunner.records import CallResult, DomainUse, Outcome
from benchrunner.reporting.wording import counted, duration_text

_NO_SUCH_MODEL = re.compile(
    r"DeploymentNotFound|model_?not_?found|model.{0,80}?(?:not exist|not found|not supported)", re.IGNORECASE
)
_NO_SECURE_LINE = frozenset({"tls_certificate", "tls"})
_NO_LINE = frozenset({"dns", "refused", "connect_timeout", "proxy", "connection"})
_BROKEN_LINE = {
    "disconnected": "closed the connection without an answer",
    "reset": "broke the connection off before the answer was whole",
    "torn_body": "broke its answer off in the middle",
    "body_too_large": "sent more than a chat reply can be",
}
# What Python, OpenSSL and the HTTP library say is told in words of ours; these are the parts worth repeating.
_WHY_UNTRUSTED = re.compile(r"certificate verify failed: ([^(]*[^( ])")
_WHY_NO_LINE = re.compile(r"\[Errno -?\d+\] ([A-Za-z][^'\")]*)")
_NOT_TLS = re.compile(r"WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|HTTP_REQUEST|PACKET_LENGTH_TOO_LONG", re.IGNORECASE)
_UNFINISHED = {
    "handshake_timeout": "the TLS handshake",
    "tunnel_timeout": "the tunnel through the proxy, or the TLS handshake in it,",
}
_NO_SUCH_PLACE = frozenset({404, 405, 410, 501})
"""What servers say of a path, or of a POST to it, that they do not serve. A 501 is no passing trouble."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a call's end is called, and what it means for whoever asked."""

    status: str  # one or two words
    means: str
    todo: str  # "" where there is nothing to do
    fine: bool = False


def verdict_on(found: Found, variables: Mapping[str, str], secrets_in: str) -> Verdict:
    """Return what the end of one call means, and what to do."""
    key_id, provider = found.probe.key.key_id, found.probe.provider.name
    result = found.result
    if result is None:
        return _unsent(found, key_id, provider)
    match result.outcome:
        case Outcome.OK | Outcome.TRUNCATED:
            return Verdict(status="ok", means=_served_by(found, result), todo="", fine=True)
        case Outcome.EMPTY:
            return Verdict(
                status="ok, no text",
                means="it answered, but without text in the few tokens it was given",
                todo="nothing, unless trials end as empty_reply",
                fine=True,
            )
        case Outcome.RATE_LIMITED:
            return _throttled(found, result)
        case Outcome.AUTH:
            return _refused_key(result, key_id, provider, variables.get(key_id, "its variable"), secrets_in)
        case Outcome.QUOTA:
            return Verdict(
                status="no quota",
                means=f"{provider} knows {key_id}, but its quota is used up",
                todo="raise the quota or wait for its reset; a run parks such a key and goes on with the others",
            )
        case Outcome.BAD_REQUEST:
            return _bad_request(found, result, provider)
        case Outcome.TRANSIENT:
            return _transient(found, result, provider)


def _served_by(found: Found, result: CallResult) -> str:
    served = result.reply.served_model if result.reply is not None else ""
    asked = (found.probe.model.name.casefold(), found.probe.deployment.casefold())
    # A version behind the name is how a service says which build it is; another name is another model.
    if not served or any(served.casefold().startswith(name) or name.startswith(served.casefold()) for name in asked):
        return ""
    return f"the reply calls itself {served}: see that this is the model you mean"


def _unsent(found: Found, key_id: str, provider: str) -> Verdict:
    if found.unsent is Unsent.HELD:
        return Verdict(
            status="held",
            means=f"{key_id} serves another run now: {found.note}",
            todo="check again when that run has ended; `benchrunner keys` shows it",
        )
    if found.unsent is Unsent.NO_ROOM:
        return Verdict(
            status="no room",
            means=f"nothing was sent: within --timeout its limits allowed no call ({_no_room(found.uses)})",
            todo="`benchrunner keys` shows what fills them; check again later, or with a longer --timeout",
        )
    return Verdict(
        status="no answer",
        means=f"nothing was heard in time; most likely the address of {provider} cannot be looked up",
        todo=f"see base_url of [providers.{provider}] and this machine's network",
    )


def _no_room(uses: Sequence[DomainUse]) -> str:
    paused = [
        f"{use.label} is paused for {duration_text(use.paused_for_s)} more" for use in uses if use.paused_for_s > 0
    ]
    crowded = [f"{counted(use.waiting, 'call')} before it in line for {use.label}" for use in uses if use.waiting]
    return "; ".join(paused or crowded) or "other calls of this machine fill its windows"


def _throttled(found: Found, result: CallResult) -> Verdict:
    probe = found.probe
    if result.scope == "model":
        whose = f"{probe.model.name} for the whole account {probe.key.account}"
        where = f"[[providers.{probe.provider.name}.limits]] with this model"
    else:
        whose, where = probe.key.key_id, f"the limits of {probe.key.key_id}"
    wait = "" if result.retry_after_s is None else f" and asks to wait {duration_text(result.retry_after_s)}"
    return Verdict(
        status="throttled",
        means=f"the key is accepted, but {probe.provider.name} throttles {whose}{wait}",
        todo=f"check again after the pause; where it comes back, lower {where} in phases.toml",
    )


def _refused_key(result: CallResult, key_id: str, provider: str, variable: str, secrets_in: str) -> Verdict:
    if result.provider_code == "unsendable_secret":
        return Verdict(
            status="bad key",
            means=f"nothing was sent: the secret of {key_id} holds characters that no HTTP header can carry",
            todo=f"correct {variable} {secrets_in}: no blanks, line ends or quotes belong to it",
        )
    if result.http_status == 403:
        return Verdict(
            status="forbidden",
            means=f"{provider} does not let {key_id} do this; a run would retire the key",
            todo=f"give the key the right to use this model at {provider}, or correct {variable} {secrets_in}",
        )
    return Verdict(
        status="bad key",
        means=f"{provider} does not accept the secret of {key_id}; a run would retire the key",
        todo=f"correct {variable} {secrets_in}",
    )


def _bad_request(found: Found, result: CallResult, provider: str) -> Verdict:
    said = f"{result.provider_code} {result.detail}"
    if result.provider_code == "tls_certificate":
        why = _WHY_UNTRUSTED.search(result.detail)
        return Verdict(
            status="no TLS",
            means=f"the certificate of {provider} is not trusted on this machine{f': {why[1]}' if why else ''}",
            todo=f"see base_url of [providers.{provider}]; for an own authority set REQUESTS_CA_BUNDLE to its file",
        )
    # Before the plain 404: with a wrong path nothing is said about models.
    if _NO_SUCH_MODEL.search(said):
        return Verdict(
            status="no model",
            means=f"{provider} does not serve {found.probe.deployment} to {found.probe.key.key_id}",
            todo=f'correct the name or `deployments` of [models."{found.probe.model.name}"], or leave the model out',
        )
    if result.provider_code == "invalid_url":
        return Verdict(
            status="no address",
            means=f"base_url of {provider} is no address that can be called",
            todo=f"correct base_url of [providers.{provider}]: https://HOST/v1, up to and without /chat/completions",
        )
    if result.http_status in _NO_SUCH_PLACE or 300 <= (result.http_status or 0) < 400:
        return _no_chat(found, "not found", model_in_doubt=result.http_status == 404)
    return Verdict(
        status="refused",
        means=f"{provider} refuses a plain request to this model; trials on it would be invalid",
        todo="read its own words; most often the model's name or its kind of API is another",
    )


def _transient(found: Found, result: CallResult, provider: str) -> Verdict:
    code = result.provider_code
    if code in _NO_SECURE_LINE:
        not_tls = _NOT_TLS.search(result.detail)
        return _no_secure_line(found, ": what listens there does not speak TLS" if not_tls else "")
    if unfinished := _UNFINISHED.get(code):
        waited = duration_text(result.latency_s)
        return _no_secure_line(found, f": a connection was taken, but {unfinished} did not end within {waited}")
    if code in _NO_LINE:
        return _no_line(found, result, provider)
    if code == "read_timeout":
        return Verdict(
            status="no answer",
            means=f"{provider} took the call and did not answer in {duration_text(result.latency_s)}",
            todo="check again with a longer --timeout; a model that is always so slow needs a larger timeout_s",
        )
    if code in _BROKEN_LINE:
        return Verdict(
            status="broken off",
            means=f"{provider}, or something before it, {_BROKEN_LINE[code]}",
            todo="check again; a run tries such calls again by itself",
        )
    if result.http_status is not None and result.http_status < 300 and result.reply is None:
        return _no_chat(found, "no API")
    if result.http_status in _NO_SUCH_PLACE:
        return _no_chat(found, "not found")
    if result.reply is not None:
        return Verdict(
            status="cut",
            means="the reply was cut after fewer tokens than were asked for",
            todo=f"ask {provider} what cuts replies of {found.probe.deployment}; a run tries such calls again",
        )
    return Verdict(
        status="in trouble",
        means=f"{provider} is there but in trouble (HTTP {result.http_status})",
        todo="check again; a run tries such calls again by itself",
    )


def _no_chat(found: Found, status: str, *, model_in_doubt: bool = False) -> Verdict:
    """Return what it means that what answers is no chat service: where the call went, and which part of it is ours.

    `model_in_doubt`: a chat service would say the same of a model that it does not know.
    """
    provider = found.probe.provider
    base_url = f"base_url of [providers.{provider.name}]"
    if provider.kind == "azure":
        todo = f"see host and port of {base_url}, written up to and without /openai, and api_version"
    elif urlsplit(provider.base_url).path.strip("/"):
        todo = f"see host, port and path of {base_url}: it is written up to and without /chat/completions"
    else:
        todo = f"see {base_url}: it has no path, and most services want one before /chat/completions, such as /v1"
    means = f"there is no chat service at {_called(found)}"
    if model_in_doubt:
        means, todo = f"{means}, or no such model", f"{todo}; then the model's name"
    return Verdict(status=status, means=means, todo=todo)


def _called(found: Found) -> str:
    """Return where the call went, without a user name, and for all deployments of a provider alike."""
    url = urlsplit(chat_url(found.probe.provider, "..."))
    return f"{url.scheme}://{_address(found)}{url.path}"


def _no_secure_line(found: Found, why: str) -> Verdict:
    provider = found.probe.provider.name
    return Verdict(
        status="no TLS",
        means=f"no secure connection to {provider} at {_address(found)} came about{why}",
        todo=f"see whether base_url of [providers.{provider}] is http or https, its port, and any proxy in between",
    )


def _no_line(found: Found, result: CallResult, provider: str) -> Verdict:
    """Return what it means that no connection came about: one sentence, and the place to look at first."""
    address, base_url = _address(found), f"base_url of [providers.{provider}]"
    network = "this machine's network, and HTTPS_PROXY / NO_PROXY"
    match result.provider_code:
        case "dns":
            why = f"the host name {_host(found)} is not known here"
            todo = f"correct {base_url}; if it is right, see {network}"
        case "refused":
            why = f"{address} refused it, nothing listens there"
            todo = f"start what should listen, or correct {base_url}"
        case "connect_timeout":
            why = f"{address} did not take it within {duration_text(result.latency_s)}"
            todo = f"see whether {base_url} is right and no firewall is in between; then {network}"
        case "proxy":
            why, todo = "the proxy in between did not pass it on", "see HTTPS_PROXY and NO_PROXY of this shell"
        case _:
            said = _WHY_NO_LINE.search(result.detail)
            why, todo = said[1].strip().lower() if said else "the network gave none", f"see {base_url}, {network}"
    return Verdict(status="unreachable", means=f"no connection to {provider}: {why}", todo=todo)


def _address(found: Found) -> str:
    """Return host and port of the provider, without a user name that may stand before them."""
    return urlsplit(found.probe.provider.base_url).netloc.rpartition("@")[2]


def _host(found: Found) -> str:
    return urlsplit(found.probe.provider.base_url).hostname or ""
