"""The share of requests that did not end well."""

from tcabench.metrics.interval import wilson
from tcabench.metrics.sample import begun_in_window
from tcabench.metrics.spec import Measured, MetricSpec
from tcabench.records import NotMetered, Quantity, Status, Value


def compute(m: Measured) -> dict[str, Value]:
    """{"": errors / requests} that began in the window, unit 1; the interval is Wilson's at 95 %.

    Requests that we cancelled ourselves count as errors too: they were asked for and not answered.
    """
    begun = list(begun_in_window(m))
    if not begun:
        return {"": NotMetered("no request began in the window")}
    n = len(begun)
    share = sum(t.status is not Status.OK for t in begun) / n
    return {"": Quantity(share, *wilson(share, n), "1")}


SPEC = MetricSpec("error_rate", "1", lower_is_better=True, compute=compute)
