"""What an SNMP device's answer holds, and what its refusals and its silence mean; the same for v2c and v3."""

import socket
from collections.abc import Sequence
from typing import Any, Protocol

from tcabench.errors import MeterError

Value = int | bytes | None
"""A number, a string (an OID as dotted text in bytes), or None: the device has no such object."""

TRIES = 2  # of one GET within its time; each has its own number, so a device may take half of it to answer
NO_ACCESS = "this user or community may not see that: compare its view and security level with the device's settings"
ERRORS = {1: "the answer would be too big for it", 5: "it failed", 6: NO_ACCESS, 16: NO_ACCESS}  # RFC 3416, section 3


class Client(Protocol):
    """One device that can be asked. `who` names it in errors."""

    who: str

    def get(self, names: Sequence[str], timeout_s: float) -> list[Value]:
        """The values of `names`, in their order, None for what the device does not have.

        raises: MeterError of kind meter-unreachable, meter-auth, meter-protocol or meter-read; the next one may work.
        """
        ...

    def close(self) -> None:
        """A second call does nothing."""
        ...


def values_of(who: str, names: Sequence[str], error: int, index: int, bound: Sequence[tuple[Any, Any]]) -> list[Value]:
    """The values in an answer to `names`. raises: MeterError."""
    if error:
        why = ERRORS.get(error, "RFC 3416, section 3, says which")
        kind = "meter-auth" if why == NO_ACCESS else "meter-read"
        raise MeterError(f"{who} answers with error {error} (at value {index} of {len(names)}): {why}", kind)
    if [str(name) for name, _ in bound] != list(names):
        raise MeterError(f"{who} answers with other objects than those asked for", "meter-protocol")
    return [_plain(value) for _, value in bound]


def found(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    """The address of a name. raises: OSError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    except UnicodeError as err:
        raise socket.gaierror(socket.EAI_NONAME, "that is no name of a host") from err
    return family, address


def network(err: OSError) -> str:
    """What the network says, in words."""
    if isinstance(err, socket.gaierror):
        return f"there is no such host: {err.strerror}"
    return f"out of reach: {err.strerror or err}"


def passed_over(err: BaseException | None) -> str:
    """A sentence on what came and was no SNMP."""
    return f" What did come was passed over: {type(err).__name__}."


def _plain(value: Any) -> Value:
    from pyasn1.type import univ

    if isinstance(value, univ.Null):  # noSuchObject and noSuchInstance are kinds of it
        return None
    if isinstance(value, univ.Integer):
        return int(value)
    return str(value).encode() if isinstance(value, univ.ObjectIdentifier) else bytes(value)
