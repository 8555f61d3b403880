"""Asks a server for whole answers and for the scores of given texts, with the log-probabilities that it tells."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tcabench.load.endpoint import Endpoint
from tcabench.load.transport import refuse_our_own
from tcabench.records import Prompt
from tcabench.records.quality import Reply, Score, Token

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

Tick = Callable[[], None]
MOST_BYTES = 64_000_000  # of one answer; a server that sends more is not believed to be one
MOST_TOKEN_BYTES = 1_000
LEAST_LOGPROB = -100.0  # e^-100 is nothing beside 1; servers write -inf as -9999 and the like
SLACK = 1e-3  # above 0: what roundings make of a probability of 1
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, OverflowError, IndexError)


@dataclass(frozen=True, slots=True)
class Asking:
    """How answers are asked for. `max_tok` None: as long as each prompt says. `top`: alternatives told with each token,
    None for no log-probabilities at all."""

    max_tok: int | None
    temperature: float = 0.0
    seed: int = 0
    top: int | None = 5


class Refused(Exception):
    """A request that the server did not answer with 200 and what the API promises."""


def ask(endpoint: Endpoint, prompts: Sequence[Prompt], how: Asking, concurrency: int, tick: Tick) -> tuple[Reply, ...]:
    """One chat answer a prompt, at most `concurrency` at a time; an error is a `Reply` too. A server that refuses
    `logprobs` is asked again without. raises: NotMeasured where this machine is at its own limits."""

    async def one(session: "ClientSession", prompt: Prompt) -> Reply:
        try:
            return await _reply(session, endpoint, prompt, how)
        except Refused as err:
            if how.top is None:
                return Reply(prompt.id, error=str(err))
        try:
            return await _reply(session, endpoint, prompt, replace(how, top=None))
        except Refused as err:
            return Reply(prompt.id, error=str(err))

    return tuple(asyncio.run(_all(endpoint, prompts, one, concurrency, tick)))


def score(
    endpoint: Endpoint, texts: Sequence[tuple[str, str]], top: int, concurrency: int, tick: Tick
) -> tuple[Score, ...]:
    """The scores of texts (id, text) by POST /completions with `echo`, as vLLM and others tell them; the token that
    some servers add at the end is left out. raises: NotMeasured where this machine is at its own limits."""

    async def one(session: "ClientSession", text: tuple[str, str]) -> Score:
        try:
            return await _score(session, endpoint, *text, top)
        except Refused as err:
            return Score(text[0], error=str(err))

    return tuple(asyncio.run(_all(endpoint, texts, one, concurrency, tick)))


async def _all(
    endpoint: Endpoint, what: Sequence[Any], one: Callable[["ClientSession", Any], Awaitable[Any]], concurrency: int,
    tick: Tick,
) -> list[Any]:  # fmt: skip
    import aiohttp

    places = asyncio.Semaphore(concurrency)
    timeout = aiohttp.ClientTimeout(total=endpoint.timeout_s, sock_connect=10)

    async def in_turn(each: Any) -> Any:
        async with places:
            done = await one(session, each)
        tick()
        return done

    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector, trust_env=False) as session:
        return await asyncio.gather(*(in_turn(each) for each in what))


async def _reply(session: "ClientSession", endpoint: Endpoint, prompt: Prompt, how: Asking) -> Reply:
    body: dict[str, Any] = {
        "model": endpoint.model, "messages": [{"role": m.role, "content": m.content} for m in prompt.messages],
        "max_tokens": how.max_tok or prompt.max_tok, "temperature": how.temperature,
    }  # fmt: skip
    body |= {"seed": how.seed} if how.temperature > 0 else {}
    body |= {} if how.top is None else {"logprobs": True, "top_logprobs": how.top}
    choice, usage = await _choice(session, endpoint, "/chat/completions", body)
    said = choice.get("message")
    text = said.get("content") if isinstance(said, dict) else None
    if not isinstance(text, str):
        raise Refused(f"the answer holds no text: {endpoint.excerpt(str(choice), 200)}")
    told = choice.get("logprobs") if how.top is not None else None
    entries = told.get("content") if isinstance(told, dict) else None
    tokens = tuple(_chat_token(entry, endpoint) for entry in entries) if isinstance(entries, list) else ()
    output, finish = usage.get("completion_tokens"), choice.get("finish_reason")
    return Reply(
        prompt.id, endpoint.redact(text), tokens or None, finish if isinstance(finish, str) else None,
        output if isinstance(output, int) else None,
    )  # fmt: skip


async def _score(session: "ClientSession", endpoint: Endpoint, name: str, text: str, top: int) -> Score:
    """`max_tokens` 1, for some servers refuse 0; how many tokens are the text's, `prompt_tokens` says."""
    body = {
        "model": endpoint.model, "prompt": text, "echo": True, "logprobs": top, "max_tokens": 1, "temperature": 0,
    }  # fmt: skip
    choice, usage = await _choice(session, endpoint, "/completions", body)
    told, count = choice.get("logprobs"), usage.get("prompt_tokens")
    if not isinstance(told, dict) or not isinstance(count, int):
        raise Refused(f"the server does not score a prompt: {endpoint.excerpt(str(choice), 200)}")
    try:
        rows = zip(told["tokens"], told["token_logprobs"], told["top_logprobs"], strict=True)
        tokens = tuple(_completion_token(*row, endpoint) for row in rows)[:count]
    except MALFORMED as err:
        raise Refused(f"scores of an unknown kind: {endpoint.excerpt(str(told), 200)}") from err
    if any(token.logprob is None for token in tokens[1:]):
        raise Refused("a token without a log-probability")
    return Score(name, tokens)


