"""Weights in float32, from a Hugging Face folder or a GGUF file. Llama family only."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reference_engine.config import ModelSpec
from reference_engine.errors import ModelError
from reference_engine.model.gguf import GgufFile, dequantised
from reference_engine.model.pull import DEFAULT, cache_dir, digest, is_intact
from reference_engine.model.spec import expected_shapes, spec_from_gguf, spec_from_hf

GGUF_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
GGUF_TOP_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
KEPT = frozenset({"Q4_0", "Q4_1", "Q8_0"})
GGUF_ROPE_FACTORS = "rope_freqs.weight"


@dataclass(frozen=True, slots=True)
class Blocks:
    """A quantised matrix as it lies in a GGUF: `raw` (outputs, blocks of 32 inputs, bytes), `kind` Q4_0, Q4_1, Q8_0."""

    kind: str
    raw: NDArray[np.uint8] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model as read: float32 tensors under their Hugging Face names; `blocks` instead for those left quantised.

    `rope_factors` (head_dim/2,) divide the rotary frequencies; only some GGUF files carry them.
    """

    source: Path
    spec: ModelSpec
    tensors: dict[str, Tensor] = field(repr=False)
    rope_factors: Tensor | None
    sha256: str
    blocks: dict[str, Blocks] = field(default_factory=dict, repr=False)

    def floats(self, name: str) -> Tensor:
        """Tensor `name` in float32, dequantised if it lies in blocks."""
        block = self.blocks.get(name)
        return self.tensors[name] if block is None else torch.from_numpy(dequantised(block.kind, block.raw))


def load(path: Path, keep_blocks: bool = False) -> Checkpoint:
    """The weights at `path`, a folder or a GGUF, in float32; `keep_blocks` leaves what is in 4 or 8 bits as it is.

    raises: ModelError (model-missing, model-damaged, model-unsupported).
    """
    if path.is_dir():
        return _load_hf(path)
    if not path.is_file():
        raise ModelError(f"no model at {path}: neither a folder nor a file", "model-missing")
    return _load_gguf(path, keep_blocks)


def weights_sha256(path: Path) -> str:
    """sha256 of the weights: of the one weight file, or of the sorted lines `<sha256>  <name>` of several."""
    files = [path] if path.is_file() else _safetensors(path)
    if path == cache_dir() / DEFAULT.file_name and is_intact(path, DEFAULT):
        return DEFAULT.gguf_sha256
    if len(files) == 1:
        return digest(files[0])
    lines = "".join(f"{digest(file)}  {file.name}\n" for file in files)
    return sha256(lines.encode()).hexdigest()


def _load_gguf(path: Path, keep_blocks: bool) -> Checkpoint:
    gguf = GgufFile(path)
    tied = "output.weight" not in gguf.tensors
    spec = spec_from_gguf(gguf.metadata, tied, str(path))
    names = {name: _hf_name(name) for name in gguf.tensors if name != GGUF_ROPE_FACTORS}
    unknown = sorted(name for name, known in names.items() if known is None)
    if unknown:
        raise ModelError(f"{path} holds tensors of no Llama model: {', '.join(unknown[:5])}", "model-unsupported")
    _check_shapes({names[n] or n: t.shape for n, t in gguf.tensors.items() if n in names}, spec, path)

    def read(name: str) -> tuple[str, Tensor]:
        return names[name] or name, unpermuted(name, torch.from_numpy(gguf.floats(name)), spec)

    kept = {name: gguf.kind(name) for name in names if keep_blocks and gguf.kind(name) in KEPT}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        tensors = dict(pool.map(read, names.keys() - kept.keys()))
    blocks = {names[name] or name: _blocks(gguf, name, kind, spec) for name, kind in kept.items()}
    factors = torch.from_numpy(gguf.floats(GGUF_ROPE_FACTORS)) if GGUF_ROPE_FACTORS in gguf.tensors else None
    return Checkpoint(path, spec, tensors, factors, weights_sha256(path), blocks)


def _blocks(gguf: GgufFile, name: str, kind: str, spec: ModelSpec) -> Blocks:
    raw = gguf.raw(name)
    order = unpermuted(name, torch.arange(len(raw)), spec).numpy()
    return Blocks(kind, raw[order] if name.split(".")[-2] in ("attn_q", "attn_k") else raw)


def _hf_name(name: str) -> str | None:
    """`blk.3.attn_q.weight` -> `model.layers.3.self_attn.q_proj.weight`; None for a name that Llama does not have."""
    if name in GGUF_TOP_NAMES:
        return GGUF_TOP_NAMES[name]
    parts = name.split(".")
    if len(parts) != 4 or parts[0] != "blk" or parts[2] not in GGUF_LAYER_NAMES:
        return None
    return f"model.layers.{parts[1]}.{GGUF_LAYER_NAMES[parts[2]]}.{parts[3]}"


def unpermuted(name: str, tensor: Tensor, spec: ModelSpec) -> Tensor:
    """Undo the row order that llama.cpp gives q and k (rotary pairs side by side), back to halves apart.

    Source: llama.cpp convert_hf_to_gguf.py, LlamaModel.permute.
    """
    heads = {"attn_q": spec.heads, "attn_k": spec.kv_heads}.get(name.split(".")[2] if name.startswith("blk.") else "")
    if heads is None:
        return tensor
    pairs = tensor.reshape(heads, spec.head_dim // 2, 2, *tensor.shape[1:])
    return pairs.transpose(1, 2).reshape(tensor.shape).contiguous()


def _load_hf(folder: Path) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    spec = spec_from_hf(folder)
    tensors: dict[str, Tensor] = {}
    for file in _safetensors(folder):
        try:
            with safe_open(file, framework="pt") as shard:
                names = [name for name in shard.keys() if not name.endswith("rotary_emb.inv_freq")]  # noqa: SIM118
                tensors |= {name: shard.get_tensor(name).float() for name in names}
        except SafetensorError as err:
            raise ModelError(f"{file} is damaged: {err}", "model-damaged") from err
    if spec.tied:
        tensors.pop("lm_head.weight", None)  # some exports repeat the embedding under this name
    _check_shapes({name: tuple(tensor.shape) for name, tensor in tensors.items()}, spec, folder)
    return Checkpoint(folder, spec, tensors, None, weights_sha256(folder))


def _safetensors(folder: Path) -> list[Path]:
    """The weight files of a folder. raises: ModelError when there are none, or one named by the index is missing."""
    import json

    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        except (ValueError, KeyError, AttributeError) as err:
            raise ModelError(f"{index} is not a safetensors index: {err}", "model-damaged") from err
        files = [folder / name for name in names]
    else:
        files = sorted(folder.glob("*.safetensors"))
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ModelError(f"{folder} lacks {', '.join(missing)}, named by its index", "model-damaged")
    if not files:
        raise ModelError(f"{folder} holds no *.safetensors (a GGUF is named by its file)", "model-missing")
    return files


def _check_shapes(found: dict[str, tuple[int, ...]], spec: ModelSpec, where: Path) -> None:
    """raises: ModelError unless exactly the tensors of `spec` are there, in their shapes."""
    expected = expected_shapes(spec)
    if missing := sorted(expected.keys() - found.keys()):
        raise ModelError(f"{where} lacks {len(missing)} tensors, the first {missing[0]}", "model-damaged")
    if extra := sorted(found.keys() - expected.keys()):
        raise ModelError(f"{where} has {len(extra)} tensors too many, the first {extra[0]}", "model-unsupported")
    for name, shape in expected.items():
        if found[name] != shape:
            raise ModelError(f"{where}: {name} is {found[name]}, the config asks for {shape}", "model-damaged")
