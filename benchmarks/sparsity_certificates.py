"""What can be known of a page without reading its keys: `python benchmarks/sparsity_certificates.py [--texts 3]`.

Real queries and keys of the default model, float32, over records of the workload `long-context`. Two questions:

- which pages are **provably** irrelevant: a rigorous upper bound of the page's share of the softmax, from what is kept
  of its keys, lies below eps / pages. The sum that it is a share of is bounded from below by the exact weights of the
  three pages that are read anyway and, by Jensen's inequality, 16 exp(q . mean) of each other page. (No rounding.)
- which **score** ranks pages best: the share of the softmax that is lost when only the best few are attended to.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.sparsity_pages import records
from reference_engine.config import Budget, EngineConfig
from reference_engine.kv.table import KvTable
from reference_engine.model import layers
from reference_engine.model.attention import paged_attention
from reference_engine.model.batch import Batch
from reference_engine.model.load import Checkpoint, load
from reference_engine.model.pull import console_progress, pull
from reference_engine.model.tokenizer import Tokenizer, load_tokenizer
from reference_engine.request import Request, Sampling
from reference_engine.schedule.plan import Segment, StepPlan
from reference_engine.text import WholeText

Array = NDArray[np.float32]
PAGE, CONTEXTS, STEP_TOK = 16, (2048, 4096, 8192), 512
PLACES = tuple(context - 1 - 8 * i for context in CONTEXTS for i in range(8))  # the rows whose queries are looked at
EPS, KEPT = (1e-6, 1e-3), (16, 32, 64, 128)


def text_ids(tokenizer: Tokenizer, number: int, length: int) -> list[int]:
    """Records, one after the other."""
    known = records()
    chosen = [known[(number * 5 + k * 5) % len(known)] for k in range(4)]
    return [token for one in chosen for token in tokenizer.encode(one + "\n\n", False)][:length]


def collected(checkpoint: Checkpoint, ids: Sequence[int]) -> tuple[Array, Array]:
    """Queries (layers, places, heads, head_dim) after rotary, divided by sqrt(head_dim), and keys (layers, kv_heads,
    len(ids), head_dim) of the dense model."""
    config = EngineConfig(kv_tok=len(ids), step_tok=STEP_TOK)
    model, seen = layers.Llama(checkpoint, config, keep=True), dict[tuple[int, int], Tensor]()

    def looking(queries: Tensor, layer: int, batch: Batch, kv: KvTable, budget: Budget) -> Tensor:
        for at in set(PLACES).intersection(batch.positions.tolist()):
            seen[layer, at] = queries[int((batch.positions == at).nonzero()[0, 0])].clone()
        return paged_attention(queries, layer, batch, kv, budget)

    layers.paged_attention = looking  # type: ignore[assignment]
    asked = Request("text", len(ids), list(ids), Sampling(1), WholeText(str))
    asked.pages = list(range(len(ids) // PAGE))
    for start in range(0, len(ids), STEP_TOK):
        model.run(StepPlan((Segment(asked, start, min(STEP_TOK, len(ids) - start), False),)), [])
    layers.paged_attention = paged_attention
    each, pages = range(checkpoint.spec.layers), torch.arange(len(ids) // PAGE)[None]
    queries = torch.stack([torch.stack([seen[i, at] for at in PLACES]) for i in each]) / checkpoint.spec.head_dim**0.5
    return queries.numpy(), torch.stack([model.kv.gather(i, pages)[0][0] for i in each]).numpy()


class Outlines:
    """Of one KV head's keys (pages, 16, head_dim): what the bounds and scores are made of."""

    def __init__(self, keys: Array) -> None:
        self.keys, self.mean = keys, keys.mean(1)
        self.low, self.high = keys.min(1), keys.max(1)
        self.middle, self.half = (self.low + self.high) / 2, (self.high - self.low) / 2
        self.off_mean = np.maximum(self.high - self.mean, self.mean - self.low)
        self.radius = np.linalg.norm(keys - self.mean[:, None], axis=2).max(1)
        self.halves = {size: _box(keys.reshape(len(keys), PAGE // size, size, -1)) for size in (2, 4, 8)}

    def weight_bounds(self, q: Array) -> dict[str, Array]:
        """Natural log of an upper bound of the sum of exp(q . key) over each page, for q (head_dim,)."""
        size, whole = np.abs(q), np.log(PAGE)
        bounds = {
            "box (Quest)": self.middle @ q + self.half @ size + whole,
            "ball": self.mean @ q + np.linalg.norm(q) * self.radius + whole,
            "box around the mean": self.mean @ q + self.off_mean @ size + whole,
        }
        for tokens, (middle, half) in self.halves.items():
            bounds[f"boxes of {tokens} tokens"] = _log_sum(middle @ q + half @ size + np.log(tokens))
        return bounds

    def scores(self, q: Array) -> dict[str, Array]:
        """Logs of weights that pages may be ranked by, for q (heads, head_dim): (heads, pages)."""
        size = np.abs(q)
        return {
            "box (Quest)": q @ self.middle.T + size @ self.half.T,
            "half the box": q @ self.middle.T + 0.5 * size @ self.half.T,
            "mean": q @ self.mean.T,
            "mean, half the box": q @ self.mean.T + 0.5 * size @ self.half.T,
            "box around the mean": q @ self.mean.T + size @ self.off_mean.T,
            "the true weight": _log_sum(np.einsum("hd,ptd->hpt", q, self.keys)),
        }


def _box(groups: Array) -> tuple[Array, Array]:
    low, high = groups.min(2), groups.max(2)
    return (low + high) / 2, (high - low) / 2


def _log_sum(x: Array) -> Array:
    top = x.max(-1, keepdims=True)
    found: Array = np.log(np.exp(x - top).sum(-1)) + top[..., 0]
    return found


def irrelevant(queries: Array, keys: Array) -> dict[tuple[int, str, float], list[float]]:
    """By context, bound and eps: the share of pages below it, for every layer, query head and place."""
    found: dict[tuple[int, str, float], list[float]] = {}
    for layer in range(len(queries)):
        for kv in range(keys.shape[1]):
            outlines = Outlines(keys[layer, kv].reshape(-1, PAGE, keys.shape[3]))
            shared = queries.shape[2] // keys.shape[1]
            for i, at in enumerate(PLACES):
                for q in queries[layer, i, kv * shared : (kv + 1) * shared]:
                    for (name, eps), share in _below(outlines, q, at).items():
                        found.setdefault((CONTEXTS[i // 8], name, eps), []).append(share)
    return found


def _below(outlines: Outlines, q: Array, at: int) -> dict[tuple[str, float], float]:
    own = at // PAGE  # only full pages before it, and not the first nor the last of them, may be left out
    exact = np.einsum("d,ptd->pt", q, outlines.keys[: own + 1])
    exact[own, at % PAGE + 1 :] = -np.inf
    true, maybe = _log_sum(exact), np.arange(1, own - 1)
    least = np.append(true[[0, own - 1, own]], (outlines.mean @ q)[maybe] + np.log(PAGE))
    limits = {name: bound[maybe] - _log_sum(least) for name, bound in outlines.weight_bounds(q).items()}
    limits["the truth"] = true[maybe] - _log_sum(true)
    return {(name, eps): float((each < np.log(eps / (own + 1))).mean()) for name, each in limits.items() for eps in EPS}


def lost(queries: Array, keys: Array) -> dict[tuple[int, str, str, int], list[float]]:
    """By context, score, how the heads of a group are combined (the highest score, or the sum of their shares) and how
    many pages are attended to: the share of the softmax lost, for every layer from the third on, head and place."""
    found: dict[tuple[int, str, str, int], list[float]] = {}
    for layer in range(2, len(queries)):
        for kv in range(keys.shape[1]):
            outlines = Outlines(keys[layer, kv].reshape(-1, PAGE, keys.shape[3]))
            shared = queries.shape[2] // keys.shape[1]
            for i, at in enumerate(PLACES):
                q, n = queries[layer, i, kv * shared : (kv + 1) * shared], at // PAGE + 1
                exact = np.einsum("hd,ptd->hpt", q, outlines.keys[:n])
                exact[:, n - 1, at % PAGE + 1 :] = -np.inf
                true = _log_sum(exact)
                weights = np.exp(true - _log_sum(true)[:, None])
                for name, score in outlines.scores(q).items():
                    for way, kept in _ranked(score[:, :n]).items():
                        for most in KEPT:
                            if most < n:
                                rest = 1 - weights[:, kept[:most]].sum(1)
                                found.setdefault((CONTEXTS[i // 8], name, way, most), []).extend(rest.tolist())
    return found


def _ranked(scores: Array) -> Mapping[str, NDArray[np.int64]]:
    shares = np.exp(scores[:, :-1] - _log_sum(scores[:, :-1])[:, None]).sum(0)
    ways = {"highest": scores.max(0), "shares": np.append(shares, np.inf)}
    for each in ways.values():
        each[[0, -2, -1]] = np.inf
    return {way: np.argsort(-each, kind="stable") for way, each in ways.items()}


def main() -> int:
    """Measure and show; 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=3)
    asked = parser.parse_args()
    with console_progress() as progress:
        path = pull(progress)
    checkpoint = load(path)
    tokenizer = load_tokenizer(path, checkpoint.sha256)
    pages: dict[tuple[int, str, float], list[float]] = {}
    shares: dict[tuple[int, str, str, int], list[float]] = {}
    for number in range(asked.texts):
        queries, keys = collected(checkpoint, text_ids(tokenizer, number, CONTEXTS[-1]))
        for key, values in irrelevant(queries, keys).items():
            pages.setdefault(key, []).extend(values)
        for place, values in lost(queries, keys).items():
            shares.setdefault(place, []).extend(values)
    show(pages, shares)
    return 0


def show(
    pages: Mapping[tuple[int, str, float], Sequence[float]],
    shares: Mapping[tuple[int, str, str, int], Sequence[float]],
) -> None:
    """Two tables, in percent."""
    print("pages below eps / pages, %", *(f"{context} @ {eps:g}" for context in CONTEXTS for eps in EPS), sep=" | ")
    for name in dict.fromkeys(key[1] for key in pages):
        row = [100 * np.mean(pages[context, name, eps]) for context in CONTEXTS for eps in EPS]
        print(name, *(f"{value:.3f}" for value in row), sep=" | ")
    columns = [(context, most) for context in CONTEXTS for most in KEPT if 16 * most < context]
    print("softmax lost, %", "heads", *(f"{context}: {16 * most}" for context, most in columns), sep=" | ")
    for name, way in dict.fromkeys(key[1:3] for key in shares):
        row = [100 * np.mean(shares[context, name, way, most]) for context, most in columns]
        print(name, way, *(f"{value:.2f}" for value in row), sep=" | ")


if __name__ == "__main__":
    sys.exit(main())
