"""Joules per request."""

from math import fsum

from tcabench.metrics.interval import per, widen
from tcabench.metrics.spec import Measured, MetricSpec
from tcabench.metrics.spread import block_requests, spread_rel
from tcabench.records import NotMetered, Value


def compute(m: Measured) -> dict[str, Value]:
    """{"": E / R} in J/request, where each answered request counts by the share of its chunks in the window.

    Counting shares, not completions, keeps requests that straddle an edge from counting whole or not at all.
    """
    if isinstance(m.energy, NotMetered):
        return {"": m.energy}
    if isinstance(m.energy.total, NotMetered):
        return {"": m.energy.total}
    requests = fsum(block_requests(m, 1))
    if requests <= 0:
        return {"": NotMetered("no request was answered in the window")}
    return {"": widen(per(m.energy.total, requests, "J/request"), spread_rel(m, block_requests))}


SPEC = MetricSpec("j_per_request", "J/request", lower_is_better=True, compute=compute)
