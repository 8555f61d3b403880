"""An MQTT broker in this process, on amqtt, and a smart plug that plays a load through it.

    with mqtt_broker(lambda t: 60.0, "tasmota", every_s=0.1) as broker:
        open_mqtt(f"//127.0.0.1:{broker.port}/{TOPIC}?format=tasmota&update=10")

Knobs, from any thread: `silent` (the plug sends nothing), `drop_share` (so much of what it sends is lost, by a fixed
sequence), `load.frozen`, `load.reset_counter()`, `say(payload)`, `keep(payload)` (a retained message), `kill()` and
`start()` for the broker. Everybody is let in, or with `password` only user "tca" with it; `tls` are the files of its
certificate and key.
"""

import asyncio
import json
import random
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from amqtt.broker import Broker
from amqtt.plugins.base import BaseAuthPlugin
from amqtt.session import Session

from tests.power.servers.played import PlayedLoad

TOPIC = "tele/plug1/SENSOR"
START_S = 20.0
ANYBODY = "amqtt.plugins.authentication.AnonymousAuthPlugin"
HERE = f"{__name__}.OneUser"
Plays = Callable[[float, float], dict[str, Any]]
Files = tuple[Path, Path]


class OneUser(BaseAuthPlugin):
    """Lets in user "tca" with the password of the broker that runs at present."""

    password = ""

    async def authenticate(self, *, session: Session) -> bool:
        return session.username == "tca" and session.password == self.password


class TidyBroker(Broker):
    """amqtt leaves a connection open whose session never began."""

    async def stream_connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str
    ) -> None:
        try:
            await super().stream_connected(reader, writer, listener_name)
        finally:
            writer.close()


def tasmota(watts: float, joules: float) -> dict[str, Any]:
    """What a Tasmota plug says: whole W, kWh to three digits, local time without a zone."""
    energy = {"Total": round(joules / 3.6e6, 3), "Power": round(watts), "ApparentPower": round(watts * 1.05)}
    return {"Time": time.strftime("%Y-%m-%dT%H:%M:%S"), "ENERGY": energy}


def shelly(watts: float, joules: float) -> dict[str, Any]:
    """What a Shelly Gen2 plug says on status/switch:0."""
    total = {"total": round(joules / 3600, 3), "by_minute": [0, 0, 0], "minute_ts": int(time.time()) // 60 * 60}
    return {"id": 0, "output": True, "apower": round(watts, 1), "voltage": 230.1, "aenergy": total}


def gateway(watts: float, joules: float) -> dict[str, Any]:
    """What somebody's own gateway says, with a stamp."""
    return {"m": [{"kw": watts / 1000, "kwh": joules / 3.6e6}], "at": time.time()}


DEVICES: dict[str, Plays] = {"tasmota": tasmota, "shelly": shelly, "gateway": gateway}


class PlayedBroker:
    """What `mqtt_broker` gives."""

    def __init__(
        self, watts: Callable[[float], float], plays: Plays, every_s: float, password: str | None, tls: Files | None
    ) -> None:
        self.load, self.silent, self.drop_share, self.port = PlayedLoad(watts), False, 0.0, 0
        self._plays, self._every_s, self._password = plays, every_s, password
        self._random, self._broker, self._tls = random.Random(7), None, tls
        self._kept: dict[str, bytes] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="mqtt broker", daemon=True)
        self._thread.start()

    _broker: Broker | None

    def start(self) -> None:
        """Start the broker, on the same port as before where there was one."""
        self._do(self._start())

    def kill(self) -> None:
        """End the broker; its clients lose their connections."""
        self._do(self._stop())

    def say(self, payload: bytes | dict[str, Any], topic: str = TOPIC) -> None:
        """Send one message to whoever has subscribed."""
        self._do(self._say(_bytes(payload), topic))

    def keep(self, payload: bytes | dict[str, Any], topic: str = TOPIC) -> None:
        """Keep a message for whoever subscribes later, over a restart of the broker too."""
        self._kept[topic] = _bytes(payload)
        if self._broker:
            self._do(self._broker.retain_message(None, topic, _bytes(payload)))

    def close(self) -> None:
        self.kill()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        playing = self._loop.create_task(self._play())
        self._loop.run_forever()
        self._loop.run_until_complete(_ended(asyncio.all_tasks(self._loop) | {playing}))
        self._loop.close()

    def _do(self, what: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(START_S)

    async def _play(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            if self._broker and not self.silent and self._random.random() >= self.drop_share:
                await self._say(_bytes(self._plays(*self.load.now())), TOPIC)

    async def _say(self, payload: bytes, topic: str) -> None:
        if self._broker:
            await self._broker.internal_message_broadcast(topic, payload)

    async def _start(self) -> None:
        OneUser.password = self._password or ""
        plugins = {ANYBODY: {"allow_anonymous": True}} if self._password is None else {HERE: {}}
        listener: dict[str, Any] = {"type": "tcp", "bind": f"127.0.0.1:{self.port}", "max_connections": 10}
        if self._tls:
            listener |= {"ssl": True, "certfile": str(self._tls[0]), "keyfile": str(self._tls[1])}
        broker = TidyBroker({"listeners": {"default": listener}, "plugins": plugins}, self._loop)
        await broker.start()
        for topic, payload in self._kept.items():  # in the same breath: nobody has got in yet
            await broker.retain_message(None, topic, payload)
        server: Any = broker._servers["default"].instance
        self.port = server.sockets[0].getsockname()[1]
        self._broker = broker

    async def _stop(self) -> None:
        broker, self._broker = self._broker, None
        if broker is not None:
            with suppress(asyncio.TimeoutError):
                await broker.shutdown()


@contextmanager
def mqtt_broker(
    watts: Callable[[float], float],
    plays: str = "tasmota",
    every_s: float = 0.1,
    password: str | None = None,
    tls: Files | None = None,
) -> Iterator[PlayedBroker]:
    """A broker on 127.0.0.1 with a plug of DEVICES that sends `watts` (W over s since its start) every `every_s`."""
    broker = PlayedBroker(watts, DEVICES[plays], every_s, password, tls)
    try:
        broker.start()
        yield broker
    finally:
        broker.close()


async def _ended(tasks: set["asyncio.Task[Any]"]) -> None:
    """End them, and let the connections that they held be closed."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for _ in range(5):
        await asyncio.sleep(0.002)


def _bytes(payload: bytes | dict[str, Any]) -> bytes:
    return payload if isinstance(payload, bytes) else json.dumps(payload).encode()
