"""Joules per correct answer: what a system needs for what it is asked for."""

from math import fsum

from tcabench.metrics.accuracy import NOT_GRADED
from tcabench.metrics.interval import per, widen
from tcabench.metrics.spec import Measured, MetricSpec
from tcabench.metrics.spread import block_right, spread_rel
from tcabench.records import NotMetered, Value


def compute(m: Measured) -> dict[str, Value]:
    """{"": E / C} in J/answer: all energy of the window, wrong answers included, by the right answers in it.

    Each right answer counts by the share of its chunks in the window, as in `j_per_request`. The interval holds the
    energy's own and the spread within the run; what another set of questions would give is told by `accuracy`.
    """
    if isinstance(m.energy, NotMetered):
        return {"": m.energy}
    if isinstance(m.energy.total, NotMetered):
        return {"": m.energy.total}
    if all(trace.right is None for trace in m.traces):
        return {"": NOT_GRADED}
    right = fsum(block_right(m, 1))
    if right <= 0:
        return {"": NotMetered("no answer in the window was right")}
    return {"": widen(per(m.energy.total, right, "J/answer"), spread_rel(m, block_right))}


SPEC = MetricSpec("j_per_correct_answer", "J/answer", lower_is_better=True, compute=compute)
