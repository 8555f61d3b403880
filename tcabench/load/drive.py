"""Sends the requests: closed loop (so many in flight) or open loop (on schedule, whatever the server does)."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tcabench.clock import Clock
from tcabench.errors import EndpointError, Interrupted
from tcabench.load.apis import APIS
from tcabench.load.apis.events import EndpointApi
from tcabench.load.endpoint import Endpoint
from tcabench.load.transport import Sink, exchange
from tcabench.records import Arrivals, Request, Status, WindowPlan
from tcabench.units import NS_PER_S, nanoseconds, seconds

if TYPE_CHECKING:
    from aiohttp import ClientSession

Mark = Callable[[str, int], None]
BACK_OFF_S = 0.5
BACK_OFF = (Status.HTTP_429, Status.HTTP_5XX, Status.HTTP_4XX, Status.STREAM_CUT, Status.MALFORMED)
MAX_RETRY_AFTER_S = 5.0
MOST_SLOTS = 1_000_000


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """How long and how hard: `limit` bounds the number of requests (None: only time does); a server that has been
    out of reach for `lost_after_s` ends the load."""

    arrivals: Arrivals
    window: WindowPlan
    limit: int | None
    lost_after_s: float = 15.0


@dataclass(slots=True)
class Driver:
    """One load: what is under way, and why it stopped."""

    requests: Iterator[Request]
    endpoint: Endpoint
    plan: LoadPlan
    clock: Clock
    sink: Sink
    api: EndpointApi
    start_ns: int = 0
    sent: int = 0
    answered_ns: int = 0
    failure: BaseException | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def next_request(self) -> Request | None:
        """The next request to send, or None when the load is over."""
        spent = self.plan.limit is not None and self.sent >= self.plan.limit
        if self.stop.is_set() or spent or self.clock.now_ns() >= self.deadline_ns():
            return None
        self.sent += 1
        return next(self.requests)

    def deadline_ns(self) -> int:
        return self.start_ns + nanoseconds(self.plan.window.warmup_s + self.plan.window.measure_s)

    def remaining_s(self) -> float:
        return max(0.0, seconds(self.deadline_ns() - self.clock.now_ns()))

    def take(self, event: dict[str, Any]) -> None:
        """Hand an event on; a chunk is a sign of life."""
        if event["e"] == "chunk":
            self.answered_ns = event["t"]
        self.sink(event)

    def never_sent(self, request: Request) -> None:
        """Write down a request that came due and was not sent: leaving it out would hide the worst ones."""
        now_ns, due_ns = self.clock.now_ns(), self.start_ns + nanoseconds(request.due_s or 0.0)
        self.sink(
            {
                "e": "sent",
                "i": request.index,
                "p": request.prompt_id,
                "t": now_ns,
                "due": due_ns,
                "max": request.max_tok,
            }
        )
        end = {"status": Status.CANCELLED.value, "err": "never sent: the cap on concurrency held it back to the end"}
        self.sink({"e": "end", "i": request.index, "t": now_ns, **end})

    async def one(self, session: "ClientSession", request: Request) -> None:
        """Send one request; wait a little after a failure so that a dead server is not hammered."""
        due_ns = None if request.due_s is None else self.start_ns + nanoseconds(request.due_s)
        try:
            answer = await exchange(session, self.api, self.endpoint, request, due_ns, self.clock, self.take)
        except Exception as err:
            self.fail(err)
            raise
        if answer.status is Status.UNREACHABLE:
            self.check_lost(answer.error)
            await self.pause(BACK_OFF_S)
        else:
            self.answered_ns = self.clock.now_ns()
        if answer.status in BACK_OFF:
            await self.pause(min(MAX_RETRY_AFTER_S, answer.retry_after_s or BACK_OFF_S))

    def check_lost(self, why: str) -> None:
        """End the load once the server has been out of reach for a while."""
        silent_ns = self.clock.now_ns() - max(self.answered_ns, self.start_ns)
        if silent_ns > self.plan.lost_after_s * NS_PER_S:
            message = f"{self.endpoint.base_url} has been out of reach for {self.plan.lost_after_s:g} s: {why}"
            self.fail(EndpointError(self.endpoint.redact(message), "endpoint-lost"))

    def ended(self, task: "asyncio.Task[None]") -> None:
        """Let go of a task; what went wrong in it ends the load."""
        self.tasks.discard(task)
        if not task.cancelled() and (err := task.exception()) is not None:
            self.fail(err)

    def fail(self, err: BaseException) -> None:
        self.failure = self.failure or err
        self.stop.set()

    async def pause(self, s: float) -> None:
        """Wait `s` seconds, or until the load is stopped."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stop.wait(), s)


