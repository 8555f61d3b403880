# mypy: disable-error-code="no-untyped-def, untyped-decorator, misc"
"""Attention over paged keys and values: parts of a fixed number of tokens, then their sum. Prefill and decode alike."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from reference_engine.kernels.triton.project import dot

SPLIT_TOK = 256  # tokens of context one program looks at; fixed, so that a row is summed alike in any batch
TOKENS = 32  # of them at a time
LEAST_ROWS = 16  # that tl.dot takes


def rows_per_tile(heads: int, kv_heads: int) -> int:
    """How many consecutive rows of a request share a tile; the query heads of one KV head stand side by side in it."""
    return int(max(1, LEAST_ROWS // triton.next_power_of_2(heads // kv_heads)))


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
    """(t, heads * d) float32: the values that each row of `queries` (t, heads, d) sees, mixed by their scores.

    `keys`, `values` (slots, kv_heads, d). `tiles` (n, 3) int32: first row, how many rows (consecutive tokens of one
    request, at most `rows_per_tile`; 0 for none), and whose line of `tables` (requests, pages) int32 names its pages.
    `positions` (t,) int32: a row sees its own position and those before. `context_tok`: no position reaches it.
    """
    (t, heads, d), kv_heads, splits = queries.shape, keys.shape[1], triton.cdiv(context_tok, SPLIT_TOK)
    shared, wide = triton.next_power_of_2(heads // kv_heads), max(16, triton.next_power_of_2(d))
    parts = torch.empty(t, heads, splits, d, device=queries.device)
    weights = torch.empty(t, heads, splits, 2, device=queries.device)
    _attend[(len(tiles), kv_heads, splits)](
        queries, keys, values, tiles, tables, positions, parts, weights, d**-0.5, heads, kv_heads, d,
        page_tok, tables.shape[1], splits, SHARED=shared, ROWS=max(LEAST_ROWS, shared), WIDE=wide, TOKENS=TOKENS,
        SPLIT=SPLIT_TOK, EXACT=exact,
    )  # fmt: skip
    mixed = torch.empty(t, heads * d, device=queries.device)
    _combine[(t, heads)](parts, weights, positions, mixed, heads, d, splits, WIDE=wide, SPLIT=SPLIT_TOK)
    return mixed


@triton.jit(do_not_specialize=["pages", "splits"])  # one machine code for any batch
def _attend(
    queries, keys, values, tiles, tables, positions, parts, weights, scale, heads, kv_heads, d, page_tok, pages, splits,
    SHARED: tl.constexpr, ROWS: tl.constexpr, WIDE: tl.constexpr, TOKENS: tl.constexpr, SPLIT: tl.constexpr,
    EXACT: tl.constexpr,
):  # fmt: skip
    tile, kv_head, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    first, count = tl.load(tiles + 3 * tile), tl.load(tiles + 3 * tile + 1)
    start = tl.load(positions + first)
    end = tl.minimum(start + count, (split + 1) * SPLIT)
    if (count > 0) & (split * SPLIT < end):
        lane, i = tl.arange(0, ROWS), tl.arange(0, WIDE)
        row, head = lane // SHARED, kv_head * (heads // kv_heads) + lane % SHARED
        used = (row < count) & (lane % SHARED < heads // kv_heads)
        vector = ((first + row) * heads + head).to(tl.int64)
        asked = used[:, None] & (i[None, :] < d)
        query = tl.load(queries + vector[:, None] * d + i[None, :], mask=asked, other=0.0)
        table = tables + tl.load(tiles + 3 * tile + 2) * pages
        top, weight, total = _scan(query, keys, values, table, start + row, split * SPLIT, end, scale, kv_head,
                                   kv_heads, d, page_tok, ROWS, WIDE, TOKENS, EXACT)  # fmt: skip
        part = vector * splits + split
        tl.store(parts + part[:, None] * d + i[None, :], total, mask=asked)
        tl.store(weights + part * 2, top, mask=used)
        tl.store(weights + part * 2 + 1, weight, mask=used)


@triton.jit
def _scan(
    query, keys, values, table, position, begin, end, scale, kv_head, kv_heads, d, page_tok,
    ROWS: tl.constexpr, WIDE: tl.constexpr, TOKENS: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Highest score, sum of weights relative to it, and weighted values, over tokens `begin` to `end`.

    What a row must not see weighs 0, and neither raises its highest score nor changes a sum by a bit.
    """
    i = tl.arange(0, WIDE)
    top = tl.full((ROWS,), float("-inf"), tl.float32)
    weight = tl.zeros((ROWS,), tl.float32)
    total = tl.zeros((ROWS, WIDE), tl.float32)
    for at in range(begin, end, TOKENS):
        token = at + tl.arange(0, TOKENS)
        page = tl.load(table + token // page_tok, mask=token < end, other=0).to(tl.int64)
        line = ((page * page_tok + token % page_tok) * kv_heads + kv_head) * d
        inside = (token < end)[:, None] & (i[None, :] < d)
        key = tl.load(keys + line[:, None] + i[None, :], mask=inside, other=0.0).to(tl.float32)
        score = dot(query, tl.trans(key), tl.zeros((ROWS, TOKENS), tl.float32), EXACT) * scale
        score = tl.where((token[None, :] <= position[:, None]) & (token < end)[None, :], score, float("-inf"))
        higher = tl.maximum(top, tl.max(score, 1))
        level = tl.where(higher == float("-inf"), 0.0, higher)  # a row that has seen nothing yet
        share = tl.exp(score - level[:, None])
        shrink = tl.exp(top - level)
        value = tl.load(values + line[:, None] + i[None, :], mask=inside, other=0.0).to(tl.float32)
        weight = weight * shrink + tl.sum(share, 1)
        total = dot(share, value, total * shrink[:, None], EXACT)
        top = higher
    return top, weight, total


@triton.jit(do_not_specialize=["splits"])
def _combine(parts, weights, positions, mixed, heads, d, splits, WIDE: tl.constexpr, SPLIT: tl.constexpr):
    """Add the parts of one row and head up, in their order."""
    row, head, i = tl.program_id(0), tl.program_id(1), tl.arange(0, WIDE)
    vector = (row * heads + head).to(tl.int64)
    count = tl.load(positions + row) // SPLIT + 1
    level = tl.load(weights + vector * splits * 2)
    for split in range(1, count):
        level = tl.maximum(level, tl.load(weights + (vector * splits + split) * 2))
    weight, total = 0.0, tl.zeros((WIDE,), tl.float32)
    for split in range(0, count):
        part = vector * splits + split
        share = tl.exp(tl.load(weights + part * 2) - level)
        weight += share * tl.load(weights + part * 2 + 1)
        total += share * tl.load(parts + part * d + i, mask=i < d, other=0.0)
    tl.store(mixed + vector * d + i, total / weight, mask=i < d)
