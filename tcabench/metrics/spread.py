"""How much energy per token, or per request, wanders within the run: batch means over equal blocks of the window."""

from collections.abc import Callable
from itertools import pairwise
from math import fsum, sqrt

from tcabench.metrics.spec import Measured
from tcabench.records import NotMetered, Status
from tcabench.timeline import tokens_between
from tcabench.timeline.tokens import share_between

# Student's t, two-sided 95 %, by degrees of freedom (1..30); beyond 30 the last one is on the safe side.
T_95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


def spread_rel(m: Measured, count: Callable[[Measured, int], list[float]]) -> float | None:
    """Relative half-width (95 %) of energy per thing counted, from its spread over the blocks; None without blocks.

    With block energies E_b and counts T_b (B blocks), r = sum E / sum T and d_b = E_b - r*T_b, the ratio
    estimator's standard error is sqrt(B/(B-1) * sum d_b^2) / sum T. `count` gives the T_b.
    Source: Cochran, Sampling Techniques, 3rd ed., eq. 6.9; batch means as in Law, Simulation Modeling, 9.5.3.
    """
    if isinstance(m.energy, NotMetered) or len(m.energy.block_j) < 2:
        return None
    joules = m.energy.block_j
    blocks = len(joules)
    counts = count(m, blocks)
    total_j, total = fsum(joules), fsum(counts)
    if total_j <= 0 or total <= 0:
        return None
    ratio = total_j / total
    squares = fsum((j - ratio * t) * (j - ratio * t) for j, t in zip(joules, counts, strict=True))
    t_factor = T_95[min(blocks - 1, len(T_95)) - 1]
    return t_factor * sqrt(blocks / (blocks - 1) * squares) / total_j


def block_tokens(m: Measured, blocks: int) -> list[float]:
    """Output tokens in each of `blocks` equal parts of the window."""
    return [tokens_between(m.traces, a, b) for a, b in block_edges(m, blocks)]


def block_requests(m: Measured, blocks: int) -> list[float]:
    """Answered requests in each of `blocks` equal parts of the window, each by the share of its chunks inside."""
    done = [t for t in m.traces if t.status is Status.OK]
    return [fsum(share_between(t, a, b) for t in done) for a, b in block_edges(m, blocks)]


def block_right(m: Measured, blocks: int) -> list[float]:
    """Right answers in each of `blocks` equal parts of the window, each by the share of its chunks inside."""
    right = [t for t in m.traces if t.status is Status.OK and t.right]
    return [fsum(share_between(t, a, b) for t in right) for a, b in block_edges(m, blocks)]


def block_edges(m: Measured, blocks: int) -> list[tuple[int, int]]:
    """[start, end) in ns of `blocks` equal parts of the window."""
    span = m.window.end_ns - m.window.start_ns
    return list(pairwise(m.window.start_ns + span * b // blocks for b in range(blocks + 1)))
