"""Llama over a flat batch of tokens from many requests, with projections that share an input fused into one."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear, rms_norm

from reference_engine.config import EngineConfig
from reference_engine.kv.table import KvTable
from reference_engine.model.activation import activated, thresholds
from reference_engine.model.attention import paged_attention
from reference_engine.model.batch import Batch, batch_of
from reference_engine.model.load import Checkpoint
from reference_engine.model.rope import rope_table
from reference_engine.model.scores import Scores
from reference_engine.schedule.plan import StepPlan
from reference_engine.sparse.pattern import Sizes


@dataclass(frozen=True, slots=True)
class Projection:
    """`weight` (out, in) and, for the few Llamas that have one, `bias` (out,)."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class Layer:
    """One block. `qkv` gives queries, keys and values of a token in a row, `gate_up` both halves of the MLP."""

    attention_norm: Tensor
    qkv: Projection
    out: Projection
    mlp_norm: Tensor
    gate_up: Projection
    down: Projection


class Llama:
    """The model as it serves. Takes its tensors out of the checkpoint as it fuses them, so that no weight is held
    twice; `keep` leaves the checkpoint whole (tests compare it with the oracle)."""

    kind = "torch"

    def __init__(self, checkpoint: Checkpoint, config: EngineConfig, keep: bool = False) -> None:
        tensors = dict(checkpoint.tensors) if keep else checkpoint.tensors
        self.spec, self.weights_sha256, self._config = checkpoint.spec, checkpoint.sha256, config
        self._thresholds = thresholds(checkpoint.spec, config)
        self.kv = KvTable(checkpoint.spec, config)
        self.layers = [_layer(tensors, f"model.layers.{i}.") for i in range(self.spec.layers)]
        self.embedding = tensors["model.embed_tokens.weight"]
        self.head = self.embedding if self.spec.tied else tensors["lm_head.weight"]
        self.norm = tensors["model.norm.weight"]
        self.sizes = Sizes(self.spec, config, sum(map(_bytes, self.layers)), self.head.nbytes)
        self.cos, self.sin = rope_table(checkpoint, min(self.spec.context_tok, config.pages * config.page_tok))

    @torch.inference_mode()
    def run(self, plan: StepPlan, wanted: Sequence[int]) -> Scores:
        """See `Model.run`."""
        for source, target in plan.copies:
            self.kv.copy(source, target)
        logits = self.forward(batch_of(plan, self._config.page_tok))
        return Scores(logits.argmax(-1).tolist(), logits[list(wanted)])

    @torch.inference_mode()
    def forward(self, batch: Batch) -> Tensor:
        """(rows before a choice, vocab) float32 logits; keys and values of every row are left in the cache."""
        x = self.embedding[batch.ids]
        turn = self.cos[batch.positions], self.sin[batch.positions]
        for i, layer in enumerate(self.layers):
            x = x + self._attention(layer, i, x, turn, batch)
            x = x + self._mlp(layer, self._thresholds[i], x)
        if not self._config.has("skipping"):
            return linear(self._normed(x, self.norm), self.head)[batch.logit_rows]
        return linear(self._normed(x[batch.logit_rows], self.norm), self.head)

    def _attention(self, layer: Layer, i: int, x: Tensor, turn: tuple[Tensor, Tensor], batch: Batch) -> Tensor:
        spec = self.spec
        qkv = layer.qkv(self._normed(x, layer.attention_norm)).view(len(x), -1, spec.head_dim)
        turned, values = torch.split(qkv, [spec.heads + spec.kv_heads, spec.kv_heads], dim=1)
        turned = turned * turn[0] + turned.roll(spec.head_dim // 2, -1) * turn[1]
        queries, keys = torch.split(turned, [spec.heads, spec.kv_heads], dim=1)
        self.kv.write(i, batch.slots, keys, values)
        return layer.out(paged_attention(queries, i, batch, self.kv, self._config.budget).view(len(x), -1))

    def _mlp(self, layer: Layer, threshold: float, x: Tensor) -> Tensor:
        gate, up = layer.gate_up(self._normed(x, layer.mlp_norm)).chunk(2, dim=-1)
        return layer.down(activated(gate, self.spec.activation, threshold).mul_(up))

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        return rms_norm(x, weight.shape, weight, self.spec.rms_eps)


def _layer(tensors: dict[str, Tensor], at: str) -> Layer:
    return Layer(
        attention_norm=tensors.pop(at + "input_layernorm.weight"),
        qkv=_fused(tensors, *(f"{at}self_attn.{part}_proj" for part in "qkv")),
        out=_fused(tensors, at + "self_attn.o_proj"),
        mlp_norm=tensors.pop(at + "post_attention_layernorm.weight"),
        gate_up=_fused(tensors, at + "mlp.gate_proj", at + "mlp.up_proj"),
        down=_fused(tensors, at + "mlp.down_proj"),
    )


def _bytes(layer: Layer) -> int:
    return sum(each.weight.nbytes for each in (layer.qkv, layer.out, layer.gate_up, layer.down))


def _fused(tensors: dict[str, Tensor], *names: str) -> Projection:
    weights = [tensors.pop(name + ".weight") for name in names]
    biases = [tensors.pop(name + ".bias") for name in names if name + ".bias" in tensors]
    if len(names) == 1:
        return Projection(weights[0], biases[0] if biases else None)
    return Projection(torch.cat(weights), torch.cat(biases) if biases else None)
