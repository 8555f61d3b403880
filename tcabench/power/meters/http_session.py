"""One kept-alive HTTP connection to one meter: bounded in time and size, no proxies, never away from its host.

http.client does the work: a GET over it costs 0.6 ms of processor time once a second, over urllib3 1.0 ms.
"""

import hashlib
import http.client
import json
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from email.message import Message
from pathlib import Path
from re import fullmatch
from typing import Any
from urllib.parse import urljoin, urlsplit

from tcabench.errors import MeterError, UsageError
from tcabench.power.address import Address

HTTP_OPTIONS = ("tls", "ca", "fingerprint", "timeout")
OPENING_S = 5.0  # a small controller takes its time over a TLS handshake and a login
MAX_BODY = 4 * 1024 * 1024
MAX_REDIRECTS = 3
CHUNK = 65_536
REDIRECTS = (301, 302, 303, 307, 308)
CUT = (ConnectionError, http.client.BadStatusLine, http.client.IncompleteRead, ssl.SSLEOFError, ssl.SSLZeroReturnError)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server sent. `headers` find their names whatever the case."""

    status: int
    headers: Message
    body: bytes
    where: str

    def json(self) -> Any:
        """The body as JSON, fractions as `Decimal` with the digits as sent; a number that is none (NaN) is refused.

        raises: MeterError of kind meter-protocol.
        """
        try:
            return json.loads(self.body, parse_float=Decimal, parse_constant=_refuse)
        except (ValueError, ArithmeticError, RecursionError) as err:
            shown = self.body[:60].decode("utf-8", "replace")
            raise MeterError(
                f"{self.where} does not answer in JSON (HTTP {self.status}, {shown!r}...): is this the right port?",
                "meter-protocol",
            ) from err


class HttpSession:
    """Requests to the host of `address` and nowhere else. The options HTTP_OPTIONS: `tls=on|off`, `ca=FILE` (whom to
    trust instead of the system's list), `fingerprint=SHA256` (the one certificate to accept), `timeout=s` per step."""

    def __init__(self, address: Address, tls: str, period_s: float = 1.0) -> None:
        """`tls` is the protocol's own default, "on" or "off". Nothing is connected yet. raises: UsageError."""
        if not address.host:
            raise UsageError(f"{address.scheme}: no host in the address, as in {address.scheme}://10.0.0.5/...")
        _refuse_unprintable(address)
        self.tls = address.choice("tls", tls, ("on", "off")) == "on"
        self.where = f"{'https' if self.tls else 'http'}://{_bracketed(address.host)}:{address.port}"
        self.timeout_s = address.number("timeout", min(1.0, period_s), 0.05, 60.0)
        self._host, self._port = address.host, address.port
        self._ca, self._pin = address.option("ca"), _fingerprint(address)
        if not self.tls and (self._ca or self._pin):
            raise UsageError(f"{address.scheme}: ca= and fingerprint= need tls=on", "meter-argument")
        if self._ca and self._pin:
            raise UsageError(f"{address.scheme}: give ca= or fingerprint=, not both", "meter-argument")
        self._context = _context(address.scheme, self._ca, bool(self._pin)) if self.tls else None
        self._connection: http.client.HTTPConnection | None = None
        self._version = "TLS"

    def get(self, path: str, headers: Mapping[str, str] | None = None, timeout_s: float = 0.0) -> Answer:
        """GET, followed through redirects within this host. raises: as `request`."""
        for _ in range(MAX_REDIRECTS + 1):
            answer = self.request("GET", path, headers, timeout_s=timeout_s)
            target = answer.headers.get("Location")
            if answer.status not in REDIRECTS or target is None:
                return answer
            path = self._within(path, target)
        raise MeterError(f"{self.where}{path} redirects in a circle", "meter-protocol")

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float = 0.0,
    ) -> Answer:
        """One request; redirects are not followed. `timeout_s` (0: the session's own) bounds connecting, each wait and
        twice over the whole answer. A GET is sent once more when the kept connection turns out to have been cut;
        everything else goes over a new connection, so that it need not be sent twice.

        raises: MeterError of kind meter-unreachable, meter-auth (the certificate) or meter-protocol.
        """
        limit_s = timeout_s or self.timeout_s
        if method != "GET":
            self.close()
        while True:
            is_kept = self._connection is not None
            try:
                return self._exchange(method, path, headers or {}, body, limit_s)
            except MeterError:
                self.close()
                raise
            except (OSError, http.client.HTTPException, ValueError) as err:
                self.close()  # what is left of an answer must not be read as the next one
                if not (is_kept and isinstance(err, CUT)):
                    raise self._error(method, path, limit_s, err) from err

    def security(self) -> str:
        """How the connection is kept safe, in words and without secrets."""
        if not self.tls:
            return "none: HTTP without TLS"
        trusted = f"against {self._ca}" if self._ca else "against the system's authorities"
        pinned = f"pinned by its SHA-256 fingerprint {self._pin}"
        return f"{self._version}, certificate {pinned if self._pin else f'checked {trusted}'}"

    def close(self) -> None:
        """Let the connection go; the next request makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, limit_s: float
    ) -> Answer:
        self._check(headers)
        until = time.monotonic() + 2 * limit_s
        connection = self._connected(limit_s)
        connection.sock.settimeout(limit_s)
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        parts: list[bytes] = []
        left = MAX_BODY
        while part := response.read1(CHUNK):
            parts.append(part)
            left -= len(part)
            if left < 0:
                raise MeterError(f"{self.where}{path} sends more than {MAX_BODY >> 20} MiB", "meter-protocol")
            if time.monotonic() > until:
                raise MeterError(f"{self.where}{path} dribbles: its answer takes too long", "meter-unreachable")
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)
        response.close()  # read1 leaves it open at its very end, and the connection busy
        if response.will_close:
            self.close()
        return Answer(response.status, response.headers, b"".join(parts), f"{self.where}{path}")

    def _check(self, headers: Mapping[str, str]) -> None:
        """raises: MeterError for a header that cannot be sent, without its content: http.client would show it."""
        for name, text in headers.items():
            if not (text.isascii() and text.isprintable()):
                raise MeterError(f"{self.where}: what is to be sent as {name} is not printable ASCII", "meter-secret")

    def _connected(self, limit_s: float) -> http.client.HTTPConnection:
        """The kept connection, or a new one to the server that is trusted. raises: OSError, MeterError."""
        if self._connection is not None:
            return self._connection
        if self._context is None:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=limit_s)
        else:
            connection = http.client.HTTPSConnection(self._host, self._port, timeout=limit_s, context=self._context)
        connection.auto_open = 0  # it would connect again by itself, and past the fingerprint
        self._connection = connection
        connection.connect()
        if isinstance(connection.sock, ssl.SSLSocket):
            self._version = connection.sock.version() or "TLS"
            shown = hashlib.sha256(connection.sock.getpeercert(binary_form=True) or b"").hexdigest()
            if self._pin and shown != self._pin:
                raise MeterError(
                    f"{self.where} shows another certificate than fingerprint= pins: its fingerprint is {shown}. Was "
                    "it renewed? If not, somebody stands between",
                    "meter-auth",
                )
        return connection

    def _within(self, path: str, target: str) -> str:
        """The path on this host that a redirect from `path` leads to. raises: MeterError for any other host."""
        try:
            parts = urlsplit(urljoin(self.where + path, target))
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as err:
            raise MeterError(f"{self.where} redirects to {target!r}, which is no address", "meter-protocol") from err
        if f"{parts.scheme}://{_bracketed(parts.hostname or '')}:{port}" != self.where.lower():
            raise MeterError(
                f"{self.where} redirects to {parts.scheme}://{parts.netloc}, another server: that one would get the "
                "login. If it is the right one, name it in the address",
                "meter-protocol",
            )
        return parts.path + (f"?{parts.query}" if parts.query else "")

    def _error(self, method: str, path: str, limit_s: float, err: Exception) -> MeterError:
        """What went wrong, as a MeterError that says what to do."""
        if isinstance(err, ssl.SSLCertVerificationError):
            return self._distrust(err.verify_message)
        if isinstance(err, TimeoutError):
            why = f"{self.where} did not answer within {limit_s:g} s. Is it on? timeout=s in the address allows more"
        elif isinstance(err, socket.gaierror):
            why = f"{self.where}: no such host ({err}). Check the name, or give the address"
        elif isinstance(err, CUT) and not isinstance(err, ConnectionRefusedError):
            why = f"{self.where} cut the connection during {method} {path}. Is this the right port, and tls right?"
        elif isinstance(err, ssl.SSLError):
            why = f"{self.where} does not speak TLS as it should: {err}. Is this the right port, and tls right?"
            return MeterError(why, "meter-protocol")
        elif isinstance(err, OSError):
            why = f"{self.where} cannot be reached ({err}). Check host and port, and that it runs"
        else:
            return MeterError(
                f"{self.where}{path}: {type(err).__name__}", "meter-protocol"
            )  # its words may hold a secret
        return MeterError(why, "meter-unreachable")

    def _distrust(self, reason: str) -> MeterError:
        whom = f"ca={self._ca}" if self._ca else "the system's authorities"
        return MeterError(
            f"{self.where}: its certificate does not stand before {whom}: {reason}. Give the authority's file with "
            "ca=FILE, or pin this certificate with fingerprint=SHA256 once you know from the device itself that its "
            f"fingerprint is right: {self._shown()}",
            "meter-auth",
        )

    def _shown(self) -> str:
        """The fingerprint of the certificate that the server shows, for a person to compare; nothing else is sent."""
        try:
            pem = ssl.get_server_certificate((self._host, self._port), timeout=OPENING_S)
        except (OSError, ValueError) as err:
            return f"it cannot be fetched: {err}"
        return "it shows " + hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def _refuse_unprintable(address: Address) -> None:
    """raises: UsageError for a user, password or token that no login can hold: control characters (RFC 7617, 2), and in
    a token anything beyond ASCII (RFC 6750, 2.1). It is not shown."""
    for name in ("password", "token"):
        text = (address.secret(name) if {f"{name}_env", f"{name}_file"} & address.options.keys() else "") or ""
        if not text.isprintable() or (name == "token" and not text.isascii()):
            raise UsageError(f"{address.scheme}: the {name} holds characters that cannot be sent", "meter-secret")
    if not address.option("user").isprintable():
        raise UsageError(f"{address.scheme}: user= holds characters that cannot be sent", "meter-secret")


def _context(scheme: str, ca: str, pinned: bool) -> ssl.SSLContext:
    if pinned:  # the certificate itself is compared; its names and signer play no part
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    try:
        return ssl.create_default_context(cafile=str(Path(ca).expanduser()) if ca else None)
    except (OSError, ssl.SSLError) as err:
        why = f"{scheme}: ca={ca} cannot be used: {err}. It takes a file of PEM certificates"
        raise UsageError(why, "meter-argument") from err


def _fingerprint(address: Address) -> str:
    text = address.option("fingerprint").replace(":", "").lower()
    if text and not fullmatch("[0-9a-f]{64}", text):
        raise UsageError(
            f"{address.scheme}: fingerprint= takes a SHA-256 fingerprint, 64 hexadecimal digits", "meter-argument"
        )
    return text


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is not JSON")
