"""The OpenAPI document at /openapi.json: this server's own requests, answers and refusals, as they really are."""

from typing import Any, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict

from reference_engine.config import Kind
from reference_engine.request import Finish
from reference_engine.server.service import Service

Responses = dict[int | str, dict[str, Any]]

REF = "#/components/schemas/{model}"
REFUSALS = {
    400: "The request cannot be served as it stands; `param` names the field",
    401: "No API key, or an incorrect one",
    404: "Nothing of that name is here",
    405: "Another method is served here",
    413: "The body is larger than any prompt can be",
    429: "The queue is full",
    500: "The engine failed",
    503: "The server is busy or about to end",
}


class Said(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Error(Said):
    message: str
    type: Literal["invalid_request_error", "rate_limit_error", "server_error"]
    param: str | None
    code: str


class Refusal(Said):
    error: Error


class CachedTokens(Said):
    cached_tokens: int


class Work(Said):
    """Multiply-adds, and bytes of weights and cache read for them."""

    macs: int
    bytes: int


class WorkSaid(Said):
    """Counted, not metered. `spared` by lever."""

    done: Work
    spared: dict[str, Work]


class Usage(Said):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens
    work: WorkSaid


class Message(Said):
    role: Literal["assistant"]
    content: str


class TopToken(Said):
    token: str
    bytes: list[int]
    logprob: float


class Token(TopToken):
    top_logprobs: list[TopToken]


class ChatLogprobs(Said):
    content: list[Token]
    refusal: None


class CompletionLogprobs(Said):
    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class ChatChoice(Said):
    index: int
    message: Message
    logprobs: ChatLogprobs | None
    finish_reason: Finish


class CompletionChoice(Said):
    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: Finish


class Answered(Said):
    id: str
    created: int
    model: str
    system_fingerprint: str
    usage: Usage


class ChatCompletion(Answered):
    object: Literal["chat.completion"]
    choices: list[ChatChoice]


class Completion(Answered):
    object: Literal["text_completion"]
    choices: list[CompletionChoice]


class Piece(Said):
    role: Literal["assistant"] = "assistant"
    content: str = ""


class ChatPart(Said):
    index: int
    delta: Piece
    logprobs: ChatLogprobs | None
    finish_reason: Finish | None


class CompletionPart(Said):
    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: Finish | None


class Chunk(Said):
    """The `data` of one event of a stream. The one with `usage` has no choices; the last event's is `[DONE]`."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    usage: Usage | None = None


class ChatChunk(Chunk):
    object: Literal["chat.completion.chunk"]
    choices: list[ChatPart]


class CompletionChunk(Chunk):
    object: Literal["text_completion"]
    choices: list[CompletionPart]


class Model(Said):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_model_len: int
    levers: dict[str, Kind]


class Models(Said):
    object: Literal["list"]
    data: list[Model]


class Health(Said):
    status: str


def answered(body: type[Answered], chunk: type[Chunk]) -> Responses:
    """What a request for tokens may get: the whole answer, or server-sent events when it asks for a stream."""
    either = {"anyOf": [{"$ref": REF.format(model=name)} for name in (chunk.__name__, "Refusal")]}
    parsed = {"type": "string", "contentMediaType": "application/json", "contentSchema": either}
    data = {"anyOf": [{"const": "[DONE]"}, parsed]}
    stream = {"type": "object", "properties": {"data": data}, "required": ["data"]}
    content = {"text/event-stream": {"schema": stream}}
    return {200: {"model": body, "content": content, "description": "The answer"}} | _refused(*REFUSALS.keys() - {405})


def found(body: type[Said], *refusals: int) -> Responses:
    """What a question about models may get."""
    return {200: {"model": body, "description": "Found"}} | _refused(401, 503, *refusals)


def health() -> Responses:
    """What /health says, either way."""
    return {200: {"model": Health, "description": "Serving"}, 503: {"model": Health, "description": "Not serving"}}


def metrics() -> Responses:
    """What /metrics says."""
    text = {"text/plain": {"schema": {"type": "string"}}}
    return {200: {"content": text, "description": "Metrics"}} | _refused(401)


def describe(app: FastAPI, service: Service, asks_for_key: bool) -> dict[str, Any]:
    """The document: FastAPI's, with the limits of the model that is served."""
    made = get_openapi(title="reference_engine", version="1", routes=app.routes)
    for path in made["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)  # FastAPI's own; here it is 400
            operation["responses"]["405"] = {"description": REFUSALS[405], "content": _content("Refusal")}
    schemas = made["components"]["schemas"]
    for chunk in (ChatChunk, CompletionChunk):
        described = chunk.model_json_schema(ref_template=REF)
        schemas |= described.pop("$defs") | {chunk.__name__: described}
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for name in ("ChatRequest", "CompletionRequest"):
        schemas[name]["properties"] |= _limits(schemas[name]["properties"], service)
    if asks_for_key:
        made["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        for path in made["paths"].keys() - {"/health"}:
            for operation in made["paths"][path].values():
                operation["security"] = [{"key": []}]
    return made


def _limits(properties: dict[str, Any], service: Service) -> dict[str, Any]:
    """What this server's model narrows of a request's fields."""
    nothing, most = {"type": "null"}, {"type": "integer", "minimum": 1, "maximum": service.context_tok - 1}
    token = {"type": "integer", "minimum": 0, "maximum": service.spec.vocab - 1}
    ids: dict[str, Any] = {"type": "array", "items": token, "minItems": 1}
    begins = service.tokenizer.encode("", add_special=True)  # then even an empty text has a token
    text: dict[str, Any] = {"type": "string", "minLength": 0 if begins else 1}
    one = [{"type": "array", "items": kind, "minItems": 1, "maxItems": 1} for kind in (text, ids)]
    narrowed: dict[str, Any] = {
        "model": {"type": "string", "enum": [service.name]},
        "prompt": {"anyOf": [text, ids, *one]},
        "max_tokens": {"anyOf": [most, nothing]},
        "max_completion_tokens": {"anyOf": [most, nothing]},
    }
    return {name: schema for name, schema in narrowed.items() if name in properties}


def _refused(*statuses: int) -> Responses:
    return {status: {"model": Refusal, "description": REFUSALS[status]} for status in sorted(statuses)}


def _content(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": REF.format(model=schema)}}}
