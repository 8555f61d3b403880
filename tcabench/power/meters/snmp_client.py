"""SNMP GETs over UDP, sent again when nothing comes back: v2c (RFC 1901) and v3, in the thread that asks.

A general library (pysnmp 7.1) takes 2 to 4 ms of processor time for one GET of six values, so that four meters would
cost more than the whole sampler may; this takes 0.05 ms (v2c) to 0.25 ms (v3, encrypted). The tests hold it against
two engines that others wrote.
"""

import secrets
import socket
import time
from collections.abc import Sequence
from typing import Any, Protocol

from tcabench.errors import MeterError
from tcabench.power.meters.snmp_ber import (
    RESPONSE,
    SEQUENCE,
    Malformed,
    Pdu,
    Value,
    get_pdu,
    integer,
    item,
    oid,
    take,
    take_int,
    take_octets,
    take_pdu,
)

TRIES = 4  # of one GET within its time: with 30 % of the packets lost, 99 % of the readings come
EXCHANGES = 4  # who are you; the GET; the device's time was another one; the GET again
NO_ACCESS = "this user or community may not see that: compare its view and security level with the device's settings"
ERRORS = {1: "the answer would be too big for it", 5: "it failed", 6: NO_ACCESS, 16: NO_ACCESS}  # RFC 3416, section 3
SILENT_AFTER_HELLO = (
    "says who it is, but then does not answer: most likely the secret behind priv_env/priv_file, or priv= itself, is "
    "another (what it cannot decipher it drops)"
)
USM_STATS = "1.3.6.1.6.3.15.1.1."
AGAIN = (oid(f"{USM_STATS}2.0"), oid(f"{USM_STATS}4.0"))  # usmStatsNotInTimeWindows, usmStatsUnknownEngineIDs
REFUSED = {
    oid(f"{USM_STATS}1.0"): "this user may not ask at this security level: compare auth= and priv= with the device's",
    oid(f"{USM_STATS}3.0"): "it has no such user",
    oid(f"{USM_STATS}5.0"): "the digest is wrong: the secret behind auth_env/auth_file, or auth= itself, is another",
    oid(f"{USM_STATS}6.0"): "it cannot decipher: the secret behind priv_env/priv_file, or priv= itself, is another",
}
"""What the reports of RFC 3414, section 5, mean."""


class Talk(Protocol):
    """How requests and answers are put into messages."""

    def request(self, number: int, names: tuple[bytes, ...]) -> bytes:
        """A message that asks for `names`; answers carry `number`."""
        ...

    def answer(self, data: bytes, number: int) -> Pdu:
        """What a message answers to `number`. raises: Malformed if it does not."""
        ...

    def forget(self) -> None:
        """A GET failed: the device may not be what it was."""
        ...


class CommunityTalk:
    """SNMPv2c: the community in plain text, no security (RFC 1901)."""

    def __init__(self, community: str) -> None:
        self._head = integer(1) + item(0x04, community.encode())

    def request(self, number: int, names: tuple[bytes, ...]) -> bytes:
        return item(SEQUENCE, self._head + get_pdu(number, names))

    def answer(self, data: bytes, number: int) -> Pdu:
        at, _ = take(data, 0, SEQUENCE)
        version, at = take_int(data, at)
        _, at = take_octets(data, at)
        pdu = take_pdu(data, at)
        if version != 1 or pdu.request != number or pdu.kind != RESPONSE:
            raise Malformed("an answer to another question")
        return pdu

    def forget(self) -> None:
        """There is nothing that it knew."""


