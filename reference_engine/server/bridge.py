"""Between the event loop and the engine: requests go in by a locked inbox, tokens come back by one queue each."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress

from reference_engine.engine import Engine
from reference_engine.errors import RequestError
from reference_engine.request import Delta, Request

ENDING = RequestError("the server is shutting down", "shutting_down", 503)


class Bridge:
    """Builds and runs the engine in a thread of its own. With nothing to do the thread sleeps; it never polls.

    Building belongs in that thread too: OpenMP keeps a team of workers for every thread that ever ran tensor code,
    and once there are more workers than cores it puts them to sleep between operations, 300 times in a step.
    """

    def __init__(self, build: Callable[[], Engine]) -> None:
        """Blocks until the engine is built. raises: whatever `build` raises."""
        self.failure: str | None = None
        self._wake = threading.Condition()
        self._submitted: deque[Request] = deque()
        self._cancelled: deque[Request] = deque()
        self._closing = False
        self._answers: dict[str, asyncio.Queue[Delta | RequestError]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.engine: Engine
        built: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(build, built), name="engine", daemon=True)
        self._thread.start()
        built.result()

    def attach(self) -> None:
        """Call it from the event loop that will ask, before it does."""
        self._loop = asyncio.get_running_loop()

    async def stop(self) -> None:
        """Cancel what is left and wait for the thread to end."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join)

    async def ask(self, request: Request) -> AsyncGenerator[Delta, None]:
        """The tokens of `request` as they are made. Leaving the iteration early cancels it and frees its pages.

        raises: RequestError when it cannot be served.
        """
        answer = self._answers[request.id] = asyncio.Queue()
        ended = False
        try:
            if self.failure is not None:  # looked at once we are known: whoever is known when it fails is told
                raise _failed(self.failure)
            self._post(self._submitted, request)
            while not ended:
                item = await answer.get()
                ended = isinstance(item, RequestError) or item.finish is not None
                if isinstance(item, RequestError):
                    raise item
                yield item
        finally:
            del self._answers[request.id]
            if not ended:
                self._post(self._cancelled, request)

    def _post(self, box: deque[Request], request: Request) -> None:
        with self._wake:
            box.append(request)
            self._wake.notify()

    def _run(self, build: Callable[[], Engine], built: "Future[None]") -> None:
        try:
            self.engine = build()
            built.set_result(None)
        except BaseException as err:  # noqa: BLE001 (handed to the thread that waits for it)
            built.set_exception(err)
            return
        try:
            while self._take_in():
                self._hand_out(self.engine.step())
        except Exception as err:  # noqa: BLE001 (the thread's last words: every asker is told, and /health says so)
            self.failure = f"{type(err).__name__}: {err}"
            self._tell_all(_failed(self.failure))
            self._write_off()

    def _take_in(self) -> bool:
        """Wait for work and accept it; False when it is time to end."""
        with self._wake:
            while not (self._submitted or self._cancelled or self.engine.busy or self._closing):
                self._wake.wait()
            submitted, self._submitted = self._submitted, deque()
            cancelled, self._cancelled = self._cancelled, deque()
        for request in submitted:
            try:
                self.engine.submit(request)
            except RequestError as err:
                self._deliver_soon([(request.id, err)])
        scheduler = self.engine.scheduler
        leaving = [*scheduler.running, *scheduler.waiting] if self._closing else cancelled
        for request in leaving:
            if request.arrival >= 0:  # one that was refused never got a place
                self.engine.cancel(request)
        return not self._closing

    def _hand_out(self, deltas: Iterable[Delta]) -> None:
        if items := [(delta.request_id, delta) for delta in deltas]:
            self._deliver_soon(items)

    def last_call(self) -> None:
        """Tell everyone who still waits that the server ends now; from the event loop."""
        self._deliver([(name, ENDING) for name in tuple(self._answers)])

    def _tell_all(self, why: RequestError) -> None:
        self._deliver_soon([(name, why) for name in tuple(self._answers)])

    def _write_off(self) -> None:
        """Log and count what was under way when the engine failed. The engine may be in any state by now."""
        for request in [*self.engine.scheduler.running, *self.engine.scheduler.waiting]:
            with suppress(Exception):
                self.engine.cancel(request, "failed")

    def _deliver_soon(self, items: Sequence[tuple[str, Delta | RequestError]]) -> None:
        """From the engine's thread into the event loop, unless that has closed meanwhile."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver, items)

    def _deliver(self, items: Iterable[tuple[str, Delta | RequestError]]) -> None:
        """In the event loop: put each item where its asker waits; one who left gets nothing."""
        for name, item in items:
            if name in self._answers:
                self._answers[name].put_nowait(item)


def _failed(why: str) -> RequestError:
    return RequestError(f"the engine stopped: {why}", "engine_failed", 500)
