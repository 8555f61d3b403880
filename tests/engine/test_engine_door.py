"""Keys, the limit on requests at a time, and what callers are told while the server ends."""

import http.client
import json
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reference_engine.errors import EngineError
from reference_engine.server.door import Keys, read_keys

CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
LONG = CHAT | {"max_tokens": 500, "stream": True, "ignore_eos": True}


def call(server: Any, method: str, path: str, body: Any = None, key: str | None = None) -> tuple[int, Any, Any]:
    """Status, the parsed body (text where it is no JSON), the headers."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    headers = {"content-type": "application/json"} | ({} if key is None else {"authorization": key})
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    data, is_json = answer.read().decode(), answer.headers["content-type"] == "application/json"
    connection.close()
    return answer.status, json.loads(data) if is_json else data, answer.headers


def opened(server: Any, body: Any) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """A stream that has begun."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    answer.read(10)
    return connection, answer


@pytest.fixture(scope="module")
def locked(serve: Any, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text("first-key\n\n  second-key\n")
    with serve(tiny_folder, "--api-key-file", str(file)) as served:
        yield served


@pytest.mark.parametrize("key", [None, "", "first-key", "Bearer", "Bearer third", "Basic first-key", "Bearer first-ke"])
@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/openapi.json", "/v1/nothing"])
def test_without_a_key_nothing_is_served(locked: Any, path: str, key: str | None) -> None:
    status, body, headers = call(locked, "GET", path, None, key)
    assert (status, headers["www-authenticate"]) == (401, "Bearer")
    assert (body["error"]["type"], body["error"]["code"]) == ("invalid_request_error", "invalid_api_key")


def test_health_needs_no_key(locked: Any) -> None:
    assert call(locked, "GET", "/health")[:2] == (200, {"status": "ok"})


def test_the_client_that_has_a_key(locked: Any) -> None:
    from openai import AuthenticationError, OpenAI

    for key in ("first-key", "second-key"):
        with OpenAI(base_url=locked.url + "/v1", api_key=key, max_retries=0) as client:
            assert client.chat.completions.create(**CHAT).usage
            assert list(client.chat.completions.create(**CHAT, stream=True))
    with OpenAI(base_url=locked.url + "/v1", api_key="no", max_retries=0) as client, pytest.raises(AuthenticationError):
        client.chat.completions.create(**CHAT)


def test_holders_have_names_where_there_are_several_keys() -> None:
    assert Keys(["a"]).holder("Bearer a") == ""
    both = Keys(["a", "b"])
    names = {both.holder("Bearer a"), both.holder("bearer b")}
    assert len(names) == 2
    assert all(name and len(name) == 8 for name in names)
    assert both.holder("Bearer c") is None
    assert not Keys([])


@pytest.mark.parametrize("text", ["", "\n \n", "two words\n", "clé\n"])
def test_key_files_that_hold_no_key(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys").write_text(text, encoding="utf-8")
    with pytest.raises(EngineError):
        read_keys(tmp_path / "keys")
    with pytest.raises(EngineError, match="cannot be read"):
        read_keys(tmp_path / "none")


@pytest.mark.parametrize(("host", "warned"), [("0.0.0.0", True), ("127.0.0.1", False)])
def test_a_door_that_stands_open_is_said(serve: Any, tiny_folder: Path, host: str, warned: bool) -> None:
    with serve(tiny_folder, "--host", host) as served:
        served.process.terminate()
        assert ("no API key is set" in served.process.stderr.read()) == warned


def test_more_requests_than_the_limit_are_told_to_come_back(serve: Any, tiny_folder: Path) -> None:
    with serve(tiny_folder, "--max-requests", "1") as served:
        connection, answer = opened(served, LONG)
        status, body, headers = call(served, "POST", "/v1/chat/completions", CHAT)
        assert (status, body["error"]["code"], headers["retry-after"]) == (503, "server_busy", "1")
        assert call(served, "GET", "/health")[0] == 200
        answer.read()
        connection.close()
        assert call(served, "POST", "/v1/chat/completions", CHAT)[0] == 200


def test_while_it_drains_it_says_so_and_ends_what_it_began(serve: Any, tiny_folder: Path) -> None:
    with serve(tiny_folder, "--max-running", "1") as served:
        connection, answer = opened(served, LONG | {"n": 16})  # one after the other, so that there is time to look
        served.process.send_signal(signal.SIGTERM)
        said = call(served, "GET", "/health")
        while said[0] == 200:  # the signal is on its way
            said = call(served, "GET", "/health")
        assert said[:2] == (503, {"status": "draining"})
        status, body, headers = call(served, "POST", "/v1/chat/completions", CHAT)
        assert (status, body["error"]["code"], headers["retry-after"]) == (503, "shutting_down", "1")
        assert answer.read().endswith(b"data: [DONE]\n\n")
        connection.close()
        assert served.process.wait(30) == 0
        assert [line["finish_reason"] for line in served.log_lines()] == ["length"] * 16


def test_clients_have_names_in_the_engine(tiny: Any, tiny_tokenizer: Any) -> None:
    """The `user` of a request, or the holder of its key where keys tell callers apart."""
    from reference_engine.constrain import Grammars
    from reference_engine.server.service import Service
    from reference_engine.server.wire import ChatRequest
    from reference_engine.telemetry import Metrics

    bridge: Any = SimpleNamespace(engine=SimpleNamespace(spec=tiny.spec, context_tok=512))
    grammars = Grammars(tiny_tokenizer.fast, tiny.spec)
    service = Service("tiny", "0" * 64, 0, bridge, tiny_tokenizer, Metrics("tiny"), grammars, {})
    wire = ChatRequest.model_validate(CHAT | {"user": "ann", "n": 2})
    assert [request.client for request in service.chat(wire).requests] == ["ann", "ann"]
    assert [request.client for request in service.chat(wire, "1a2b3c4d").requests] == ["1a2b3c4d"] * 2
