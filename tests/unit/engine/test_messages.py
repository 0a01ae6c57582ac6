"""What crosses the pipe comes out as it went in, or as a ProtocolError: never as a half-made message."""

from __future__ import annotations

import pickle
from typing import Any

import orjson
import pytest

from benchrunner.engine import messages as ms
from benchrunner.records import (
    Condition,
    Domain,
    Key,
    Lease,
    Level,
    Limit,
    LimitKind,
    ModelEntry,
    Outcome,
    Provider,
    Task,
    Trial,
    TrialStatus,
)
from benchrunner.testing import make_score

LIMIT = Limit(kind=LimitKind.REQUESTS, amount=10, per_s=1.0)
BEGIN = ms.Begin(
    run_id="r1",
    lease=Lease(key_id="key0", model="m", shard_id="s0", holder="r1/s0/w000", fence=7),
    provider=Provider(name="ideallab", kind="openai", base_url="http://127.0.0.1:1/v1"),
    key=Key(
        key_id="key0",
        provider="ideallab",
        account="ideallab",
        secret="sk-very-secret",
        fingerprint="ab12",
        limits=(LIMIT,),
    ),
    model=ModelEntry(name="m", provider="ideallab", key_id="key0", deployments=("m-1", "m-2"), limits=()),
    domains=(Domain(name="d", label="key0", provider="ideallab", limits=(LIMIT,)),),
    windows_path="windows.bin",
    pace_qps=2.0,
    max_tries=5,
    patience_s=300.0,
    trial_timeout_s=600.0,
    suite="workflow",
    tasks_file="",
)
ORDER = ms.Order(
    trial=Trial(
        trial_id="s0-t00",
        shard_id="s0",
        condition=Condition(model="m", prompt="optimal", difficulty="medium", tool_success_rate=0.8),
        task_id="t",
        task_type="basic_task",
        instance=0,
        seed=2**63,
    ),
    task=Task(task_id="t", task_type="basic_task", difficulty="medium", body='{"text": "Grüße, 你好 \\ud83d\\ude00"}'),
)
SCORED = ms.TrialEnded(
    trial_id="s0-t00", status=TrialStatus.SCORED, score=make_score(Level.PARTIAL), cause="", detail="", turns=4
)
STOP = ms.Stop(now=True)


def packet_of(name: str, fields: Any) -> bytes:
    return orjson.dumps([[name, fields]])


def fields_of(message: ms.Message) -> dict[str, Any]:
    [[_, fields]] = orjson.loads(ms.encode([message]))
    assert isinstance(fields, dict)
    return fields


def test_packet_keeps_its_messages_in_order() -> None:
    """One packet carries many messages, of many kinds, and gives them back equal and in order."""
    # Given messages with records inside records, tuples, enums and nothing at all
    messages: list[ms.Message] = [BEGIN, ORDER, ORDER, SCORED, ms.Recorded(refs=(3, 1, 2)), ms.Recorded(refs=()), STOP]
    # When they cross
    # Then they are the same
    assert messages == ms.decode(ms.encode(messages))
    assert ms.decode(ms.encode([])) == []


def test_decoded_values_are_of_their_own_types() -> None:
    """An enum comes back as the enum and a tuple as a tuple: equality with text or list is not enough."""
    # Given a scored trial and a setup, as they come out of a packet
    ended, begin = ms.decode(ms.encode([SCORED, BEGIN]))
    # Then what was an enum or a tuple is one again, at every depth
    assert isinstance(ended, ms.TrialEnded)
    assert (TrialStatus, Level) == (type(ended.status), type(ended.score.level if ended.score else None))
    assert isinstance(begin, ms.Begin)
    assert (LimitKind, tuple) == (type(begin.key.limits[0].kind), type(begin.model.deployments))


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x00",
        b"\xff\xfe",
        b"null",
        b"5",
        b'"Stop"',
        b"{}x",
        b'{"Stop": {"now": true}}',
        b"[5]",
        b"[null]",
        b'["Stop"]',
        b'[["Stop"]]',
        b'[["Stop", {"now": true}, 1]]',
        b'[["Stop", null]]',
        b'[["Stop", [["now", true]]]]',
        b'[["Stop", "now"]]',
        b'[[["Stop"], {"now": true}]]',
        b'[[{}, {"now": true}]]',
        b'[["stop", {"now": true}]]',
        b'[["Message", {}]]',
        b'[["Recorded", {"refs": "123"}]]',
        b'[["Recorded", {"refs": {"1": 2}}]]',
        b'[["Recorded", {"refs": 5}]]',
        b'[["Recorded", {"refs": null}]]',
        b"[" * 5000 + b"]" * 5000,
    ],
)
def test_what_is_no_packet_is_a_protocol_error(packet: bytes) -> None:
    """Garbage of any shape is refused with one kind of error, which survives a pickle."""
    # Given bytes that are no packet
    # When they are decoded
    with pytest.raises(ms.ProtocolError) as caught:
        ms.decode(packet)
    # Then the refusal can cross a process border
    assert str(caught.value) == str(pickle.loads(pickle.dumps(caught.value)))


