"""The JSON that goes back: OpenAI's response objects, built from the engine's deltas."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from reference_engine.model.tokenizer import Tokenizer
from reference_engine.request import Delta, Request, TokenLogprob
from reference_engine.text import REPLACEMENT


@dataclass(slots=True)
class Answer:
    """One answer taking shape. `chat` tells the two APIs apart; `shown` counts the characters sent so far."""

    request: Request
    tokenizer: Tokenizer
    model: str
    fingerprint: str
    created: int
    chat: bool
    shown: int = 0
    started: bool = False
    deltas: list[Delta] = field(default_factory=list)

    def whole(self) -> dict[str, Any]:
        """The response object of a request that does not stream."""
        text = "".join(delta.text for delta in self.deltas)
        body = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        logprobs = self._logprobs(self.deltas, 0)
        choice = {"index": 0, **body, "logprobs": logprobs, "finish_reason": self.deltas[-1].finish}
        return {**self._head(""), "choices": [choice], "usage": self.usage()}

    def chunk(self, delta: Delta) -> dict[str, Any]:
        """One token of a stream. Its text may be empty; the chunk is sent all the same, so that token times show."""
        body: dict[str, Any] = {"delta": {"content": delta.text}} if self.chat else {"text": delta.text}
        if self.chat and not self.started:
            body["delta"] = {"role": "assistant", **body["delta"]}
        choice = {"index": 0, **body, "logprobs": self._logprobs([delta], self.shown), "finish_reason": None}
        self.shown, self.started = self.shown + len(delta.text), True
        return {**self._head(".chunk"), "choices": [choice]}

    def last_chunk(self, delta: Delta) -> dict[str, Any]:
        """The chunk that says why the stream ends."""
        body: dict[str, Any] = {"delta": {}} if self.chat else {"text": ""}
        return {
            **self._head(".chunk"),
            "choices": [{"index": 0, **body, "logprobs": None, "finish_reason": delta.finish}],
        }

    def usage_chunk(self) -> dict[str, Any]:
        """The closing chunk that `stream_options.include_usage` asks for."""
        return {**self._head(".chunk"), "choices": [], "usage": self.usage()}

    def usage(self) -> dict[str, int]:
        """Token counts. `completion_tokens` counts every generated token, a final end-of-sequence token included."""
        prompt, output = self.request.prompt_tok, self.request.output_tok
        return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}

    def _head(self, suffix: str) -> dict[str, Any]:
        kind = "chat.completion" + suffix if self.chat else "text_completion"
        return {
            "id": self.request.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }

    def _logprobs(self, deltas: Sequence[Delta], offset: int) -> dict[str, Any] | None:
        if self.request.sampling.logprobs is None:
            return None
        if self.chat:
            return {"content": [self._chat_entry(delta.logprob) for delta in deltas if delta.logprob], "refusal": None}
        return self._completion_entries(deltas, offset)

    def _chat_entry(self, report: TokenLogprob) -> dict[str, Any]:
        top = [self._named(token, logprob) for token, logprob in report.top]
        return {**self._named(report.token, report.logprob), "top_logprobs": top}

    def _named(self, token: int, logprob: float) -> dict[str, Any]:
        name = {"token": self.tokenizer.token_text(token), "bytes": list(self.tokenizer.token_bytes(token))}
        return {**name, "logprob": logprob}

    def _completion_entries(self, deltas: Sequence[Delta], offset: int) -> dict[str, Any]:
        """`text_offset` is where the text of each token begins; tokens share it while text is held back."""
        offsets = []
        for delta in deltas:
            offsets.append(offset)
            offset += len(delta.text)
        reports = [delta.logprob for delta in deltas if delta.logprob]
        return {
            "tokens": [self._label(report.token) for report in reports],
            "token_logprobs": [report.logprob for report in reports],
            "top_logprobs": [self._top(report) for report in reports],
            "text_offset": offsets,
        }

    def _top(self, report: TokenLogprob) -> dict[str, float]:
        """The best tokens and the one that was drawn, by name; of two with one name the better stays."""
        named: dict[str, float] = {}
        for token, logprob in (*report.top, (report.token, report.logprob)):
            named.setdefault(self._label(token), logprob)
        return named

    def _label(self, token: int) -> str:
        """A token's text, or its bytes where they are no whole characters: half characters would all look alike."""
        text = self.tokenizer.token_text(token)
        if REPLACEMENT not in text:
            return text
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in self.tokenizer.token_bytes(token))
