"""SNMPv3 messages (RFC 3412) and their user-based security (RFC 3414): digests, encryption, the device's time window.

The ciphers and digests are those of `cryptography` and of Python; only the framing is here.
"""

import hmac
import secrets
import time
from dataclasses import dataclass, replace

from tcabench.power.meters.snmp_ber import (
    OCTETS,
    REPORT,
    SEQUENCE,
    Malformed,
    Pdu,
    get_pdu,
    integer,
    item,
    take,
    take_int,
    take_octets,
    take_pdu,
)
from tcabench.power.meters.snmp_keys import DIGESTS, User, aes, keys

WINDOW_S = 150  # RFC 3414, section 2.2.3
MAX_SIZE = 65507  # the largest UDP payload
AUTH, PRIV, REPORTABLE = 1, 2, 4  # RFC 3412, section 6.4
USM = 3


@dataclass(frozen=True, slots=True, repr=False)
class Engine:
    """A device's SNMP engine as last heard: its name, how often it started, its time in s at our monotonic `heard_s`,
    and the user's keys for it. Without a repr: it holds keys."""

    id: bytes
    boots: int
    time_s: int
    heard_s: float
    auth_key: bytes
    priv_key: bytes

    def now_s(self) -> int:
        return self.time_s + int(time.monotonic() - self.heard_s)


@dataclass(frozen=True, slots=True)
class _Message:
    data: bytes
    flags: int
    engine_id: bytes
    boots: int
    time_s: int
    user: bytes
    digest_at: int
    digest: bytes
    salt: bytes
    body: int


class UsmTalk:
    """What one user and one device say to each other. `engine` is None until the device was heard."""

    engine: Engine | None

    def __init__(self, user: User, context: str = "") -> None:
        self.engine, self._user, self._context = None, user, context.encode()
        self._flags = (AUTH if user.auth else 0) | (PRIV if user.priv else 0)
        self._salt = secrets.randbits(64)
        self._keys: dict[bytes, tuple[bytes, bytes]] = {}  # hashing a megabyte for each engine, once

    def request(self, number: int, names: tuple[bytes, ...]) -> bytes:
        """The GET of `names`, secured; while the device was not heard, the question who it is (RFC 3414, section 4)."""
        engine = self.engine
        if engine is None:
            return _message(number, REPORTABLE, _parameters(b"", 0, 0, b"", 0, b""), _scoped(b"", b"", number, ()))
        boots, time_s, salt = engine.boots, engine.now_s(), b""
        body = _scoped(engine.id, self._context, number, names)
        if self._user.priv:
            self._salt = (self._salt + 1) % 2**64
            salt = self._salt.to_bytes(8, "big")
            body = item(OCTETS, aes(engine.priv_key, boots, time_s, salt).encryptor().update(body))
        size = DIGESTS[self._user.auth].octets if self._user.auth else 0
        parameters = _parameters(engine.id, boots, time_s, self._user.name.encode(), size, salt)
        message = _message(number, REPORTABLE | self._flags, parameters, body)
        at = len(message) - len(body) - len(item(OCTETS, salt)) - size
        return message[:at] + self._digest(engine, message) + message[at + size :] if size else message

    def answer(self, data: bytes, number: int) -> Pdu:
        """The PDU in `data`, the answer to request `number`. A RESPONSE is as secure as its request was; a REPORT may
        be less so (RFC 3412, section 7.1.3). What a genuine message tells of the device's time is kept.

        raises: Malformed for what is no such answer, or not from this device.
        """
        message = _read(data, number)
        if message.flags & AUTH:
            self._check(message)
        pdu = take_pdu(*self._scoped_in(message))
        if pdu.kind != REPORT and (message.flags & (AUTH | PRIV) != self._flags or message.engine_id != self._id()):
            raise Malformed("an answer less secure than its question, or from another device")
        if pdu.kind == REPORT and not message.flags & AUTH and message.engine_id != self._id():
            self._meet(message.engine_id)
        return pdu

    def forget(self) -> None:
        """Ask the device anew who it is: after a failure it may have started again, or be another one."""
        self.engine = None

    def _id(self) -> bytes:
        return self.engine.id if self.engine else b""

    def _meet(self, engine_id: bytes) -> None:
        """A device that was not heard before. Its time is taken only from a genuine message: until then it is 0, which
        it answers with a report that tells the right one."""
        if engine_id not in self._keys:
            self._keys[engine_id] = keys(self._user, engine_id)
        self.engine = Engine(engine_id, 0, 0, time.monotonic(), *self._keys[engine_id])

    def _check(self, message: _Message) -> None:
        """The message's digest and time (RFC 3414, section 3.2, 6 and 7b); then its time is the device's."""
        engine = self.engine
        if engine is None or message.engine_id != engine.id or message.user != self._user.name.encode():
            raise Malformed("an answer from another device, or to another user")
        size, at = len(message.digest), message.digest_at
        blank = message.data[:at] + bytes(size) + message.data[at + size :]
        if not self._user.auth or not hmac.compare_digest(self._digest(engine, blank), message.digest):
            raise Malformed("an answer with a wrong digest")
        if message.boots < engine.boots or (
            message.boots == engine.boots and message.time_s < engine.now_s() - WINDOW_S
        ):
            raise Malformed("an old answer, sent again")
        self.engine = replace(engine, boots=message.boots, time_s=message.time_s, heard_s=time.monotonic())

    def _digest(self, engine: Engine, message: bytes) -> bytes:
        digest = DIGESTS[self._user.auth]
        return hmac.digest(engine.auth_key, message, digest.name)[: digest.octets]

    def _scoped_in(self, message: _Message) -> tuple[bytes, int]:
        """Where the PDU lies: the bytes, deciphered where they were not plain, and the place in them."""
        data, at = message.data, message.body
        if message.flags & PRIV:
            cipher, _ = take_octets(data, at)
            if self.engine is None or not message.flags & AUTH or len(message.salt) != 8:
                raise Malformed("an encrypted answer that nobody can read")
            key = self.engine.priv_key
            data, at = aes(key, message.boots, message.time_s, message.salt).decryptor().update(cipher), 0
        at, _ = take(data, at, SEQUENCE)
        _, at = take_octets(data, at)
        _, at = take_octets(data, at)
        return data, at


