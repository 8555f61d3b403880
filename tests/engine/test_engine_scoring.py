"""A text that is scored: each token's log-probability after those before it is the dense model's, in any company."""

import http.client
import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
import torch

from reference_engine.config import EngineConfig
from reference_engine.engine import Engine
from reference_engine.errors import RequestError
from reference_engine.kernels import build
from reference_engine.kernels.native import NativeModel
from reference_engine.model.dense import dense_logits
from reference_engine.model.load import Checkpoint
from reference_engine.request import Delta, Request
from tests.engine.test_engine_native import SHAPE, quantised

EngineOf = Callable[..., Engine]
RequestOf = Callable[..., Request]
TEXT = [(7 * i * i + 3) % 200 for i in range(90)]


def scored(request: Request) -> Request:
    """`request` as one whose prompt is scored."""
    request.given, request.tokens = tuple(request.tokens), request.tokens[:1]
    return request


def run(engine: Engine, *requests: Request) -> dict[str, list[Delta]]:
    for request in requests:
        engine.submit(request)
    deltas: dict[str, list[Delta]] = {request.id: [] for request in requests}
    while engine.busy:
        for delta in engine.step():
            deltas[delta.request_id].append(delta)
    return deltas


def expected(checkpoint: Checkpoint, ids: list[int]) -> torch.Tensor:
    logs = dense_logits(checkpoint, ids).log_softmax(-1)
    return logs[range(len(ids) - 1), ids[1:]]


def found(deltas: list[Delta]) -> torch.Tensor:
    return torch.tensor([delta.logprob.logprob for delta in deltas if delta.logprob])


@pytest.mark.parametrize(
    "config",
    [{}, {"step_tok": 7, "max_running": 6}, {"kv_tok": 160, "page_tok": 4}, {"without": frozenset({"speculation"})}],
    ids=["roomy", "in small steps", "preempting", "no guesses"],
)
def test_the_scores_are_the_dense_models(
    tiny: Checkpoint, engine_of: EngineOf, request_of: RequestOf, config: dict[str, Any]
) -> None:
    text = scored(request_of(TEXT, "text", max_tok=0, logprobs=2))
    crowd = [request_of([i] * 9, str(i), max_tok=24) for i in range(4)]
    alone = [request_of([i] * 9, str(i), max_tok=24) for i in range(4)]
    engine = engine_of(tiny, **config)
    deltas = run(engine, *crowd, text)["text"]
    assert [delta.token for delta in deltas] == TEXT[1:]
    assert [delta.finish for delta in deltas] == [None] * (len(TEXT) - 2) + ["length"]
    assert torch.allclose(found(deltas), expected(tiny, TEXT), atol=1e-4)
    assert engine.scheduler.tally.generated_tok == sum(request.output_tok for request in crowd)
    run(engine_of(tiny), *alone)
    assert [request.tokens for request in crowd] == [request.tokens for request in alone]


def test_it_goes_on_after_the_text_as_after_a_prompt(
    tiny: Checkpoint, engine_of: EngineOf, request_of: RequestOf
) -> None:
    text, plain = scored(request_of(TEXT, "text", max_tok=9, logprobs=0)), request_of(TEXT, "plain", max_tok=9)
    deltas = run(engine_of(tiny), text)["text"]
    run(engine_of(tiny), plain)
    assert text.tokens == plain.tokens
    assert text.output_tok == plain.output_tok == 9
    assert torch.allclose(found(deltas), expected(tiny, text.tokens), atol=1e-4)


def test_an_end_within_the_text_ends_nothing(tiny: Checkpoint, engine_of: EngineOf, request_of: RequestOf) -> None:
    ids = [1, 2, 256, 3, 256, 4]
    deltas = run(engine_of(tiny), scored(request_of(ids, "text", max_tok=0, logprobs=0, ignore_eos=False)))["text"]
    assert [delta.token for delta in deltas] == ids[1:]


