"""Answers held to a schema: the mask is the grammar's, to the token; the answer fits, and ends when it is complete."""

import json
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_engine.constrain import Grammars
from reference_engine.engine import Engine
from reference_engine.errors import RequestError
from reference_engine.model.load import Checkpoint
from reference_engine.model.tokenizer import Tokenizer
from reference_engine.request import Request
from reference_engine.sampling import draw

END_ID = 256
SHAPE = {
    "type": "object",
    "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 99}, "b": {"enum": ["x", "yy"]}},
    "required": ["a", "b"],
    "additionalProperties": False,
}
SHAPES: dict[str, dict[str, Any]] = {
    "object": SHAPE,
    "array": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3},
    "text": {"type": "string", "maxLength": 5},
    "either": {"anyOf": [{"const": 7}, {"type": "null"}]},
}


@pytest.fixture(scope="module")
def grammars(tiny: Checkpoint, tiny_tokenizer: Tokenizer) -> Grammars:
    return Grammars(tiny_tokenizer.fast, tiny.spec)


def answered(engine: Engine, request: Request, tokenizer: Tokenizer) -> str:
    engine.submit(request)
    while engine.busy:
        engine.step()
    return tokenizer.decode(request.tokens[request.prompt_tok :])


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_answers_fit_the_schema_and_end(
    tiny: Checkpoint,
    engine_of: Any,
    request_of: Any,
    tiny_tokenizer: Tokenizer,
    grammars: Grammars,
    shape: Any,
    seed: int,
) -> None:
    for temperature in (0.0, 1.5):
        wanted = {"max_tok": 400, "temperature": temperature, "seed": seed, "ignore_eos": False}
        request = request_of([1, 2, seed], **wanted, constraint=grammars.of_schema(shape))
        text = answered(engine_of(tiny), request, tiny_tokenizer)
        assert request.finish == "stop"
        assert request.tokens[-1] == END_ID
        jsonschema_rs.validate(shape, json.loads(text))


def test_an_answer_is_the_same_in_any_batch_and_after_preemption(
    tiny: Checkpoint, engine_of: Any, request_of: Any, grammars: Grammars
) -> None:
    wanted = {"max_tok": 60, "temperature": 1.0, "seed": 4, "ignore_eos": False}
    alone = request_of([1, 2, 3], "alone", **wanted, constraint=grammars.of_schema(SHAPE))
    roomy = engine_of(tiny)
    roomy.submit(alone)
    while roomy.busy:
        roomy.step()
    narrow = engine_of(tiny, kv_tok=64, page_tok=4)
    crowd = [request_of([i] * 9, str(i), max_tok=24, temperature=0.7, seed=i) for i in range(4)]
    together = request_of([1, 2, 3], "together", **wanted, constraint=grammars.of_schema(SHAPE))
    for request in (*crowd, together):
        narrow.submit(request)
    while narrow.busy:
        narrow.step()
    assert together.tokens == alone.tokens


def test_rows_drawn_one_after_the_other_follow_the_tokens_between(request_of: Any, grammars: Grammars) -> None:
    """As checked drafts do: the state is the request's own tokens and nothing else."""
    request = request_of([0], ignore_eos=False, constraint=grammars.of_schema({"const": True}))
    logits = torch.randn(1, 257, generator=torch.Generator().manual_seed(0))
    before = logits.clone()
    for _ in range(5):
        request.tokens += draw(logits, [request])
    assert bytes(request.tokens[1:5]) == b"true"
    assert request.tokens[5] == END_ID
    assert torch.equal(logits, before)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-30, 30, width=32), min_size=257, max_size=257), st.integers(0, 2**32))
