"""Output tokens and requests per second over the window."""

from collections.abc import Sequence
from math import fsum, sqrt

from tcabench.metrics.energy_per_token import tokens_in_window
from tcabench.metrics.spec import Measured, MetricSpec
from tcabench.metrics.spread import T_95, block_requests, block_tokens
from tcabench.records import NotMetered, Quantity, Value
from tcabench.units import seconds

BLOCKS = 12


def rate(per_block: Sequence[float], window_s: float, unit: str) -> Quantity:
    """Sum over the window's time, with the 95 % interval from the spread over equal blocks."""
    total, n = fsum(per_block), len(per_block)
    mean = total / n
    spread = sqrt(fsum((x - mean) * (x - mean) for x in per_block) / (n - 1))
    half = T_95[n - 2] * spread * sqrt(n) / window_s
    value = total / window_s
    return Quantity(value, max(0.0, value - half), value + half, unit)


def tokens(m: Measured) -> dict[str, Value]:
    """{"": output tokens that arrived in the window / its length} in token/s."""
    counted = tokens_in_window(m)
    if isinstance(counted, NotMetered):
        return {"": counted}
    return {"": rate(block_tokens(m, BLOCKS), seconds(m.window.end_ns - m.window.start_ns), "token/s")}


def requests(m: Measured) -> dict[str, Value]:
    """{"": answered requests / window length} in request/s, each by the share of its chunks inside."""
    per_block = block_requests(m, BLOCKS)
    if fsum(per_block) <= 0:
        return {"": NotMetered("no request was answered in the window")}
    return {"": rate(per_block, seconds(m.window.end_ns - m.window.start_ns), "request/s")}


TOKENS = MetricSpec("output_tokens_per_s", "token/s", lower_is_better=False, compute=tokens)
REQUESTS = MetricSpec("requests_per_s", "request/s", lower_is_better=False, compute=requests)
