"""The encodings that SNMP is made of (ITU-T X.690 BER, definite lengths only): bytes from values, values from bytes.

Written here because a read of a meter must cost next to nothing: a general ASN.1 library takes 2 to 4 ms of processor
time for one GET of six values, this a twentieth. What comes from the network is never trusted: whatever is not
well formed ends in `Malformed`, nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

INTEGER, OCTETS, NULL, OID, SEQUENCE = 0x02, 0x04, 0x05, 0x06, 0x30
COUNTER32, GAUGE32, TIMETICKS, COUNTER64 = 0x41, 0x42, 0x43, 0x46
GET, RESPONSE, REPORT = 0xA0, 0xA2, 0xA8  # RFC 3416, section 3
UNSIGNED = (COUNTER32, GAUGE32, TIMETICKS, COUNTER64)
MISSING = (NULL, 0x80, 0x81, 0x82)  # noSuchObject, noSuchInstance, endOfMibView

Value = int | bytes | None
"""A number, a string (an OID as dotted text in bytes), or None: the device has no such object."""


class Malformed(ValueError):
    """These bytes are not what SNMP says they should be."""


@dataclass(frozen=True, slots=True)
class Pdu:
    """One answer: RESPONSE or REPORT, its request's number, what went wrong (RFC 3416: 0 for nothing) and with which
    value (from 1), the names as encoded, the values."""

    kind: int
    request: int
    error: int
    index: int
    names: tuple[bytes, ...]
    values: tuple[Value, ...]


def item(tag: int, content: bytes) -> bytes:
    """`content` with its tag and length in front."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def integer(value: int) -> bytes:
    """A whole number, two's complement, as short as it goes."""
    return item(INTEGER, value.to_bytes((value + (value < 0)).bit_length() // 8 + 1, "big", signed=True))


def oid(text: str) -> bytes:
    """An object identifier, complete. raises: ValueError for anything but numbers with dots between, from 0.0 on."""
    first, second, *rest = (int(part) for part in text.split("."))
    return item(OID, b"".join(_arc(part) for part in (40 * first + second, *rest)))


def get_pdu(request: int, names: Sequence[bytes]) -> bytes:
    """The GET PDU for `names` (as `oid` gives them), RFC 3416 section 4.2.1."""
    wanted = b"".join(item(SEQUENCE, name + b"\x05\x00") for name in names)
    return item(GET, integer(request) + b"\x02\x01\x00\x02\x01\x00" + item(SEQUENCE, wanted))


def take(data: bytes, at: int, tag: int) -> tuple[int, int]:
    """Where the content of the item at `at` starts and ends. raises: Malformed if it is no `tag` or is cut off."""
    found, start, end = _head(data, at)
    if found != tag:
        raise Malformed(f"tag {found:#04x} where {tag:#04x} belongs")
    return start, end


def take_int(data: bytes, at: int) -> tuple[int, int]:
    """The INTEGER at `at`, and where the next item starts. raises: Malformed."""
    start, end = take(data, at, INTEGER)
    return int.from_bytes(data[start:end], "big", signed=True), end


def take_octets(data: bytes, at: int) -> tuple[bytes, int]:
    """The OCTET STRING at `at`, and where the next item starts. raises: Malformed."""
    start, end = take(data, at, OCTETS)
    return data[start:end], end


def take_pdu(data: bytes, at: int) -> Pdu:
    """The RESPONSE or REPORT at `at`. raises: Malformed."""
    kind, start, _ = _head(data, at)
    if kind not in (RESPONSE, REPORT):
        raise Malformed(f"PDU {kind:#04x} where an answer belongs")
    request, at = take_int(data, start)
    error, at = take_int(data, at)
    index, at = take_int(data, at)
    at, end = take(data, at, SEQUENCE)
    names, values = [], []
    while at < end:
        inner, at = take(data, at, SEQUENCE)
        _, _, name_end = _head(data, inner)
        names.append(data[inner:name_end])
        values.append(_value(data, name_end))
    return Pdu(kind, request, error, index, tuple(names), tuple(values))


def dotted(content: bytes) -> str:
    """An object identifier's content as text. raises: Malformed."""
    parts, part = [], 0
    for byte in content:
        part = part << 7 | byte & 0x7F
        if not byte & 0x80:
            parts.append(part)
            part = 0
    if not parts or content[-1] & 0x80:
        raise Malformed("an object identifier that is cut off")
    top = min(parts[0] // 40, 2)
    return ".".join(map(str, (top, parts[0] - 40 * top, *parts[1:])))


def _arc(part: int) -> bytes:
    groups = [part & 0x7F]
    while part := part >> 7:
        groups.append(0x80 | part & 0x7F)
    return bytes(reversed(groups))


def _head(data: bytes, at: int) -> tuple[int, int, int]:
    """Tag, start and end of the item at `at`."""
    try:
        tag, size = data[at], data[at + 1]
    except IndexError:
        raise Malformed("cut off") from None
    at += 2
    if size >= 0x80:
        count = size & 0x7F
        if not 1 <= count <= 4:
            raise Malformed("a length that no SNMP message has")
        size = int.from_bytes(data[at : at + count], "big")
        at += count
    if at + size > len(data):
        raise Malformed("cut off")
    return tag, at, at + size


def _value(data: bytes, at: int) -> Value:
    tag, start, end = _head(data, at)
    if tag in UNSIGNED:
        return int.from_bytes(data[start:end], "big")  # some agents leave out the leading zero of a large one
    if tag == INTEGER:
        return int.from_bytes(data[start:end], "big", signed=True)
    if tag in MISSING:
        return None
    return dotted(data[start:end]).encode() if tag == OID else data[start:end]
