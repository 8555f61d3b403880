"""Attention over the paged cache."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from reference_engine.kv.table import KvTable
from reference_engine.model.batch import Batch, Group


def paged_attention(queries: Tensor, layer: int, batch: Batch, kv: KvTable) -> Tensor:
    """(tokens, heads, head_dim) mixed values for `queries` of the same shape; their keys are in the cache already."""
    mixed = torch.empty_like(queries)
    for group in batch.groups:
        mixed[group.rows] = _attend(queries[group.rows], layer, group, kv)
    return mixed


def _attend(queries: Tensor, layer: int, group: Group, kv: KvTable) -> Tensor:
    """(batch, n, heads, head_dim). The query heads that share a KV head are laid out as further rows of one query, so
    that keys and values are read once and never repeated."""
    keys, values = kv.gather(layer, group.pages)
    size, n, heads, head_dim = queries.shape
    shared = heads // kv.heads
    folded = queries.view(size, n, kv.heads, shared, head_dim).permute(0, 2, 3, 1, 4)
    mask = group.mask if n == 1 else group.mask.repeat(1, 1, shared, 1)
    out = scaled_dot_product_attention(folded.reshape(size, kv.heads, shared * n, head_dim), keys, values, mask)
    return out.view(size, kv.heads, shared, n, head_dim).permute(0, 3, 1, 2, 4).reshape(queries.shape)
