"""What the wire carries: SSE bytes however they are cut, and payloads good and bad."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcabench.errors import UsageError
from tcabench.load import fold
from tcabench.load.apis.chat import ChatApi
from tcabench.load.apis.completions import CompletionsApi
from tcabench.load.apis.events import Delta, ProtocolError
from tcabench.load.endpoint import Endpoint, checked_url, is_loopback
from tcabench.load.sse import SseDecoder
from tcabench.records import Message, Request, Status

STREAM = (
    b": keep-alive\n\ndata: one\n\nevent: x\ndata:two\ndata: lines\n\r\nid: 7\r\n\r\ndata: caf\xc3\xa9\r\n\r\n"
    b"data\n\ndata: [DONE]\n\n"
)
PAYLOADS = [b"one", b"two\nlines", b"caf\xc3\xa9", b"", b"[DONE]"]


def decoded(chunks: list[bytes]) -> tuple[list[bytes], bool]:
    decoder = SseDecoder()
    return [payload for chunk in chunks for payload in decoder.feed(chunk)], decoder.pending


def test_a_stream_is_read_as_the_standard_says() -> None:
    assert decoded([STREAM]) == (PAYLOADS, False)


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_where_the_network_cuts_makes_no_difference(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    assert decoded([STREAM[a:b] for a, b in pairwise(edges)]) == (PAYLOADS, False)


@given(st.lists(st.sampled_from([b"data: a", b"\r", b"\n", b"\r\n", b"x"]), max_size=20))
def test_line_ends_mean_the_same_in_one_piece_and_byte_by_byte(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    assert decoded([whole])[0] == decoded([whole[i : i + 1] for i in range(len(whole))])[0]


def test_a_cut_event_is_pending() -> None:
    assert decoded([b"data: half"]) == ([], True)


REQUEST = Request(3, "p", (Message("system", "Be brief."), Message("user", "Hi")), 16, True, 0.0, 42, None)
ENDPOINT = Endpoint("http://127.0.0.1:1/v1", "m", "chat", 9.0, sends_ignore_eos=True)


def test_chat_body_pins_the_output_only_where_the_server_can() -> None:
    body = ChatApi().body(REQUEST, ENDPOINT)
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert (body["max_tokens"], body["ignore_eos"], body["stream_options"]) == (16, True, {"include_usage": True})
    plain = ChatApi().body(REQUEST, Endpoint("u", "m", "chat", 9.0, sends_usage_option=False))
    assert "ignore_eos" not in plain
    assert "stream_options" not in plain


def chat(**delta: object) -> bytes:
    return json.dumps({"id": "c1", "choices": [{"delta": delta, "finish_reason": None}]}).encode()


@pytest.mark.parametrize(
    ("payload", "delta"),
    [
        (chat(content="Hi"), Delta(text="Hi", server_id="c1")),
        (chat(role="assistant", content=""), Delta(server_id="c1")),
        (chat(content=""), Delta(text="", server_id="c1")),
        (chat(reasoning_content="hm"), Delta(text="hm", server_id="c1")),
        (b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}', Delta(prompt_tok=3, output_tok=4)),
        (b'{"choices":[{"delta":{},"finish_reason":"stop"}]}', Delta(finish_reason="stop")),
        (b'{"error":{"message":"boom"}}', Delta(error='{"message": "boom"}')),
    ],
)
def test_chat_payloads(payload: bytes, delta: Delta) -> None:
    assert ChatApi().delta(payload) == delta


@pytest.mark.parametrize(
    "payload",
    [b"{oops", b"[1]", b'{"choices":3}', b'{"choices":[{"delta":7}]}', b'{"usage":5}',
     b'{"usage":{"completion_tokens":-1}}', b'{"usage":{"completion_tokens":true}}',
     b'{"usage":{"completion_tokens":"9"}}'],
)  # fmt: skip
def test_what_is_not_the_protocol_is_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        ChatApi().delta(payload)


def test_completions_speak_plain_prompts() -> None:
    api = CompletionsApi()
    assert api.body(REQUEST, ENDPOINT)["prompt"] == "Be brief.\n\nHi"
    assert api.delta(b'{"choices":[{"text":"a","finish_reason":null}]}') == Delta(text="a")
    assert api.delta(b'{"choices":[{"text":"","finish_reason":"length"}]}') == Delta(finish_reason="length")


def test_a_request_whose_end_is_missing_was_cancelled() -> None:
    events = [
        {"e": "sent", "i": 0, "p": "a", "t": 1, "due": None, "max": 9},
        {"e": "chunk", "i": 0, "t": 5, "s": "x"},
    ]
    trace = fold(events, ended_ns=9)[0]
    assert (trace.status, trace.end_ns, trace.text, trace.chunk_ns) == (Status.CANCELLED, 9, "x", (5,))


@pytest.mark.parametrize(
    "url", ["", "localhost:8000", "ftp://h/v1", "http:///v1", "http://u:p@h/v1", "http://h/v1?key=1"]
)
def test_urls_that_cannot_work_or_hold_a_secret(url: str) -> None:
    with pytest.raises(UsageError):
        checked_url(url)


def test_urls_that_can() -> None:
    assert checked_url("http://127.0.0.1:8000/v1/") == "http://127.0.0.1:8000/v1"


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1/v1", True),
        ("http://[::1]:8/v1", True),
        ("http://localhost/v1", True),
        ("http://10.0.0.1/v1", False),
    ],
)
def test_only_loopback_is_this_machine(url: str, here: bool) -> None:
    assert is_loopback(url) is here


def test_the_key_is_not_in_what_python_prints() -> None:
    assert "sk-1" not in repr(Endpoint("u", "m", "chat", 9.0, api_key="sk-1"))
