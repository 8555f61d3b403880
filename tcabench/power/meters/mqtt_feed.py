"""Messages of one MQTT topic, taken in by a thread of their own: a broker sends when it likes, a meter is read when we
like. Needs the library of the extra `mqtt` (aiomqtt)."""

import asyncio
import ssl
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import aiomqtt

TIMEOUT_S = 5.0  # to connect, to subscribe
KEEPALIVE_S = 10  # a broker that hangs or a cut cable is noticed within twice this
RETRY_S = 1.0
KEPT = 10_000  # messages that nobody has read; more than that are dropped, the oldest first
REFUSED_CODES = (4, 5, 134, 135)  # MQTT 3.1.1, table 3.1; MQTT 5, table 3-1: bad user or password, not authorised
FAILURE = 0x80  # from here on a SUBACK refuses


@dataclass(frozen=True, slots=True, repr=False)
class Broker:
    """Where to connect, and as whom. Without a repr: it holds the password."""

    host: str
    port: int
    user: str | None
    password: str | None
    tls: ssl.SSLContext | None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why no messages can come at present; `is_refused`: the broker does not let this user in."""

    why: str
    is_refused: bool = False


class Feed:
    """The messages of `topic` as they come. Connects again by itself."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self.trouble: Trouble | None = Trouble("not connected yet")
        self._broker, self._topic = broker, topic
        self._messages: deque[tuple[bytes, bool]] = deque(maxlen=KEPT)
        self._news, self._settled = threading.Event(), threading.Event()
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._heard_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"mqtt {broker.host}", daemon=True)
        self._thread.start()

    @property
    def silent_s(self) -> float:
        """How long nothing has come."""
        return time.monotonic() - self._heard_s

    def settled(self, within_s: float) -> None:
        """Wait until the first attempt to connect has come to something."""
        self._settled.wait(within_s)

    def wait(self, within_s: float) -> bool:
        """Wait for a message; False when none has come in time."""
        return self._news.wait(within_s)

    def take(self) -> tuple[bytes, bool] | None:
        """The oldest message that was not taken, and whether the broker had kept it from earlier; None for none."""
        try:
            return self._messages.popleft()
        except IndexError:
            self._news.clear()
            return None

    def close(self) -> None:
        """Disconnect; a second call does nothing."""
        if not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(2 * TIMEOUT_S)

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._task = self._loop.create_task(self._listen())
            self._loop.run_until_complete(asyncio.wait([self._task]))
        finally:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    async def _listen(self) -> None:
        import aiomqtt

        while True:
            try:
                await self._take_in()
            except aiomqtt.MqttError as err:
                code = getattr(getattr(err, "rc", None), "value", getattr(err, "rc", None))
                self.trouble = Trouble(str(err) or type(err).__name__, code in REFUSED_CODES)
                self._settled.set()
            await asyncio.sleep(RETRY_S)

    async def _take_in(self) -> None:
        import aiomqtt

        broker = self._broker
        async with aiomqtt.Client(
            broker.host, broker.port, username=broker.user, password=broker.password, tls_context=broker.tls,
            timeout=TIMEOUT_S, keepalive=KEEPALIVE_S,
        ) as client:  # fmt: skip
            granted: Any = await client.subscribe(self._topic)
            if any(getattr(code, "value", code) >= FAILURE for code in granted):
                self.trouble = Trouble(f"the broker does not let this user read the topic {self._topic!r}", True)
                self._settled.set()
                return
            self.trouble, self._heard_s = None, time.monotonic()
            self._settled.set()
            async for message in client.messages:
                self._put(message)

    def _put(self, message: "aiomqtt.Message") -> None:
        payload = message.payload
        self._messages.append((payload if isinstance(payload, bytes) else str(payload).encode(), message.retain))
        self._heard_s = time.monotonic()
        self._news.set()
