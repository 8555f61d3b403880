"""An SNMP agent in this process, on pysnmp: a played load behind the objects of a real PDU, v2c and v3.

    with snmp_agent(lambda t: 400 + 50 * (t % 2), "raritan-px") as agent:
        open_snmp(f"//127.0.0.1:{agent.port}?map=raritan-px")

Knobs, from any thread: `silent` (True: no request is answered), `drop_share` (so much of the requests is lost, by a
fixed sequence), `load.frozen`, `load.reset_counter()`, `device.clock_offset_s`, and `objects`, the table itself: an
object that is taken out is noSuchInstance. Community "public"; users of USERS by name, secrets AUTH_SECRET and
PRIV_SECRET.
"""

import asyncio
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pysnmp.carrier.asyncio.dgram import udp
from pysnmp.entity import config
from pysnmp.entity.engine import SnmpEngine
from pysnmp.entity.rfc3413 import cmdrsp, context
from pysnmp.proto import rfc1902, rfc1905

from tests.power.servers.played import PlayedLoad
from tests.power.servers.snmp_devices import DEVICES, Device, Object

AUTH_SECRET, PRIV_SECRET = "correct horse", "battery staple"
USERS = {
    "open": (config.USM_AUTH_NONE, config.USM_PRIV_NONE, "noAuthNoPriv"),
    "signed": (config.USM_AUTH_HMAC128_SHA224, config.USM_PRIV_NONE, "authNoPriv"),
    "old": (config.USM_AUTH_HMAC96_SHA, config.USM_PRIV_CFB128_AES, "authPriv"),
    "tca": (config.USM_AUTH_HMAC192_SHA256, config.USM_PRIV_CFB128_AES, "authPriv"),
    "long": (config.USM_AUTH_HMAC384_SHA512, config.USM_PRIV_CFB256_AES, "authPriv"),
    "stretched": (config.USM_AUTH_HMAC96_SHA, config.USM_PRIV_CFB256_AES_BLUMENTHAL, "authPriv"),
    "stretchedc": (config.USM_AUTH_HMAC96_SHA, config.USM_PRIV_CFB256_AES, "authPriv"),
}
TYPES = {
    "integer": rfc1902.Integer32,
    "gauge": rfc1902.Gauge32,
    "counter": rfc1902.Counter32,
    "string": rfc1902.OctetString,
}
START_S = 20.0


class Agent:
    """What `snmp_agent` gives: the port, the device, its load and the knobs."""

    def __init__(self, watts: Callable[[float], float], kind: str) -> None:
        self.load = PlayedLoad(watts)
        self.device = Device(self.load)
        self.objects: dict[str, Object] = DEVICES[kind](self.device)
        self.silent, self.drop_share, self.asked, self.port = False, 0.0, 0, 0
        self._random = random.Random(7)

    def is_lost(self) -> bool:
        """Whether a request that has come is dropped."""
        self.asked += 1
        return self.silent or self._random.random() < self.drop_share

    def read_variables(self, *wanted: tuple[Any, Any], **_: Any) -> list[tuple[Any, Any]]:
        """pysnmp asks this for the values of a GET."""
        return [(name, self._held(".".join(map(str, name)))) for name, _ in wanted]

    def read_next_variables(self, *wanted: tuple[Any, Any], **_: Any) -> list[tuple[Any, Any]]:
        """No walk is played."""
        return [(name, rfc1905.endOfMibView) for name, _ in wanted]

    def _held(self, name: str) -> Any:
        if name not in self.objects:
            return rfc1905.noSuchInstance
        kind, value = self.objects[name]
        return TYPES[kind](value())


class _Line(udp.UdpTransport):
    """The agent's socket, on which requests can get lost."""

    agent: Agent

    def datagram_received(self, datagram: bytes, transportAddress: Any) -> None:
        if not self.agent.is_lost():
            super().datagram_received(datagram, transportAddress)


@contextmanager
def snmp_agent(watts: Callable[[float], float], kind: str = "raritan-px", users: Sequence[str] = ()) -> Iterator[Agent]:
    """An agent that plays `watts` (W over s since its start) as the device `kind` of DEVICES, on 127.0.0.1."""
    agent, loop = Agent(watts, kind), asyncio.new_event_loop()
    ready = threading.Event()
    thread = threading.Thread(target=_serve, args=(agent, loop, users, ready), name="snmp agent", daemon=True)
    thread.start()
    try:
        if not ready.wait(START_S) or not agent.port:
            raise RuntimeError("the SNMP agent of the test did not start")
        yield agent
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_S)


def _serve(agent: Agent, loop: asyncio.AbstractEventLoop, users: Sequence[str], ready: threading.Event) -> None:
    asyncio.set_event_loop(loop)
    engine, line = SnmpEngine(), _Line(loop=loop)
    try:
        line.agent = agent
        line.open_server_mode(("127.0.0.1", 0))
        config.add_transport(engine, udp.DOMAIN_NAME, line)
        _admit(engine, users)
        here = context.SnmpContext(engine)
        here.unregister_context_name(b"")
        here.register_context_name(b"", agent)
        cmdrsp.GetCommandResponder(engine, here)
        agent.port = loop.run_until_complete(_bound(line))
        ready.set()
        loop.run_forever()
    finally:
        ready.set()
        engine.close_dispatcher()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def _admit(engine: SnmpEngine, users: Sequence[str]) -> None:
    config.add_v1_system(engine, "reader", "public")
    config.add_vacm_user(engine, 2, "reader", "noAuthNoPriv", (1, 3, 6), ())
    for name in users:
        auth, priv, level = USERS[name]
        config.add_v3_user(
            engine, name, auth, None if level == "noAuthNoPriv" else AUTH_SECRET, priv,
            PRIV_SECRET if level == "authPriv" else None,
        )  # fmt: skip
        config.add_vacm_user(engine, 3, name, level, (1, 3, 6), ())


async def _bound(line: _Line) -> int:
    while line.transport is None:
        await asyncio.sleep(0.005)
    port: int = line.transport.get_extra_info("sockname")[1]
    return port
