"""The routes."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import ClientDisconnect

from reference_engine.errors import RequestError
from reference_engine.request import Delta
from reference_engine.server import refuse
from reference_engine.server.answer import Answer
from reference_engine.server.events import DONE, EventStream, event
from reference_engine.server.limit import BodyLimit
from reference_engine.server.service import Service
from reference_engine.server.wire import ChatRequest, Common, CompletionRequest

T = TypeVar("T")


def build_app(service: Service) -> FastAPI:
    """The ASGI application; its lifespan starts and stops the engine's thread."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.bridge.attach()
        yield
        await service.bridge.stop()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    refuse.install(app)
    app.add_middleware(BodyLimit, context_tok=service.context_tok)
    _add_inference(app, service)
    _add_status(app, service)
    return app


def _add_inference(app: FastAPI, service: Service) -> None:
    @app.post("/v1/chat/completions")
    async def chat_completions(wire: ChatRequest, request: Request) -> Response:
        return await _respond(wire, await asyncio.to_thread(service.chat, wire), service, request)

    @app.post("/v1/completions")
    async def completions(wire: CompletionRequest, request: Request) -> Response:
        return await _respond(wire, await asyncio.to_thread(service.completion, wire), service, request)


def _add_status(app: FastAPI, service: Service) -> None:
    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [service.card()]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        service.check_model(name)
        return service.card()

    @app.get("/health")
    async def health() -> Response:
        failure = service.bridge.failure
        return JSONResponse({"status": failure or "ok"}, 503 if failure else 200)

    @app.get("/metrics")
    async def metrics() -> Response:
        service.metrics.look(service.bridge.engine.scheduler)
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


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