def _parameters(engine_id: bytes, boots: int, time_s: int, user: bytes, digest: int, salt: bytes) -> bytes:
    """RFC 3414, section 2.4, with room for the digest."""
    texts = item(OCTETS, user) + item(OCTETS, bytes(digest)) + item(OCTETS, salt)
    return item(OCTETS, item(SEQUENCE, item(OCTETS, engine_id) + integer(boots) + integer(time_s) + texts))


def _scoped(engine_id: bytes, context: bytes, number: int, names: tuple[bytes, ...]) -> bytes:
    """RFC 3412, section 6: the PDU with the context it is meant for."""
    return item(SEQUENCE, item(OCTETS, engine_id) + item(OCTETS, context) + get_pdu(number, names))


def _message(number: int, flags: int, parameters: bytes, body: bytes) -> bytes:
    """RFC 3412, section 6."""
    header = integer(number) + integer(MAX_SIZE) + item(OCTETS, bytes((flags,))) + integer(USM)
    return item(SEQUENCE, integer(3) + item(SEQUENCE, header) + parameters + body)


def _read(data: bytes, number: int) -> _Message:
    at, _ = take(data, 0, SEQUENCE)
    version, at = take_int(data, at)
    inner, at = take(data, at, SEQUENCE)
    answered, inner = take_int(data, inner)
    if version != 3 or answered != number:
        raise Malformed("an answer to another question")
    _, inner = take_int(data, inner)
    flags, inner = take_octets(data, inner)
    model, _ = take_int(data, inner)
    if model != USM or len(flags) != 1:
        raise Malformed("another security model")
    inner, body = take(data, at, OCTETS)
    inner, _ = take(data, inner, SEQUENCE)
    engine_id, inner = take_octets(data, inner)
    boots, inner = take_int(data, inner)
    time_s, inner = take_int(data, inner)
    user, inner = take_octets(data, inner)
    digest, after = take_octets(data, inner)
    salt, _ = take_octets(data, after)
    if not (0 <= boots < 2**31 and 0 <= time_s < 2**31):
        raise Malformed("a time that no engine has")
    return _Message(data, flags[0], engine_id, boots, time_s, user, after - len(digest), digest, salt, body)
