"""Llama on a GPU: seven kernels a layer, and for decoding one CUDA graph a step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from reference_engine.config import EngineConfig
from reference_engine.kernels.triton.matrix import Matrix
from reference_engine.model.activation import thresholds
from reference_engine.model.device import check_room
from reference_engine.model.gpu_inputs import Inputs, Layout, fill, layout_of
from reference_engine.model.gpu_weights import Weights, take_stacked, take_vector
from reference_engine.model.rope import rope_frequencies
from reference_engine.model.scores import Scores
from reference_engine.schedule.plan import StepPlan
from reference_engine.sparse.pattern import Sizes


@dataclass(frozen=True, slots=True)
class Kernels:
    """The functions of `kernels.triton`, or those of its oracle."""

    project: Callable[..., Tensor]
    rotate_and_store: Callable[..., Tensor]
    paged_attention: Callable[..., Tensor]
    rows_per_tile: Callable[[int, int], int]


def triton_kernels() -> Kernels:
    """Those for the card; on CPU tensors they run in Triton's interpreter."""
    from reference_engine.kernels.triton.attention import paged_attention, rows_per_tile
    from reference_engine.kernels.triton.project import project
    from reference_engine.kernels.triton.rotate import rotate_and_store

    return Kernels(project, rotate_and_store, paged_attention, rows_per_tile)


@dataclass(frozen=True, slots=True)
class Layer:
    """One block; `keys`, `values` (slots, kv_heads, head_dim) are its part of the cache."""

    attention_norm: Tensor
    qkv: Matrix
    out: Matrix
    mlp_norm: Tensor
    gate_up: Matrix
    down: Matrix
    keys: Tensor
    values: Tensor


