"""End-to-end latency."""

from tcabench.metrics.interval import quantiles
from tcabench.metrics.sample import answered_in_window, began_ns, given_up_on
from tcabench.metrics.spec import Measured, MetricSpec
from tcabench.records import Value
from tcabench.units import seconds


def compute(m: Measured) -> dict[str, Value]:
    """p50, p90, p99 in s from when the request was due (open loop) or sent (closed loop) to the end of its
    answer, over answered requests that began in the window; those given up on count as slower than all."""
    return quantiles([seconds(t.end_ns - began_ns(t)) for t in answered_in_window(m)], "answers", given_up_on(m))


SPEC = MetricSpec("e2e", "s", lower_is_better=True, compute=compute)
