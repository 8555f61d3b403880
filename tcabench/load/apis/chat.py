"""POST /chat/completions, streaming."""

from typing import Any

from tcabench.load.apis.events import Delta, ProtocolError, envelope, first_choice, options, parsed
from tcabench.load.endpoint import Endpoint
from tcabench.records import Request


class ChatApi:
    path = "/chat/completions"

    def body(self, request: Request, endpoint: Endpoint) -> dict[str, Any]:
        messages = [{"role": m.role, "content": m.content} for m in request.messages]
        return {"messages": messages, **options(request, endpoint)}

    def delta(self, payload: bytes) -> Delta:
        document = parsed(payload)
        choice = first_choice(document)
        if choice is None:
            return envelope(document, None, None)
        delta = choice.get("delta") or {}
        if not isinstance(delta, dict):
            raise ProtocolError(f"delta is {delta!r}")
        return envelope(document, token_text(delta, choice), choice.get("finish_reason"))


def token_text(delta: dict[str, Any], choice: dict[str, Any]) -> str | None:
    """The text of a chunk that carries output, else None.

    Reasoning text is output too: it was generated and paid for. A chunk with empty content carries a token
    without visible text (half a UTF-8 character, a special token), unless it only announces the role or the end.
    """
    parts = [delta.get(name) for name in ("reasoning_content", "reasoning", "content")]
    text = "".join(part for part in parts if isinstance(part, str))
    if text:
        return text
    announces = "role" in delta or choice.get("finish_reason") is not None
    return "" if delta.get("content") == "" and not announces else None
