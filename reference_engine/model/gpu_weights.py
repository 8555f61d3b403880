"""Where a GPU model's weights come from: tensor by tensor, in the form in which they stay on the device."""

from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from reference_engine.kernels.triton.matrix import Matrix, stacked, unpack_q4_1
from reference_engine.model.gguf import GgufFile
from reference_engine.model.load import GGUF_LAYER_NAMES, GGUF_TOP_NAMES, Checkpoint, load, unpermuted
from reference_engine.model.random_weights import RandomModel, header, random_tensor


class Weights(Protocol):
    """`checkpoint` says what the model is; `take` hands a tensor over, None for one that it does not have."""

    checkpoint: Checkpoint
    device: torch.device
    n_bytes: int

    def take(self, name: str) -> Matrix | None: ...


class LoadedWeights:
    """Float32 weights of a folder or GGUF; those that the GGUF holds as Q4_1 packed, unless `packing` is off. A tensor
    that is taken leaves the checkpoint, so that none is held twice."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, packing: bool = True) -> None:
        self.checkpoint, self.device, self._packed = checkpoint, device, dict[str, str]()
        if packing and checkpoint.source.is_file():
            self._file = GgufFile(checkpoint.source)
            self._packed = {_hf_name(name): name for name in self._file.tensors if self._file.kind(name) == "Q4_1"}
        self.n_bytes = sum(self._bytes(name, tensor) for name, tensor in checkpoint.tensors.items())

    def take(self, name: str) -> Matrix | None:
        """See `Weights`."""
        tensor = self.checkpoint.tensors.pop(name, None)
        if tensor is None:
            return None
        if name not in self._packed:
            return Matrix(tensor.to(self.device))
        there = self._packed[name]
        rows = torch.from_numpy(self._file.raw(there).copy()).view(tensor.shape[0], -1)
        packed = unpack_q4_1(unpermuted(there, rows, self.checkpoint.spec), tuple(tensor.shape))
        assert packed.scales is not None
        assert packed.minima is not None
        return Matrix(*(part.to(self.device) for part in (packed.weight, packed.scales, packed.minima)))

    def _bytes(self, name: str, tensor: Tensor) -> int:
        return tensor.numel() * 5 // 8 if name in self._packed else 4 * tensor.numel()


class RandomWeights:
    """Weights of a shape, in bfloat16, made on the device."""

    def __init__(self, model: RandomModel, device: torch.device) -> None:
        self.checkpoint, self.device, self._model = header(model), device, model
        self.n_bytes = 2 * model.values

    def take(self, name: str) -> Matrix | None:
        """See `Weights`."""
        tensor = random_tensor(self._model, name, self.device)
        return None if tensor is None else Matrix(tensor)


def open_weights(source: Path | RandomModel, device: torch.device, packing: bool) -> Weights:
    """The weights of `source`. raises: ModelError when they cannot be read."""
    if isinstance(source, RandomModel):
        return RandomWeights(source, device)
    return LoadedWeights(load(source), device, packing)


def take_vector(weights: Weights, name: str) -> Tensor:
    """A norm's weights, float32."""
    found = weights.take(name)
    assert found is not None, name
    return found.weight.float()


def take_stacked(weights: Weights, *names: str) -> Matrix:
    """The linear maps `names`, as one, with their biases where they have one."""
    parts = list[Matrix]()
    for name in names:
        found, bias = weights.take(name + ".weight"), weights.take(name + ".bias")
        assert found is not None, name
        parts.append(found if bias is None else replace(found, bias=bias.weight.float()))
    return stacked(parts)


def _hf_name(name: str) -> str:
    """`blk.3.attn_q.weight` -> `model.layers.3.self_attn.q_proj.weight`; others as they are."""
    parts = name.split(".")
    if parts[0] != "blk":
        return GGUF_TOP_NAMES.get(name, name)
    return f"model.layers.{parts[1]}.{GGUF_LAYER_NAMES[parts[2]]}.{parts[3]}"
