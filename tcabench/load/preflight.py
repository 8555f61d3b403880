"""A few questions before the run, so that a wrong URL, key or model name is an answer and not a failed benchmark."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tcabench.clock import SystemClock
from tcabench.errors import EndpointError, UsageError
from tcabench.load.apis import APIS
from tcabench.load.endpoint import Endpoint
from tcabench.load.transport import Answer, exchange
from tcabench.records import Message, Request, Status

if TYPE_CHECKING:
    from aiohttp import ClientSession

PROBE_TOK = 4
CHECK_TIMEOUT_S = 120.0
MOST_LEVERS, MOST_NAME = 100, 100


@dataclass(frozen=True, slots=True)
class Readiness:
    """The endpoint as it will be driven, and what it said of itself (for `sut.json`)."""

    endpoint: Endpoint
    said: Mapping[str, Any]


def preflight(endpoint: Endpoint, want_pin: bool) -> Readiness:
    """`endpoint` with its model settled and the request fields that the server takes.

    Lists the models, then sends one short request; a server that refuses `ignore_eos` or `stream_options` is
    asked again without them, and the choice is part of the evidence.
    raises: EndpointError (out of reach, key refused, no such model, not the protocol); UsageError when there are
    several models and none was named.
    """
    return asyncio.run(
        _preflight(replace(endpoint, timeout_s=min(endpoint.timeout_s, CHECK_TIMEOUT_S)), endpoint, want_pin)
    )


async def _preflight(probe: Endpoint, endpoint: Endpoint, want_pin: bool) -> Readiness:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=CHECK_TIMEOUT_S, sock_connect=10)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
        cards, server = await _models(session, probe)
        models = None if cards is None else [str(card["id"]) for card in cards]
        probe = replace(probe, model=_settled(probe, models))
        accepted = await _probe(session, probe, want_pin)
    ready = replace(
        endpoint,
        model=accepted.model,
        sends_ignore_eos=accepted.sends_ignore_eos,
        sends_usage_option=accepted.sends_usage_option,
    )
    card = next((card for card in cards or () if card["id"] == ready.model), {})
    said = {"random_weights": card.get("random_weights") is True, "levers": _levers(card.get("levers"))}
    return Readiness(ready, {"models": models, "server": server, **said})


def _levers(told: Any) -> dict[str, str] | None:
    """The levers that are on, each with its kind, None where the server says nothing that can be read as such."""
    if not isinstance(told, dict) or len(told) > MOST_LEVERS:
        return None
    return {str(name)[:MOST_NAME]: str(kind)[:MOST_NAME] for name, kind in told.items()}


async def _models(session: "ClientSession", endpoint: Endpoint) -> tuple[list[dict[str, Any]] | None, str | None]:
    """What GET /models lists (None: the server has no such list) and its `Server` header."""
    from aiohttp import ClientError

    url = endpoint.base_url + "/models"
    try:
        async with session.get(url, headers=endpoint.headers(), allow_redirects=False) as response:
            text, server = await response.text(errors="replace"), response.headers.get("server")
            _check_key(response.status, text, endpoint)
            return (_cards(text, url, endpoint) if response.status == 200 else None), server
    except (ClientError, TimeoutError) as err:
        why = endpoint.redact(str(err)) or type(err).__name__
        raise EndpointError(
            f"{endpoint.base_url} is out of reach: {why}. Is the server up? Does the URL end in its version (…/v1)?",
            "endpoint-unreachable",
        ) from err


def _cards(text: str, url: str, endpoint: Endpoint) -> list[dict[str, Any]]:
    """The models listed, each a dict with an `id`."""
    try:
        return [{**entry, "id": str(entry["id"])} for entry in json.loads(text)["data"]]
    except (ValueError, KeyError, TypeError, RecursionError) as err:
        raise EndpointError(
            f"{url} answers, but not with a list of models: {endpoint.excerpt(text, 200)!r}", "endpoint-protocol"
        ) from err


def _check_key(status: int, text: str, endpoint: Endpoint) -> None:
    if status in (401, 403):
        given = "the API key was refused" if endpoint.api_key else "an API key is needed (--api-key-env NAME)"
        raise EndpointError(
            f"{endpoint.base_url} answers HTTP {status}: {given}. It said: {endpoint.excerpt(text, 300)}",
            "endpoint-auth",
        )


def _settled(endpoint: Endpoint, models: list[str] | None) -> str:
    """The model to ask for: the one named, else the only one served."""
    if endpoint.model and models and endpoint.model not in models:
        known = ", ".join(models[:20])
        raise EndpointError(f"{endpoint.base_url} has no model {endpoint.model!r}; it lists: {known}", "endpoint-model")
    if endpoint.model:
        return endpoint.model
    if models and len(models) == 1:
        return models[0]
    listed = ", ".join((models or [])[:20]) or "no models"
    raise UsageError(f"name the model with --model: {endpoint.base_url} lists {listed}", "model-needed")


async def _probe(session: "ClientSession", endpoint: Endpoint, want_pin: bool) -> Endpoint:
    """The first combination of optional fields that the server takes."""
    variants = [(pin, usage) for pin in ((True, False) if want_pin else (False,)) for usage in (True, False)]
    answer = Answer()
    for pin, usage in variants:
        variant = replace(endpoint, sends_ignore_eos=pin, sends_usage_option=usage)
        answer = await _ask(session, variant)
        if answer.status is Status.OK:
            return variant
        _check_key(answer.http or 0, answer.error, endpoint)
        if answer.http not in (400, 422):
            break
    raise _refusal(endpoint, answer)


async def _ask(session: "ClientSession", endpoint: Endpoint) -> Answer:
    """One short request."""
    request = Request(0, "preflight", (Message("user", "Say hello."),), PROBE_TOK, True, 0.0, 0, None)
    api = APIS.load(endpoint.api)()
    return await exchange(session, api, endpoint, request, None, SystemClock(), lambda event: None)


def _refusal(endpoint: Endpoint, answer: Answer) -> EndpointError:
    kinds = {404: "endpoint-model", 429: "endpoint-busy"}
    kind = kinds.get(answer.http or 0, "endpoint-protocol" if answer.status is Status.MALFORMED else "endpoint-refused")
    return EndpointError(
        f"{endpoint.base_url} did not answer a first short request to model {endpoint.model!r}: "
        f"{endpoint.excerpt(answer.error)}",
        kind,
    )
