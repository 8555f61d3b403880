# mypy: disable-error-code="no-untyped-def, untyped-decorator, misc"
"""Queries and keys turned to their positions, keys and values put into their pages: one kernel."""

import torch
import triton
import triton.language as tl
from torch import Tensor


def rotate_and_store(
    qkv: Tensor, turn: tuple[Tensor, Tensor], positions: Tensor, slots: Tensor, keys: Tensor, values: Tensor
) -> Tensor:
    """(t, heads, d) turned queries out of `qkv` (t, (heads + 2 kv_heads) d), all float32.

    `turn`: cosines and sines (positions, d/2) by which pairs (i, i + d/2) are turned. `keys` and `values` (all slots,
    kv_heads, d) get theirs at `slots` (t,) int32; a slot of -1 stores nothing. `positions` (t,) int32.
    """
    _, kv_heads, d = keys.shape
    t, heads = len(qkv), qkv.shape[1] // d - 2 * kv_heads
    queries = torch.empty(t, heads, d, device=qkv.device)
    _rotate_and_store[(t, heads + 2 * kv_heads)](
        qkv, *turn, positions, slots, keys, values, queries, heads, kv_heads, d, HALF=triton.next_power_of_2(d // 2)
    )
    return queries


@triton.jit
def _rotate_and_store(
    qkv, cosines, sines, positions, slots, keys, values, queries, heads, kv_heads, d, HALF: tl.constexpr
):
    row, head = tl.program_id(0), tl.program_id(1)
    half, i = d // 2, tl.arange(0, HALF)
    inside = i < half
    source = qkv + (row * (heads + 2 * kv_heads) + head) * d + i
    first, second = tl.load(source, mask=inside), tl.load(source + half, mask=inside)
    at = tl.load(positions + row) * half + i
    cosine, sine = tl.load(cosines + at, mask=inside), tl.load(sines + at, mask=inside)
    slot = tl.load(slots + row).to(tl.int64)
    kept = inside & (slot >= 0)
    if head < heads:
        asked = queries + (row * heads + head) * d + i
        tl.store(asked, first * cosine - second * sine, mask=inside)
        tl.store(asked + half, second * cosine + first * sine, mask=inside)
    elif head < heads + kv_heads:
        key = keys + (slot * kv_heads + head - heads) * d + i
        tl.store(key, first * cosine - second * sine, mask=kept)
        tl.store(key + half, second * cosine + first * sine, mask=kept)
    else:
        value = values + (slot * kv_heads + head - heads - kv_heads) * d + i
        tl.store(value, first, mask=kept)
        tl.store(value + half, second, mask=kept)
