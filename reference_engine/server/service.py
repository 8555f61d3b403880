"""From a wire request to an engine request: names checked, messages rendered, defaults filled in."""

import secrets
import time
from dataclasses import dataclass

from reference_engine.errors import RequestError
from reference_engine.model.chat import render_chat
from reference_engine.model.tokenizer import Tokenizer
from reference_engine.request import Request, Sampling
from reference_engine.server.answer import Answer
from reference_engine.server.bridge import Bridge
from reference_engine.server.wire import ChatRequest, Common, CompletionRequest
from reference_engine.telemetry import Metrics
from reference_engine.text import TextStream

CONTEXT_TOK = 8  # a completion goes on from its prompt: its first token is decoded after the last ones of that
COMPLETION_DEFAULT_TOK = 16  # OpenAI's default for /v1/completions; chat may use all the context


@dataclass(frozen=True, slots=True)
class Service:
    """All that the routes need."""

    name: str
    weights_sha256: str
    started_unix_s: int
    bridge: Bridge
    tokenizer: Tokenizer
    metrics: Metrics
    is_random: bool = False

    @property
    def context_tok(self) -> int:
        return self.bridge.engine.context_tok

    def card(self) -> dict[str, object]:
        """The model as /v1/models lists it; one whose weights were drawn says so."""
        card = {"id": self.name, "object": "model", "created": self.started_unix_s, "owned_by": "reference_engine"}
        said = {"random_weights": True} if self.is_random else {}
        return {**card, "max_model_len": self.context_tok, **said}

    def check_model(self, name: str) -> None:
        """raises: RequestError (404) unless `name` is the model served."""
        if name != self.name:
            raise RequestError(
                f"the model {name!r} does not exist here; {self.name!r} is served", "model_not_found", 404, "model"
            )

    def chat(self, wire: ChatRequest) -> Answer:
        """The engine request behind a chat request. raises: RequestError."""
        self.check_model(wire.model)
        if self.tokenizer.chat_template is None:
            raise RequestError(f"{self.name} has no chat template; use /v1/completions", "no_chat_template")
        messages = [message.plain() for message in wire.messages]
        ids = self.tokenizer.encode(render_chat(self.tokenizer.chat_template, messages, self.tokenizer.special), False)
        return self._answer(wire, ids, _chat_max_tok(wire), _chat_logprobs(wire), chat=True)

    def completion(self, wire: CompletionRequest) -> Answer:
        """The engine request behind a completion request. raises: RequestError."""
        self.check_model(wire.model)
        ids = self._prompt_ids(wire)
        return self._answer(wire, ids, wire.max_tokens or COMPLETION_DEFAULT_TOK, wire.logprobs, chat=False)

    def _answer(self, wire: Common, ids: list[int], max_tok: int | None, logprobs: int | None, chat: bool) -> Answer:
        if wire.stream_options is not None and not wire.stream:
            raise RequestError("stream_options is for streams; set stream", "invalid_value", 400, "stream_options")
        if not ids:
            raise RequestError("the prompt has no tokens", "invalid_value", 400, "prompt")
        vocab = self.bridge.engine.spec.vocab
        if not 0 <= min(ids) <= max(ids) < vocab:  # a tokenizer may know tokens that the model has no row for
            raise RequestError(
                f"a token id is outside the model's 0 to {vocab - 1}",
                "invalid_value",
                400,
                "messages" if chat else "prompt",
            )
        room = self.context_tok - len(ids)
        if room < 1:
            raise RequestError(
                f"the prompt has {len(ids)} tokens; the context holds {self.context_tok}, the answer included",
                "context_length_exceeded",
                400,
                "messages" if chat else "prompt",
            )
        sampling = Sampling(
            max_tok=max_tok or room,
            temperature=1.0 if wire.temperature is None else wire.temperature,
            top_p=1.0 if wire.top_p is None else wire.top_p,
            seed=secrets.randbits(64) if wire.seed is None else wire.seed,
            logprobs=logprobs,
            ignore_eos=wire.ignore_eos,
        )
        name = ("chatcmpl-" if chat else "cmpl-") + secrets.token_hex(12)
        text = TextStream(self.tokenizer.decode, wire.stops(), () if chat else ids[-CONTEXT_TOK:])
        request = Request(name, len(ids), ids, sampling, text)
        return Answer(request, self.tokenizer, self.name, f"fp_{self.weights_sha256[:12]}", int(time.time()), chat)

    def _prompt_ids(self, wire: CompletionRequest) -> list[int]:
        prompt = wire.prompt
        if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
            if len(prompt) > 1:
                raise RequestError("one prompt at a time; send the others as requests", "invalid_value", 400, "prompt")
            prompt = prompt[0]
        if isinstance(prompt, str):
            return self.tokenizer.encode(prompt, add_special=True)
        return [token for token in prompt if isinstance(token, int)]


def _chat_max_tok(wire: ChatRequest) -> int | None:
    """The one limit asked for, None for none. raises: RequestError when the old and the new name disagree."""
    given = {limit for limit in (wire.max_tokens, wire.max_completion_tokens) if limit is not None}
    if len(given) > 1:
        raise RequestError(
            "max_tokens and max_completion_tokens differ; send one", "invalid_value", 400, "max_completion_tokens"
        )
    return next(iter(given), None)


def _chat_logprobs(wire: ChatRequest) -> int | None:
    if wire.top_logprobs is not None and not wire.logprobs:
        raise RequestError("top_logprobs needs logprobs: true", "invalid_value", 400, "top_logprobs")
    return (wire.top_logprobs or 0) if wire.logprobs else None
