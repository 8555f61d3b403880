"""Weights as a GPU holds them: plain in any float type, or packed in 4 bits."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 32  # weights that share a scale and a minimum
Q4_1_BYTES = 20  # a block in the file: float16 scale, float16 minimum, 16 bytes of nibbles


@dataclass(frozen=True, slots=True)
class Matrix:
    """A linear map from k to n values.

    Plain: `weight` (n, k) float. Packed: `weight` (n, k/2) uint8 and `scales`, `minima` (n, k/32) float16: weight i of
    a block is `scale * nibble + minimum`, its nibble the low half of byte i for i < 16, else the high half of byte
    i - 16. The product has at most 15 bits, so the sum is rounded once, fused or not: the same float32 everywhere.
    Source: ggml, block_q4_1. `bias` (n,) for the few Llamas that have one.
    """

    weight: Tensor
    scales: Tensor | None = None
    minima: Tensor | None = None
    bias: Tensor | None = None

    @property
    def n(self) -> int:
        """Values that come out."""
        return self.weight.shape[0]

    @property
    def k(self) -> int:
        """Values that go in."""
        return self.weight.shape[1] * (1 if self.scales is None else 2)

    @property
    def n_bytes(self) -> int:
        """Bytes it occupies."""
        parts = (self.weight, self.scales, self.minima, self.bias)
        return sum(part.numel() * part.element_size() for part in parts if part is not None)

    def rows(self, ids: Tensor) -> Tensor:
        """(len(ids), k) float32: rows as they multiply, dequantised."""
        weight = self.weight[ids]
        if self.scales is None or self.minima is None:
            return weight.float()
        nibbles = weight.view(len(ids), -1, BLOCK // 2)
        values = torch.cat((nibbles & 15, nibbles >> 4), dim=-1).float()
        return (values * self.scales[ids].float()[..., None] + self.minima[ids].float()[..., None]).view(len(ids), -1)

    def floats(self) -> Tensor:
        """(n, k) float32."""
        return self.rows(torch.arange(self.n, device=self.weight.device))


def unpack_q4_1(blocks: Tensor, shape: Sequence[int]) -> Matrix:
    """A packed matrix from the bytes of GGUF's Q4_1 blocks (uint8, any shape) of a (n, k) tensor."""
    n, k = shape
    split = blocks.view(n, k // BLOCK, Q4_1_BYTES)
    heads = split[..., :4].contiguous().view(torch.float16)
    nibbles = split[..., 4:].reshape(n, k // 2)
    return Matrix(nibbles, heads[..., 0].contiguous(), heads[..., 1].contiguous())


def stacked(parts: Sequence[Matrix]) -> Matrix:
    """One matrix that gives what all of `parts` give of the same input, in a row.

    Parts that are not stored alike become float32, which loses nothing.
    """
    if len(parts) == 1:
        return parts[0]
    bias = None
    if any(part.bias is not None for part in parts):
        zeros = (torch.zeros(part.n, device=part.weight.device) for part in parts)
        bias = torch.cat([zero if part.bias is None else part.bias for part, zero in zip(parts, zeros, strict=True)])
    if len({part.weight.dtype for part in parts}) > 1:
        return Matrix(torch.cat([part.floats() for part in parts]), bias=bias)
    weight = torch.cat([part.weight for part in parts])
    scales = [part.scales for part in parts if part.scales is not None]
    minima = [part.minima for part in parts if part.minima is not None]
    return Matrix(weight, torch.cat(scales), torch.cat(minima), bias) if scales else Matrix(weight, bias=bias)
