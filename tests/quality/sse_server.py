"""A server on loopback whose answers a test writes: real HTTP, real server-sent events, real pauses."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: pieces of text, the pause before the first and after each, and what is said of it at the end.
    Without a pause between them, the pieces go out in one write. `usage` is counted in tokens; None: as many as
    pieces."""

    pieces: Sequence[str]
    first_s: float = 0.1
    gap_s: float = 0.02
    finish: str = "length"
    usage: int | None = None
    work: Any = None  # what `usage` says of work done and spared, where it says anything


Answerer = Callable[[str, int, int], Reply]  # (prompt, times it was asked before, max_tokens) -> Reply


@contextmanager
def serving(answerer: Answerer) -> Iterator[str]:
    """The base URL of a running server that answers as told."""
    loop, ready, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    asked: dict[str, int] = {}
    urls: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        prompt = body["messages"][0]["content"]
        before = asked.get(prompt, 0)
        asked[prompt] = before + 1
        return await stream(request, answerer(prompt, before, body["max_tokens"]))

    async def serve() -> None:
        application = web.Application()
        application.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        urls.append(f"http://127.0.0.1:{runner.addresses[0][1]}/v1")
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: (loop.run_until_complete(serve()), loop.close()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield urls[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


async def stream(request: web.Request, reply: Reply) -> web.StreamResponse:
    """Send `reply` at its own pace."""
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    await asyncio.sleep(reply.first_s)
    events = [event({"delta": {"content": piece}}) for piece in reply.pieces]
    for sent in events if reply.gap_s else [b"".join(events)]:
        await response.write(sent)
        await asyncio.sleep(reply.gap_s)
    await response.write(event({"delta": {}, "finish_reason": reply.finish}))
    usage = len(reply.pieces) if reply.usage is None else reply.usage
    work = {} if reply.work is None else {"work": reply.work}
    said = {"prompt_tokens": 7, "completion_tokens": usage, **work}
    await response.write(event(None, said) + b"data: [DONE]\n\n")
    return response


def event(choice: dict[str, Any] | None, usage: dict[str, Any] | None = None) -> bytes:
    choices = [] if choice is None else [{"index": 0, "finish_reason": None, **choice}]
    return b"data: " + json.dumps({"id": "r-1", "choices": choices, "usage": usage}).encode() + b"\n\n"
