"""The only HTTP to the system under test: one request, its stream, and what became of it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from errno import EMFILE, ENFILE
from typing import TYPE_CHECKING, Any

from tcabench.clock import Clock
from tcabench.errors import NotMeasured
from tcabench.load.apis.events import Delta, EndpointApi, ProtocolError
from tcabench.load.endpoint import Endpoint
from tcabench.load.sse import SseDecoder
from tcabench.records import Request, Status

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

Sink = Callable[[dict[str, Any]], None]
BODY_BYTES = 65_536
FINISHED = ("stop", "length", "tool_calls", "function_call", "eos_token", "stop_sequence")


@dataclass(slots=True)
class Answer:
    """What is known of an answer so far."""

    status: Status = Status.OK
    http: int | None = None
    error: str = ""
    finish: str | None = None
    prompt_tok: int | None = None
    output_tok: int | None = None
    server_id: str | None = None
    retry_after_s: float = 0.0
    work: dict[str, list[int]] | None = None

    def take(self, delta: Delta) -> None:
        """Keep what a payload said."""
        self.finish = self.finish or delta.finish_reason
        self.prompt_tok = delta.prompt_tok if delta.prompt_tok is not None else self.prompt_tok
        self.output_tok = delta.output_tok if delta.output_tok is not None else self.output_tok
        self.server_id = delta.server_id or self.server_id
        self.work = delta.work or self.work
        if delta.error:
            raise ProtocolError(f"the stream carried an error: {delta.error}")

    def fail(self, status: Status, error: str) -> None:
        """Note how it went wrong; the first word stands."""
        if self.status is Status.OK:
            self.status, self.error = status, error


async def exchange(
    session: "ClientSession", api: EndpointApi, endpoint: Endpoint, request: Request, due_ns: int | None,
    clock: Clock, sink: Sink,
) -> Answer:  # fmt: skip
    """Send one request and follow its stream to the end. Every outcome, good or bad, ends in an "end" event."""
    answer = Answer()
    sink(
        {
            "e": "sent",
            "i": request.index,
            "p": request.prompt_id,
            "t": clock.now_ns(),
            "due": due_ns,
            "max": request.max_tok,
        }
    )
    try:
        await asyncio.wait_for(_post(session, api, endpoint, request, answer, clock, sink), endpoint.timeout_s)
    except TimeoutError:
        answer.fail(Status.TIMEOUT, f"no end within {endpoint.timeout_s:g} s")
    except asyncio.CancelledError:
        answer.fail(Status.CANCELLED, "stopped by the run before its end")
        raise
    except ProtocolError as err:
        answer.fail(Status.MALFORMED, str(err))
    finally:
        sink(_end_event(request.index, answer, endpoint, clock.now_ns()))
    return answer


async def _post(
    session: "ClientSession", api: EndpointApi, endpoint: Endpoint, request: Request, answer: Answer,
    clock: Clock, sink: Sink,
) -> None:  # fmt: skip
    from aiohttp import ClientError

    url, body = endpoint.base_url + api.path, api.body(request, endpoint)
    try:
        async with session.post(url, json=body, headers=endpoint.headers(), allow_redirects=False) as response:
            answer.http = response.status
            answer.server_id = response.headers.get("x-request-id")
            if response.status == 200:
                await _follow(response, api, request.index, answer, clock, sink)
            else:
                await _refused(response, answer)
    except (ClientError, ConnectionResetError) as err:
        refuse_our_own(err)
        if answer.http is None:
            answer.fail(Status.UNREACHABLE, f"{type(err).__name__}: {err}")
        else:
            answer.fail(Status.STREAM_CUT, f"the connection broke in mid-answer: {err}")


def refuse_our_own(err: Exception) -> None:
    """A failure that is ours, not the server's, must not be counted as its. raises: NotMeasured."""
    if getattr(err, "errno", None) in (EMFILE, ENFILE):
        raise NotMeasured(
            f"this machine allows too few open files for so many requests ({err}): ulimit -n", "client-limit"
        )


async def _follow(
    response: "ClientResponse", api: EndpointApi, index: int, answer: Answer, clock: Clock, sink: Sink
) -> None:
    """Read the stream; the time of a token is the moment its bytes were handed to us."""
    kind = response.headers.get("content-type", "")
    if "text/event-stream" not in kind:
        excerpt = (await response.content.read(BODY_BYTES)).decode("utf-8", "replace")
        raise ProtocolError(f"a stream was asked for, but the answer is {kind or 'of no stated type'}: {excerpt!r}")
    decoder = SseDecoder()
    async for chunk in response.content.iter_any():
        now_ns = clock.now_ns()
        for payload in decoder.feed(chunk):
            if payload.strip() == b"[DONE]":
                continue
            delta = api.delta(payload)
            if delta.text is not None:
                sink({"e": "chunk", "i": index, "t": now_ns, "s": delta.text})
            answer.take(delta)
    if answer.finish is None:
        answer.fail(Status.STREAM_CUT, "the stream ended without a finish_reason")
    elif answer.finish not in FINISHED:
        answer.fail(Status.MALFORMED, f"finish_reason is {answer.finish!r}")


async def _refused(response: "ClientResponse", answer: Answer) -> None:
    """Note a refusal with the beginning of its body."""
    excerpt = (await response.content.read(BODY_BYTES)).decode("utf-8", "replace")
    status = Status.HTTP_5XX if response.status >= 500 else Status.HTTP_4XX
    if response.status == 429:
        status = Status.HTTP_429
        after = response.headers.get("retry-after", "")
        answer.retry_after_s = float(after) if after.isascii() and after.isdigit() else 1.0
    answer.fail(status, f"HTTP {response.status}: {excerpt}")


def _end_event(index: int, answer: Answer, endpoint: Endpoint, now_ns: int) -> dict[str, Any]:
    told = {"work": answer.work} if answer.work else {}
    return {
        "e": "end", "i": index, "t": now_ns, "status": answer.status.value, "http": answer.http,
        "err": endpoint.excerpt(answer.error), "finish": answer.finish, "prompt": answer.prompt_tok,
        "output": answer.output_tok, "sid": answer.server_id, **told,
    }  # fmt: skip
