"""Inter-token latency."""

from itertools import pairwise

from tcabench.metrics.interval import quantiles
from tcabench.metrics.sample import answered_in_window
from tcabench.metrics.spec import Measured, MetricSpec
from tcabench.records import Value
from tcabench.units import seconds


def compute(m: Measured) -> dict[str, Value]:
    """p50, p90, p99 in s of the single gaps between successive content-bearing chunks of one answer.

    Where a server puts several tokens in a chunk this is the gap a reader sees, not the time per token: that
    is TPOT. Gaps of one answer are not independent, so the interval is somewhat too narrow.
    """
    gaps = [seconds(b - a) for t in answered_in_window(m) for a, b in pairwise(t.chunk_ns)]
    return quantiles(gaps, "gaps between tokens")


SPEC = MetricSpec("itl", "s", lower_is_better=True, compute=compute)
