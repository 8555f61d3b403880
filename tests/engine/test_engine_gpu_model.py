"""The model of the GPU path against the slow oracle. Here with its kernels' torch oracles on the CPU;
`test_engine_gpu.py` runs the same laws with the kernels themselves, in Triton's interpreter or on a card."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from reference_engine.config import EngineConfig, Llama3Scaling
from reference_engine.engine import Engine
from reference_engine.errors import ModelError
from reference_engine.kernels.triton import oracle
from reference_engine.model.dense import dense_logits
from reference_engine.model.gpu import GpuLlama, Kernels, triton_kernels
from reference_engine.model.gpu_weights import LoadedWeights, RandomWeights
from reference_engine.model.layers import Llama
from reference_engine.model.load import Checkpoint, load
from reference_engine.model.random_weights import RandomModel, random_checkpoint
from reference_engine.request import Request
from reference_engine.schedule.plan import Segment, StepPlan
from tests.engine.test_engine_load import write_gguf

TRITON = os.environ.get("TRITON_INTERPRET")  # "1" interpreted, "0" on a card, not set: not at all
DEVICE = torch.device("cuda:0" if TRITON == "0" else "cpu")
TOLERANCE = 1e-4  # of the largest logit; float32 rounding in another order of summation
SHAPES: dict[str, dict[str, Any]] = {
    "grouped": {},
    "relu2": {"activation": "relu2"},
    "three-to-one": {"heads": 3, "kv_heads": 1, "head_dim": 24, "tied": False},
    "biased-llama3-rope": {
        "attention_bias": True, "mlp_bias": True,
        "rope_scaling": Llama3Scaling(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_context_tok=64),
    },
}  # fmt: skip
LIMITS = EngineConfig(kv_tok=256, page_tok=4, max_running=4, step_tok=64)

CheckpointOf = Callable[..., Checkpoint]
RequestOf = Callable[..., Request]


def kernels() -> Kernels:
    if TRITON is not None:
        return triton_kernels()
    return Kernels(oracle.project, oracle.rotate_and_store, oracle.paged_attention, oracle.rows_per_tile)


def model_of(checkpoint: Checkpoint, limits: EngineConfig = LIMITS, **options: Any) -> GpuLlama:
    """The model; its weights are copies, so that the checkpoint stays whole."""
    whole = replace(checkpoint, tensors=dict(checkpoint.tensors))
    return GpuLlama(LoadedWeights(whole, DEVICE, limits.has("packing")), limits, kernels(), **options)


def close(found: torch.Tensor, expected: torch.Tensor, limit: float = TOLERANCE) -> bool:
    return float((found - expected).abs().max()) <= limit * float(expected.abs().max())


def placed(request: Request, pages: Sequence[int]) -> Request:
    request.pages = list(pages)
    return request


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_chunks_decodes_and_guesses_score_as_the_dense_model(
    checkpoint_of: CheckpointOf, request_of: RequestOf, shape: dict[str, Any]
) -> None:
    checkpoint = checkpoint_of(**shape)
    model = model_of(checkpoint)
    long, short = placed(request_of(list(range(21))), [9, 3, 30, 5, 1, 7]), placed(request_of([7, 8, 9]), [4, 60])
    first = model.run(StepPlan((Segment(long, 0, 18, False), Segment(short, 0, 3, True))), [0])
    assert close(first.logits[0], dense_logits(checkpoint, short.tokens)[-1])
    assert first.greedy == [int(first.logits[0].argmax())]
    second = model.run(StepPlan((Segment(long, 18, 3, True),), ((4, 50),)), [])
    assert second.greedy == [int(dense_logits(checkpoint, long.tokens)[-1].argmax())]
    assert second.logits.shape == (0, checkpoint.spec.vocab)
    short.tokens.append(first.greedy[0])
    guessed = Segment(placed(short, [50, 60]), 3, 3, True, (11, 12))  # of a copied page
    third = model.run(StepPlan((guessed,)), [0, 1, 2])  # in a bucket of four
    assert close(third.logits, dense_logits(checkpoint, [*short.tokens, 11, 12])[-3:])


def test_a_plan_that_chooses_nothing_gives_nothing(checkpoint_of: CheckpointOf, request_of: RequestOf) -> None:
    model = model_of(checkpoint_of())
    found = model.run(StepPlan((Segment(placed(request_of([1, 2, 3, 4]), [0]), 0, 2, False),)), [])
    assert found.greedy == []
    assert found.logits.shape[0] == 0


def test_the_engine_answers_as_with_the_model_of_the_cpu(checkpoint_of: CheckpointOf, request_of: RequestOf) -> None:
    checkpoint, answers = checkpoint_of(), list[list[list[int]]]()
    for model in (Llama(checkpoint, LIMITS, keep=True), model_of(checkpoint)):
        engine = Engine(model, LIMITS)
        requests = [request_of(ids, str(i), max_tok=3) for i, ids in enumerate([[1, 2, 3], list(range(40)), [5] * 9])]
        for request in requests:
            engine.submit(request)
        while engine.busy:
            engine.step()
        answers.append([request.tokens for request in requests])
    assert answers[0] == answers[1]


def test_packed_weights_score_as_dequantised_ones(
    checkpoint_of: CheckpointOf, request_of: RequestOf, tmp_path: Path
) -> None:
    file = write_gguf(checkpoint_of(mlp=64, head_dim=16), tmp_path / "m.gguf", packed=True)
    dense, request = dense_logits(load(file), [1, 2, 3])[-1], placed(request_of([1, 2, 3]), [0])
    plan = StepPlan((Segment(request, 0, 3, True),))
    packed, plain = model_of(load(file)), model_of(load(file), replace(LIMITS, without=frozenset({"packing"})))
    assert packed.layers[0].qkv.scales is not None
    assert plain.layers[0].qkv.scales is None
    for mine, theirs in zip(packed.layers, plain.layers, strict=True):
        assert torch.equal(mine.qkv.floats(), theirs.qkv.floats())
        assert torch.equal(mine.gate_up.floats(), theirs.gate_up.floats())
        assert torch.equal(mine.down.floats(), theirs.down.floats())
    for model in (packed, plain):
        assert close(model.run(plan, [0]).logits[0], dense)


def test_a_decode_is_the_same_to_the_last_bit_alone_among_others_and_replayed_as_prefill(
    checkpoint_of: CheckpointOf, request_of: RequestOf
) -> None:
    model = model_of(checkpoint_of())
    one, two = placed(request_of([1, 2, 3, 4, 5]), [0, 1]), placed(request_of(list(range(30))), range(2, 10))
    model.run(StepPlan((Segment(one, 0, 4, False), Segment(two, 0, 29, False))), [])
    alone = model.run(StepPlan((Segment(one, 4, 1, True),)), [0]).logits[0]
    among = model.run(StepPlan((Segment(two, 29, 1, True), Segment(one, 4, 1, True))), [1]).logits[0]
    again = model.run(StepPlan((Segment(one, 0, 5, True),)), [0]).logits[0]
    if TRITON is None:  # torch's own product gives no such promise
        assert close(among, alone)
    else:
        assert torch.equal(among, alone)
        assert torch.equal(again, alone)


def test_bfloat16_is_near(checkpoint_of: CheckpointOf, request_of: RequestOf) -> None:
    checkpoint = checkpoint_of()
    model = model_of(checkpoint, exact=False)
    assert model.layers[0].keys.dtype == torch.bfloat16
    found = model.run(StepPlan((Segment(placed(request_of([1, 2, 3]), [0]), 0, 3, True),)), [0]).logits[0]
    assert close(found, dense_logits(checkpoint, [1, 2, 3])[-1], 0.1)


@pytest.mark.skipif(TRITON is not None, reason="nothing of the kernels is in it")
def test_random_weights_are_the_same_wherever_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.engine.conftest import make_spec

    monkeypatch.setitem(
        __import__("reference_engine.model.random_weights", fromlist=["SHAPES"]).SHAPES, "t", make_spec()
    )
    drawn, made = random_checkpoint(RandomModel("t")), RandomWeights(RandomModel("t"), DEVICE)
    assert made.take("lm_head.weight") is None
    for name, tensor in drawn.tensors.items():
        found = made.take(name)
        assert found is not None
        assert torch.equal(found.weight.float().view(tensor.shape), tensor)


def test_a_cache_that_does_not_fit_is_refused_in_gib(checkpoint_of: CheckpointOf) -> None:
    with pytest.raises(ModelError, match=r"needs [0-9.]+ GiB, and .* free"):
        model_of(checkpoint_of(), EngineConfig(kv_tok=10**12))
