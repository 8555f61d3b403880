"""Who comes in: those with a key where keys are set, as many as there is room for, and nobody new while it closes."""

import hmac
import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from reference_engine.errors import EngineError, RequestError
from reference_engine.server.refuse import response

KEY_VARIABLE = "REFERENCE_ENGINE_API_KEY"
OPEN_PATHS = frozenset({"/health"})  # asked by those who watch the process; they have no key
UNCOUNTED_PATHS = OPEN_PATHS | {"/metrics"}
NAME_CHARS = 8


class Keys:
    """The API keys. Only their digests are kept."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [sha256(key.encode()).digest() for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def holder(self, authorization: str) -> str | None:
        """A short name for whoever sent this `Authorization` header, "" where one key is everybody's; None for no or
        another key. Compared in constant time, with every key."""
        scheme, _, key = authorization.partition(" ")
        digest = sha256(key.strip().encode()).digest()
        found = [known for known in self._digests if hmac.compare_digest(known, digest)]
        if scheme.lower() != "bearer" or not found:
            return None
        return found[0].hex()[:NAME_CHARS] if len(self._digests) > 1 else ""


def read_keys(file: Path | None) -> Keys:
    """The keys in `file`, one a line, and the one in the environment. raises: EngineError (key)."""
    keys = [os.environ[KEY_VARIABLE]] if os.environ.get(KEY_VARIABLE) else []
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as err:
            raise EngineError(f"the key file {file} cannot be read: {err}", "key") from err
        found = [line.strip() for line in lines if line.strip()]
        if not found:
            raise EngineError(f"the key file {file} is empty; write one key a line", "key")
        keys += found
    for key in keys:
        if not key.isascii() or not key.isprintable() or " " in key:
            raise EngineError("an API key must be printable ASCII without blanks, or no client could send it", "key")
    return Keys(list(dict.fromkeys(keys)))


class Door:
    """What the server knows of its callers. `in_flight` counts requests that are being answered."""

    def __init__(self, keys: Keys, most: int) -> None:
        self.keys, self.most = keys, most
        self.in_flight, self.draining = 0, False

    def refusal(self) -> RequestError | None:
        """Why one more request cannot be taken now; None when it can."""
        if self.draining:
            return RequestError("the server is shutting down; try another or later", "shutting_down", 503)
        if self.in_flight >= self.most:
            return RequestError(f"{self.most} requests are being answered; try again later", "server_busy", 503)
        return None


class DoorKeeper:
    """ASGI middleware that answers 401 or 503 before anything is read. Leaves the caller's name in `state.holder`."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            return await self._app(scope, receive, send)
        holder = self._door.keys.holder(Headers(scope=scope).get("authorization", "")) if self._door.keys else ""
        if holder is None:
            why = "no API key, or an incorrect one: send it as `Authorization: Bearer KEY`"
            return await response(RequestError(why, "invalid_api_key", 401))(scope, receive, send)
        scope.setdefault("state", {})["holder"] = holder
        if scope["path"] in UNCOUNTED_PATHS:
            return await self._app(scope, receive, send)
        await self._counted(scope, receive, send)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (refusal := self._door.refusal()) is not None:
            return await response(refusal)(scope, receive, send)
        self._door.in_flight += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._door.in_flight -= 1
