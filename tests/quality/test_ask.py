"""Asking servers that answer in pieces, too much, or nonsense."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tcabench.load import Endpoint
from tcabench.load import ask as asking
from tcabench.load.ask import LEAST_LOGPROB, Asking, ask, score
from tcabench.records import Message, Prompt
from tcabench.records.quality import Reply, Score

PROMPT = Prompt("a", (Message("user", "hi"),), 4)
TOKEN = {
    "token": "x",
    "logprob": -0.5,
    "bytes": [120],
    "top_logprobs": [{"token": "x", "logprob": -0.5, "bytes": None}],
}
SCORES = {"tokens": ["a", "b"], "token_logprobs": [None, -1.0], "top_logprobs": [None, {"b": -1.0}]}


@contextmanager
def saying(content: bytes, pieces: int = 1) -> Iterator[Endpoint]:
    """A server that answers everything with `content`, in so many pieces."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            step = -(-len(content) // pieces)
            for at in range(0, len(content), step):
                self.wfile.write(content[at : at + step])
                self.wfile.flush()
                time.sleep(0.05 if pieces > 1 else 0)

        def log_message(self, *_: Any) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    try:
        yield Endpoint(f"http://127.0.0.1:{httpd.server_address[1]}/v1", "m", "chat", 30.0, "secret-key")
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join(10)


def chat(logprobs: Any, text: Any = "x") -> bytes:
    choice = {"message": {"content": text}, "logprobs": logprobs, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], "usage": {"completion_tokens": 1}}).encode()


def scores(told: Any, count: Any = 2) -> bytes:
    return json.dumps({"choices": [{"text": "ab", "logprobs": told}], "usage": {"prompt_tokens": count}}).encode()


def replied(content: bytes, pieces: int = 1) -> Reply:
    with saying(content, pieces) as endpoint:
        return ask(endpoint, [PROMPT], Asking(4), 1, lambda: None)[0]


def scored(content: bytes) -> Score:
    with saying(content) as endpoint:
        return score(endpoint, [("a", "ab")], 5, 1, lambda: None)[0]


@pytest.mark.parametrize("pieces", [1, 3])
def test_an_answer_in_pieces_is_read_whole(pieces: int) -> None:
    found = replied(chat({"content": [TOKEN] * 3}, "xxx"), pieces)
    assert (found.error, found.text, len(found.tokens or ()), found.finish, found.output_tok) == (
        "",
        "xxx",
        3,
        "stop",
        1,
    )
    assert found.tokens is not None
    assert (found.tokens[0].label, found.tokens[0].logprob, found.tokens[0].top) == ("x", -0.5, (("x", -0.5),))


def test_an_answer_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MOST_BYTES", 1000)
    assert "more than 1,000 bytes" in replied(chat(None, "x" * 2000)).error


@pytest.mark.parametrize(
    "change",
    [
        {"top_logprobs": ["a"]}, {"top_logprobs": None}, {"bytes": 10**10}, {"bytes": [300]}, {"logprob": 10**400},
        {"logprob": float("nan")}, {"logprob": float("inf")}, {"logprob": 3.0}, {"logprob": "-1"}, {"logprob": True},
    ],
    ids=str,
)  # fmt: skip
def test_log_probabilities_that_are_none_are_as_if_not_told(change: dict[str, Any]) -> None:
    found = replied(chat({"content": [TOKEN | change]}))
    assert (found.error, found.text, found.tokens) == ("", "x", None)


@pytest.mark.parametrize("told", [None, [], "x", {}, {"content": None}, {"content": []}], ids=str)
def test_no_log_probabilities_are_no_tokens(told: Any) -> None:
    found = replied(chat(told))
    assert (found.error, found.text, found.tokens) == ("", "x", None)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"choices": []}', b'{"choices": [1]}', b"\xff", b'{"choices": 3}'])
def test_what_is_no_answer_is_an_error(content: bytes) -> None:
    assert replied(content).error
    assert scored(content).error


@pytest.mark.parametrize(
    "told",
    [
        None, SCORES | {"token_logprobs": [None, None]}, SCORES | {"token_logprobs": [None]}, SCORES | {"tokens": 3},
        SCORES | {"top_logprobs": [None, ["i"]]}, SCORES | {"token_logprobs": [None, float("nan")]},
        SCORES | {"token_logprobs": [None, 5.0]},
    ],
    ids=str,
)  # fmt: skip
def test_scores_that_are_none_are_an_error(told: Any) -> None:
    assert scored(scores(told)).error


def test_minus_infinity_by_another_name_is_bounded() -> None:
    found = scored(scores(SCORES | {"token_logprobs": [None, -9999.0]}))
    assert (found.error, found.tokens[1].logprob) == ("", LEAST_LOGPROB)


def test_the_key_is_shown_nowhere() -> None:
    told = TOKEN | {"token": "secret-key", "bytes": list(b"secret-key")}
    found = replied(chat({"content": [told]}, "my secret-key"))
    assert "secret-key" not in repr(found)
    assert "secret-key" not in repr(scored(scores(SCORES | {"tokens": ["a", "secret-key"]})))
    assert "secret-key" not in repr(replied(chat({"content": [{"secret-key": 1}]})))
