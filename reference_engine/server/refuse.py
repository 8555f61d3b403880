"""Every error as OpenAI's error object: `{"error": {"message", "type", "param", "code"}}`."""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from reference_engine.errors import RequestError

AGAIN = {"retry-after": "1"}
HEADERS = {401: {"www-authenticate": "Bearer"}, 429: AGAIN, 503: AGAIN}


def install(app: FastAPI) -> None:
    """Route every error of `app` through this module."""
    app.add_exception_handler(RequestError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _crashed)


def error_object(err: RequestError) -> dict[str, dict[str, str | None]]:
    """The body that tells a client what went wrong."""
    kind = {429: "rate_limit_error"}.get(err.status, "invalid_request_error" if err.status < 500 else "server_error")
    return {"error": {"message": str(err), "type": kind, "param": err.param, "code": err.kind}}


def response(err: RequestError, more: Mapping[str, str] | None = None) -> Response:
    """The whole answer to a request that is refused; `more` are headers."""
    headers = {**HEADERS.get(err.status, {}), **(more or {})}
    body = json.dumps(error_object(err))  # ASCII: what is quoted of a request need not be encodable
    return Response(body, err.status, headers, media_type="application/json")


async def _refused(request: Request, err: Exception) -> Response:
    return response(err if isinstance(err, RequestError) else RequestError(str(err), "internal_error", 500))


async def _crashed(request: Request, err: Exception) -> Response:
    """Our own bug; the traceback goes to stderr all the same."""
    return response(RequestError(f"internal error: {type(err).__name__}", "internal_error", 500))


async def _invalid(request: Request, err: Exception) -> Response:
    """The first complaint of pydantic, with the field's name as `param`."""
    first: dict[str, Any] = dict(err.errors()[0]) if isinstance(err, RequestValidationError) else {}
    param = _param(first.get("loc", ()))
    if first["type"] == "json_invalid":
        return response(RequestError("the body is not valid JSON", "invalid_json"))
    if first["type"] == "extra_forbidden":
        return response(RequestError(f"{param} is not a field that this server acts on", "unknown_field", 400, param))
    if first["type"] == "missing":
        missing = f"{param} is missing" if param else "the body is empty; it must be a JSON object"
        return response(RequestError(missing, "missing_field", 400, param))
    return response(RequestError(f"{param or 'body'}: {first['msg']}", "invalid_value", 400, param))


def _param(where: Sequence[int | str]) -> str | None:
    """`("body", "messages", 0, "role")` as `messages[0].role`; names that pydantic gives to branches of a union go."""
    path = ""
    for before, part in pairwise(where):
        if isinstance(part, int):
            path += f"[{part}]"
        elif before == "response_format":  # the branch, named by its own `type`
            continue
        elif part.isidentifier() and part not in ("str", "TextPart"):
            path += f".{part}" if path else part
    return path or None


async def _http(request: Request, err: Exception) -> Response:
    status = err.status_code if isinstance(err, HTTPException) else 500
    what = f"{request.method} {request.url.path}"
    if status == 404:
        return response(RequestError(f"nothing is served at {what}", "unknown_url", 404))
    if status == 405:
        allowed = dict(err.headers or {}) if isinstance(err, HTTPException) else {}
        why = f"{what} is not allowed; there is {', '.join(allowed.values()) or 'GET or POST'}"
        return response(RequestError(why, "method_not_allowed", 405), allowed)
    if status == 413 and isinstance(err, HTTPException):
        return response(RequestError(err.detail, "body_too_large", 413))
    return response(RequestError(f"{what}: {err}", "http_error", status))
