"""The slow oracle: Llama written out as the paper has it. No cache, no pages, no fused weights, no batch.

Everything faster in this package is tested against it. Source: Touvron et al., arXiv 2302.13971; rotary positions Su et
al., arXiv 2104.09864, in the half-split order of the Hugging Face weights.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from reference_engine.config import Activation
from reference_engine.model.load import Checkpoint
from reference_engine.model.rope import rope_frequencies

ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "silu": lambda gate: gate * torch.sigmoid(gate),
    "relu": lambda gate: gate.clamp(min=0),
    "relu2": lambda gate: gate.clamp(min=0) ** 2,
}


@torch.inference_mode()
def dense_logits(checkpoint: Checkpoint, ids: Sequence[int]) -> Tensor:
    """(len(ids), vocab) float32 logits: row i predicts token i + 1."""
    spec, weights = checkpoint.spec, checkpoint.tensors
    x = weights["model.embed_tokens.weight"][torch.tensor(ids)]
    angles = torch.outer(torch.arange(len(ids), dtype=torch.float32), rope_frequencies(checkpoint))
    for i in range(spec.layers):
        at = f"model.layers.{i}."
        x = x + _attention(checkpoint, at + "self_attn.", _norm(checkpoint, at + "input_layernorm", x), angles)
        x = x + _mlp(checkpoint, at + "mlp.", _norm(checkpoint, at + "post_attention_layernorm", x))
    head = weights["model.embed_tokens.weight" if spec.tied else "lm_head.weight"]
    return _norm(checkpoint, "model.norm", x) @ head.T


def top2_margin(logits: Tensor) -> float:
    """Logit of the best token less that of the second best, of one (vocab,) row: how firm a greedy choice is."""
    best = torch.topk(logits, 2).values
    return float(best[0] - best[1])


def _attention(checkpoint: Checkpoint, at: str, x: Tensor, angles: Tensor) -> Tensor:
    spec, n = checkpoint.spec, len(x)
    q = _turned(_linear(checkpoint, at + "q_proj", x).view(n, spec.heads, spec.head_dim), angles)
    k = _turned(_linear(checkpoint, at + "k_proj", x).view(n, spec.kv_heads, spec.head_dim), angles)
    v = _linear(checkpoint, at + "v_proj", x).view(n, spec.kv_heads, spec.head_dim)
    group = spec.heads // spec.kv_heads
    k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    scores = torch.einsum("qhd,khd->hqk", q, k) / spec.head_dim**0.5
    future = torch.ones(n, n, dtype=torch.bool).triu(1)
    mixed = torch.einsum("hqk,khd->qhd", scores.masked_fill(future, -torch.inf).softmax(-1), v)
    return _linear(checkpoint, at + "o_proj", mixed.reshape(n, -1))


def _mlp(checkpoint: Checkpoint, at: str, x: Tensor) -> Tensor:
    gate, up = _linear(checkpoint, at + "gate_proj", x), _linear(checkpoint, at + "up_proj", x)
    return _linear(checkpoint, at + "down_proj", ACTIVATIONS[checkpoint.spec.activation](gate) * up)


def _turned(x: Tensor, angles: Tensor) -> Tensor:
    """Rotate pairs (i, i + head_dim/2) of x (n, heads, head_dim) by `angles` (n, head_dim/2)."""
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def _linear(checkpoint: Checkpoint, name: str, x: Tensor) -> Tensor:
    out = x @ checkpoint.tensors[name + ".weight"].T
    bias = checkpoint.tensors.get(name + ".bias")
    return out if bias is None else out + bias


def _norm(checkpoint: Checkpoint, name: str, x: Tensor) -> Tensor:
    scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + checkpoint.spec.rms_eps)
    return checkpoint.tensors[name + ".weight"] * (x * scale)
