"""From logits to tokens. A draw depends on the request's own seed, choice, tokens and place, never on the batch.

Order of what changes the logits: penalties, bias, constraint; then greedy, or temperature and top_p.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from reference_engine.request import Request, TokenLogprob


def draw(logits: Tensor, requests: Sequence[Request]) -> list[int]:
    """The next token of each request; `logits` is (len(requests), vocab) and stays as it is."""
    greedy: list[int] = logits.argmax(-1).tolist()
    return [_choose(row, best, request) for row, best, request in zip(logits, greedy, requests, strict=True)]


def logprobs(logits: Tensor, requests: Sequence[Request], tokens: Sequence[int]) -> list[TokenLogprob | None]:
    """Log-probability of each drawn token, for the requests that asked; the model's own, whatever shaped the choice."""
    return [
        None if request.sampling.logprobs is None else _logprob(row, token, request.sampling.logprobs)
        for row, request, token in zip(logits, requests, tokens, strict=True)
    ]


def _choose(row: Tensor, best: int, request: Request) -> int:
    """`best` is the greedy token of the row as the model made it."""
    sampling = request.sampling
    if sampling.is_shaped:
        row = _shaped(row, request)
    if sampling.temperature > 0:
        return _sample(row, request)
    return int(row.argmax()) if sampling.is_shaped else best


def _shaped(row: Tensor, request: Request) -> Tensor:
    """A copy of the model's logits with penalties, bias and constraint applied; what is not allowed is -inf.

    Source of the penalties: OpenAI, API reference: mu[j] - c[j] * frequency_penalty - (c[j] > 0) * presence_penalty,
    where c[j] counts how often token j has come in this answer.
    """
    row, sampling, output = row.clone(), request.sampling, request.tokens[request.prompt_tok :]
    if output and (sampling.frequency_penalty or sampling.presence_penalty):
        tokens, counts = np.unique(np.asarray(output), return_counts=True)
        penalties = counts * sampling.frequency_penalty + sampling.presence_penalty
        row[torch.from_numpy(tokens)] -= torch.from_numpy(penalties).to(row.dtype)
    if sampling.logit_bias:
        row[list(sampling.logit_bias)] += torch.tensor(list(sampling.logit_bias.values()), dtype=row.dtype)
    if sampling.constraint is not None:
        row.masked_fill_(~sampling.constraint.allowed(output), -torch.inf)
    return row


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
    """In [0, 1). Counter-based, so that a recomputed or re-batched request draws the same number again; the choice has
    a word of the counter to itself, so that the choices of one seed never meet."""
    place = [request.output_tok, request.sampling.choice, 0, 0]
    stream = np.random.Philox(key=request.sampling.seed % 2**64, counter=place)
    return float(np.random.Generator(stream).random())


def _logprob(row: Tensor, token: int, alternatives: int) -> TokenLogprob:
    logs = row.log_softmax(-1)
    best = logs.topk(alternatives) if alternatives else None
    top = () if best is None else tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
    return TokenLogprob(token, float(logs[token]), top)
