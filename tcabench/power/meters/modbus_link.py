"""One Modbus TCP connection (Modbus application protocol V1.1b3; MODBUS/TCP Security for TLS), bounded in time.

Imported only when a Modbus meter is opened: pymodbus takes a while to load.
"""

import logging
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException

from tcabench.errors import MeterError
from tcabench.power.meters.modbus_decode import Register

EXCEPTIONS = {
    1: ("illegal function", "the map names a function this device does not have: is it the right map?"),
    2: ("illegal data address", "the device has no such register: is it the right map?"),
    3: ("illegal data value", "the device takes no request of this size or place: see max_registers and max_gap"),
    4: ("device failure", "the device itself failed"),
    5: ("acknowledge", "the device is busy with a long task"),
    6: ("device busy", "the device is busy; others may ask it too often"),
    8: ("memory parity error", "the device's memory is damaged"),
    10: ("gateway path unavailable", "the gateway has no way to this unit: is the unit id right?"),
    11: ("gateway target device failed to respond", "no device answers the gateway: is the unit id right?"),
}
Endpoint = tuple[socket.AddressFamily, tuple[Any, ...]]
KINDS = {1: "meter-map", 2: "meter-map", 3: "meter-map", 10: "meter-unreachable", 11: "meter-unreachable"}


class Refused(MeterError):
    """The device answered with a Modbus exception."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message, KINDS.get(code, "meter-read"))
        self.code = code


class _Gone(Exception):
    """The connection is no longer there."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the device is; with a `tls` context the connection is encrypted, and the device must be `tls_name`."""

    host: str
    port: int
    unit: int
    tls: ssl.SSLContext | None = None
    tls_name: str = ""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}, unit {self.unit}"


class _Client(ModbusTcpClient):
    """pymodbus's client on a socket of ours. Its own `recv` uses select(), which cannot wait for descriptors above
    1023: a load generator in the same process has more open than that."""

    late = False

    def recv(self, size: int | None) -> bytes:
        if self.socket is None:
            raise ConnectionException("the connection was closed")
        try:
            data = self.socket.recv(size or 4096)
        except TimeoutError:
            self.late = True
            return b""
        if not data:
            raise ConnectionException("the device closed the connection")
        return data

    def close(self) -> None:
        there, self.socket = self.socket, None
        if there is not None:
            there.close()


