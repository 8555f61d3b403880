"""From a wire request to an engine request: names checked, messages rendered, defaults filled in."""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from reference_engine.config import Kind, ModelSpec
from reference_engine.constrain import GrammarConstraint, Grammars
from reference_engine.errors import RequestError
from reference_engine.model.chat import render_chat
from reference_engine.model.tokenizer import Tokenizer
from reference_engine.request import Request, Sampling
from reference_engine.server.answer import Answer
from reference_engine.server.bridge import Bridge
from reference_engine.server.wire import ChatRequest, Common, CompletionRequest, SchemaFormat, TextFormat
from reference_engine.telemetry import Metrics
from reference_engine.text import Text, TextStream, WholeText

CONTEXT_TOK = 8  # a completion goes on from its prompt: its first token is decoded after the last ones of that
COMPLETION_DEFAULT_TOK = 16  # OpenAI's default for /v1/completions; chat may use all the context


class Limits(NamedTuple):
    """What the two APIs spell differently. `max_tok` None is all the room there is."""

    max_tok: int | None
    logprobs: int | None
    chat: bool
    echo: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """All that the routes need."""

    name: str
    weights_sha256: str
    started_unix_s: int
    bridge: Bridge
    tokenizer: Tokenizer
    metrics: Metrics
    grammars: Grammars
    levers: Mapping[str, Kind]
    is_random: bool = False

    @property
    def spec(self) -> ModelSpec:
        return self.bridge.engine.spec

    @property
    def context_tok(self) -> int:
        return self.bridge.engine.context_tok

    def card(self) -> dict[str, object]:
        """The model as /v1/models lists it; one whose weights were drawn says so."""
        card = {"id": self.name, "object": "model", "created": self.started_unix_s, "owned_by": "reference_engine"}
        said = {"random_weights": True} if self.is_random else {}
        return {**card, "max_model_len": self.context_tok, "levers": dict(self.levers), **said}

    def check_model(self, name: str) -> None:
        """raises: RequestError (404) unless `name` is the model served."""
        if name != self.name:
            raise RequestError(
                f"the model {name!r} does not exist here; {self.name!r} is served", "model_not_found", 404, "model"
            )

    def chat(self, wire: ChatRequest, key_name: str = "") -> Answer:
        """The engine requests behind a chat request. `key_name`: whose key it came with. raises: RequestError."""
        self.check_model(wire.model)
        if self.tokenizer.chat_template is None:
            raise RequestError(f"{self.name} has no chat template; use /v1/completions", "no_chat_template")
        messages = [message.plain() for message in wire.messages]
        ids = self.tokenizer.encode(render_chat(self.tokenizer.chat_template, messages, self.tokenizer.special), False)
        return self._answer(wire, ids, Limits(_chat_max_tok(wire), _chat_logprobs(wire), chat=True), key_name)

    def completion(self, wire: CompletionRequest, key_name: str = "") -> Answer:
        """The engine requests behind a completion request. raises: RequestError."""
        self.check_model(wire.model)
        ids = self._prompt_ids(wire)
        if wire.best_of is not None and wire.n not in (None, 1):
            raise RequestError("best_of is less than n", "invalid_value", 400, "best_of")
        _check_echo(wire)
        max_tok = COMPLETION_DEFAULT_TOK if wire.max_tokens is None else wire.max_tokens
        return self._answer(wire, ids, Limits(max_tok, wire.logprobs, chat=False, echo=bool(wire.echo)), key_name)

    def _answer(self, wire: Common, ids: list[int], limits: Limits, key_name: str) -> Answer:
        if wire.stream_options is not None and not wire.stream:
            raise RequestError("stream_options is for streams; set stream", "invalid_value", 400, "stream_options")
        self._check_prompt(ids, "messages" if limits.chat else "prompt")
        sampling = self._sampling(wire, limits, self.context_tok - len(ids))
        name = ("chatcmpl-" if limits.chat else "cmpl-") + secrets.token_hex(12)
        requests = []
        for choice in range(wire.n or 1):
            text = self._text(wire, sampling, () if limits.chat or limits.echo else ids[-CONTEXT_TOK:])
            own_name = f"{name}-{choice}" if choice else name
            own = sampling if choice == 0 else _another(sampling, choice)
            tokens, given = (ids[:1], tuple(ids)) if limits.echo else (list(ids), ())
            client = key_name or wire.user or ""
            opening = text.push(ids[0]) if limits.echo else ""
            requests.append(Request(own_name, len(ids), tokens, own, text, client=client, given=given, opening=opening))
        fingerprint = f"fp_{self.weights_sha256[:12]}"
        return Answer(name, tuple(requests), self.tokenizer, self.name, fingerprint, int(time.time()), limits.chat)

    def _check_prompt(self, ids: list[int], param: str) -> None:
        if not ids:
            raise RequestError("the prompt has no tokens", "invalid_value", 400, "prompt")
        vocab = self.spec.vocab
        if not 0 <= min(ids) <= max(ids) < vocab:  # a tokenizer may know tokens that the model has no row for
            raise RequestError(f"a token id is outside the model's 0 to {vocab - 1}", "invalid_value", 400, param)
        if len(ids) >= self.context_tok:
            raise RequestError(
                f"the prompt has {len(ids)} tokens; the context holds {self.context_tok}, the answer included",
                "context_length_exceeded",
                400,
                param,
            )

    def _sampling(self, wire: Common, limits: Limits, room_tok: int) -> Sampling:
        return Sampling(
            max_tok=room_tok if limits.max_tok is None else limits.max_tok,
            temperature=1.0 if wire.temperature is None else wire.temperature,
            top_p=1.0 if wire.top_p is None else wire.top_p,
            seed=secrets.randbits(64) if wire.seed is None else wire.seed,
            logprobs=limits.logprobs,
            ignore_eos=wire.ignore_eos,
            logit_bias=self._bias(wire),
            frequency_penalty=wire.frequency_penalty or 0.0,
            presence_penalty=wire.presence_penalty or 0.0,
            constraint=self._constraint(wire),
        )

    def _bias(self, wire: Common) -> dict[int, float]:
        bias = {int(token): summand for token, summand in (wire.logit_bias or {}).items()}
        if bias and max(bias) >= self.spec.vocab:
            why = f"token {max(bias)} is outside the model's 0 to {self.spec.vocab - 1}"
            raise RequestError(f"logit_bias: {why}", "invalid_value", 400, "logit_bias")
        return bias

    def _constraint(self, wire: Common) -> GrammarConstraint | None:
        wanted = wire.response_format if isinstance(wire, ChatRequest) else None
        if wanted is None or isinstance(wanted, TextFormat):
            return None
        if wire.ignore_eos:
            raise RequestError(
                "ignore_eos would write on after the JSON is complete; send one of the two",
                "invalid_value",
                400,
                "ignore_eos",
            )
        return self.grammars.of_schema(
            wanted.json_schema.schema_ if isinstance(wanted, SchemaFormat) else {"type": "object"}
        )

    def _text(self, wire: Common, sampling: Sampling, context: Sequence[int]) -> Text:
        """Read token by token only where somebody looks before the end: a client, a stop string, a text offset."""
        if wire.stream or wire.stops() or sampling.logprobs is not None:
            return TextStream(self.tokenizer.decode, wire.stops(), context)
        return WholeText(self.tokenizer.decode, context)

    def _prompt_ids(self, wire: CompletionRequest) -> list[int]:
        prompt = wire.prompt
        if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
            if len(prompt) > 1:
                raise RequestError("one prompt at a time; send the others as requests", "invalid_value", 400, "prompt")
            prompt = prompt[0]
        if isinstance(prompt, str):
            return self.tokenizer.encode(prompt, add_special=True)
        return [token for token in prompt if isinstance(token, int)]


def _another(sampling: Sampling, choice: int) -> Sampling:
    """The same for another choice: its draws and its place in the grammar are its own."""
    constraint = sampling.constraint
    own = constraint.fresh() if isinstance(constraint, GrammarConstraint) else constraint
    return replace(sampling, choice=choice, constraint=own)


def _check_echo(wire: CompletionRequest) -> None:
    """raises: RequestError for an echo that scores nothing or would have to be shown in parts, and for no answer at all
    without one."""
    if not wire.echo:
        if wire.max_tokens == 0:
            raise RequestError("max_tokens 0 asks for nothing without echo", "invalid_value", 400, "max_tokens")
        return
    if wire.logprobs is None:
        raise RequestError("echo is for scoring the prompt: send logprobs too", "invalid_value", 400, "echo")
    if wire.stream or wire.stops() or (wire.n or 1) > 1:
        raise RequestError("echo goes with one whole answer: no stream, stop or n", "invalid_value", 400, "echo")


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
