"""What a model gives back for a step, and what the engine asks of any model, however it computes."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor

from reference_engine.config import ModelSpec
from reference_engine.schedule.plan import StepPlan
from reference_engine.sparse.pattern import Sizes
from reference_engine.sparse.seen import Seen


class Scores(NamedTuple):
    """`greedy`: the best token after each row that is followed by a choice, of equals the lowest id. `logits` (wanted,
    vocab) float32: of the rows asked for, in that order. `seen`: what the kernels left out, where they count."""

    greedy: list[int]
    logits: Tensor
    seen: Seen | None = None


class Model(Protocol):
    """Weights, and a KV cache of `EngineConfig.pages` pages that the plans speak of."""

    spec: ModelSpec
    weights_sha256: str
    sizes: Sizes
    kind: str  # whose kernels: avx512, avx2, portable, torch, triton

    def run(self, plan: StepPlan, wanted: Sequence[int]) -> Scores:
        """Copy `plan.copies`, compute the plan's rows, leave their keys and values in the cache.

        `wanted`: which of the rows before a choice (counted over the whole plan) need their logits, ascending.
        """
        ...
