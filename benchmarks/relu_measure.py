"""What came of the training: held-out perplexity, document by document; how many gates are zero, and how many stay so
when several rows share a step."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from benchmarks.relu_model import gates

TOGETHER = (1, 2, 4, 8, 16)  # tokens in a step
DRAWS = 400  # groups of tokens
RESAMPLES, LEVEL = 10_000, 0.95
GREEDY_TOK = 120


class Nats(NamedTuple):
    """Of a document's answer: what its tokens cost, and how many they are."""

    nats: float
    tokens: int


class Ratio(NamedTuple):
    """Perplexity over perplexity, with the interval of a bootstrap over documents."""

    ratio: float
    low: float
    high: float


def answers_nats(model: Any, docs: Sequence[tuple[list[int], int]]) -> list[Nats]:
    """The cost of each document's answer given its prompt, as far as it lies within the context."""
    return [_nats(model, ids[: model.config.max_position_embeddings], begin) for ids, begin in docs]


@torch.inference_mode()
def _nats(model: Any, ids: Sequence[int], begin: int) -> Nats:
    logits = model(input_ids=torch.tensor([ids[:-1]]), use_cache=False).logits[0, begin - 1 :]
    return Nats(float(functional.cross_entropy(logits, torch.tensor(ids[begin:]), reduction="sum")), len(logits))


def perplexity(of: Sequence[Nats]) -> float:
    """Of all tokens together."""
    return math.exp(sum(one.nats for one in of) / sum(one.tokens for one in of))


def ratio(ours: Sequence[Nats], twin: Sequence[Nats], seed: int = 0) -> Ratio:
    """How many times the twin's perplexity ours is. Tokens of one document hang together, so whole documents are drawn;
    both models answer for the same draw, so what makes a document hard for both cancels out."""
    more = np.asarray([a.nats - b.nats for a, b in zip(ours, twin, strict=True)])
    tokens = np.asarray([one.tokens for one in ours])
    drawn = np.random.default_rng(seed).integers(len(more), size=(RESAMPLES, len(more)))
    ratios = np.exp(more[drawn].sum(1) / tokens[drawn].sum(1))
    low, high = np.quantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Ratio(math.exp(more.sum() / tokens.sum()), float(low), float(high))


@torch.inference_mode()
def open_gates(model: Any, docs: Sequence[tuple[list[int], int]], each: int = 64, seed: int = 0) -> NDArray[np.bool_]:
    """(documents, each, layers, mlp): which gates are not exactly zero at `each` drawn tokens of each answer."""
    rng, found = np.random.default_rng(seed), []
    for ids, begin in docs:
        held = torch.tensor([ids[: model.config.max_position_embeddings]])
        at = torch.from_numpy(begin + rng.integers(held.shape[1] - begin, size=each))
        with gates(model) as seen:
            model(input_ids=held, use_cache=False)
        found.append(torch.stack([gate[0, at] != 0 for gate in seen], 1).numpy())
    return np.stack(found)


def union_density(is_open: NDArray[np.bool_], together: int, seed: int = 0) -> NDArray[np.float64]:
    """(layers,): the mean share of units that at least one of `together` tokens, each of another document, opens.

    A step over that many rows has to compute so many units. raises: ValueError with fewer documents than tokens.
    """
    docs, each = is_open.shape[:2]
    if docs < together:
        raise ValueError(f"{docs} documents are fewer than {together}")
    rng, total = np.random.default_rng(seed), np.zeros(is_open.shape[2])
    for _ in range(DRAWS):
        rows = is_open[rng.permutation(docs)[:together], rng.integers(each, size=together)]
        total += rows.any(0).mean(-1)
    return total / DRAWS


def sparsity(model: Any, docs: Sequence[tuple[list[int], int]]) -> dict[str, Any]:
    """Shares, by layer: zeros; units that no token opens; and the union density of several tokens."""
    is_open = open_gates(model, docs)
    return {
        "zeros": _rounded(1 - is_open.mean((0, 1, 3))),
        "never_open": _rounded(1 - is_open.any((0, 1)).mean(-1)),
        "union_density": {str(n): _rounded(union_density(is_open, n)) for n in TOGETHER if n <= len(docs)},
    }


def _rounded(shares: NDArray[np.float64]) -> list[float]:
    return [round(float(share), 4) for share in shares]


@torch.inference_mode()
def greedy(model: Any, prompt: Sequence[int], most_tok: int = GREEDY_TOK) -> list[int]:
    """The best tokens after `prompt`, its end token left out."""
    ids = model.generate(torch.tensor([prompt]), max_new_tokens=most_tok, do_sample=False, pad_token_id=0)
    return [token for token in ids[0, len(prompt) :].tolist() if token != 0]
