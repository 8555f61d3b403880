"""Answers as server-sent events: one chunk per token, one that says why a choice ended, the usage if asked for.

What is the same in every chunk is written once; a token costs one JSON string and one encoding.
"""

import json
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring as quoted
from typing import Any

from reference_engine.request import Delta
from reference_engine.server.answer import Answer, checked

DONE = b"data: [DONE]\n\n"


def event(body: Mapping[str, Any]) -> bytes:
    """One event of any JSON object."""
    return f"data: {_json(body)}\n\n".encode()


class EventStream:
    """Turns the deltas of `answer` into events, each with its choice's index."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._choices = {request.id: i for i, request in enumerate(answer.requests)}
        self._shown = [0] * len(answer.requests)  # characters sent so far
        self._started = [False] * len(answer.requests)
        self._open = f'data: {_json(answer.head(".chunk"))[:-1]},"choices":[{{"index":'

    def chunks(self, deltas: Sequence[Delta]) -> bytes:
        """Each token's chunk, and after a choice's last one the chunk that ends it. A token's text may be empty; its
        chunk is sent all the same, so that token times show. raises: RequestError, see `checked`."""
        return "".join([self._chunk(delta) for delta in deltas]).encode()

    def usage(self) -> bytes:
        """The closing chunk that `stream_options.include_usage` asks for."""
        return event({**self._answer.head(".chunk"), "choices": [], "usage": self._answer.usage()})

    def _chunk(self, delta: Delta) -> str:
        index, logprobs = self._choices[delta.request_id], "null"
        request = self._answer.requests[index]
        if request.sampling.logprobs is not None:
            logprobs = _json(self._answer.logprobs(request, [delta], self._shown[index]))
            self._shown[index] += len(delta.text)
        text = quoted(delta.text)
        body = f'{self._open}{index},{self._body(index, text)},"logprobs":{logprobs},"finish_reason":null}}]}}\n\n'
        return body if delta.finish is None else body + self._end(index, checked(request).finish or "")

    def _body(self, index: int, text: str) -> str:
        if not self._answer.chat:
            return f'"text":{text}'
        if self._started[index]:
            return f'"delta":{{"content":{text}}}'
        self._started[index] = True
        return f'"delta":{{"role":"assistant","content":{text}}}'

    def _end(self, index: int, finish: str) -> str:
        body = '"delta":{}' if self._answer.chat else '"text":""'
        return f'{self._open}{index},{body},"logprobs":null,"finish_reason":{quoted(finish)}}}]}}\n\n'


def _json(body: Any) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
