"""The plain counts that the other figures rest on."""

from tcabench.metrics.energy_per_token import tokens_in_window
from tcabench.metrics.spec import Measured, MetricSpec
from tcabench.records import NotMetered, Quantity, Value
from tcabench.units import seconds


def tokens(m: Measured) -> dict[str, Value]:
    """{"": output tokens that arrived in the window}; a fraction where a chunk holding several straddles an edge."""
    counted = tokens_in_window(m)
    return {"": counted if isinstance(counted, NotMetered) else Quantity.exact(counted, "token")}


def window(m: Measured) -> dict[str, Value]:
    """{"": length of the measuring window} in s."""
    return {"": Quantity.exact(seconds(m.window.end_ns - m.window.start_ns), "s")}


TOKENS = MetricSpec("output_tokens", "token", lower_is_better=False, compute=tokens)
WINDOW = MetricSpec("window_s", "s", lower_is_better=False, compute=window)