class SnmpClient:
    """One device. `silence` is what to look for when it does not answer."""

    def __init__(self, host: str, port: int, talk: Talk, silence: str) -> None:
        self.who, self._host, self._port, self._talk, self._silence = f"snmp {host}:{port}", host, port, talk, silence
        self._socket: socket.socket | None = None
        self._found: tuple[Any, ...] | None = None
        self._number, self._odd = secrets.randbits(30), ""

    def get(self, names: Sequence[str], timeout_s: float) -> list[Value]:
        """The values of `names`, in their order, None for what the device does not have.

        raises: MeterError of kind meter-unreachable, meter-auth, meter-protocol or meter-read; the next one may work.
        """
        return self.get_encoded(tuple(oid(name) for name in names), timeout_s)

    def get_encoded(self, names: tuple[bytes, ...], timeout_s: float) -> list[Value]:
        """As `get`, for names that `oid` has encoded once and for all."""
        try:
            return self._get(names, time.monotonic() + timeout_s, timeout_s / TRIES)
        except OSError as err:
            self.close()
            raise MeterError(f"{self.who}: {_network(err)}", "meter-unreachable") from err
        except MeterError as err:
            if err.kind != "meter-unreachable" or self._odd:  # who was merely not heard is still the same
                self._talk.forget()
            raise

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _get(self, names: tuple[bytes, ...], until_s: float, again_s: float) -> list[Value]:
        for done in range(EXCHANGES):
            pdu = self._exchange(names, until_s, again_s)
            if pdu is None and done:
                raise MeterError(f"{self.who} {SILENT_AFTER_HELLO}", "meter-auth")
            if pdu is None:
                raise MeterError(f"{self.who} does not answer.{self._odd} {self._silence}", "meter-unreachable")
            if pdu.kind == RESPONSE:
                return self._values(names, pdu)
            reason = pdu.names[0] if pdu.names else b""
            if reason not in AGAIN:
                why = REFUSED.get(reason, "it reports what no SNMPv3 user-based security reports")
                raise MeterError(f"{self.who} refuses: {why}", "meter-auth")
        raise MeterError(f"{self.who}: no agreement about its time or its name; reboot it?", "meter-protocol")

    def _exchange(self, names: tuple[bytes, ...], until_s: float, again_s: float) -> Pdu | None:
        """The first sound answer to this request, sent up to TRIES times; None when there is none in time. What comes
        late from an earlier request has another number and is passed over."""
        self._number = (self._number + 1) & 0x7FFFFFFF
        message, line = self._talk.request(self._number, names), self._connected()
        send_s, self._odd = time.monotonic(), ""
        while (now_s := time.monotonic()) < until_s:
            if now_s >= send_s:
                line.send(message)
                send_s = now_s + again_s
            line.settimeout(max(0.001, min(send_s, until_s) - now_s))
            try:
                return self._talk.answer(line.recv(65535), self._number)
            except TimeoutError:
                continue
            except Malformed as err:
                self._odd = f" What did come was passed over: {err}."
        return None

    def _values(self, names: tuple[bytes, ...], pdu: Pdu) -> list[Value]:
        if pdu.error:
            why = ERRORS.get(pdu.error, "RFC 3416, section 3, says which")
            kind = "meter-auth" if why == NO_ACCESS else "meter-read"
            raise MeterError(
                f"{self.who} answers with error {pdu.error} (at value {pdu.index} of {len(names)}): {why}", kind
            )
        if pdu.names != names:
            raise MeterError(f"{self.who} answers with other objects than those asked for", "meter-protocol")
        return list(pdu.values)

    def _connected(self) -> socket.socket:
        """A socket that only this device can answer to, so that a dead port is heard of at once. The name is looked up
        once: a name server that hangs must not hold up a reading."""
        if self._found is None:
            self._found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)[0]
        if self._socket is None:
            family, kind, _, _, address = self._found
            self._socket = socket.socket(family, kind)
            self._socket.connect(address)
        return self._socket


def _network(err: OSError) -> str:
    if isinstance(err, ConnectionRefusedError):
        return "nothing listens on that UDP port; switch SNMP on in the device, or name its port (snmp://host:PORT)"
    if isinstance(err, socket.gaierror):
        return f"there is no such host: {err.strerror}"
    return f"out of reach: {err.strerror or err}"