def test_torn_packet_is_a_protocol_error_wherever_it_is_torn() -> None:
    """No beginning of a packet passes for a packet."""
    # Given a packet
    packet = ms.encode([SCORED, STOP])
    # When it is cut at any byte
    for length in range(len(packet)):
        # Then it is refused
        with pytest.raises(ms.ProtocolError):
            ms.decode(packet[:length])


@pytest.mark.parametrize("message", [BEGIN, ORDER, SCORED, STOP], ids=lambda message: type(message).__name__)
def test_missing_and_extra_fields_are_refused(message: ms.Message) -> None:
    """A message of another version of the program is refused whole."""
    # Given a message's fields
    fields = fields_of(message)
    name = type(message).__name__
    # When any one is missing, or one more is there
    for missing in fields:
        with pytest.raises(ms.ProtocolError):
            ms.decode(packet_of(name, {key: value for key, value in fields.items() if key != missing}))
    with pytest.raises(ms.ProtocolError):
        ms.decode(packet_of(name, {**fields, "colour": "red"}))
    # Then it is refused, while the fields as they are still pass
    assert [message] == ms.decode(packet_of(name, fields))


@pytest.mark.parametrize(
    ("message", "field", "value"),
    [
        (BEGIN, "lease", None),
        (BEGIN, "lease", {"key_id": "key0"}),
        (BEGIN, "provider", "ideallab"),
        (BEGIN, "domains", [{"name": "d"}]),
        (BEGIN, "domains", {}),
        (BEGIN, "key", []),
        (ORDER, "trial", None),
        (ORDER, "task", 5),
        (SCORED, "status", "finished"),
        (SCORED, "status", None),
        (SCORED, "status", ["scored"]),
        (SCORED, "score", {"level": "full"}),
        (SCORED, "score", "full"),
        (ms.KeyRefused(kind=Outcome.AUTH, detail="", park_s=1.0), "kind", "unknown"),
    ],
)
def test_wrong_record_inside_a_message_is_refused(message: ms.Message, field: str, value: object) -> None:
    """A record, an enum or a list that is not what its field says is refused, however deep it sits."""
    # Given a message with one field that is something else
    fields = {**fields_of(message), field: value}
    # When it is decoded
    # Then it is refused
    with pytest.raises(ms.ProtocolError):
        ms.decode(packet_of(type(message).__name__, fields))


def test_one_bad_message_refuses_its_whole_packet() -> None:
    """Nobody acts on half a packet."""
    # Given a packet whose second message is unknown
    packet = orjson.dumps([["Stop", {"now": True}], ["Dance", {}]])
    # When it is decoded
    # Then nothing comes out of it
    with pytest.raises(ms.ProtocolError):
        ms.decode(packet)


def test_refusal_of_a_packet_never_shows_a_secret() -> None:
    """The error's text may land in a log: a torn setup must not put the key's secret there."""
    # Given a setup with the shortest of names, torn or with a stranger in it
    fields = {**fields_of(BEGIN), "run_id": ""}
    torn = packet_of("Begin", fields)[:-1]
    strange = packet_of("Begin", {**fields, "colour": "red"})
    for packet in (torn, strange):
        # When it is refused
        with pytest.raises(ms.ProtocolError) as caught:
            ms.decode(packet)
        # Then the text says what and how long, and not the secret
        assert "sk-very-secret" not in str(caught.value)
        assert f"{len(packet)} bytes" in str(caught.value)


def test_setup_does_not_print_its_secret() -> None:
    """A setup that is logged or shown in a traceback hides the key's secret; the packet carries it."""
    # Given a worker's setup
    # Then its text has no secret, and the other side gets it all the same
    assert "sk-very-secret" not in repr(BEGIN)
    [there] = ms.decode(ms.encode([BEGIN]))
    assert isinstance(there, ms.Begin)
    assert there.key.secret == "sk-very-secret"