class Link:
    """A connection that is made when it is needed, and made anew after any trouble. Each request ends within about
    twice `timeout_s`."""

    def __init__(self, target: Target, timeout_s: float) -> None:
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # else each lost answer writes frames to stderr
        self.target, self.timeout_s = target, timeout_s
        self._client: _Client | None = None
        self._place: Endpoint | None = None
        self._worked = False

    def words(self, register: Register) -> Sequence[int]:
        """The registers' 16-bit values. A connection that turns out to be dead is made anew, once.

        raises: Refused for a Modbus exception; MeterError of kind meter-unreachable, meter-auth or meter-protocol.
        """
        try:
            words = self._asked_again(register)
        except Refused:
            raise
        except MeterError:
            self.close()  # a late answer must not be taken for the next one
            raise
        except ssl.SSLError as err:
            self.close()
            raise self._tls_trouble(err) from err
        except _Gone as err:
            self.close()
            raise self._lost(str(err)) from err
        self._worked = True
        return words

    def wait_at_most(self, timeout_s: float) -> None:
        """From now on, for each answer."""
        self.timeout_s = timeout_s
        if self._client and self._client.socket:
            self._client.comm_params.timeout_connect = timeout_s
            self._client.socket.settimeout(timeout_s)

    def tls_version(self) -> str:
        """The TLS version of the present connection, "" without one."""
        there = self._client.socket if self._client else None
        return (there.version() or "") if isinstance(there, ssl.SSLSocket) else ""

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _asked_again(self, register: Register) -> Sequence[int]:
        kept = self._client is not None
        try:
            return self._ask(register)
        except _Gone:
            if not kept:
                raise
            self.close()
            return self._ask(register)

    def _ask(self, register: Register) -> Sequence[int]:
        client = self._client or self._connect()
        read = client.read_holding_registers if register.function == 3 else client.read_input_registers
        client.late = False
        try:
            answer = read(register.address, count=register.count, device_id=self.target.unit)
        except (ConnectionException, OSError) as err:
            if isinstance(err, ssl.SSLError) and not self._worked:
                raise
            raise _Gone(f"{err}") from err
        except ModbusException as err:
            if client.late:
                raise self._error(f"no answer within {self.timeout_s:g} s", "meter-unreachable") from err
            raise self._error(f"its answer is not Modbus: {err}", "meter-protocol") from err
        if answer.isError():
            raise self._refused(register, int(getattr(answer, "exception_code", 0)))
        if len(answer.registers) != register.count:
            raise self._error(
                f"{len(answer.registers)} registers came for the {register.count} asked for", "meter-protocol"
            )
        return answer.registers

    def _connect(self) -> _Client:
        client = _Client(self.target.host, port=self.target.port, timeout=self.timeout_s, retries=0)
        client.socket = self._socket()
        self._client = client
        return client

    def _socket(self) -> socket.socket:
        """A connected socket. The name is looked up once: later connections go to the same device, and wait for no
        name server."""
        trouble: OSError | None = None
        for family, place in [self._place] if self._place else self._looked_up():
            plain = socket.socket(family, socket.SOCK_STREAM)
            try:
                ready = self._greeted(plain, place)
            except ssl.SSLError:
                plain.close()
                raise
            except OSError as err:
                plain.close()
                trouble = err
            else:
                self._place = family, place
                return ready
        why = (trouble and trouble.strerror) or trouble or "its name has no address"
        hint = " (it may speak no TLS on this port)" if self.target.tls else ""
        raise self._error(f"no connection: {why}{hint}", "meter-unreachable") from trouble

    def _looked_up(self) -> list[Endpoint]:
        try:
            found = socket.getaddrinfo(self.target.host, self.target.port, type=socket.SOCK_STREAM)
        except OSError as err:
            raise self._error(f"its name cannot be looked up: {err.strerror or err}", "meter-unreachable") from err
        return [(family, place) for family, _, _, _, place in found]

    def _greeted(self, plain: socket.socket, place: tuple[Any, ...]) -> socket.socket:
        plain.settimeout(self.timeout_s)
        plain.connect(place)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.target.tls is None:
            return plain
        return self.target.tls.wrap_socket(plain, server_hostname=self.target.tls_name or self.target.host)

    def _refused(self, register: Register, code: int) -> Refused:
        name, hint = EXCEPTIONS.get(code, ("unknown", "see the device's manual"))
        return Refused(
            f"modbus {self.target}: {register} (function {register.function}): exception {code}, {name}: {hint}", code
        )

    def _lost(self, why: str) -> MeterError:
        if self.target.tls and not self._worked:
            return self._error(
                f"the connection broke ({why}). Over TLS that is also how a device refuses a client certificate: see "
                "cert= and key=",
                "meter-auth",
            )
        return self._error(f"the connection broke ({why})", "meter-unreachable")

    def _tls_trouble(self, err: ssl.SSLError) -> MeterError:
        if isinstance(err, ssl.SSLCertVerificationError):
            return self._error(
                f"its certificate is not accepted: {err.verify_message}. ca=FILE names who signed it, tls_name=NAME "
                "whom it is made out to",
                "meter-auth",
            )
        return self._error(
            f"TLS fails: {err.reason or err}. The device may speak no TLS on this port, or refuse the client "
            "certificate (cert= and key=)",
            "meter-auth",
        )

    def _error(self, why: str, kind: str) -> MeterError:
        return MeterError(f"modbus {self.target}: {why}", kind)