def drive(
    requests: Iterator[Request], endpoint: Endpoint, plan: LoadPlan, clock: Clock, sink: Sink, mark: Mark
) -> None:
    """Send `requests` as `plan` says; every event goes to `sink`, the phases load_start, load_stop and drain_end
    to `mark`. Returns when the last answer is in or the drain time is over.

    raises: Interrupted on Ctrl-C; EndpointError when the server is lost; whatever `sink` raises. In each case
    the phases that were reached have been marked.
    """
    asyncio.run(_drive(Driver(requests, endpoint, plan, clock, sink, APIS.load(endpoint.api)()), mark))


async def _drive(driver: Driver, mark: Mark) -> None:
    import aiohttp

    _on_interrupt(driver)
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session:
        driver.start_ns = driver.clock.now_ns()
        try:
            mark("load_start", driver.start_ns)
            await (_closed if driver.plan.arrivals.kind == "closed" else _open)(driver, session)
            mark("load_stop", min(driver.clock.now_ns(), driver.deadline_ns()))
            await _drain(driver)
        finally:
            await _cancel(driver.tasks)
        mark("drain_end", driver.clock.now_ns())
    if driver.failure is not None:
        raise driver.failure


def _on_interrupt(driver: Driver) -> None:
    """Ctrl-C and SIGTERM end the load in good order instead of tearing it down."""
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, driver.fail, Interrupted("stopped by the user in mid-run"))


async def _closed(driver: Driver, session: "ClientSession") -> None:
    """Keep `concurrency` requests in flight until the load is over."""

    async def worker() -> None:
        while (request := driver.next_request()) is not None:
            await driver.one(session, request)

    slots = min(driver.plan.arrivals.concurrency or 1, driver.plan.limit or MOST_SLOTS)
    driver.tasks |= {asyncio.create_task(worker()) for _ in range(slots)}
    over = asyncio.create_task(driver.pause(driver.remaining_s()))
    out_of_requests = asyncio.create_task(_until_first_idle(driver.tasks))
    await asyncio.wait({over, out_of_requests}, return_when=asyncio.FIRST_COMPLETED)
    for waiter in (over, out_of_requests):
        waiter.cancel()


async def _until_first_idle(tasks: set[asyncio.Task[None]]) -> None:
    """Return when the first slot has nothing more to do: from then on the load is not the one asked for."""
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


async def _open(driver: Driver, session: "ClientSession") -> None:
    """Send each request when it is due; a cap on concurrency delays sending, never the clock it is timed by."""
    cap = asyncio.Semaphore(driver.plan.arrivals.concurrency or MOST_SLOTS)

    async def capped(request: Request) -> None:
        is_sent = False
        try:
            async with cap:
                if not driver.stop.is_set() and driver.remaining_s() > 0:
                    is_sent = True
                    await driver.one(session, request)
        finally:
            if not is_sent:
                driver.never_sent(request)

    while (request := driver.next_request()) is not None:
        due_ns = driver.start_ns + nanoseconds(request.due_s or 0.0)
        if due_ns >= driver.deadline_ns():
            await driver.pause(driver.remaining_s())
            break
        await driver.pause(max(0.0, seconds(due_ns - driver.clock.now_ns())))
        if not driver.stop.is_set():
            task = asyncio.create_task(capped(request))
            driver.tasks.add(task)
            task.add_done_callback(driver.ended)


async def _drain(driver: Driver) -> None:
    """Wait for the answers under way, at most `drain_s`; on a failure or Ctrl-C not at all."""
    with suppress(TimeoutError):
        await asyncio.wait_for(_all_or_stop(driver), driver.plan.window.drain_s)


async def _all_or_stop(driver: Driver) -> None:
    """Return when every task has ended, or the load was stopped."""
    stopped = asyncio.create_task(driver.stop.wait())
    try:
        pending = set(driver.tasks)
        while pending and not driver.stop.is_set():
            await asyncio.wait({*pending, stopped}, return_when=asyncio.FIRST_COMPLETED)
            pending = {task for task in pending if not task.done()}
    finally:
        stopped.cancel()


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    """End what still runs, and wait until it has written down its end."""
    running = list(tasks)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
