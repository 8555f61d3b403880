"""The JSON that goes back: OpenAI's response objects, built from the engine's deltas."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reference_engine.errors import RequestError
from reference_engine.model.tokenizer import Tokenizer
from reference_engine.request import Delta, Request, TokenLogprob
from reference_engine.sparse.account import DONE
from reference_engine.sparse.pattern import Work
from reference_engine.text import REPLACEMENT


@dataclass(frozen=True, slots=True)
class Answer:
    """What every part of one answer says. `requests` are its choices, in order; `chat` tells the two APIs apart."""

    name: str
    requests: tuple[Request, ...]
    tokenizer: Tokenizer
    model: str
    fingerprint: str
    created: int
    chat: bool

    def head(self, suffix: str) -> dict[str, Any]:
        """The fields before the choices; `suffix` is what a chunk's kind ends in."""
        return {
            "id": self.name,
            "object": "chat.completion" + suffix if self.chat else "text_completion",
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }

    def whole(self, deltas: Sequence[Delta]) -> dict[str, Any]:
        """The response object of a request that does not stream. raises: RequestError, see `checked`."""
        made: dict[str, list[Delta]] = {request.id: [] for request in self.requests}
        for delta in deltas:
            made[delta.request_id].append(delta)
        choices = [self._choice(i, request, made[request.id]) for i, request in enumerate(self.requests)]
        return {**self.head(""), "choices": choices, "usage": self.usage()}

    def usage(self) -> dict[str, Any]:
        """Token counts, of the prompt once and of all choices. `completion_tokens` counts every generated token, a
        final end-of-sequence token included; `cached_tokens` those of the prompt that were not computed again."""
        prompt, output = self.requests[0].prompt_tok, sum(request.output_tok for request in self.requests)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
            "prompt_tokens_details": {"cached_tokens": min(self.requests[0].prefix_tok, prompt)},
            "work": self.work(),
        }

    def work(self) -> dict[str, Any]:
        """What was done for all choices and what they were spared, by lever: multiply-adds, and bytes read."""
        said: dict[str, Work] = {}
        for request in self.requests:
            for reason, work in request.work.items():
                said[reason] = said.get(reason, Work()) + work
        whole = {name: {"macs": round(work.macs), "bytes": round(work.bytes)} for name, work in said.items()}
        return {"done": whole.pop(DONE, {"macs": 0, "bytes": 0}), "spared": whole}

    def logprobs(self, request: Request, deltas: Sequence[Delta], offset: int) -> dict[str, Any] | None:
        """The report on these tokens; None unless asked for. `offset`: characters of the answer before them."""
        if request.sampling.logprobs is None:
            return None
        if self.chat:
            return {"content": [self._chat_entry(delta.logprob) for delta in deltas if delta.logprob], "refusal": None}
        return self._completion_entries(request, deltas, offset + len(request.opening))

    def _choice(self, index: int, request: Request, deltas: Sequence[Delta]) -> dict[str, Any]:
        text = request.opening + "".join(delta.text for delta in deltas)
        body = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        logprobs = self.logprobs(request, deltas, 0)
        return {"index": index, **body, "logprobs": logprobs, "finish_reason": checked(request).finish}

    def _chat_entry(self, report: TokenLogprob) -> dict[str, Any]:
        top = [self._named(token, logprob) for token, logprob in report.top]
        return {**self._named(report.token, report.logprob), "top_logprobs": top}

    def _named(self, token: int, logprob: float) -> dict[str, Any]:
        name = {"token": self.tokenizer.token_text(token), "bytes": list(self.tokenizer.token_bytes(token))}
        return {**name, "logprob": logprob}

    def _completion_entries(self, request: Request, deltas: Sequence[Delta], offset: int) -> dict[str, Any]:
        """`text_offset` is where the text of each token begins; tokens share it while text is held back."""
        offsets = []
        for delta in deltas:
            offsets.append(offset)
            offset += len(delta.text)
        reports = [delta.logprob for delta in deltas if delta.logprob]
        first = request.given[:1]  # of a text that is scored; nothing comes before it that it could follow from
        return {
            "tokens": [self._label(token) for token in (*first, *(report.token for report in reports))],
            "token_logprobs": [*(None for _ in first), *(report.logprob for report in reports)],
            "top_logprobs": [*(None for _ in first), *(self._top(report) for report in reports)],
            "text_offset": [*(0 for _ in first), *offsets],
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


def checked(request: Request) -> Request:
    """A finished request whose answer is what was asked for. raises: RequestError when its grammar gave up."""
    constraint = request.sampling.constraint
    if constraint is not None and constraint.error is not None:
        raise RequestError(
            f"the answer could not be held to the schema any longer: {constraint.error}",
            "constraint_failed",
            400,
            "response_format",
        )
    return request
