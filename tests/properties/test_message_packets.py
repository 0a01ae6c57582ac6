"""Any message crosses the pipe unchanged; any bytes either are a packet or a ProtocolError."""

from __future__ import annotations

import contextlib
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import orjson
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchrunner.engine import messages as ms

KINDS: tuple[type, ...] = get_args(ms.Message)

PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(st.characters(codec="utf-8"), max_size=20),
    float: st.floats(allow_nan=False, allow_infinity=False),
    int: st.integers(-(2**63), 2**64 - 1),
    bool: st.booleans(),
    NoneType: st.none(),
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Any value a field of this type can have."""
    if hint in PLAIN:
        return PLAIN[hint]
    if get_origin(hint) is UnionType:
        return st.one_of([values(arm) for arm in get_args(hint)])
    if get_origin(hint) is tuple:
        return st.lists(values(get_args(hint)[0]), max_size=3).map(tuple)
    if issubclass(hint, StrEnum):
        return st.sampled_from(list(hint))
    return st.builds(hint, **{name: values(inner) for name, inner in get_type_hints(hint).items()})


messages = st.one_of([values(kind) for kind in KINDS])
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), PLAIN[float], st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(sent=st.lists(messages, max_size=4))
def test_every_message_survives_its_packet(sent: list[ms.Message]) -> None:
    """What is decoded equals what was encoded, of every kind and with every value a field can have."""
    # Given any messages
    # When they cross
    received = ms.decode(ms.encode(sent))
    # Then they are equal, and of the same types all the way down
    assert sent == received
    assert repr(sent) == repr(received)


@given(packet=st.binary(max_size=80))
@example(packet=b'[["Stop",{"now":true}]]')
def test_any_bytes_are_a_packet_or_a_protocol_error(packet: bytes) -> None:
    """Decoding raises ProtocolError and nothing else."""
    # Given any bytes
    # When they are decoded
    # Then a list of messages comes out, or a ProtocolError
    with contextlib.suppress(ms.ProtocolError):
        assert all(isinstance(message, KINDS) for message in ms.decode(packet))


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from([kind.__name__ for kind in KINDS]), data=st.data())
def test_known_name_with_any_fields_is_a_message_or_a_protocol_error(name: str, data: st.DataObject) -> None:
    """Right field names with any JSON in them never raise anything but ProtocolError."""
    # Given a known message whose fields hold anything
    kind = next(kind for kind in KINDS if kind.__name__ == name)
    fields = data.draw(st.fixed_dictionaries(dict.fromkeys(get_type_hints(kind), json_values)))
    # When it is decoded
    # Then a message of that kind comes out, or a ProtocolError
    with contextlib.suppress(ms.ProtocolError):
        [message] = ms.decode(orjson.dumps([[name, fields]]))
        assert isinstance(message, kind)


@given(sent=messages, cut=st.integers(1, 10**6))
def test_no_beginning_of_a_packet_is_a_packet(sent: ms.Message, cut: int) -> None:
    """A torn write is noticed."""
    # Given the beginning of a packet
    packet = ms.encode([sent])
    torn = packet[: -(1 + cut % len(packet))]
    # When it is decoded
    try:
        read = ms.decode(torn)
    except ms.ProtocolError:
        read = None
    # Then nothing is read from it
    assert read is None