class GpuLlama:
    """A `Model`. `exact`: float32 throughout, on the weights as they are stored; else factors and the cache are rounded
    to bfloat16, sums and the residual stream are not."""

    kind = "triton"

    def __init__(self, weights: Weights, config: EngineConfig, kernels: Kernels, exact: bool = True) -> None:
        checkpoint, self.device = weights.checkpoint, weights.device
        self.spec, self.weights_sha256 = checkpoint.spec, checkpoint.sha256
        self._config, self._kernels, self._exact = config, kernels, exact
        self._thresholds = thresholds(self.spec, config)
        self._context_tok = min(self.spec.context_tok, config.pages * config.page_tok)
        self._per_tile = kernels.rows_per_tile(self.spec.heads, self.spec.kv_heads)
        check_room(weights.n_bytes + self._kv_bytes(), self.device, f"{checkpoint.source} with its cache")
        self.embedding = take_stacked(weights, "model.embed_tokens")
        self.layers = [self._layer(weights, f"model.layers.{i}.") for i in range(self.spec.layers)]
        self.norm = take_vector(weights, "model.norm.weight")
        self.head = self.embedding if self.spec.tied else take_stacked(weights, "lm_head")
        layer_bytes = sum(
            each.n_bytes for layer in self.layers for each in (layer.qkv, layer.out, layer.gate_up, layer.down)
        )
        self.sizes = Sizes(self.spec, config, layer_bytes, self.head.n_bytes)
        angles = torch.outer(torch.arange(self._context_tok).float(), rope_frequencies(checkpoint))
        self._turn = angles.cos().to(self.device), angles.sin().to(self.device)
        self._buckets = self._captured() if config.has("fusion") else []

    @torch.inference_mode()
    def run(self, plan: StepPlan, wanted: Sequence[int]) -> Scores:
        """See `Model.run`."""
        for layer in self.layers if plan.copies else ():
            for table in (layer.keys, layer.values):
                paged = table.view(self._config.pages, -1)
                for source, target in plan.copies:
                    paged[target] = paged[source]
        greedy, logits = self._scores(plan)
        return Scores(greedy.tolist(), logits[list(wanted)].cpu())

    @torch.inference_mode()
    def forward(self, inputs: Inputs, context_tok: int) -> tuple[Tensor, Tensor]:
        """Best token (c,) and logits (c, vocab) float32 after each chosen row."""
        kernels, eps, exact = self._kernels, self.spec.rms_eps, self._exact
        x = self.embedding.rows(inputs.ids)
        for layer, threshold in zip(self.layers, self._thresholds, strict=True):
            qkv = kernels.project(x, layer.qkv, layer.attention_norm, eps, exact=exact)
            queries = kernels.rotate_and_store(
                qkv, self._turn, inputs.positions, inputs.slots, layer.keys, layer.values
            )
            mixed = kernels.paged_attention(
                queries, layer.keys, layer.values, inputs.tiles, inputs.tables, inputs.positions,
                self._config.page_tok, context_tok, exact,
            )  # fmt: skip
            x = kernels.project(mixed, layer.out, residual=x, exact=exact)
            inner = kernels.project(x, layer.gate_up, layer.mlp_norm, eps, gated=True, exact=exact,
                                    activation=self.spec.activation, threshold=threshold)  # fmt: skip
            x = kernels.project(inner, layer.down, residual=x, exact=exact)
        logits = self._logits(x, inputs.chosen)
        return logits.argmax(-1), logits  # of equals the first

    def _logits(self, x: Tensor, chosen: Tensor) -> Tensor:
        if not self._config.has("skipping"):
            return self._kernels.project(x, self.head, self.norm, self.spec.rms_eps, exact=self._exact)[chosen]
        if not len(chosen):
            return torch.empty(0, self.spec.vocab, device=self.device)
        return self._kernels.project(x[chosen], self.head, self.norm, self.spec.rms_eps, exact=self._exact)

    def _scores(self, plan: StepPlan) -> tuple[Tensor, Tensor]:
        rows = plan.tokens
        if all(segment.choices == segment.count for segment in plan.segments):
            for bucket in self._buckets:
                if rows <= bucket.layout.rows:
                    return bucket.run(plan, self._config.page_tok)
        layout = layout_of(plan, self._config.page_tok, self._per_tile)
        flat = torch.empty(layout.total, dtype=torch.int32, pin_memory=self.device.type == "cuda")
        fill(flat, plan, layout, self._config.page_tok, self._per_tile)
        inputs = layout.views(flat.to(self.device, non_blocking=True))
        return self.forward(inputs, max(segment.start + segment.count for segment in plan.segments))

    def _captured(self) -> list["Bucket"]:
        """Buckets of 1, 2, 4 … rows up to `max_running`; the largest is made first, and lends the others its memory."""
        most = (self._config.max_running - 1).bit_length()
        pages = -(-self._context_tok // self._config.page_tok)
        pool = torch.cuda.graph_pool_handle() if self.device.type == "cuda" else None
        layouts = [Layout(1 << i, 1 << i, 1 << i, pages, 1 << i) for i in range(most, -1, -1)]
        buckets = [
            Bucket(layout, lambda given: self.forward(given, self._context_tok), self.device, pool)
            for layout in layouts
        ]
        return buckets[::-1]

    def _layer(self, weights: Weights, at: str) -> Layer:
        shape = (self._config.pages * self._config.page_tok, self.spec.kv_heads, self.spec.head_dim)
        of = torch.float32 if self._exact else torch.bfloat16
        return Layer(
            attention_norm=take_vector(weights, at + "input_layernorm.weight"),
            qkv=take_stacked(weights, *(f"{at}self_attn.{part}_proj" for part in "qkv")),
            out=take_stacked(weights, at + "self_attn.o_proj"),
            mlp_norm=take_vector(weights, at + "post_attention_layernorm.weight"),
            gate_up=take_stacked(weights, at + "mlp.gate_proj", at + "mlp.up_proj"),
            down=take_stacked(weights, at + "mlp.down_proj"),
            keys=torch.zeros(shape, dtype=of, device=self.device),
            values=torch.zeros(shape, dtype=of, device=self.device),
        )

    def _kv_bytes(self) -> int:
        return self._config.pages * self._config.page_tok * self.spec.kv_bytes_per_tok // (1 if self._exact else 2)


class Bucket:
    """A step of a fixed number of rows, each of them followed by a choice; on a GPU captured once and replayed.

    Rows that a plan leaves free are computed and dropped. Results stay until the next step.
    """

    def __init__(
        self, layout: Layout, step: Callable[[Inputs], tuple[Tensor, Tensor]], device: torch.device, pool: Any
    ) -> None:
        self.layout, self._step = layout, step
        self._graph: torch.cuda.CUDAGraph | None = None
        cuda = device.type == "cuda"
        self._flat = torch.empty(layout.total, dtype=torch.int32, pin_memory=cuda)
        self._there = torch.zeros(layout.total, dtype=torch.int32, device=device)
        self._inputs = layout.views(self._there)
        self._inputs.slots.fill_(-1)
        if cuda:
            self._capture(pool)

    def run(self, plan: StepPlan, page_tok: int) -> tuple[Tensor, Tensor]:
        """Best token (rows,) and logits (rows, vocab) of the plan's rows."""
        fill(self._flat, plan, self.layout, page_tok, 1)
        self._there.copy_(self._flat, non_blocking=True)
        if self._graph is None:
            self._found = self._step(self._inputs)
        else:
            self._graph.replay()
        greedy, logits = self._found
        return greedy[: plan.tokens], logits[: plan.tokens]

    def _capture(self, pool: Any) -> None:
        """Once outside the graph, where Triton compiles and torch sets itself up, then into it."""
        self._step(self._inputs)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            self._found = self._step(self._inputs)
        self._graph = graph
