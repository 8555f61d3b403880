"""The share of requests that did not end well."""

from math import sqrt

from tcabench.metrics.sample import begun_in_window
from tcabench.metrics.spec import Measured, MetricSpec
from tcabench.records import NotMetered, Quantity, Status, Value

Z2 = 1.96 * 1.96


def compute(m: Measured) -> dict[str, Value]:
    """{"": errors / requests} that began in the window, unit 1; the interval is Wilson's at 95 %.

    Requests that we cancelled ourselves count as errors too: they were asked for and not answered.
    Source: Wilson, J. Am. Stat. Assoc. 22 (1927) 209, doi 10.1080/01621459.1927.10502953.
    """
    begun = list(begun_in_window(m))
    if not begun:
        return {"": NotMetered("no request began in the window")}
    n = len(begun)
    share = sum(t.status is not Status.OK for t in begun) / n
    middle = (share + Z2 / (2 * n)) / (1 + Z2 / n)
    half = 1.96 * sqrt(share * (1 - share) / n + Z2 / (4 * n * n)) / (1 + Z2 / n)
    return {"": Quantity(share, min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half)), "1")}


SPEC = MetricSpec("error_rate", "1", lower_is_better=True, compute=compute)
