"""A budget of pages: rows before a choice attend to those whose keys seem to weigh most for their queries.

Source: Tang et al., "Quest: Query-Aware Sparsity for Efficient Long-Context LLM Inference", arXiv 2406.10774, with
another score (see `kernels/cpu/pages.h`). It changes answers. The native kernels are `kernels/cpu/pages.h` and
`pick.h`; `picked` is the same by torch operations.
"""

import torch
from torch import Tensor

from reference_engine.config import LEAST_PAGES, EngineConfig, Kind, ModelSpec
from reference_engine.errors import EngineError
from reference_engine.sparse.pattern import Done, Sizes, Work

PAGE_TOK = 16  # of the native kernels, and of a server's command line


def pages_of(tokens: int) -> int:
    """Pages of a budget of `tokens` of context, 0 for all. raises: EngineError for what is no number of whole pages."""
    if tokens % PAGE_TOK or tokens < 0 or 0 < tokens < LEAST_PAGES * PAGE_TOK:
        raise EngineError(
            f"a page budget of {tokens} tokens; it must be a multiple of {PAGE_TOK} from {LEAST_PAGES * PAGE_TOK} up, "
            "or 0 for all",
            "config",
        )
    return tokens // PAGE_TOK


def picked(queries: Tensor, keys: Tensor, positions: Tensor, page_tok: int, most: int) -> Tensor:
    """(batch, kv_heads, n, pages) bool: the `most` pages that each row of `queries` (batch, n, heads, head_dim) at
    `positions` (batch, n) attends to, among the pages of `keys` (batch, kv_heads, pages * page_tok, head_dim).

    Always the first page, the row's own and the one before; of equal scores the first page. A page's score is half way
    from the middle of its keys' range to the highest within it; a head's scores become shares, which its group adds up.
    """
    size, kv_heads, tokens, head_dim = keys.shape
    in_pages = keys.view(size, kv_heads, tokens // page_tok, page_tok, head_dim)
    low, high = in_pages.amin(3), in_pages.amax(3)
    q = queries.view(size, queries.shape[1], kv_heads, -1, head_dim)
    scores = torch.einsum("bnkhd,bkpd->bknhp", q, (low + high) / 2)
    scores = (scores + torch.einsum("bnkhd,bkpd->bknhp", q.abs(), (high - low) / 4)) / head_dim**0.5
    page, own = torch.arange(tokens // page_tok), (positions // page_tok)[:, None, :, None]
    shares = scores.masked_fill(page >= own[..., None], -1e30).softmax(-1).sum(3)
    scores = shares.masked_fill((page == 0) | (page == own) | (page == own - 1), torch.inf)
    best = scores.masked_fill(page > own, -torch.inf).sort(descending=True, stable=True).indices[..., :most]
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(3, best, True)


class PageBudget:
    """Approximate: what is left out weighs little, and is not nothing. Scores of pages are counted as work done."""

    lever = "page-budget"
    kind: Kind = "approximate"

    def why_dense(self, spec: ModelSpec, config: EngineConfig) -> str | None:
        budget, longest = config.budget, -(-min(spec.context_tok, config.pages * config.page_tok) // config.page_tok)
        if not budget.pages:
            return "there is no page budget"
        if budget.pages >= longest:
            return f"no text is longer than {budget.pages} pages"
        if budget.dense_layers >= spec.layers:
            return "all layers attend to all pages"
        return None

    def spared(self, sizes: Sizes, done: Done) -> Work:
        """Two vectors are read and multiplied for the score of a page, where it has as many of each as tokens."""
        page, scored = sizes.page, done.scored_pages / sizes.config.page_tok
        return Work((done.left_pages - scored) * page.macs, (done.unread_pages - scored) * page.bytes)
