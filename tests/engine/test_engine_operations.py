"""What an operator sees of the server: pages freed, requests logged, metrics that agree with the answers."""

import http.client
import json
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

CHAT = [{"role": "user", "content": "hello"}]


def metric(server: Any, name: str) -> float:
    with urllib.request.urlopen(server.url + "/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)


def wait_until(true: Callable[[], bool], timeout_s: float = 30) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_pages(tiny_server: Any, client: Any, stream: bool) -> None:
    before = metric(tiny_server, "engine_requests_total")
    body = {"model": "tiny", "messages": CHAT, "max_tokens": 480, "stream": stream, "ignore_eos": True}
    connection = http.client.HTTPConnection(tiny_server.url.removeprefix("http://"))
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
    if stream:
        connection.getresponse().read(20)
    else:
        wait_until(lambda: metric(tiny_server, "engine_kv_pages_used") > 0)
    connection.close()
    wait_until(lambda: metric(tiny_server, "engine_requests_total") == before + 1)
    assert metric(tiny_server, "engine_kv_pages_used") == 0
    assert metric(tiny_server, "engine_requests_running") == 0
    last = tiny_server.log_lines()[-1]
    assert last["finish_reason"] == "cancelled"
    assert last["completion_tokens"] < 480
    assert client.models.list().data


def test_the_log_and_the_metrics_agree_with_the_answers(ask: Callable[..., Any], tiny_server: Any) -> None:
    names = ("engine_generated_tokens_total", "engine_prompt_tokens_total", "engine_requests_total")
    before = [metric(tiny_server, name) for name in names]
    started = time.monotonic_ns()
    answers = [ask(max_tokens=n) for n in (3, 5, 7)]
    logged = {line["id"]: line for line in tiny_server.log_lines()}
    for answer in answers:
        line = logged[answer.id]
        assert line["prompt_tokens"] == answer.usage.prompt_tokens
        assert line["completion_tokens"] == answer.usage.completion_tokens
        assert line["finish_reason"] == answer.choices[0].finish_reason
        assert started < line["received_ns"] < line["first_ns"] < line["finished_ns"] < time.monotonic_ns()
    after = [metric(tiny_server, name) for name in names]
    prompt = sum(answer.usage.prompt_tokens for answer in answers)
    assert [b - a for a, b in zip(before, after, strict=True)] == [15, prompt, 3]


def test_many_at_once(ask: Callable[..., Any]) -> None:
    wanted = ask(max_tokens=30).choices[0].message.content
    got: list[str] = []
    threads = [
        threading.Thread(target=lambda: got.append(ask(max_tokens=30).choices[0].message.content)) for _ in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [wanted] * 40


def test_health(tiny_server: Any) -> None:
    with urllib.request.urlopen(tiny_server.url + "/health") as answer:
        assert json.loads(answer.read()) == {"status": "ok"}
