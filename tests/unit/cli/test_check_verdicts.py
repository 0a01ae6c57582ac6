"""What `check --live` plans to call, and what it makes of each end of a call."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from benchrunner.cli.live_check import CheckedCall, limits_text, live_parts, report_of
from benchrunner.cli.live_verdicts import verdict_on
from benchrunner.engine.live_check import Found, Probe, Unsent, calls_per_key, lanes_of, longest_s, plan_probes
from benchrunner.records import CallResult, ChatReply, DomainUse, Key, ModelEntry, Outcome, Provider
from benchrunner.reporting.console import console_for
from benchrunner.reporting.tables import show
from benchrunner.testing import make_result

LAB = Provider(name="lab", kind="openai", base_url="https://lab.example/v1")
CLOUD = Provider(name="cloud", kind="azure", base_url="https://cloud.example", api_version="v")
VARIABLES = {"key0": "LAB_KEY_0", "key1": "LAB_KEY_1"}


def key(key_id: str, provider: Provider = LAB, slots: int = 1) -> Key:
    return Key(
        key_id=key_id, provider=provider.name, account=provider.name, secret=f"sk-{key_id}", fingerprint=key_id,
        limits=(), slots=slots,
    )  # fmt: skip


def model(name: str, provider: Provider = LAB, deployments: tuple[str, ...] = ()) -> ModelEntry:
    return ModelEntry(
        name=name, provider=provider.name, key_id="key0", deployments=deployments or (name,), limits=()
    )


def found(result: CallResult | None, *, key_id: str = "key0", unsent: Unsent | None = None, note: str = "") -> Found:
    probe = Probe(provider=LAB, key=key(key_id), model=model("m1"), deployment="m1")
    return Found(probe=probe, result=result, unsent=unsent, note=note, wait_s=0.0, headers=())


# --- the calls ------------------------------------------------------------------------------------------------------


def test_every_key_calls_every_deployment_of_its_provider_once() -> None:
    """A model of another provider is none of its business; a model with two deployments is two calls."""
    keys = [key("key0"), key("key1"), key("far", CLOUD, slots=0)]
    models = [model("m1"), model("m2"), model("big", CLOUD, ("big-1", "big-2"))]
    probes = plan_probes([LAB, CLOUD], keys, models)
    assert [(probe.key.key_id, probe.deployment) for probe in probes] == [
        ("key0", "m1"), ("key0", "m2"), ("key1", "m1"), ("key1", "m2"), ("far", "big-1"), ("far", "big-2"),
    ]  # fmt: skip
    assert calls_per_key(probes) == {"key0": 2, "key1": 2, "far": 2}


@pytest.mark.parametrize(
    ("slots", "expected"),
    [
        (1, [["m1", "m2-a", "m2-b", "m3"]]),
        (2, [["m1", "m3"], ["m2-a", "m2-b"]]),
        (0, [["m1"], ["m2-a", "m2-b"], ["m3"]]),
    ],
)
def test_a_key_never_serves_more_models_at_once_than_it_has_slots(slots: int, expected: list[list[str]]) -> None:
    """One lane a slot, a model's deployments in one of them; a key without a bound has a few."""
    models = [model("m1"), model("m2", deployments=("m2-a", "m2-b")), model("m3")]
    lanes = lanes_of(plan_probes([LAB], [key("key0", slots=slots)], models))
    assert [[probe.deployment for probe in lane] for lane in lanes] == expected


def test_the_bound_is_that_of_the_longest_lane() -> None:
    """Keys are served side by side; on one key the calls follow each other."""
    models = [model("m1"), model("m2"), model("m3")]
    assert longest_s(plan_probes([LAB], [key("key0"), key("key1", slots=0)], models), 10.0) == 30.0
    assert longest_s(plan_probes([LAB], [key("key1", slots=0)], models), 10.0) == 10.0
    assert longest_s((), 10.0) == 0.0


