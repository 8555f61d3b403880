"""SNMPv3 GETs (RFC 3414) by pysnmp's engine, sent again when nothing comes back, in the caller's thread."""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tcabench.errors import MeterError
from tcabench.power.meters.snmp_answer import TRIES, Value, found, network, passed_over, values_of

TICK_S = 0.02  # how often pysnmp looks for what is overdue
USM = 3  # SNMPv3 and its security model, as pysnmp numbers both
SILENT_AFTER_HELLO = (
    "says who it is, but then does not answer: most likely the secret behind priv_env/priv_file, or priv= itself, is "
    "another (what it cannot decipher it drops), or it has no such context="
)
REFUSED = {
    "UnsupportedSecurityLevel": "this user may not ask at this security level: compare auth= and priv= with its own",
    "UnknownUserName": "it has no such user",
    "WrongDigest": "the digest is wrong: the secret behind auth_env/auth_file, or auth= itself, is another",
    "DecryptionError": "it cannot decipher: the secret behind priv_env/priv_file, or priv= itself, is another",
}
"""What a device's reports mean, by their names in `pysnmp.proto.errind`."""


@dataclass(frozen=True, slots=True, repr=False)
class Login:
    """As whom to ask: pysnmp's UsmUserData, and the context. Without a repr: secrets."""

    user: Any
    context: str = ""


class UsmClient:
    """One device. `silence` is what to look for when it does not answer."""

    def __init__(self, host: str, port: int, login: Login, silence: str) -> None:
        self.who, self._host, self._port, self._login, self._silence = f"snmp {host}:{port}", host, port, login, silence
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._engine: Any = None
        self._target: Any = None
        self._objects: dict[str, Any] = {}
        self._has_said_who, self._odd = False, ""

    def get(self, names: Sequence[str], timeout_s: float) -> list[Value]:
        """The values of `names`, in their order, None for what the device does not have.

        raises: MeterError of kind meter-unreachable, meter-auth, meter-protocol or meter-read; the next one may work.
        """
        from pyasn1.error import PyAsn1Error
        from pysnmp.error import PySnmpError

        try:
            return self._runner.run(self._get(names, timeout_s))
        except OSError as err:
            raise MeterError(f"{self.who}: {network(err)}", "meter-unreachable") from err
        except (PySnmpError, PyAsn1Error) as err:  # their words may hold what they were given: secrets
            why = f"a user or context that SNMP has no room for, most likely ({type(err).__name__})"
            raise MeterError(f"{self.who} cannot be asked: {why}", "meter-protocol") from None

    def close(self) -> None:
        """A second call does nothing."""
        if self._engine is not None:
            self._engine.close_dispatcher()
            self._engine = None
        self._runner.close()

    async def _get(self, names: Sequence[str], timeout_s: float) -> list[Value]:
        from pysnmp.hlapi.v3arch.asyncio import ContextData, get_cmd
        from pysnmp.proto.errind import requestTimedOut

        if self._engine is None:
            await self._open()
        self._target.timeout = max(round(timeout_s / TRIES, 2), TICK_S)
        self._has_said_who, self._odd = False, ""
        wanted, failure = [self._object(name) for name in names], requestTimedOut
        context = ContextData(contextName=self._login.context.encode())
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                for _ in range(TRIES):
                    asked = get_cmd(self._engine, self._login.user, self._target, context, *wanted, lookupMib=False)
                    failure, error, index, bound = await asked
                    if failure != requestTimedOut:
                        break
        if failure:
            self._forget()
            raise self._failed(failure)
        return values_of(self.who, names, int(error), int(index), bound)

    async def _open(self) -> None:
        """The name is looked up once: a name server that hangs must not hold up a reading."""
        from pysnmp.carrier.asyncio.dispatch import AsyncioDispatcher
        from pysnmp.hlapi.v3arch.asyncio import SnmpEngine, Udp6TransportTarget, UdpTransportTarget

        family, address = found(self._host, self._port)
        kind = Udp6TransportTarget if family == socket.AF_INET6 else UdpTransportTarget
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._passed_over)
        self._target = await kind.create(address[:2], retries=0)
        await loop.shutdown_default_executor()  # pysnmp has the address, a number, looked up in a thread
        self._engine = SnmpEngine()
        self._engine.register_transport_dispatcher(AsyncioDispatcher(loop=loop, timeout=TICK_S))
        self._engine.observer.register_observer(self._said_who, "rfc3414.processIncomingMsg")

    def _object(self, name: str) -> Any:
        """`name` as pysnmp resolves it at its first use."""
        from pysnmp.hlapi.v3arch.asyncio import ObjectIdentity, ObjectType

        if name not in self._objects:
            self._objects[name] = ObjectType(ObjectIdentity(name))
        return self._objects[name]

    def _forget(self) -> None:
        """Ask the device anew who it is: pysnmp 7.1 never hears one that comes back under another engine name, or with
        fewer starts on its count. A new engine would cost 0.1 s of processor time for each GET that fails."""
        from pysnmp.proto.mpmod.rfc3412 import SnmpV3MessageProcessingModel
        from pysnmp.proto.secmod.rfc3414.service import SnmpUSMSecurityModel

        self._engine.security_models[USM] = SnmpUSMSecurityModel()
        self._engine.message_processing_subsystems[USM] = SnmpV3MessageProcessingModel()

    def _failed(self, failure: object) -> MeterError:
        name = type(failure).__name__
        if name in REFUSED:
            return MeterError(f"{self.who} refuses: {REFUSED[name]}", "meter-auth")
        if name != "RequestTimedOut":
            return MeterError(f"{self.who} does not answer as SNMP does: {failure}", "meter-protocol")
        if self._has_said_who:
            return MeterError(f"{self.who} {SILENT_AFTER_HELLO}", "meter-auth")
        return MeterError(f"{self.who} does not answer.{self._odd} {self._silence}", "meter-unreachable")

    def _said_who(self, *_: object) -> None:
        """pysnmp calls this for each SNMPv3 message that names the device's engine and our user, or no user."""
        self._has_said_who = True

    def _passed_over(self, _: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        """What came was no SNMP."""
        self._odd = passed_over(context.get("exception"))
