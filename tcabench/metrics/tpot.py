"""Time per output token after the first."""

from tcabench.metrics.interval import quantiles
from tcabench.metrics.sample import answered_in_window
from tcabench.metrics.spec import Measured, MetricSpec
from tcabench.records import Value
from tcabench.timeline import output_tok
from tcabench.units import seconds


def compute(m: Measured) -> dict[str, Value]:
    """p50, p90, p99 in s of (last chunk - first chunk) / (output tokens - 1), one figure for each answer of two
    or more tokens: the definition of MLPerf Inference (TPOT)."""
    figures = [
        seconds(t.chunk_ns[-1] - t.chunk_ns[0]) / (tokens - 1)
        for t in answered_in_window(m)
        if (tokens := output_tok(t) or 0) > 1 and len(t.chunk_ns) > 1
    ]
    return quantiles(figures, "streamed answers of two tokens or more")


SPEC = MetricSpec("tpot", "s", lower_is_better=True, compute=compute)
