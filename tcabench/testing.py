"""For plug-in authors and for our own tests: a clock that jumps, a meter that plays a curve, a scripted server.

Nothing here is a mock of tcabench: the meter is a real `Meter`, the server answers real HTTP on loopback.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tcabench.errors import MeterError
from tcabench.records import Channel, Kind

if TYPE_CHECKING:
    from aiohttp import web


class FakeClock:
    """A clock whose sleep jumps instead of waiting."""

    def __init__(self, start_ns: int = 1_000_000_000) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        return self._now_ns

    def sleep(self, s: float) -> None:
        self._now_ns += round(s * 1e9)


def power_channel(channel_id: str = "fake.power", **changes: Any) -> Channel:
    """A 1 % power channel of domain "fake", boundary "chip", read every 50 ms."""
    settings: dict[str, Any] = {
        "id": channel_id, "meter": "fake", "domain": "fake", "kind": Kind.POWER, "unit": "W", "boundary": "chip",
        "gain_low": 0.99, "gain_high": 1.01, "resolution": 0.001, "update_ns": 0, "period_ns": 50_000_000,
        "is_estimate": False, "accuracy_source": "a test's own invention",
    }  # fmt: skip
    return Channel(**(settings | changes))


class FakeMeter:
    """A meter that reads `watts()`; `breaks` after so many reads, if given."""

    name = "fake"

    def __init__(self, watts: Callable[[], float], breaks_after: int | None = None) -> None:
        self.watts, self.left = watts, breaks_after

    def channels(self) -> tuple[Channel, ...]:
        return (power_channel(),)

    def read(self) -> list[tuple[str, float]]:
        if self.left is not None:
            if self.left == 0:
                raise MeterError("the fake meter was told to break")
            self.left -= 1
        return [("fake.power", self.watts())]

    def facts(self) -> dict[str, dict[str, Any]]:
        return {"meter.fake": {"value": True, "source": "a test"}}

    def close(self) -> None:
        self.left = 0


@dataclass(slots=True)
class Script:
    """How the scripted server behaves. `status` other than 200 is sent for every answer; `cut_after` breaks the
    connection after so many tokens; `garble` sends bytes that are not the protocol."""

    models: tuple[str, ...] = ("fake-model",)
    key: str | None = None
    tokens: int | None = None
    first_s: float = 0.0
    gap_s: float = 0.0
    status: int = 200
    status_after: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = '{"error": {"message": "no", "type": "server_error"}}'
    cut_after: int | None = None
    garble: bool = False
    extra: bytes | None = None  # one more payload after the tokens
    usage: bool = True
    finish: bool = True
    refuses: tuple[str, ...] = ()
    hang: bool = False
    card: Mapping[str, Any] = field(default_factory=dict)  # what the list of models says of each beside its id
    says: Callable[[Mapping[str, Any]], str] | None = None  # the whole answer to a request's body, in one piece


class FakeEndpoint:
    """An OpenAI-compatible server on loopback that follows a `Script`; `seen` holds the bodies it was sent."""

    def __init__(self, script: Script) -> None:
        self.script, self.url = script, ""
        self.seen: list[dict[str, Any]] = []

    async def list_models(self, request: "web.Request") -> "web.StreamResponse":
        from aiohttp import web

        if refused := self._unauthorized(request):
            return refused
        cards = [{"id": model, "object": "model", **self.script.card} for model in self.script.models]
        return web.json_response({"object": "list", "data": cards})

    async def answer(self, request: "web.Request") -> "web.StreamResponse":
        from aiohttp import web

        body = await request.json()
        self.seen.append(body)
        script = self.script
        if refused := self._unauthorized(request):
            return refused
        if unknown := [name for name in script.refuses if name in body]:
            message = {"error": {"message": f"unknown field {unknown[0]}", "param": unknown[0]}}
            return web.json_response(message, status=400)
        if script.status != 200 and len(self.seen) > script.status_after:
            return web.Response(status=script.status, text=script.body, headers=script.headers)
        if script.hang:
            await asyncio.sleep(3600)
        with suppress(ConnectionResetError):  # the client went away, as clients do
            return await self._stream(request, body)
        return web.Response()

    def _unauthorized(self, request: "web.Request") -> "web.Response | None":
        from aiohttp import web

        sent = request.headers.get("authorization", "")
        if self.script.key is None or sent == f"Bearer {self.script.key}":
            return None
        return web.json_response({"error": {"message": f"Incorrect API key provided: {sent}"}}, status=401)

    async def _stream(self, request: "web.Request", body: dict[str, Any]) -> "web.StreamResponse":
        from aiohttp import web

        script, n = self.script, self.script.tokens or body["max_tokens"]
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await asyncio.sleep(script.first_s)
        words = [f" w{i}" for i in range(n)] if script.says is None else [script.says(body)]
        for i, word in enumerate(words):
            if script.cut_after == i and request.transport:
                request.transport.close()
                return response
            await response.write(b"data: {oops\n\n" if script.garble else _event({"delta": {"content": word}}))
            await asyncio.sleep(script.gap_s)
        if script.extra is not None:
            await response.write(b"data: " + script.extra + b"\n\n")
        if script.finish:
            await response.write(_event({"delta": {}, "finish_reason": "length"}))
        if script.usage:
            await response.write(_event(None, {"prompt_tokens": 7, "completion_tokens": len(words)}))
        if script.finish:
            await response.write(b"data: [DONE]\n\n")
        return response


def _event(choice: dict[str, Any] | None, usage: dict[str, int] | None = None) -> bytes:
    choices = [] if choice is None else [{"index": 0, "finish_reason": None, **choice}]
    return b"data: " + json.dumps({"id": "fake-1", "choices": choices, "usage": usage}).encode() + b"\n\n"


@contextmanager
def fake_endpoint(script: Script | None = None) -> Iterator[FakeEndpoint]:
    """A running FakeEndpoint; `.url` is its base URL, ending in /v1."""
    endpoint, loop, ready = FakeEndpoint(script or Script()), asyncio.new_event_loop(), threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        from aiohttp import web

        application = web.Application()
        application.router.add_get("/v1/models", endpoint.list_models)
        application.router.add_post("/v1/chat/completions", endpoint.answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: (loop.run_until_complete(serve()), loop.close()), daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield endpoint
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
