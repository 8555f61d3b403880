"""Between the event loop and the engine: requests go in by a locked inbox, tokens come back once a step for everybody.

Who does not stream is woken once, at the end: at a thousand tokens a second each needless hand-over is felt.
"""

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


class _Asker:
    """Who waits for the answers to `requests`. `made` and `left` are the engine thread's, the rest is the loop's."""

    def __init__(self, requests: Sequence[Request], streams: bool) -> None:
        self.requests, self.streams = tuple(requests), streams
        self.made: list[Delta] = []
        self.left = len(self.requests)
        self.inbox: list[Delta] = []
        self.error: RequestError | None = None
        self.ready = asyncio.Event()

    def take_made(self) -> list[Delta]:
        made, self.made = self.made, []
        return made

    def take_inbox(self) -> list[Delta]:
        inbox, self.inbox = self.inbox, []
        return inbox


News = tuple[_Asker, Sequence[Delta] | RequestError]


class Bridge:
    """Builds and runs the engine in a thread of its own. With nothing to do the thread sleeps; it never polls.

    Building belongs in that thread too: OpenMP keeps a team of workers for every thread that ever ran tensor code,
    and once there are more workers than cores it puts them to sleep between operations, 300 times in a step.
    """

    def __init__(self, build: Callable[[], Engine]) -> None:
        """Blocks until the engine is built. raises: whatever `build` raises."""
        self.failure: str | None = None
        self._wake = threading.Condition()
        self._submitted: deque[_Asker] = deque()
        self._cancelled: deque[_Asker] = deque()
        self._closing = False
        self._waiting: set[_Asker] = set()  # the event loop's
        self._served: dict[str, _Asker] = {}  # by request id; the engine thread's
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

    async def ask(self, requests: Sequence[Request], streams: bool) -> AsyncGenerator[list[Delta], None]:
        """The tokens of `requests`: what each step made if the answer `streams`, else all of them in one list.
        Leaving the iteration early cancels the requests and frees their pages.

        raises: RequestError when one of them cannot be served; then none is.
        """
        asker, left = _Asker(requests, streams), len(requests)
        self._waiting.add(asker)
        try:
            if self.failure is not None:  # looked at once we are known: whoever is known when it fails is told
                raise _failed(self.failure)
            self._post(self._submitted, asker)
            while left:
                await asker.ready.wait()
                asker.ready.clear()
                if deltas := asker.take_inbox():
                    left -= sum(delta.finish is not None for delta in deltas)
                    yield deltas
                if left and asker.error is not None:
                    raise asker.error
        finally:
            self._waiting.remove(asker)
            if left:
                self._post(self._cancelled, asker)

    def _post(self, box: deque[_Asker], asker: _Asker) -> None:
        with self._wake:
            box.append(asker)
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
        for asker in submitted:
            self._submit(asker)
        scheduler = self.engine.scheduler
        leaving = [*scheduler.running, *scheduler.waiting] if self._closing else []
        for request in leaving:
            self.engine.cancel(request)
        for asker in cancelled:
            self._withdraw(asker)
        return not self._closing

    def _submit(self, asker: _Asker) -> None:
        """All of an asker's requests or none."""
        try:
            for request in asker.requests:
                self.engine.submit(request)
                self._served[request.id] = asker
        except RequestError as err:
            self._withdraw(asker)
            self._deliver_soon([(asker, err)])

    def _withdraw(self, asker: _Asker) -> None:
        for request in asker.requests:
            if self._served.pop(request.id, None) is not None:  # else it was refused, or has ended
                self.engine.cancel(request)

    def _hand_out(self, deltas: Iterable[Delta]) -> None:
        """Note the tokens of a step; wake those who stream, and those who have all they asked for."""
        ready: dict[_Asker, None] = {}
        for delta in deltas:
            asker = self._served.get(delta.request_id)
            if asker is None:  # it has left
                continue
            asker.made.append(delta)
            if delta.finish is not None:
                del self._served[delta.request_id]
                asker.left -= 1
            if asker.streams or not asker.left:
                ready[asker] = None
        if ready:
            self._deliver_soon([(asker, asker.take_made()) for asker in ready])

    def last_call(self) -> None:
        """Tell everyone who still waits that the server ends now; from the event loop."""
        self._deliver([(asker, ENDING) for asker in self._waiting])

    def _tell_all(self, why: RequestError) -> None:
        self._deliver_soon([(asker, why) for asker in tuple(self._waiting)])

    def _write_off(self) -> None:
        """Log and count what was under way when the engine failed. The engine may be in any state by now."""
        for request in [*self.engine.scheduler.running, *self.engine.scheduler.waiting]:
            with suppress(Exception):
                self.engine.cancel(request, "failed")

    def _deliver_soon(self, news: Sequence[News]) -> None:
        """From the engine's thread into the event loop, unless that has closed meanwhile."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver, news)

    def _deliver(self, news: Iterable[News]) -> None:
        """In the event loop: wake each asker with what there is for it."""
        for asker, item in news:
            if isinstance(item, RequestError):
                asker.error = item
            else:
                asker.inbox += item
            asker.ready.set()


def _failed(why: str) -> RequestError:
    return RequestError(f"the engine stopped: {why}", "engine_failed", 500)
