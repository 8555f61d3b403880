"""Attention over the paged cache."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from reference_engine.config import Budget
from reference_engine.kv.table import KvTable
from reference_engine.model.batch import Batch, Group
from reference_engine.sparse.pages import picked


def paged_attention(queries: Tensor, layer: int, batch: Batch, kv: KvTable, budget: Budget) -> Tensor:
    """(tokens, heads, head_dim) mixed values for `queries` of the same shape; their keys are in the cache already."""
    most = budget.pages if layer >= budget.dense_layers else 0
    mixed = torch.empty_like(queries)
    for group in batch.groups:
        mixed[group.rows] = _attend(queries[group.rows], layer, group, kv, most)
    return mixed


def _attend(queries: Tensor, layer: int, group: Group, kv: KvTable, most: int) -> Tensor:
    """(batch, n, heads, head_dim). The query heads that share a KV head are laid out as further rows of one query, so
    that keys and values are read once and never repeated. Where rows may pick, pages beyond the `most` best are
    masked: the same numbers as if they were left out, which is what the native step does."""
    keys, values = kv.gather(layer, group.pages)
    size, n, heads, head_dim = queries.shape
    shared = heads // kv.heads
    folded = queries.view(size, n, kv.heads, shared, head_dim).permute(0, 2, 3, 1, 4)
    mask = group.mask
    if most and group.pages.shape[1] > most and bool(group.may_pick.any()):
        kept = picked(queries, keys, group.positions, kv.page_tok, most) | ~group.may_pick[:, None, :, None]
        mask = mask.masked_fill(~kept.repeat_interleave(kv.page_tok, dim=3), -torch.inf)
    mask = mask if n == 1 else mask.repeat(1, 1, shared, 1)
    out = scaled_dot_product_attention(folded.reshape(size, kv.heads, shared * n, head_dim), keys, values, mask)
    return out.view(size, kv.heads, shared, n, head_dim).permute(0, 3, 1, 2, 4).reshape(queries.shape)
