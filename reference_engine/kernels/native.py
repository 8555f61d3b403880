"""The model that runs natively: one C call a step. See `cpu/step.cpp`."""

import ctypes
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reference_engine.config import Budget, EngineConfig, ModelSpec
from reference_engine.errors import EngineError
from reference_engine.kernels import build, neurons, pack
from reference_engine.model import activation
from reference_engine.model.load import Checkpoint
from reference_engine.model.rope import rope_frequencies
from reference_engine.model.scores import Scores
from reference_engine.schedule.plan import StepPlan
from reference_engine.sparse.pattern import Sizes
from reference_engine.sparse.seen import Seen

PAGE_TOK = 16
Int32s = NDArray[np.int32]


class _Shape(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int32) for name in (
            "hidden", "layers", "heads", "kv_heads", "head_dim", "mlp", "vocab", "pages", "most_rows", "most_context",
            "threads", "is_certified")),
        ("rms_eps", ctypes.c_float),
    ]  # fmt: skip


class _Plan(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int32) for name in ("rows", "segments", "width", "choices", "copies")),
        *((name, ctypes.c_void_p) for name in (
            "ids", "positions", "row_segment", "segment_first", "segment_rows", "tables", "choice_rows", "logits_at",
            "copy", "logits", "greedy", "left_neurons", "left_pages", "unread", "may_pick")),
    ]  # fmt: skip


def why_not(spec: ModelSpec, config: EngineConfig) -> str | None:
    """What of a model or a configuration the native step does not do; None when it does all."""
    limits = {
        "biases": spec.attention_bias or spec.mlp_bias,
        f"pages of {config.page_tok} tokens": config.page_tok != PAGE_TOK,
        f"heads of {spec.head_dim}": spec.head_dim % 32 != 0 or spec.head_dim > 128,
        f"a width of {spec.hidden}": spec.hidden % 32 != 0,
        f"an MLP of {spec.mlp}": spec.mlp % 32 != 0,
        f"{spec.heads} heads on {spec.kv_heads}": spec.heads // spec.kv_heads > 64,
    }
    return next((what for what, is_so in limits.items() if is_so), None)


