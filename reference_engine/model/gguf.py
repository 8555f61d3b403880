"""GGUF files: metadata and tensors, read in one pass.

The `gguf` package knows the block formats and dequantises them; its reader builds two numpy arrays for every string,
3 s for a vocabulary of 49,152, so the header is read here.
Source: the GGUF specification (ggml, docs/gguf.md), version 3.
"""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference_engine.errors import ModelError

MAGIC = b"GGUF"
STRING, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
DEFAULT_ALIGNMENT = 32
PLAIN = {"F32": np.float32, "F16": np.float16}
STRIDE_BLOCKS = 4096


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor as it lies in the file. `shape` is row-major, as numpy counts (the file's own order reversed)."""

    shape: tuple[int, ...]
    kind: int
    start: int
    n_bytes: int


class GgufFile:
    """`metadata` (key -> value) and `tensors` (name -> where it lies); `floats(name)` reads one."""

    def __init__(self, path: Path) -> None:
        """raises: ModelError (model-damaged) when the file is not a whole GGUF."""
        self.path = path
        with path.open("rb") as stream:
            if stream.read(4) != MAGIC:
                raise ModelError(f"{path} is not a GGUF file (it does not start with GGUF)", "model-damaged")
            self._data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            self.metadata, self.tensors = _Header(self._data).read()
        except (struct.error, IndexError, UnicodeDecodeError, KeyError, ValueError, OverflowError) as err:
            raise ModelError(f"{path} is damaged: its header does not read ({err})", "model-damaged") from err
        self._check_size()

    def floats(self, name: str) -> NDArray[np.float32]:
        """Tensor `name`, dequantised to float32. raises: ModelError for a format that gguf cannot read."""
        from gguf import quants

        tensor, raw, kind = self.tensors[name], self.raw(name), self.kind(name)
        if kind in PLAIN:
            return raw.view(PLAIN[kind]).astype(np.float32).reshape(tensor.shape)
        quant = getattr(quants, kind, None)
        if quant is None:
            raise ModelError(f"{self.path}: tensor {name} is {kind}, which is not read", "model-unsupported")
        quant.init_grid()
        blocks = raw.reshape(-1, quant.type_size)
        floats = np.empty((len(blocks), quant.block_size), np.float32)
        # in strides that fit the cache; gguf's own loop takes 16 rows at a time, which Python's overhead then dominates
        for at in range(0, len(blocks), STRIDE_BLOCKS):
            floats[at : at + STRIDE_BLOCKS] = quant.dequantize_blocks(blocks[at : at + STRIDE_BLOCKS])
        return floats.reshape(tensor.shape)

    def raw(self, name: str) -> NDArray[np.uint8]:
        """The bytes of tensor `name` as they lie in the file."""
        tensor = self.tensors[name]
        return np.frombuffer(self._data, np.uint8, tensor.n_bytes, tensor.start)

    def kind(self, name: str) -> str:
        """The format of tensor `name`, as ggml calls it: "F32", "Q4_1" …"""
        from gguf import GGMLQuantizationType

        return str(GGMLQuantizationType(self.tensors[name].kind).name)

    def _check_size(self) -> None:
        for name, tensor in self.tensors.items():
            if tensor.start + tensor.n_bytes > len(self._data):
                raise ModelError(f"{self.path} is cut short: tensor {name} ends past the file", "model-damaged")


class _Header:
    """A cursor over the bytes before the tensor data."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self._at = data, len(MAGIC)

    def read(self) -> tuple[dict[str, Any], dict[str, GgufTensor]]:
        version = self._one("I")
        if version not in (2, 3):
            raise ValueError(f"GGUF version {version}; 2 and 3 are read")
        n_tensors, n_keys = self._one("Q"), self._one("Q")
        metadata = {}
        for _ in range(n_keys):
            key = self._string()
            metadata[key] = self._value(self._one("I"))
        placed = [self._tensor() for _ in range(n_tensors)]
        alignment = int(metadata.get("general.alignment", DEFAULT_ALIGNMENT))
        start = -(-self._at // alignment) * alignment
        return metadata, {name: GgufTensor(shape, kind, start + offset, n) for name, shape, kind, offset, n in placed}

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int, int]:
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

        name = self._string()
        shape = tuple(reversed(self._many("Q", self._one("I"))))
        kind, offset = self._one("I"), self._one("Q")
        block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
        return name, shape, kind, offset, int(np.prod(shape, dtype=np.int64)) // block * block_bytes

    def _value(self, kind: int) -> Any:
        if kind == STRING:
            return self._string()
        if kind != ARRAY:
            return self._one(SCALARS[kind])
        item, count = self._one("I"), self._one("Q")
        if item in SCALARS:
            return list(self._many(SCALARS[item], count))
        return [self._value(item) for _ in range(count)]

    def _string(self) -> str:
        size = self._one("Q")
        end = self._at + size
        if end > len(self._data):
            raise IndexError("a string runs past the end")
        text = self._data[self._at : end].decode("utf-8")
        self._at = end
        return text

    def _one(self, code: str) -> Any:
        return self._many(code, 1)[0]

    def _many(self, code: str, count: int) -> tuple[Any, ...]:
        layout = struct.Struct(f"<{count}{code}")
        values = layout.unpack_from(self._data, self._at)
        self._at += layout.size
        return values