# --- what they come to ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "status", "word"),
    [
        (make_result(), "ok", ""),
        (make_result(Outcome.TRUNCATED), "ok", ""),
        (make_result(Outcome.EMPTY), "ok, no text", "empty_reply"),
        (make_result(Outcome.AUTH, http_status=400, provider_code="CE-003"), "bad key", "correct LAB_KEY_0"),
        (make_result(Outcome.AUTH, http_status=403), "forbidden", "the right to use this model"),
        (make_result(Outcome.QUOTA, http_status=429), "no quota", "raise the quota"),
        (make_result(Outcome.RATE_LIMITED, retry_after_s=42.0), "throttled", "the limits of key0"),
        (make_result(Outcome.RATE_LIMITED, scope="model"), "throttled", "[[providers.lab.limits]]"),
        (make_result(Outcome.BAD_REQUEST, http_status=404, provider_code="DeploymentNotFound"), "no model", '"m1"'),
        (make_result(Outcome.BAD_REQUEST, http_status=400, detail="Model not exist."), "no model", "deployments"),
        (make_result(Outcome.BAD_REQUEST, http_status=404, provider_code="html"), "not found", "[providers.lab]"),
        (make_result(Outcome.BAD_REQUEST, http_status=404, provider_code="html"), "not found", "then the model's name"),
        (make_result(Outcome.BAD_REQUEST, http_status=405), "not found", "without /chat/completions"),
        (make_result(Outcome.BAD_REQUEST, http_status=410), "not found", "without /chat/completions"),
        (make_result(Outcome.TRANSIENT, http_status=501), "not found", "without /chat/completions"),
        (make_result(Outcome.BAD_REQUEST, http_status=301), "not found", "base_url"),
        (make_result(Outcome.BAD_REQUEST, http_status=422), "refused", "its own words"),
        (make_result(Outcome.BAD_REQUEST, provider_code="tls_certificate"), "no TLS", "REQUESTS_CA_BUNDLE"),
        (make_result(Outcome.TRANSIENT, provider_code="tls"), "no TLS", "http or https"),
        (make_result(Outcome.TRANSIENT, provider_code="dns"), "unreachable", "this machine's network"),
        (make_result(Outcome.TRANSIENT, provider_code="refused"), "unreachable", "base_url"),
        (make_result(Outcome.TRANSIENT, provider_code="connect_timeout"), "unreachable", "firewall"),
        (make_result(Outcome.TRANSIENT, provider_code="proxy"), "unreachable", "HTTPS_PROXY"),
        (make_result(Outcome.TRANSIENT, provider_code="connection"), "unreachable", "[providers.lab]"),
        (make_result(Outcome.BAD_REQUEST, provider_code="invalid_url"), "no address", "https://HOST/v1"),
        (make_result(Outcome.AUTH, provider_code="unsendable_secret"), "bad key", "LAB_KEY_0 in keys.env: no blanks"),
        (make_result(Outcome.TRANSIENT, provider_code="read_timeout"), "no answer", "--timeout"),
        (make_result(Outcome.TRANSIENT, provider_code="reset"), "broken off", "check again"),
        (make_result(Outcome.TRANSIENT, provider_code="html", http_status=200), "no API", "/chat/completions"),
        (make_result(Outcome.TRANSIENT, http_status=503), "in trouble", "check again"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_end_of_a_call_has_a_name_and_a_next_step(result: CallResult, status: str, word: str) -> None:
    """Only an answer is fine; all else says what to do, in words that name the place to do it in."""
    verdict = verdict_on(found(result), VARIABLES, "in keys.env")
    assert verdict.status == status
    assert word in verdict.todo
    assert verdict.fine == (result.outcome in (Outcome.OK, Outcome.TRUNCATED, Outcome.EMPTY))
    assert verdict.fine or (verdict.means != "" and verdict.todo != "")


RAW = "HTTPSConnectionPool(host='lab.example', port=443): Max retries exceeded with url: /v1 (Caused by "


@pytest.mark.parametrize(
    ("code", "detail", "means"),
    [
        (
            "refused",
            f"{RAW}NewConnectionError('Failed to establish a new connection: [Errno 111] Connection refused'))",
            "no connection to lab: lab.example refused it, nothing listens there",
        ),
        (
            "dns",
            f"{RAW}NameResolutionError(\"Failed to resolve 'lab.example' ([Errno -2] Name or service not known)\"))",
            "no connection to lab: the host name lab.example is not known here",
        ),
        (
            "connect_timeout",
            f"{RAW}ConnectTimeoutError('Connection to lab.example timed out. (connect timeout=4.0)'))",
            "no connection to lab: lab.example did not take it within 1 s",
        ),
        (
            "connection",
            f"{RAW}NewConnectionError('Failed to establish a new connection: [Errno 101] Network is unreachable'))",
            "no connection to lab: network is unreachable",
        ),
        ("connection", "connection: ", "no connection to lab: the network gave none"),
        (
            "tls",
            f"{RAW}SSLError(SSLError(1, '[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)')))",
            "no secure connection to lab at lab.example came about: what listens there does not speak TLS",
        ),
        ("tls", f"{RAW}SSLEOFError(8, 'EOF occurred'))", "no secure connection to lab at lab.example came about"),
        (
            "handshake_timeout",
            f"{RAW}HandshakeTimeoutError('no TLS handshake in time'))",
            "no secure connection to lab at lab.example came about: a connection was taken, but the TLS handshake did "
            "not end within 1 s",
        ),
        (
            "tunnel_timeout",
            "TunnelTimeoutError('neither tunnel nor TLS handshake in time')",
            "no secure connection to lab at lab.example came about: a connection was taken, but the tunnel through the "
            "proxy, or the TLS handshake in it, did not end within 1 s",
        ),
        (
            "disconnected",
            "RemoteDisconnected('Remote end closed connection without response')",
            "lab, or something before it, closed the connection without an answer",
        ),
    ],
)
def test_what_the_http_library_says_is_put_in_one_plain_sentence(
    code: str, detail: str, means: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its own words stay in --json; people are told what happened, where, and what to do."""
    # Given a call that got no response
    result = make_result(Outcome.TRANSIENT, provider_code=code, detail=detail, http_status=None, latency_s=1.0)
    report = report_of([found(result)], VARIABLES, "")
    # When it is shown
    show(console_for(sys.stdout, width=200), live_parts(report))
    # Then
    told = capsys.readouterr().out
    assert report.checked[0].means == means
    assert f"  means: {means}\n" in told
    assert "said:" not in told
    assert report.checked[0].said == detail


@pytest.mark.parametrize(
    ("provider", "means", "todo"),
    [
        (
            LAB,
            "there is no chat service at https://lab.example/v1/chat/completions",
            "see host, port and path of base_url of [providers.lab]: it is written up to and without /chat/completions",
        ),
        (
            replace(LAB, base_url="http://lab.example:8000"),
            "there is no chat service at http://lab.example:8000/chat/completions",
            "see base_url of [providers.lab]: it has no path, and most services want one before /chat/completions, "
            "such as /v1",
        ),
        (
            replace(CLOUD, base_url="https://user:pass@cloud.example"),
            "there is no chat service at https://cloud.example/openai/deployments/.../chat/completions",
            "see host and port of base_url of [providers.cloud], written up to and without /openai, and api_version",
        ),
    ],
    ids=["openai", "no path", "azure"],
)
@pytest.mark.parametrize("http_status", [405, 501])
def test_an_address_without_a_chat_service_is_told_with_the_part_of_it_to_look_at(
    provider: Provider, means: str, todo: str, http_status: int
) -> None:
    """A web server that takes no POST: the whole address called, without a user name, and what of it is configured."""
    # Given what a web server says of a path it does not serve; no trouble that passes, whatever its number
    outcome = Outcome.TRANSIENT if http_status == 501 else Outcome.BAD_REQUEST
    end = found(make_result(outcome, http_status=http_status, detail="Unsupported method ('POST')"))
    # When the verdict is spoken
    verdict = verdict_on(replace(end, probe=replace(end.probe, provider=provider)), VARIABLES, "")
    # Then
    assert (verdict.status, verdict.means, verdict.todo) == ("not found", means, todo)


def test_a_wrong_address_is_one_remark_for_all_deployments(capsys: pytest.CaptureFixture[str]) -> None:
    """Two deployments that are not found at one Azure address: the address is told once."""
    # Given
    lost = found(make_result(Outcome.BAD_REQUEST, http_status=404, detail="Resource not found"))
    ends = [replace(lost, probe=replace(lost.probe, provider=CLOUD, deployment=name)) for name in ("big-1", "big-2")]
    # When
    show(console_for(sys.stdout, width=200), live_parts(report_of(ends, VARIABLES, "")))
    # Then
    told = capsys.readouterr().out
    assert "not found: key0 with all 2\n" in told
    assert told.count("  means: ") == 1


def test_why_a_certificate_is_not_trusted_is_told() -> None:
    """OpenSSL's reason, without what stands around it."""
    detail = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:1006)"
    result = make_result(Outcome.BAD_REQUEST, provider_code="tls_certificate", detail=detail, http_status=None)
    means = "the certificate of lab is not trusted on this machine: self-signed certificate"
    assert verdict_on(found(result), VARIABLES, "").means == means


def test_the_providers_own_words_are_shown_and_a_user_name_in_its_address_is_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What a response says helps; what stands before the @ may be a secret."""
    # Given a refusal with words, and an address with a password that nobody listens at
    refusal = make_result(Outcome.BAD_REQUEST, http_status=422, detail="HTTP 422: temperature is fixed")
    gone = make_result(Outcome.TRANSIENT, provider_code="refused", detail="refused", http_status=None)
    there = replace(LAB, base_url="https://user:pass@lab.example:8443/v1")
    # When both are shown
    ends = [found(refusal), replace(found(gone), probe=replace(found(None).probe, provider=there))]
    show(console_for(sys.stdout, width=200), live_parts(report_of(ends, VARIABLES, "")))
    # Then
    told = capsys.readouterr().out
    assert "  said:  HTTP 422: temperature is fixed\n" in told
    assert "no connection to lab: lab.example:8443 refused it" in told
    assert "pass" not in told


@pytest.mark.parametrize(
    ("paused_for_s", "waiting", "why"),
    [
        (3725.0, 4, "key0 is paused for 1 h 02 min more"),
        (2.0, 0, "key0 is paused for 2 s more"),
        (0.0, 1, "1 call before it in line for key0"),
        (0.0, 0, "other calls of this machine fill its windows"),
    ],
)
def test_why_there_was_no_room_is_told(paused_for_s: float, waiting: int, why: str) -> None:
    """A pause before a queue, in the words every duration is put in."""
    use = DomainUse(
        name="lab/key0", label="key0", provider="lab", windows=(), waiting=waiting, paused_for_s=paused_for_s,
        margin_s=0.0, granted=0,
    )  # fmt: skip
    end = replace(found(None, unsent=Unsent.NO_ROOM), uses=(use,))
    means = f"nothing was sent: within --timeout its limits allowed no call ({why})"
    assert verdict_on(end, VARIABLES, "").means == means


@pytest.mark.parametrize(
    ("served", "pointed_out"), [("", False), ("m1-2024-07-18", False), ("M1", False), ("another-7b", True)]
)
def test_a_reply_from_another_model_is_pointed_out(served: str, pointed_out: bool) -> None:
    """A version behind the name is the same model; a gateway that quietly serves another one is told."""
    result = replace(make_result(), reply=ChatReply(text="OK", finish_reason="stop", served_model=served))
    assert (verdict_on(found(result), VARIABLES, "").means != "") == pointed_out


REFUSED = make_result(Outcome.AUTH, http_status=401)
BROKE = make_result(Outcome.QUOTA, http_status=429)


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ([found(make_result()), found(make_result(), key_id="key1")], 0),
        ([found(make_result()), found(REFUSED, key_id="key1")], 1),
        ([found(REFUSED), found(BROKE, key_id="key1")], 3),
        ([found(REFUSED), found(make_result(Outcome.TRANSIENT, http_status=503), key_id="key1")], 1),
        ([found(make_result()), found(None, unsent=Unsent.HELD, note="run r1", key_id="key1")], 75),
        ([found(REFUSED), found(None, unsent=Unsent.HELD, note="run r1", key_id="key1")], 1),
        ([found(None, unsent=Unsent.NO_ROOM)], 1),
        ([found(None, unsent=Unsent.TIMED_OUT)], 1),
    ],
    ids=["all fine", "one bad", "none usable", "bad and down", "held", "bad and held", "no room", "silence"],
)
def test_the_exit_code_is_that_of_the_worst(ends: list[Found], code: int) -> None:
    """0 all fine; 3 no usable key; 75 when only held keys are missing; else 1."""
    assert report_of(ends, VARIABLES, "").exit_code == code


def test_limit_headers_are_told_in_few_words() -> None:
    """What is left of what, then whatever else was said."""
    told = {
        "x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-remaining-tokens": "900", "x-ratelimit-reset-tokens": "6ms", "retry-after": "2",
    }  # fmt: skip
    assert limits_text(told) == "59/60 requests left, 900/? tokens left, reset-tokens 6ms, retry-after 2"
    assert limits_text({}) == ""


def test_a_remark_is_made_once_for_all_it_is_about(capsys: pytest.CaptureFixture[str]) -> None:
    """Fifteen calls with one bad key are one remark, not five."""
    # Given a bad key with two models beside a good one
    bad = [replace(found(REFUSED), probe=replace(found(None).probe, deployment=name)) for name in ("m1", "m2")]
    report = report_of([*bad, found(make_result(), key_id="key1")], VARIABLES, "in keys.env")
    # When it is shown
    show(console_for(sys.stdout, width=100), live_parts(report))
    # Then
    said = capsys.readouterr().out
    assert "1 of 3 calls were answered as they should" in said
    assert "bad key: key0 with all 2\n" in said
    assert said.count("correct LAB_KEY_0 in keys.env") == 1
    assert all(isinstance(call, CheckedCall) for call in report.checked)
