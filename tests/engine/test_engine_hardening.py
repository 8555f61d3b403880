"""What one request, one full disk or one odd model folder must not do to everybody else."""

import asyncio
import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reference_engine.engine import Engine
from reference_engine.errors import RequestError
from reference_engine.model.tokenizer import load_tokenizer
from reference_engine.request import Request, Sampling
from reference_engine.sampling import draw
from reference_engine.server.bridge import Bridge
from reference_engine.text import TextStream

BODY = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}


def post(url: str, body: dict[str, Any] | bytes) -> tuple[int, dict[str, Any]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/v1/chat/completions", data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as err:
        return err.code, json.load(err)


def changed(folder: Path, to: Path, change: Callable[[Any], None]) -> Path:
    """The model folder with a changed tokenizer."""
    from tokenizers import Tokenizer

    shutil.copytree(folder, to)
    fast = Tokenizer.from_file(str(to / "tokenizer.json"))
    change(fast)
    fast.save(str(to / "tokenizer.json"))
    return to


def test_a_token_that_the_model_has_no_row_for_is_refused(serve: Any, tiny_folder: Path, tmp_path: Path) -> None:
    folder = changed(tiny_folder, tmp_path / "tiny", lambda fast: fast.add_special_tokens(["[PAD]"]))
    with serve(folder) as served:
        padded = {**BODY, "messages": [{"role": "user", "content": "hi [PAD] there"}]}
        status, answer = post(served.url, padded)
        assert (status, answer["error"]["code"]) == (400, "invalid_value")
        assert post(served.url, BODY)[0] == 200


@pytest.mark.parametrize(
    "change", [lambda f: f.enable_truncation(2), lambda f: f.enable_padding(length=64)], ids=["truncation", "padding"]
)
def test_what_training_left_in_the_tokenizer_does_not_change_prompts(
    tiny_folder: Path, tmp_path: Path, change: Callable[[Any], None]
) -> None:
    plain = load_tokenizer(tiny_folder, "0" * 64).encode("hello there", False)
    folder = changed(tiny_folder, tmp_path / "tiny", change)
    assert load_tokenizer(folder, "0" * 64).encode("hello there", False) == plain


def test_a_full_disk_costs_the_log_and_not_the_server(serve: Any, tiny_folder: Path) -> None:
    with serve(tiny_folder, "--request-log", "/dev/full") as served:
        assert [post(served.url, BODY)[0] for _ in range(2)] == [200, 200]


def test_a_body_larger_than_any_prompt_is_refused_unread(tiny_server: Any) -> None:
    body = json.dumps({**BODY, "messages": [{"role": "user", "content": "x" * 1_200_000}]}).encode()
    status, answer = post(tiny_server.url, body)
    assert (status, answer["error"]["code"]) == (413, "body_too_large")
    assert post(tiny_server.url, BODY)[0] == 200


def test_not_a_number_is_refused_in_a_request_that_is_otherwise_good(tiny_server: Any) -> None:
    status, answer = post(tiny_server.url, json.dumps({**BODY, "temperature": float("nan")}).encode())
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")


def test_more_cache_than_there_is_memory_is_a_sentence(tiny_folder: Path, tcabench: Callable[..., Any]) -> None:
    done = tcabench("serve", "--model", tiny_folder, "--port", "0", "--kv-tokens", "100000000000000")
    assert done.returncode == 2
    assert "does not fit" in done.stderr
    assert "Traceback" not in done.stderr


def test_everyone_is_told_when_the_engine_fails(tiny: Any, engine_of: Any, request_of: Any) -> None:
    class Failing(Engine):
        def step(self) -> Any:
            raise MemoryError("no more")

    finished: list[str | None] = []

    async def asked() -> list[str]:
        engine = engine_of(tiny)
        engine.__class__ = Failing
        engine.observers = (type("Log", (), {"finished": lambda _, request: finished.append(request.finish)})(),)
        bridge = Bridge(lambda: engine)
        bridge.attach()
        codes = []
        for _ in range(2):  # one under way when it fails, one that comes after
            with pytest.raises(RequestError) as caught:
                async for _ in bridge.ask([request_of([1, 2, 3])], streams=True):
                    pass
            codes.append(caught.value.kind)
        assert bridge.failure == "MemoryError: no more"
        await bridge.stop()
        return codes

    assert asyncio.run(asked()) == ["engine_failed", "engine_failed"]
    assert finished == ["failed"]


def test_a_tiny_temperature_is_greedy_and_not_noise() -> None:
    logits = torch.tensor([[1.0, 20.0, 3.0, 4.0]])
    for temperature in (1e-307, 1e-300, 1e-3):
        stream = TextStream(lambda ids: "")
        request = Request("r", 1, [0], Sampling(max_tok=1, temperature=temperature, seed=5), stream)
        assert draw(logits, [request]) == [1]


def test_a_completion_keeps_the_space_between_prompt_and_answer() -> None:
    """A decoder that drops the space before the very first token, as those of Llama-2 do."""
    words = {0: "▁the", 1: "▁cat"}

    def decode(ids: Any) -> str:
        return "".join(words[i] for i in ids).replace("▁", " ").removeprefix(" ")

    assert TextStream(decode).push(1) == "cat"
    assert TextStream(decode, (), [0]).push(1) == " cat"
