"""Weights as the kernels want them: tiles of 16 outputs, the 4-bit and 8-bit numbers as they are in the file.

The layouts are told in `cpu/weights.h`. A GGUF block keeps its numbers, its scale and its offset bit by bit: packing
moves bytes and changes none, so packed weights are exactly the dequantised ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference_engine.model.load import Blocks, Checkpoint

LANES, BLOCK = 16, 32
Q4, Q8, F32 = 0, 1, 2
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Packed:
    """`data` (64-byte aligned) of a matrix (outputs, inputs); `outputs` is a multiple of 16. `form`: Q4, Q8 or F32."""

    data: Bytes
    form: int
    outputs: int
    inputs: int


def pack(checkpoint: Checkpoint, names: Sequence[str], order: NDArray[np.int64] | None, packed: bool) -> Packed:
    """The matrices `names` one under the other, their rows taken in `order`; 4-bit or 8-bit where all are the same."""
    blocks = [checkpoint.blocks.get(name) for name in names]
    kinds = {None if block is None else block.kind for block in blocks}
    if packed and kinds <= {"Q4_0", "Q4_1"} and len(kinds) == 1:
        return _pack4([block for block in blocks if block], order)
    if packed and kinds == {"Q8_0"}:
        return _pack8([block for block in blocks if block], order)
    return _pack32(np.concatenate([checkpoint.floats(name).numpy() for name in names]), order)


def norms(raw: Bytes) -> NDArray[np.uint16]:
    """(tiles, blocks, 16) half-precision upper bounds of the length of each block of each output of Q8_0 rows."""
    raw = _padded(raw)
    d = raw[:, :, :2].copy().view(np.float16)[..., 0].astype(np.float64)
    length = np.abs(d) * np.sqrt(np.square(raw[:, :, 2:].view(np.int8).astype(np.float32)).sum(-1)) * (1 + 1e-6)
    up = length.astype(np.float16)
    up = np.where(up.astype(np.float64) < length, np.nextafter(up, np.float16(np.inf)), up).astype(np.float16)
    return aligned(_by_tile(up[..., None])[..., 0]).view(np.uint16)


def aligned(array: NDArray[Any]) -> Bytes:
    """The bytes of `array` at an address that is a multiple of 64."""
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    room = np.empty(flat.size + 64, np.uint8)
    start = -room.ctypes.data % 64
    out = room[start : start + flat.size]
    out[:] = flat
    return out


def _pack4(blocks: Sequence[Blocks], order: NDArray[np.int64] | None) -> Packed:
    raw = _ordered(blocks, order)
    head = 4 if blocks[0].kind == "Q4_1" else 2
    d = raw[:, :, :2].copy().view(np.float16)
    m = raw[:, :, 2:4].copy().view(np.float16) if head == 4 else (d * np.float16(-8)).astype(np.float16)
    tiles, n = len(raw) // LANES, raw.shape[1]
    out = np.empty((tiles, n, 320), np.uint8)
    numbers = raw[:, :, head:].reshape(tiles, LANES, n, 4, 4).transpose(0, 2, 3, 1, 4)
    out[:, :, :256] = numbers.reshape(tiles, n, 256)
    out[:, :, 256:288] = _by_tile(d)[..., 0].copy().view(np.uint8)
    out[:, :, 288:] = _by_tile(m)[..., 0].copy().view(np.uint8)
    return Packed(aligned(out), Q4, len(raw), n * BLOCK)


def _pack8(blocks: Sequence[Blocks], order: NDArray[np.int64] | None) -> Packed:
    raw = _ordered(blocks, order)
    tiles, n = len(raw) // LANES, raw.shape[1]
    out = np.empty((tiles, n, 544), np.uint8)
    numbers = (raw[:, :, 2:] ^ 0x80).reshape(tiles, LANES, n, 8, 4).transpose(0, 2, 3, 1, 4)  # q + 128 as a byte
    out[:, :, :512] = numbers.reshape(tiles, n, 512)
    out[:, :, 512:] = _by_tile(raw[:, :, :2].copy().view(np.float16))[..., 0].copy().view(np.uint8)
    return Packed(aligned(out), Q8, len(raw), n * BLOCK)


def _pack32(floats: NDArray[np.float32], order: NDArray[np.int64] | None) -> Packed:
    rows = _padded(floats if order is None else floats[order])
    tiles = rows.reshape(-1, LANES, rows.shape[1]).transpose(0, 2, 1)
    return Packed(aligned(tiles), F32, len(rows), rows.shape[1])


def _ordered(blocks: Sequence[Blocks], order: NDArray[np.int64] | None) -> Bytes:
    raw = np.concatenate([block.raw for block in blocks]) if len(blocks) > 1 else blocks[0].raw
    return _padded(raw if order is None else raw[order])


def _padded(rows: NDArray[Any]) -> NDArray[Any]:
    """Rows of nothing at the end, up to a multiple of 16."""
    missing = -len(rows) % LANES
    return np.concatenate([rows, np.zeros((missing, *rows.shape[1:]), rows.dtype)]) if missing else rows


def _by_tile(each: NDArray[Any]) -> NDArray[Any]:
    """(outputs, blocks, 1) as (tiles, blocks, 16, 1)."""
    return each.reshape(len(each) // LANES, LANES, *each.shape[1:]).swapaxes(1, 2)
