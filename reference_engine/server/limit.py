"""No body larger than a prompt can be: reading and tokenising one would hold up everybody."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LEAST_BYTES = 1 << 20
BYTES_PER_TOK = 16


class BodyLimit:
    """ASGI middleware: HTTP 413 for a body beyond 1 MiB, or 16 bytes for each token of the context if that is more."""

    def __init__(self, app: ASGIApp, context_tok: int) -> None:
        self._app, self._most_bytes = app, max(LEAST_BYTES, context_tok * BYTES_PER_TOK)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._most_bytes:
                raise HTTPException(413, f"the body has more than {self._most_bytes} bytes")
            return message

        await self._app(scope, counted if scope["type"] == "http" else receive, send)
