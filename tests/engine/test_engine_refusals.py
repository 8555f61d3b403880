"""Whatever the server does not do is refused, in OpenAI's words."""

import http.client
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
COMPLETION: dict[str, Any] = {"model": "tiny", "prompt": "hi", "max_tokens": 2}


@pytest.fixture(scope="module")
def send(tiny_server: Any) -> Callable[..., tuple[int, dict[str, Any], dict[str, str]]]:
    """POST a body, as JSON or as it stands; returns status, the error object and the headers."""

    def post(path: str, body: Any, method: str = "POST") -> tuple[int, dict[str, Any], dict[str, str]]:
        connection = http.client.HTTPConnection(tiny_server.url.removeprefix("http://"))
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data, {"content-type": "application/json"})
        answer = connection.getresponse()
        parsed = json.loads(answer.read())
        connection.close()
        return answer.status, parsed.get("error", {}), dict(answer.headers)

    return post


BAD_CHATS: dict[str, tuple[dict[str, Any], str, str | None]] = {
    "unknown field": ({"frobnicate": 1}, "unknown_field", "frobnicate"),
    "top_k": ({"top_k": 5}, "unknown_field", "top_k"),
    "tools": ({"tools": []}, "unknown_field", "tools"),
    "no choices": ({"n": 0}, "invalid_value", "n"),
    "too many choices": ({"n": 17}, "invalid_value", "n"),
    "frequency_penalty": ({"frequency_penalty": 2.5}, "invalid_value", "frequency_penalty"),
    "presence_penalty": ({"presence_penalty": -2.1}, "invalid_value", "presence_penalty"),
    "too much bias": ({"logit_bias": {"5": 101}}, "invalid_value", "logit_bias"),
    "bias of no token": ({"logit_bias": {"five": 1}}, "invalid_value", "logit_bias"),
    "bias past the vocabulary": ({"logit_bias": {"257": 1}}, "invalid_value", "logit_bias"),
    "unknown format": ({"response_format": {"type": "xml"}}, "invalid_value", "response_format"),
    "format without schema": ({"response_format": {"type": "json_schema"}}, "missing_field", "response_format.json"),
    "json that goes on": (
        {"response_format": {"type": "json_object"}, "ignore_eos": True},
        "invalid_value",
        "ignore_eos",
    ),
    "no messages": ({"messages": []}, "invalid_value", "messages"),
    "role": ({"messages": [{"role": "tool", "content": "x"}]}, "invalid_value", "messages[0].role"),
    "name": ({"messages": [{"role": "user", "content": "x", "name": "me"}]}, "unknown_field", "messages[0].name"),
    "image": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        "invalid_value",
        "messages[0].content",
    ),
    "no content": ({"messages": [{"role": "user"}]}, "missing_field", "messages[0].content"),
    "too hot": ({"temperature": 2.1}, "invalid_value", "temperature"),
    "too cold": ({"temperature": -0.1}, "invalid_value", "temperature"),
    "temperature as text": ({"temperature": "1"}, "invalid_value", "temperature"),
    "top_p 0": ({"top_p": 0}, "invalid_value", "top_p"),
    "top_p 1.1": ({"top_p": 1.1}, "invalid_value", "top_p"),
    "no tokens": ({"max_tokens": 0}, "invalid_value", "max_tokens"),
    "half a token": ({"max_tokens": 1.5}, "invalid_value", "max_tokens"),
    "limits differ": ({"max_completion_tokens": 3}, "invalid_value", "max_completion_tokens"),
    "five stops": ({"stop": list("abcde")}, "invalid_value", "stop"),
    "empty stop": ({"stop": ""}, "invalid_value", "stop"),
    "top_logprobs alone": ({"top_logprobs": 2}, "invalid_value", "top_logprobs"),
    "too many logprobs": ({"logprobs": True, "top_logprobs": 21}, "invalid_value", "top_logprobs"),
    "stream_options alone": (
        {"stream": False, "stream_options": {"include_usage": True}},
        "invalid_value",
        "stream_options",
    ),
    "too long": ({"max_tokens": 5000}, "context_length_exceeded", None),
    "prompt too long": (
        {"messages": [{"role": "user", "content": "x" * 600}]},
        "context_length_exceeded",
        "messages",
    ),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("change", "code", "param"), BAD_CHATS.values(), ids=BAD_CHATS)
def test_chats_that_are_refused(
    send: Callable[..., Any], change: dict[str, Any], code: str, param: str | None, stream: bool
) -> None:
    status, error, headers = send("/v1/chat/completions", CHAT | {"stream": stream} | change)
    assert (status, error["type"], error["code"]) == (400, "invalid_request_error", code)
    if param is not None:
        assert error["param"] == param if param is None else error["param"].startswith(param)
    assert error["message"]
    assert headers["content-type"] == "application/json"


BAD_COMPLETIONS: dict[str, tuple[dict[str, Any], str, str | None]] = {
    "echo that scores nothing": ({"echo": True}, "invalid_value", "echo"),
    "echo and stop": ({"echo": True, "logprobs": 0, "stop": "x"}, "invalid_value", "echo"),
    "echo twice": ({"echo": True, "logprobs": 0, "n": 2}, "invalid_value", "echo"),
    "nothing at all": ({"max_tokens": 0}, "invalid_value", "max_tokens"),
    "suffix": ({"suffix": "x"}, "invalid_value", "suffix"),
    "best_of": ({"best_of": 2}, "invalid_value", "best_of"),
    "fewer than the choices": ({"best_of": 1, "n": 2}, "invalid_value", "best_of"),
    "response_format": ({"response_format": {"type": "json_object"}}, "unknown_field", "response_format"),
    "logprobs": ({"logprobs": 6}, "invalid_value", "logprobs"),
    "chat logprobs": ({"logprobs": True}, "invalid_value", "logprobs"),
    "two prompts": ({"prompt": ["a", "b"]}, "invalid_value", "prompt"),
    "empty prompt": ({"prompt": ""}, "invalid_value", "prompt"),
    "no tokens": ({"prompt": []}, "invalid_value", "prompt"),
    "token past the vocabulary": ({"prompt": [257]}, "invalid_value", "prompt"),
    "negative token": ({"prompt": [-1]}, "invalid_value", "prompt"),
    "messages": ({"messages": []}, "unknown_field", "messages"),
    "half a character": ({"prompt": "\ud800"}, "invalid_value", "prompt"),
    "half a stop": ({"stop": ["\ud800"]}, "invalid_value", "stop"),
    "half a field": ({"\ud800": 1}, "invalid_value", None),
}


