"""Plays the load marker: all slots busy in one chip, none in the next, so that every meter sees the same edges."""

import asyncio
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tcabench.clock import Clock
from tcabench.errors import Interrupted
from tcabench.load.apis import APIS
from tcabench.load.apis.events import EndpointApi
from tcabench.load.drive import BACK_OFF, BACK_OFF_S, Mark
from tcabench.load.endpoint import Endpoint
from tcabench.load.transport import Sink, exchange
from tcabench.records import Request, Status
from tcabench.units import nanoseconds, seconds

if TYPE_CHECKING:
    from aiohttp import ClientSession

DITHER = 0.25  # of a chip, from end to end
GOLDEN = 0.6180339887498949  # its multiples, taken without their whole part, are spread evenly (Weyl 1916)


@dataclass(slots=True)
class Player:
    """One marker: what is under way, and why it stopped."""

    requests: Iterator[Request]
    endpoint: Endpoint
    concurrency: int
    clock: Clock
    sink: Sink
    api: EndpointApi
    is_on: bool = False
    failure: BaseException | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def edge(self, on: bool) -> None:
        """Write down that load begins or ends now."""
        self.sink({"event": "marker_chip", "t": self.clock.now_ns(), "on": on})

    def begin(self, session: "ClientSession") -> None:
        """Fill every slot."""
        self.is_on = True
        self.edge(True)
        self.tasks = {asyncio.create_task(self.slot(session)) for _ in range(self.concurrency)}
        for task in self.tasks:
            task.add_done_callback(self.ended)

    async def end(self) -> None:
        """Empty every slot: a connection that closes makes a server stop working on its answer."""
        if not self.is_on:
            return
        self.is_on = False
        self.edge(False)
        running, self.tasks = list(self.tasks), set()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def slot(self, session: "ClientSession") -> None:
        """One request after the other until the chip ends. A cancellation that meets the end of an answer is lost
        (asyncio.wait_for before Python 3.12), so it is not enough to be cancelled."""
        while self.is_on and (request := next(self.requests, None)) is not None:
            answer = await exchange(session, self.api, self.endpoint, request, None, self.clock, self.sink)
            if answer.status is Status.UNREACHABLE or answer.status in BACK_OFF:
                await asyncio.sleep(BACK_OFF_S)

    def ended(self, task: "asyncio.Task[None]") -> None:
        """What went wrong in a slot ends the marker."""
        if not task.cancelled() and (err := task.exception()) is not None:
            self.fail(err)

    def fail(self, err: BaseException) -> None:
        self.failure = self.failure or err
        self.stop.set()

    async def wait_until(self, t_ns: int) -> None:
        """Wait for an instant, or until the marker is stopped."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stop.wait(), max(0.0, seconds(t_ns - self.clock.now_ns())))


def play_marker(
    requests: Iterator[Request],
    endpoint: Endpoint,
    chips: Sequence[bool],
    chip_s: float,
    concurrency: int,
    clock: Clock,
    sink: Sink,
    mark: Mark,
) -> None:
    """Play `chips`, each about `chip_s` long: `concurrency` requests in flight while one is True, none while it is
    False. The edges between them stand up to an eighth of a chip off their even places, so that a meter that reads once
    a second does not see all of them at the same point of its second.

    `sink` gets what becomes of the requests (the events of `drive`; they are no part of the run's load, most are
    cancelled in mid-answer) and each edge, {"event": "marker_chip", "t": ns, "on": bool}. `mark` gets the phases
    marker_start and marker_end. A server that refuses or is out of reach does not end the marker: the load that
    follows tells of it, and the meters will not have seen an edge.

    raises: Interrupted on Ctrl-C; whatever `sink` raises. The phases that were reached have been marked.
    """
    player = Player(requests, endpoint, concurrency, clock, sink, APIS.load(endpoint.api)())
    asyncio.run(_play(player, chips, nanoseconds(chip_s), mark))


async def _play(player: Player, chips: Sequence[bool], chip_ns: int, mark: Mark) -> None:
    import aiohttp

    _on_interrupt(player)
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session:
        start_ns = player.clock.now_ns()
        mark("marker_start", start_ns)
        try:
            for place, on in enumerate(chips):
                await _chip(player, session, bool(on), start_ns + end_ns(place, len(chips), chip_ns))
        finally:
            await player.end()
        mark("marker_end", player.clock.now_ns())
    if player.failure is not None:
        raise player.failure


def end_ns(place: int, count: int, chip_ns: int) -> int:
    """When chip `place` of `count` ends, in ns since the start; the last one exactly on time."""
    off = 0.0 if place + 1 == count else ((place + 1) * GOLDEN % 1 - 0.5) * DITHER
    return round((place + 1 + off) * chip_ns)


async def _chip(player: Player, session: "ClientSession", on: bool, until_ns: int) -> None:
    """Go over to load or rest, unless that is what there was, and stay there; nothing more once it is stopped."""
    if player.stop.is_set():
        return
    if on and not player.is_on:
        player.begin(session)
    elif not on:
        await player.end()
    await player.wait_until(until_ns)


def _on_interrupt(player: Player) -> None:
    """Ctrl-C and SIGTERM end the marker in good order instead of tearing it down."""
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, player.fail, Interrupted("stopped by the user while the marker ran"))