def _chat_token(entry: Any, endpoint: Endpoint) -> Token:
    """raises: Refused for what is no token of the chat API."""
    try:
        top = [(_named(each, endpoint), _logprob(each["logprob"])) for each in entry["top_logprobs"]]
        return Token(_named(entry, endpoint), _logprob(entry["logprob"]), _best_first(top))
    except MALFORMED as err:
        raise Refused(f"log-probabilities of an unknown kind: {endpoint.excerpt(str(entry), 200)}") from err


def _named(entry: Mapping[str, Any], endpoint: Endpoint) -> str:
    """A token's bytes where they are told, for two halves of a character look alike as text. raises: ValueError."""
    told = entry.get("bytes")
    if not told:
        return endpoint.redact(str(entry["token"]))
    if not isinstance(told, list) or len(told) > MOST_TOKEN_BYTES:
        raise ValueError("no list of bytes")
    return endpoint.redact(bytes(told).decode("utf-8", "backslashreplace"))


def _completion_token(label: Any, logprob: Any, top: Any, endpoint: Endpoint) -> Token:
    """raises: what `MALFORMED` holds."""
    best = [(endpoint.redact(str(name)), _logprob(value)) for name, value in (top or {}).items()]
    return Token(endpoint.redact(str(label)), None if logprob is None else _logprob(logprob), _best_first(best))


def _best_first(top: Sequence[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(top, key=lambda each: -each[1]))


def _logprob(value: Any) -> float:
    """A log-probability, at least `LEAST_LOGPROB`. raises: ValueError for what is none, OverflowError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not float(value) <= SLACK:
        raise ValueError("no log-probability")
    return min(max(float(value), LEAST_LOGPROB), 0.0)


async def _whole(response: "ClientResponse") -> bytes:
    """The body, in however many pieces it comes. raises: Refused where it is too long."""
    content = bytearray()
    async for piece in response.content.iter_any():
        content += piece
        if len(content) > MOST_BYTES:
            raise Refused(f"an answer of more than {MOST_BYTES:,} bytes")
    return bytes(content)


async def _choice(
    session: "ClientSession", endpoint: Endpoint, path: str, body: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The first choice and the usage of one answer. raises: Refused."""
    from aiohttp import ClientError

    try:
        async with session.post(
            endpoint.base_url + path, json=body, headers=endpoint.headers(), allow_redirects=False
        ) as response:
            content = await _whole(response)
            if response.status != 200:
                said = content[:2000].decode("utf-8", "replace")
                raise Refused(f"HTTP {response.status}: {endpoint.excerpt(said, 300)}")
            document = json.loads(content)
            return dict(document["choices"][0]), dict(document.get("usage") or {})
    except (ClientError, TimeoutError) as err:
        refuse_our_own(err)
        raise Refused(endpoint.redact(str(err)) or type(err).__name__) from err
    except (*MALFORMED, RecursionError) as err:
        raise Refused(f"not an answer of this API: {type(err).__name__}") from err
