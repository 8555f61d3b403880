"""Keys and values of every layer, in pages."""

import numpy as np
import torch
from torch import Tensor

from reference_engine.config import EngineConfig, ModelSpec
from reference_engine.errors import EngineError


class KvTable:
    """Per layer two tensors (pages, page_tok * kv_heads * head_dim): a page is one row, so gathering one is one copy.

    numpy asks the system for zeroed memory, which costs nothing until it is written; torch would write the zeros. They
    matter: a masked score weighs nothing, but nothing times a stray NaN is NaN.
    """

    def __init__(self, spec: ModelSpec, config: EngineConfig) -> None:
        self.page_tok, self.heads, self.head_dim = config.page_tok, spec.kv_heads, spec.head_dim
        shape = (config.pages, config.page_tok * spec.kv_heads * spec.head_dim)
        try:
            self._keys = [torch.from_numpy(np.zeros(shape, np.float32)) for _ in range(spec.layers)]
            self._values = [torch.from_numpy(np.zeros(shape, np.float32)) for _ in range(spec.layers)]
        except (MemoryError, ValueError) as err:
            raise EngineError(
                f"a cache of {config.pages * config.page_tok} tokens does not fit: {err}", "config"
            ) from err

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """Store keys and values (n, kv_heads, head_dim) at `slots` (n,), slot = page * page_tok + offset."""
        for table, fresh in ((self._keys[layer], keys), (self._values[layer], values)):
            table.view(-1, self.heads, self.head_dim).index_copy_(0, slots, fresh)

    def copy(self, source: int, target: int) -> None:
        """Make page `target` a copy of page `source`, in every layer."""
        for table in (*self._keys, *self._values):
            table[target] = table[source]

    def gather(self, layer: int, pages: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of `pages` (batch, n), each (batch, kv_heads, n * page_tok, head_dim)."""
        keys, values = (table[layer].index_select(0, pages.view(-1)) for table in (self._keys, self._values))
        shape = (len(pages), -1, self.heads, self.head_dim)
        return keys.view(shape).transpose(1, 2), values.view(shape).transpose(1, 2)