class NativeModel:
    """A `Model` (see `model/scores.py`). Keys and values are float32; a token's are the same bits in any batch."""

    def __init__(self, checkpoint: Checkpoint, config: EngineConfig, kind: str, threads: int | None = None) -> None:
        """raises: EngineError when the cache does not fit; `build.NoCompiler`."""
        self.spec, self.weights_sha256, self.kind = checkpoint.spec, checkpoint.sha256, kind
        self._config, self._lib = config, build.kernels(kind)
        self._lib.engine_new.restype = ctypes.c_void_p
        self.threads = threads or len(os.sched_getaffinity(0))
        self._kept: list[Any] = []  # memory that the native side points into
        self._model = ctypes.c_void_p(self._lib.engine_new(ctypes.byref(self._shape())))
        self._greedy, self._width = np.empty(config.step_tok, np.int32), 1
        self._load(checkpoint, config.has("packing"))
        if config.budget.pages:
            self.limit(config.budget)

    def __del__(self) -> None:
        if getattr(self, "_model", None):
            self._lib.engine_free(self._model)

    def run(self, plan: StepPlan, wanted: Sequence[int]) -> Scores:
        """See `Model.run`."""
        if plan.tokens > self._config.step_tok:  # there is no room for them on the other side
            raise RuntimeError(f"a step of {plan.tokens} tokens, where at most {self._config.step_tok} were announced")
        arrays = _arrays(plan, wanted, self._config.has("skipping"))
        logits = np.empty((len(wanted), self.spec.vocab), np.float32)
        choices = len(arrays["choice_rows"])
        rows = _Plan(rows=len(arrays["ids"]), segments=len(plan.segments), width=arrays["tables"].shape[1],
                     choices=choices, copies=len(plan.copies))  # fmt: skip
        left = {name: np.zeros(rows.rows, np.int32) for name in ("left_neurons", "left_pages")}
        unread = np.array((0, 0, -1), np.int64)
        given: dict[str, NDArray[Any]] = {**arrays, **left, "logits": logits, "greedy": self._greedy, "unread": unread}
        for name, array in given.items():
            setattr(rows, name, array.ctypes.data)
        self._lib.engine_step(self._model, ctypes.byref(rows))
        greedy = self._greedy[:choices].tolist()
        if not self._config.has("skipping"):
            greedy = [greedy[row] for row in _choice_rows(plan)]
        head_rows = int(unread[2])
        seen = Seen(**left, unread_neurons=int(unread[0]), unread_pages=int(unread[1]),
                    head_rows=None if head_rows < 0 else head_rows)  # fmt: skip
        return Scores(greedy, torch.from_numpy(logits), seen)

    def limit(self, budget: Budget) -> None:
        """Attend to `budget.pages` pages from the next step on. A model that was made without a budget keeps nothing to
        choose pages by, and one that had dense layers keeps nothing for those.

        raises: EngineError when there is no memory for it.
        """
        if not self._lib.engine_budget(self._model, budget.pages, budget.dense_layers):
            raise EngineError("the ranges of the cache's keys do not fit the memory", "config")

    def _shape(self) -> _Shape:
        spec, config = self.spec, self._config
        return _Shape(hidden=spec.hidden, layers=spec.layers, heads=spec.heads, kv_heads=spec.kv_heads,
                      head_dim=spec.head_dim, mlp=spec.mlp, vocab=spec.vocab, pages=config.pages,
                      most_rows=config.step_tok, most_context=spec.context_tok, threads=self.threads,
                      is_certified=config.has("certified-head"), rms_eps=spec.rms_eps)  # fmt: skip

    def _load(self, checkpoint: Checkpoint, packed: bool) -> None:
        layers = range(self.spec.layers)
        thresholds = np.array(activation.thresholds(self.spec, self._config), np.float32)
        kind = neurons.ACTIVATIONS[self.spec.activation]
        self._lib.engine_gates(self._model, kind, ctypes.c_void_p(thresholds.ctypes.data))  # which it copies
        by_neuron = neurons.are_skipped(checkpoint, self._config)
        matrices = [_matrices(checkpoint, f"model.layers.{i}.", packed, by_neuron) for i in layers]
        self._layer_bytes = sum(one.data.size for parts in matrices for one in parts)
        places = iter(self._keep_together([one.data for parts in matrices for one in parts]))
        for i in layers:
            at = f"model.layers.{i}."
            for part, one in enumerate(matrices[i][: 2 if by_neuron else 4]):
                self._lib.engine_matrix(self._model, i, part, next(places), one.form, one.outputs, one.inputs)
            if by_neuron:
                self._lib.engine_neurons(self._model, i, next(places), next(places), next(places))
            names = ("input_layernorm", "post_attention_layernorm")
            scales = [self._keep(checkpoint.floats(f"{at}{name}.weight").numpy()) for name in names]
            self._lib.engine_layer(self._model, i, *scales, self._cache(), self._cache())
        self._ends(checkpoint, packed)

    def _ends(self, checkpoint: Checkpoint, packed: bool) -> None:
        """Embedding, head, last norm, rotary tables."""
        rows = {"embed": "model.embed_tokens.weight", "head": "lm_head.weight"}
        if self.spec.tied:
            rows["head"] = rows["embed"]
        embedding = head = pack.pack(checkpoint, [rows["embed"]], None, packed)
        if not self.spec.tied:
            head = pack.pack(checkpoint, [rows["head"]], None, packed)
        self.sizes = Sizes(self.spec, self._config, self._layer_bytes, head.data.size)
        bounds = None
        if head.form == pack.Q8 and self._config.has("certified-head"):
            bounds = self._keep(pack.norms(checkpoint.blocks[rows["head"]].raw))
        tables = [self._keep(np.ascontiguousarray(table)) for table in self._turns(checkpoint)]
        self._lib.engine_ends(
            self._model, self._keep(embedding.data), embedding.form, self._keep(head.data), head.form, bounds,
            self._keep(checkpoint.floats("model.norm.weight").numpy()), *tables,
        )  # fmt: skip

    def _turns(self, checkpoint: Checkpoint) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """cos and sin, both (positions, head_dim / 2)."""
        positions = torch.arange(min(self.spec.context_tok, self._config.pages * PAGE_TOK), dtype=torch.float32)
        angles = torch.outer(positions, rope_frequencies(checkpoint))
        return angles.cos().numpy(), angles.sin().numpy()

    def _cache(self) -> ctypes.c_void_p:
        """Keys or values of one layer. numpy asks the system for zeroed memory: it costs nothing until it is used."""
        floats = self._config.pages * self.spec.kv_heads * self.spec.head_dim * PAGE_TOK
        try:
            return self._keep(np.zeros(floats, np.float32))
        except (MemoryError, ValueError) as err:
            raise EngineError(
                f"a cache of {self._config.pages * PAGE_TOK} tokens does not fit: {err}", "config"
            ) from err

    def _keep_together(self, arrays: Sequence[NDArray[np.uint8]]) -> list[ctypes.c_void_p]:
        """Copies one after the other in one block of memory: the system gives large blocks in large pages, and a step
        that reads all weights would else wait for the translation of every fourth kilobyte (2 to 3 times as long)."""
        sizes = [-(-array.size // 64) * 64 for array in arrays]
        room = pack.aligned(np.empty(sum(sizes), np.uint8))
        starts = np.cumsum([0, *sizes])[:-1].tolist()
        for array, start in zip(arrays, starts, strict=True):
            room[start : start + array.size] = array
        base = self._keep(room).value or 0
        return [ctypes.c_void_p(base + start) for start in starts]

    def _keep(self, array: NDArray[Any]) -> ctypes.c_void_p:
        self._kept.append(array)
        return ctypes.c_void_p(array.ctypes.data)


def _matrices(checkpoint: Checkpoint, at: str, packed: bool, by_neuron: bool) -> list[pack.Packed]:
    """The matrices of the layer whose tensors begin with `at`: four, or five with the MLP's neuron by neuron."""
    parts = _parts(checkpoint.spec, at)[: 2 if by_neuron else 4]
    matrices = [pack.pack(checkpoint, names, order, packed) for names, order in parts]
    return matrices + (neurons.mlp_parts(checkpoint, at) if by_neuron else [])


def _parts(spec: ModelSpec, at: str) -> list[tuple[list[str], NDArray[np.int64] | None]]:
    """The four matrices of a layer: tensors, order of rows (gate and up in turns of 32, see `cpu/step.cpp`)."""
    turns = np.arange(2 * spec.mlp).reshape(2, -1, 32).swapaxes(0, 1).reshape(-1)
    return [
        ([f"{at}self_attn.{part}_proj.weight" for part in "qkv"], None),
        ([f"{at}self_attn.o_proj.weight"], None),
        ([f"{at}mlp.gate_proj.weight", f"{at}mlp.up_proj.weight"], turns),
        ([f"{at}mlp.down_proj.weight"], None),
    ]


def _choice_rows(plan: StepPlan) -> list[int]:
    """Which of the plan's rows are followed by a choice."""
    rows, end = list[int](), 0
    for segment in plan.segments:
        end += segment.count
        rows += range(end - segment.choices, end)
    return rows


def _arrays(plan: StepPlan, wanted: Sequence[int], skipping: bool) -> dict[str, Int32s]:
    """The plan as flat arrays, named as the C structure names them."""
    ids, positions, firsts, may_pick = list[int](), list[int](), list[int](), list[bool]()
    width = max(-(-(segment.start + segment.count) // PAGE_TOK) for segment in plan.segments)
    tables = np.zeros((len(plan.segments), width), np.int32)
    for i, segment in enumerate(plan.segments):
        firsts.append(len(ids))
        ids += segment.tokens
        span = range(segment.start, segment.start + segment.count)
        positions += span
        may_pick += [at >= segment.request.first_choice for at in span]
        pages = segment.request.pages[:width]
        tables[i, : len(pages)] = pages
    counts = np.array([segment.count for segment in plan.segments], np.int32)
    choices = _choice_rows(plan)
    places = [-1] * (len(choices) if skipping else len(ids))
    for place, choice in enumerate(wanted):
        places[choice if skipping else choices[choice]] = place
    return {
        "ids": np.array(ids, np.int32),
        "positions": np.array(positions, np.int32),
        "row_segment": np.repeat(np.arange(len(counts), dtype=np.int32), counts),
        "segment_first": np.array(firsts, np.int32),
        "segment_rows": counts,
        "tables": tables,
        "choice_rows": np.array(choices if skipping else range(len(ids)), np.int32),
        "logits_at": np.array(places, np.int32),
        "copy": np.array(plan.copies or ((0, 0),), np.int32),
        "may_pick": np.array(may_pick, np.int32),
    }