@pytest.mark.parametrize(("change", "code", "param"), BAD_COMPLETIONS.values(), ids=BAD_COMPLETIONS)
def test_completions_that_are_refused(
    send: Callable[..., Any], change: dict[str, Any], code: str, param: str | None
) -> None:
    status, error, _ = send("/v1/completions", COMPLETION | change)
    assert (status, error["type"], error["code"]) == (400, "invalid_request_error", code)
    assert error["param"] == param if param is None else error["param"].startswith(param)


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"{", "invalid_json", None),
        (b"", "missing_field", None),
        (b"[]", "invalid_value", None),
        (b'{"model": "tiny"}', "missing_field", "messages"),
        (b'{"temperature": NaN}', None, None),
        (b"\xff\xfe", None, None),
        (b"[" * 100_000, None, None),
    ],
    ids=["cut", "empty", "list", "no messages", "nan", "not utf-8", "deep"],
)
def test_bodies_that_are_no_request(send: Callable[..., Any], body: bytes, code: str | None, param: str | None) -> None:
    status, error, _ = send("/v1/chat/completions", body)
    assert (status, error["type"]) == (400, "invalid_request_error")
    assert code in (None, error["code"])
    assert param in (None, error["param"])


@pytest.mark.parametrize(("path", "body"), [("/v1/chat/completions", CHAT), ("/v1/completions", COMPLETION)])
def test_a_model_that_is_not_here(send: Callable[..., Any], path: str, body: dict[str, Any]) -> None:
    status, error, _ = send(path, body | {"model": "gpt-7"})
    assert (status, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert "'tiny' is served" in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "unknown_url"),
        ("GET", "/", 404, "unknown_url"),
        ("GET", "/v1/models/other", 404, "model_not_found"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
    ],
)
def test_paths_and_methods(send: Callable[..., Any], method: str, path: str, status: int, code: str) -> None:
    got, error, _ = send(path, b"", method)
    assert (got, error["code"]) == (status, code)


def test_a_full_queue_answers_429(serve: Any, tiny_folder: Any) -> None:
    """One runs, one waits, the rest of a crowd are told to come back; those taken in are served whole."""
    from openai import OpenAI, RateLimitError

    outcomes: list[Any] = []

    def ask(client: Any) -> None:
        try:
            answer = client.chat.completions.create(**(CHAT | {"max_tokens": 450, "extra_body": {"ignore_eos": True}}))
        except RateLimitError as err:
            outcomes.append(err)
        else:
            outcomes.append(answer.usage.completion_tokens)

    with (
        serve(tiny_folder, "--max-running", "1", "--max-waiting", "1") as served,
        OpenAI(base_url=served.url + "/v1", api_key="x", max_retries=0) as client,
    ):
        crowd = [threading.Thread(target=ask, args=(client,)) for _ in range(24)]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join()
        refused = [outcome for outcome in outcomes if isinstance(outcome, RateLimitError)]
        assert len(refused) + outcomes.count(450) == 24
        assert refused
        assert outcomes.count(450) >= 2
        assert refused[0].response.json()["error"]["code"] == "rate_limit_exceeded"
        assert refused[0].response.headers["retry-after"] == "1"
        outcomes.clear()
        ask(client)
        assert outcomes == [450]


@pytest.mark.parametrize("stream", [False, True])
def test_choices_that_do_not_all_fit_the_queue_are_refused_together(serve: Any, tiny_folder: Any, stream: bool) -> None:
    from openai import OpenAI, RateLimitError

    with (
        serve(tiny_folder, "--max-running", "1", "--max-waiting", "1") as served,
        OpenAI(base_url=served.url + "/v1", api_key="x", max_retries=0) as client,
    ):
        with pytest.raises(RateLimitError):
            client.chat.completions.create(**CHAT, n=3, stream=stream)
        assert len(client.chat.completions.create(**CHAT, n=2).choices) == 2
        assert [line["finish_reason"] for line in served.log_lines()[:2]] == ["cancelled"] * 2


def test_a_model_without_a_chat_template(serve: Any, tiny: Any, tiny_tokenizer: Any, tmp_path: Any) -> None:
    from openai import BadRequestError, OpenAI

    from reference_engine.model.export import export
    from reference_engine.model.tokenizer import Tokenizer

    plain = Tokenizer(tiny_tokenizer.fast, None, tiny_tokenizer.special, None)
    with (
        serve(export(tiny, plain, tmp_path / "plain"), "--served-name", "mine/own") as served,
        OpenAI(base_url=served.url + "/v1", api_key="x") as client,
    ):
        with pytest.raises(BadRequestError, match="has no chat template"):
            client.chat.completions.create(**(CHAT | {"model": "mine/own"}))
        assert client.completions.create(**(COMPLETION | {"model": "mine/own"})).usage
        assert client.models.retrieve("mine/own").id == "mine/own"