def test_what_is_not_allowed_is_never_drawn(grammars: Grammars, request_of: Any, row: list[float], seed: int) -> None:
    constraint = grammars.of_schema(SHAPES["array"])
    request = request_of([0], temperature=2.0, seed=seed, ignore_eos=False, constraint=constraint)
    logits = torch.tensor([row])
    for _ in range(12):
        allowed = constraint.allowed(request.tokens[1:])
        (token,) = draw(logits, [request])
        assert allowed[token]
        if token == END_ID:
            break
        request.tokens.append(token)


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "frob"}, "Invalid type"),
        ({"not": {"type": "string"}}, "Unimplemented"),
        ({"type": "string", "pattern": "(a"}, "regex parse error"),
        ({"oneOf": [{"type": "string"}, {"type": "string", "maxLength": 3}]}, "oneOf"),
        ({"$ref": "http://127.0.0.1/never-fetched"}, "not present"),
        ({"type": "string", "minLength": 5, "maxLength": 2}, "Unsatisfiable"),
        ({"x-guidance": {"lenient": True}, "not": {}}, "Unimplemented"),
        ({"const": "\ud800"}, "hex escape"),
        ({"type": "string", "pattern": "(" * 5000 + "a" + ")" * 5000}, "regex"),
    ],
)
def test_schemas_that_are_not_done_in_full_are_refused(grammars: Grammars, schema: Any, why: str) -> None:
    with pytest.raises(RequestError, match=why) as caught:
        grammars.of_schema(schema)
    assert (caught.value.status, caught.value.param) == (400, "response_format")
    assert len(str(caught.value)) < 600


def test_blanks_are_bounded(grammars: Grammars) -> None:
    constraint = grammars.of_schema({"type": "object"})
    output = list(b"{" + b" " * 32)
    assert constraint.allowed(output[:-1])[32]
    assert not constraint.allowed(output)[32]


def test_a_vocabulary_larger_or_smaller_than_the_models(checkpoint_of: Any, tiny_tokenizer: Tokenizer) -> None:
    for vocab in (300, 200):
        spec = checkpoint_of(vocab=vocab, eos_ids=(10,)).spec
        allowed = Grammars(tiny_tokenizer.fast, spec).of_schema({"const": 1}).allowed([])
        assert allowed.shape == (vocab,)
        assert not allowed[256:].any()


def test_a_model_without_an_end_cannot_be_held_to_one(checkpoint_of: Any, tiny_tokenizer: Tokenizer) -> None:
    with pytest.raises(RequestError, match="end-of-sequence"):
        Grammars(tiny_tokenizer.fast, checkpoint_of(eos_ids=()).spec).of_schema({})


def test_a_grammar_that_gives_up_ends_the_answer_and_says_so(grammars: Grammars) -> None:
    constraint = grammars.of_schema({"const": True})
    allowed = constraint.allowed(list(b"trxe"))  # never drawn; stands for a limit of the library's that is met later
    assert constraint.error
    assert allowed.nonzero().flatten().tolist() == [END_ID]


def response_format(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "shape", "schema": schema, "strict": True}}


@pytest.mark.parametrize("stream", [False, True])
def test_over_the_wire(ask: Callable[..., Any], stream: bool) -> None:
    wanted = {"max_tokens": 450, "temperature": 1.0, "ignore_eos": False, "stream": stream, "n": 3}
    got = ask(response_format=response_format(SHAPE), seed=1, **wanted)
    texts, ends = {}, {}
    if stream:
        for chunk in got:
            (choice,) = chunk.choices
            texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
            ends[choice.index] = choice.finish_reason
    else:
        texts = {choice.index: choice.message.content for choice in got.choices}
        ends = {choice.index: choice.finish_reason for choice in got.choices}
    assert ends == {0: "stop", 1: "stop", 2: "stop"}
    for text in texts.values():
        jsonschema_rs.validate(SHAPE, json.loads(text))


def test_any_json_over_the_wire(ask: Callable[..., Any]) -> None:
    bias = {str(ord("}")): 100, str(ord("{")): 50}  # or a model of noise would write on for ever
    wanted = {"max_tokens": 100, "temperature": 0, "ignore_eos": False, "logit_bias": bias}
    answer = ask(response_format={"type": "json_object"}, **wanted)
    assert answer.choices[0].finish_reason == "stop"
    assert json.loads(answer.choices[0].message.content) == {}


def test_the_clients_own_models_over_the_wire(client: Any) -> None:
    """`parse` of the openai client sends a pydantic model as a strict schema and reads the answer back with it."""
    from pydantic import BaseModel

    class Meter(BaseModel):
        phases: bool
        kind: None

    answer = client.chat.completions.parse(
        model="tiny", messages=[{"role": "user", "content": "hi"}], response_format=Meter, max_tokens=450, seed=1
    )
    assert isinstance(answer.choices[0].message.parsed, Meter)


def test_a_schema_that_is_refused_over_the_wire(ask: Callable[..., Any]) -> None:
    from openai import BadRequestError

    with pytest.raises(BadRequestError, match="Unimplemented") as caught:
        ask(response_format=response_format({"not": {}}), ignore_eos=False)
    assert caught.value.param == "response_format"
