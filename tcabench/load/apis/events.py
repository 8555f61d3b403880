"""What a streamed answer is made of, whichever API carried it."""

import json
from dataclasses import dataclass
from typing import Any, Protocol

from tcabench.load.endpoint import Endpoint
from tcabench.records import Request

QUOTED_BYTES = 2_000  # of a payload that is not the protocol; cut further once the API key is out of it
MOST_TOK = 2**31
DONE, MOST_REASONS, MOST_REASON, MOST_WORK = "done", 50, 100, 2**62


class ProtocolError(ValueError):
    """Bytes that are not the protocol; the message quotes the beginning of them."""


@dataclass(frozen=True, slots=True)
class Delta:
    """What one payload said; absent parts are None. `text` may be empty for a token without visible text."""

    text: str | None = None
    finish_reason: str | None = None
    prompt_tok: int | None = None
    output_tok: int | None = None
    server_id: str | None = None
    error: str | None = None
    work: dict[str, list[int]] | None = None  # reason -> [multiply-adds, bytes]; "done" is what was not spared


class EndpointApi(Protocol):
    """One HTTP API. `load.transport` owns the socket."""

    path: str

    def body(self, request: Request, endpoint: Endpoint) -> dict[str, Any]:
        """The JSON body of a streaming request."""
        ...

    def delta(self, payload: bytes) -> Delta:
        """What one `data` payload says. raises: ProtocolError."""
        ...


def parsed(payload: bytes) -> dict[str, Any]:
    """`payload` as a JSON object. raises: ProtocolError quoting it."""
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError) as err:
        raise ProtocolError(f"not JSON: {payload[:QUOTED_BYTES]!r}") from err
    if not isinstance(document, dict):
        raise ProtocolError(f"not a JSON object: {payload[:QUOTED_BYTES]!r}")
    return document


def envelope(document: dict[str, Any], text: str | None, finish: object) -> Delta:
    """A Delta with the parts that chat and completions share: usage, id, error. Half a surrogate pair, which no
    UTF-8 can hold, becomes "?"."""
    usage = document.get("usage") or {}
    error = document.get("error") or (document if document.get("object") == "error" else None)
    if not isinstance(usage, dict):
        raise ProtocolError(f"usage is not an object: {usage!r}")
    if not isinstance(finish, str | None):
        raise ProtocolError(f"finish_reason is {finish!r}")
    return Delta(
        text=None if text is None else text.encode("utf-8", "replace").decode("utf-8"),
        finish_reason=finish,
        prompt_tok=count(usage.get("prompt_tokens")),
        output_tok=count(usage.get("completion_tokens")),
        server_id=document["id"] if isinstance(document.get("id"), str) else None,
        error=json.dumps(error) if error else None,
        work=work(usage.get("work")),
    )


def work(told: object) -> dict[str, list[int]] | None:
    """What a server says it did and was spared (`usage.work`, which no standard knows of), by reason; None where it
    says nothing, or something else under that name."""
    if not isinstance(told, dict) or not isinstance(told.get("spared"), dict) or len(told["spared"]) > MOST_REASONS:
        return None
    try:
        parts = {str(reason)[:MOST_REASON]: _pair(each) for reason, each in told["spared"].items() if reason != DONE}
        return {DONE: _pair(told[DONE]), **parts}
    except (KeyError, TypeError, ValueError):
        return None


def _pair(told: Any) -> list[int]:
    """raises: KeyError, TypeError, ValueError for what is no count of both."""
    macs, read = told["macs"], told["bytes"]
    if any(isinstance(n, bool) or not isinstance(n, int) or abs(n) >= MOST_WORK for n in (macs, read)):
        raise ValueError("no counts")
    return [macs, read]


def count(value: object) -> int | None:
    """A token count, or None where there is none. raises: ProtocolError for anything else."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MOST_TOK:
        raise ProtocolError(f"a token count is {str(value)[:40]}")
    return value


def first_choice(document: dict[str, Any]) -> dict[str, Any] | None:
    """choices[0], or None for a payload without choices (usage only). raises: ProtocolError."""
    choices = document.get("choices")
    if choices in (None, []):
        return None
    if not isinstance(choices, list) or not isinstance(choices[0], dict):
        raise ProtocolError(f"choices is {str(choices)[:200]}")
    return choices[0]


def options(request: Request, endpoint: Endpoint) -> dict[str, Any]:
    """The fields that chat and completions share."""
    body: dict[str, Any] = {"model": endpoint.model, "max_tokens": request.max_tok, "stream": True}
    body["temperature"] = request.temperature
    if endpoint.sends_usage_option:
        body["stream_options"] = {"include_usage": True}
    if request.pin_output and endpoint.sends_ignore_eos:
        body["ignore_eos"] = True
    if request.temperature > 0:
        body["seed"] = request.seed
    return body
