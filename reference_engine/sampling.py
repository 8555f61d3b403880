"""From logits to tokens. A draw depends on the request's seed and the token's place, not on the rest of the batch."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from reference_engine.request import Request, TokenLogprob


def draw(logits: Tensor, requests: Sequence[Request]) -> list[int]:
    """The next token of each request; `logits` is (len(requests), vocab)."""
    greedy: list[int] = logits.argmax(-1).tolist()
    return [
        token if request.sampling.temperature == 0 else _sample(row, request)
        for token, row, request in zip(greedy, logits, requests, strict=True)
    ]


def logprobs(logits: Tensor, requests: Sequence[Request], tokens: Sequence[int]) -> list[TokenLogprob | None]:
    """Log-probability of each drawn token, for the requests that asked."""
    return [
        None if request.sampling.logprobs is None else _logprob(row, token, request.sampling.logprobs)
        for row, request, token in zip(logits, requests, tokens, strict=True)
    ]


def _sample(row: Tensor, request: Request) -> int:
    """Inverse of the cumulative distribution over the nucleus, at one uniform number, all in float64.

    Source of the nucleus: Holtzman et al., arXiv 1904.09751: the fewest best tokens whose probability reaches top_p.
    """
    wide = row.double()
    probability = ((wide - wide.max()) / request.sampling.temperature).softmax(-1)
    if request.sampling.top_p == 1:  # no nucleus, no need to sort
        return _drawn(probability.cumsum(-1), request)
    best, order = probability.sort(descending=True, stable=True)
    reached = best.cumsum(-1)
    return int(order[_drawn(reached[: int(torch.searchsorted(reached, request.sampling.top_p)) + 1], request)])


def _drawn(reached: Tensor, request: Request) -> int:
    """The place in a cumulative distribution at which this request's uniform number falls."""
    at = torch.searchsorted(reached, _uniform(request) * float(reached[-1]), right=True)
    return min(int(at), len(reached) - 1)


def _uniform(request: Request) -> float:
    """In [0, 1). Counter-based, so that a recomputed or re-batched request draws the same number again."""
    stream = np.random.Philox(key=request.sampling.seed % 2**64, counter=[request.output_tok, 0, 0, 0])
    return float(np.random.Generator(stream).random())


def _logprob(row: Tensor, token: int, alternatives: int) -> TokenLogprob:
    logs = row.log_softmax(-1)
    best = logs.topk(alternatives) if alternatives else None
    top = () if best is None else tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
    return TokenLogprob(token, float(logs[token]), top)
