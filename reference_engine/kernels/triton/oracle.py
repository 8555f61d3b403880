"""What the kernels compute, in plain torch: the same functions, slow and obvious, on any device."""

import torch
from torch import Tensor
from torch.nn.functional import linear, rms_norm

from reference_engine.config import Activation
from reference_engine.kernels.triton.matrix import Matrix
from reference_engine.model.activation import activated


def rows_per_tile(heads: int, kv_heads: int) -> int:
    """See `attention.rows_per_tile`; here any number is right."""
    return max(1, 16 // (heads // kv_heads))


def project(
    x: Tensor,
    matrix: Matrix,
    norm: Tensor | None = None,
    eps: float = 0.0,
    gated: bool = False,
    residual: Tensor | None = None,
    exact: bool = True,
    activation: Activation = "silu",
    threshold: float = 0.0,
) -> Tensor:
    """See `project.project`."""
    given = x if norm is None else rms_norm(x, norm.shape, norm, eps)
    found = linear(rounded(given, exact), rounded(matrix.floats(), exact), matrix.bias)
    if gated:
        gate, up = found.chunk(2, dim=-1)
        found = activated(gate, activation, threshold) * up
    return found if residual is None else found + residual


def rotate_and_store(
    qkv: Tensor, turn: tuple[Tensor, Tensor], positions: Tensor, slots: Tensor, keys: Tensor, values: Tensor
) -> Tensor:
    """See `rotate.rotate_and_store`."""
    _, kv_heads, d = keys.shape
    split = qkv.view(len(qkv), -1, d)
    cosines, sines = (table[positions.long()][:, None] for table in turn)
    first, second = split[:, :-kv_heads].chunk(2, dim=-1)
    turned = torch.cat((first * cosines - second * sines, second * cosines + first * sines), dim=-1)
    kept = slots >= 0
    keys[slots[kept].long()] = turned[kept, -kv_heads:].to(keys.dtype)
    values[slots[kept].long()] = split[kept, -kv_heads:].to(values.dtype)
    return turned[:, :-kv_heads].contiguous()


def paged_attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    tiles: Tensor,
    tables: Tensor,
    positions: Tensor,
    page_tok: int,
    context_tok: int,
    exact: bool = True,
) -> Tensor:
    """See `attention.paged_attention`. Rows of no tile are 0."""
    mixed, (_, heads, d) = torch.zeros_like(queries), queries.shape
    for first, count, owner in tiles.tolist():
        for row in range(first, first + count):
            seen = torch.arange(int(positions[row]) + 1, device=keys.device)
            slots = tables[owner][seen // page_tok].long() * page_tok + seen % page_tok
            key, value = (of[slots].float().repeat_interleave(heads // of.shape[1], 1) for of in (keys, values))
            scores = torch.einsum("hd,shd->hs", rounded(queries[row], exact), rounded(key, exact)) * d**-0.5
            mixed[row] = torch.einsum("hs,shd->hd", scores.softmax(-1), value)
    return mixed.view(len(queries), -1)


def rounded(x: Tensor, exact: bool) -> Tensor:
    """`x`, or what bfloat16 keeps of it, as float32."""
    return x if exact else x.bfloat16().float()
