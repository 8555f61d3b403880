"""SNMPv2c GETs (RFC 1901, RFC 3416) in pysnmp's packets over a UDP socket of our own, sent again when none comes back.

pysnmp's engine, which SNMPv3 needs, takes twice the processor time for each of them: at a reading a second, two
fifths of all that the sampler may cost.
"""

import random
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from tcabench.errors import MeterError
from tcabench.power.meters.snmp_answer import TRIES, Value, found, network, passed_over, values_of

VERSION = 1  # SNMPv2c, as it is numbered in its messages
MARK = b"Z<\x96\xe1"  # stands for a question's number; no text has these bytes in UTF-8
NUMBERS = range(1 << 24, 1 << 31)  # those of four bytes
LAST = range(1 << 31)  # what the status and the index of an error may be (RFC 3416, section 3)
LONGEST_BYTES = 65_535
INTEGER, OID, RECORD, RESPONSE = 0x02, 0x06, 0x30, 0xA2  # first bytes (X.690; RFC 3416, section 3)


class PlainClient:
    """One device. `silence` is what to look for when it does not answer."""

    def __init__(self, host: str, port: int, community: bytes, silence: str) -> None:
        self.who, self._host, self._port, self._community, self._silence = (
            f"snmp {host}:{port}", host, port, community, silence,
        )  # fmt: skip
        self._socket: socket.socket | None = None
        self._at: tuple[socket.AddressFamily, Any] | None = None
        self._questions: dict[tuple[str, ...], tuple[bytes, bytes]] = {}
        self._odd = ""

    def get(self, names: Sequence[str], timeout_s: float) -> list[Value]:
        """The values of `names`, in their order, None for what the device does not have.

        raises: MeterError of kind meter-unreachable, meter-auth, meter-protocol or meter-read; the next one may work.
        """
        self._odd = ""
        asked, began_s = set(), time.monotonic()
        with self._network_in_words():
            for turn in range(1, TRIES + 1):
                asked.add(self._ask(tuple(names)))
                if (answer := self._answer(asked, began_s + timeout_s * turn / TRIES)) is not None:
                    return values_of(self.who, names, *answer)
        raise MeterError(f"{self.who} does not answer.{self._odd} {self._silence}", "meter-unreachable")

    def close(self) -> None:
        """A second call does nothing."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @contextmanager
    def _network_in_words(self) -> Iterator[None]:
        """A port at which nothing listens may be told at once, or not at all: both are silence."""
        try:
            yield
        except ConnectionRefusedError:
            pass
        except OSError as err:
            self.close()
            raise MeterError(f"{self.who}: {network(err)}", "meter-unreachable") from err

    def _opened(self) -> socket.socket:
        """Connected, so that nobody else's packets come in. The name is looked up once: a name server that hangs must
        not hold up a reading."""
        if self._socket is None:
            self._at = self._at or found(self._host, self._port)
            self._socket = socket.socket(self._at[0], socket.SOCK_DGRAM)
            self._socket.connect(self._at[1])
        return self._socket

    def _ask(self, names: tuple[str, ...]) -> int:
        """Send the question under a number of its own, which is given back."""
        if names not in self._questions:
            self._questions[names] = self._question(names)
        before, after = self._questions[names]
        number = random.choice(NUMBERS)
        self._opened().send(before + number.to_bytes(4, "big") + after)
        return number

    def _question(self, names: Sequence[str]) -> tuple[bytes, bytes]:
        """The message as it is sent, up to its number and from there on. raises: MeterError."""
        from pyasn1.codec.ber import encoder
        from pyasn1.error import PyAsn1Error
        from pysnmp.error import PySnmpError
        from pysnmp.proto.api import v2c

        pdu, message = v2c.GetRequestPDU(), v2c.Message()
        try:
            v2c.apiPDU.set_defaults(pdu)
            v2c.apiPDU.set_request_id(pdu, int.from_bytes(MARK, "big"))
            v2c.apiPDU.set_varbinds(pdu, [(name, v2c.null) for name in names])
            v2c.apiMessage.set_defaults(message)
            v2c.apiMessage.set_community(message, self._community)
            v2c.apiMessage.set_pdu(message, pdu)
            before, _, after = encoder.encode(message).partition(MARK)
        except (PyAsn1Error, PySnmpError) as err:  # its words hold the whole message: the community
            why = f"the map has an OID that SNMP has no room for, most likely ({type(err).__name__})"
            raise MeterError(f"{self.who} cannot be asked: {why}", "meter-protocol") from None
        return before, after

    def _answer(self, asked: set[int], until_s: float) -> tuple[int, int, list[tuple[Any, Any]]] | None:
        """Error, its place and the objects of the answer to one of `asked`; None when none comes in time."""
        line = self._opened()
        while (left_s := until_s - time.monotonic()) > 0:
            line.settimeout(left_s)
            try:
                heard = self._heard(line.recv(LONGEST_BYTES))
            except TimeoutError:
                break
            if heard is not None and heard[0] in asked:
                return heard[1:]
        return None

    def _heard(self, data: bytes) -> tuple[int, int, int, list[tuple[Any, Any]]] | None:
        """Number, error, its place and the objects of the response in a packet; None when there is none."""
        from pyasn1.codec.ber import decoder

        kinds = _kinds()
        try:
            version, _, pdu = _parts(data, RECORD)
            if _number(version) != VERSION:
                return None
            number, error, index, bound = _parts(pdu, RESPONSE)
            pairs = [_parts(one, RECORD) for one in _parts(bound, RECORD)]
            told = [(_decoded(decoder, name, kinds[OID]), _decoded(decoder, raw, kinds[raw[0]])) for name, raw in pairs]
            return _number(number), LAST.index(_number(error)), LAST.index(_number(index)), told
        except Exception as err:  # noqa: BLE001 - anybody may send anything, and pyasn1 stumbles over some in its own way
            self._odd = passed_over(err)
            return None


def _parts(data: bytes, tag: int) -> list[bytes]:
    """What a sequence under `tag` holds, piece by piece as encoded, in the definite lengths that RFC 3417, section 8,
    asks for. pyasn1 would try each value as all that it may be, for most of the time of a read. raises: ValueError."""
    if data[0] != tag:
        raise ValueError(f"tag {data[0]} in the place of {tag}")
    at, end = _content(data, 0)
    parts = []
    while at < end:
        _, after = _content(data, at)
        parts.append(data[at:after])
        at = after
    if at != end or end != len(data):
        raise ValueError("lengths that do not fit")
    return parts


def _content(data: bytes, at: int) -> tuple[int, int]:
    """Where the content of the piece at `at` begins and ends. raises: ValueError, IndexError."""
    length, begin = data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        length, begin = int.from_bytes(data[begin : begin + count], "big"), begin + count
        if not count:
            raise ValueError("a length that is left open")
    if begin + length > len(data):
        raise ValueError("it is cut off")
    return begin, begin + length


def _number(data: bytes) -> int:
    begin, end = _content(data, 0)
    if data[0] != INTEGER or begin == end:
        raise ValueError("no integer")
    return int.from_bytes(data[begin:end], "big", signed=True)


def _decoded(decoder: Any, data: bytes, kind: Any) -> Any:
    value, rest = decoder.decode(data, asn1Spec=kind)
    if rest:
        raise ValueError("more than one value")
    return value


@cache
def _kinds() -> dict[int, Any]:
    """First byte of a value as it is encoded -> its type."""
    from pyasn1.codec.ber import encoder
    from pysnmp.proto import rfc1905
    from pysnmp.proto.api import v2c

    some = [
        v2c.Integer(0), v2c.OctetString(""), v2c.ObjectIdentifier("1.3"), v2c.IpAddress("0.0.0.0"), v2c.Counter32(0),
        v2c.Gauge32(0), v2c.TimeTicks(0), v2c.Opaque(""), v2c.Counter64(0), v2c.null, rfc1905.noSuchObject,
        rfc1905.noSuchInstance, rfc1905.endOfMibView,
    ]  # fmt: skip
    return {encoder.encode(one)[0]: one.clone() for one in some}
