"""CO2 equivalent per 1,000 output tokens, location-based."""

from tcabench.metrics.account import of_carbon
from tcabench.metrics.spec import Measured, MetricSpec
from tcabench.records import Value


def compute(m: Measured) -> dict[str, Value]:
    """{"": E * I_grid / (N / 1000)} in g/ktoken: use alone, by the grid the site stands on (GHG Protocol, Scope 2)."""
    return {"": of_carbon(m, lambda carbon: carbon.location)}


SPEC = MetricSpec("co2e_location_g_per_1k_output_tokens", "g/ktoken", lower_is_better=True, compute=compute)
