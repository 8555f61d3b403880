"""The routes."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import ClientDisconnect

from reference_engine.errors import RequestError
from reference_engine.request import Delta
from reference_engine.server import document, refuse
from reference_engine.server.answer import Answer
from reference_engine.server.door import Door, DoorKeeper
from reference_engine.server.events import DONE, EventStream, event
from reference_engine.server.limit import BodyLimit
from reference_engine.server.service import Service
from reference_engine.server.wire import ChatRequest, Common, CompletionRequest

T = TypeVar("T")


def build_app(service: Service, door: Door) -> FastAPI:
    """The ASGI application; its lifespan starts and stops the engine's thread."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.bridge.attach()
        yield
        await service.bridge.stop()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    refuse.install(app)
    app.add_middleware(BodyLimit, context_tok=service.context_tok)
    app.add_middleware(DoorKeeper, door=door)  # the outermost: it reads nothing of who does not come in
    _add_inference(app, service)
    _add_status(app, service, door)
    return app


def _add_inference(app: FastAPI, service: Service) -> None:
    @app.post("/v1/chat/completions", responses=document.answered(document.ChatCompletion, document.ChatChunk))
    async def chat_completions(wire: ChatRequest, request: Request) -> Response:
        """The model's answer to a conversation."""
        answer = await asyncio.to_thread(service.chat, wire, request.state.holder)
        return await _respond(wire, answer, service, request)

    @app.post("/v1/completions", responses=document.answered(document.Completion, document.CompletionChunk))
    async def completions(wire: CompletionRequest, request: Request) -> Response:
        """What the model writes after a text."""
        answer = await asyncio.to_thread(service.completion, wire, request.state.holder)
        return await _respond(wire, answer, service, request)


def _add_status(app: FastAPI, service: Service, door: Door) -> None:
    @app.get("/v1/models", responses=document.found(document.Models))
    async def models() -> Response:
        """The one model there is."""
        return JSONResponse({"object": "list", "data": [service.card()]})

    @app.get("/v1/models/{name:path}", responses=document.found(document.Model, 404))
    async def model(name: str) -> Response:
        """The model, by its name."""
        service.check_model(name)
        return JSONResponse(service.card())

    @app.get("/health", responses=document.health())
    async def health() -> Response:
        """Whether requests are taken; 503 while the server ends, or when the engine has failed."""
        trouble = service.bridge.failure or ("draining" if door.draining else None)
        return JSONResponse({"status": trouble or "ok"}, 503 if trouble else 200)

    @app.get("/metrics", responses=document.metrics())
    async def metrics() -> Response:
        """Counters in Prometheus text format."""
        service.metrics.look(service.bridge.engine.scheduler)
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/openapi.json", include_in_schema=False)
    async def described() -> Response:
        return JSONResponse(document.describe(app, service, bool(door.keys)))


async def _respond(wire: Common, answer: Answer, service: Service, request: Request) -> Response:
    headers = {"x-request-id": answer.name}
    batches = service.bridge.ask(answer.requests, bool(wire.stream))
    try:
        first = await _unless_gone(anext(batches), request)  # before the head goes out: a refusal still sets the status
    except ClientDisconnect:
        return Response(status_code=499)  # nobody reads it
    if not wire.stream:
        await batches.aclose()
        return JSONResponse(answer.whole(first), headers=headers)
    usage = wire.stream_options is not None and wire.stream_options.include_usage
    return StreamingResponse(_events(answer, first, batches, usage), headers=headers, media_type="text/event-stream")


async def _events(
    answer: Answer, first: list[Delta], rest: AsyncGenerator[list[Delta]], usage: bool
) -> AsyncIterator[bytes]:
    """The body of a stream: what each step made in one piece, then the usage if asked for, then [DONE]."""
    events = EventStream(answer)
    async with aclosing(rest):
        try:
            yield events.chunks(first)
            async for deltas in rest:
                yield events.chunks(deltas)
        except RequestError as err:
            yield event(refuse.error_object(err))
            return
        yield (events.usage() if usage else b"") + DONE


async def _unless_gone(wanted: Awaitable[T], request: Request) -> T:
    """The result of `wanted`. raises: ClientDisconnect, having cancelled it, when the client leaves first."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    result, leaving = asyncio.ensure_future(wanted), asyncio.ensure_future(gone())
    try:
        await asyncio.wait((result, leaving), return_when=asyncio.FIRST_COMPLETED)
        if result.done():
            return result.result()
        raise ClientDisconnect
    finally:
        result.cancel()
        leaving.cancel()
        await asyncio.wait((result, leaving))