@pytest.mark.parametrize("kind", build.kinds_here())
def test_the_native_step_scores_the_same_bits_in_any_company(
    kind: str, checkpoint_of: Callable[..., Checkpoint], request_of: RequestOf
) -> None:
    checkpoint, config = quantised(checkpoint_of(**SHAPE)), EngineConfig(kv_tok=512, max_running=6, step_tok=40)
    text = scored(request_of(TEXT, "t", max_tok=0, logprobs=0))
    alone = run(Engine(NativeModel(checkpoint, config, kind), config), text)
    crowd = [request_of([i] * 30, str(i), max_tok=20, ignore_eos=True) for i in range(5)]
    text = scored(request_of(TEXT, "t", max_tok=0, logprobs=0))
    together = run(Engine(NativeModel(checkpoint, config, kind), config), *crowd, text)
    assert torch.equal(found(together["t"]), found(alone["t"]))
    assert torch.allclose(found(alone["t"]), expected(checkpoint, TEXT), atol=1e-3)


def post(server: Any, body: dict[str, Any]) -> tuple[int, Any]:
    data = json.dumps({"model": "tiny", **body})
    with closing(http.client.HTTPConnection(server.url.removeprefix("http://"))) as connection:
        connection.request("POST", "/v1/completions", data, {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_over_http_the_answer_begins_with_the_text(tiny_server: Any) -> None:
    asked = {"prompt": "to be or not", "echo": True, "logprobs": 3, "temperature": 0}
    status, answer = post(tiny_server, {**asked, "max_tokens": 0})
    choice, logprobs = answer["choices"][0], answer["choices"][0]["logprobs"]
    assert (status, choice["text"], choice["finish_reason"]) == (200, "to be or not", "length")
    assert "".join(logprobs["tokens"]) == "to be or not"
    assert logprobs["token_logprobs"][0] is logprobs["top_logprobs"][0] is None
    assert all(value < 0 for value in logprobs["token_logprobs"][1:])
    assert [choice["text"][at:][:1] for at in logprobs["text_offset"]] == [token[0] for token in logprobs["tokens"]]
    assert answer["usage"]["completion_tokens"] == 0
    _, longer = post(tiny_server, {**asked, "max_tokens": 3})
    _, plain = post(tiny_server, {"prompt": "to be or not", "max_tokens": 3, "temperature": 0})
    assert longer["choices"][0]["text"] == "to be or not" + plain["choices"][0]["text"]
    assert longer["choices"][0]["logprobs"]["token_logprobs"][: len(logprobs["tokens"])] == logprobs["token_logprobs"]


def test_characters_of_several_tokens_come_back_whole(tiny_server: Any) -> None:
    _, answer = post(tiny_server, {"prompt": "🙂é x", "echo": True, "logprobs": 0, "max_tokens": 0, "temperature": 0})
    assert answer["choices"][0]["text"] == "🙂é x"


def test_nothing_to_score_and_nothing_to_answer_is_refused(
    tiny: Checkpoint, engine_of: EngineOf, request_of: RequestOf, tiny_server: Any
) -> None:
    body = {"prompt": [5], "echo": True, "logprobs": 0, "max_tokens": 0, "temperature": 0, "ignore_eos": True}
    status, answer = post(tiny_server, body)
    assert (status, answer["error"]["code"]) == (400, "invalid_value")
    with pytest.raises(RequestError, match="no token"):
        engine_of(tiny).submit(request_of([5], "x", max_tok=0))


def test_a_text_of_one_token_has_nothing_to_score(tiny_server: Any) -> None:
    _, answer = post(tiny_server, {"prompt": [5], "echo": True, "logprobs": 0, "max_tokens": 1, "temperature": 0})
    assert answer["choices"][0]["logprobs"]["token_logprobs"][0] is None
    assert len(answer["choices"][0]["logprobs"]["tokens"]) == 2
