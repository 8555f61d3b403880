"""The served model against the slow oracle, and the oracle against `transformers`, on every supported shape."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reference_engine.config import Llama3Scaling
from reference_engine.engine import Engine
from reference_engine.model.dense import dense_logits, top2_margin
from reference_engine.model.export import export
from reference_engine.model.load import Checkpoint
from reference_engine.model.tokenizer import Tokenizer
from reference_engine.request import Request

SCALING = Llama3Scaling(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_context_tok=64)
SHAPES: dict[str, dict[str, Any]] = {
    "grouped": {},
    "multi-head": {"kv_heads": 4},
    "one-kv-head": {"kv_heads": 1},
    "own-head": {"tied": False},
    "biased": {"attention_bias": True, "mlp_bias": True},
    "llama3-rope": {"rope_scaling": SCALING},
    "wide-heads": {"head_dim": 16},
    "relu": {"activation": "relu"},
    "relu2": {"activation": "relu2"},
}
TOLERANCE = 1e-4  # of the largest logit; float32 rounding in another order of summation
PROMPTS = [[1, 2, 3], list(range(100)), [5] * 33, [200]]


def paged_logits(engine: Engine, requests: list[Request]) -> dict[str, torch.Tensor]:
    """The last logits of each request, through the scheduler, the pages and whatever chunks the plan makes."""
    last: dict[str, torch.Tensor] = {}
    for request in requests:
        engine.submit(request)
    while engine.busy:
        plan = engine.scheduler.plan()
        assert plan is not None
        everyone = list(range(len(plan.sampled)))
        scores = engine.model.run(plan, everyone)
        last |= dict(zip((request.id for request in plan.sampled), scores.logits, strict=True))
        engine._commit(plan, everyone, scores)
    return last


@pytest.mark.parametrize("config", [{}, {"step_tok": 9, "max_running": 4, "page_tok": 4}], ids=["whole", "chunked"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_paged_logits_are_the_dense_ones(
    checkpoint_of: Callable[..., Checkpoint],
    engine_of: Callable[..., Engine],
    request_of: Callable[..., Request],
    shape: dict[str, Any],
    config: dict[str, int],
) -> None:
    checkpoint = checkpoint_of(**shape)
    requests = [request_of(prompt, str(i), max_tok=6) for i, prompt in enumerate(PROMPTS)]
    last = paged_logits(engine_of(checkpoint, without=frozenset({"speculation"}), **config), requests)
    for request in requests:
        dense = dense_logits(checkpoint, request.tokens[:-1])[-1]
        assert float((last[request.id] - dense).abs().max()) <= TOLERANCE * float(dense.abs().max())


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_transformers_reads_the_export_and_agrees(
    checkpoint_of: Callable[..., Checkpoint], tiny_tokenizer: Tokenizer, tmp_path: Path, shape: dict[str, Any]
) -> None:
    from transformers import AutoModelForCausalLM

    checkpoint = checkpoint_of(**shape)
    model = AutoModelForCausalLM.from_pretrained(export(checkpoint, tiny_tokenizer, tmp_path), dtype=torch.float32)
    for prompt in PROMPTS:
        with torch.inference_mode():
            theirs = model(torch.tensor([prompt])).logits[0]
        ours = dense_logits(checkpoint, prompt)
        assert float((ours - theirs).abs().max()) <= TOLERANCE * float(ours.abs().max())


def test_top2_margin() -> None:
    assert top2_margin(torch.tensor([1.0, 4.0, 3.5])) == 0.5
