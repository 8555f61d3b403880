"""CO2 equivalent per 1,000 output tokens, market-based."""

from tcabench.metrics.account import of_carbon
from tcabench.metrics.spec import Measured, MetricSpec
from tcabench.records import Value


def compute(m: Measured) -> dict[str, Value]:
    """{"": E * I_contract / (N / 1000)} in g/ktoken: use alone, by what was contracted for (GHG Protocol, Scope 2). It
    stands beside the location-based figure, never for it."""
    return {"": of_carbon(m, lambda carbon: carbon.market)}


SPEC = MetricSpec("co2e_market_g_per_1k_output_tokens", "g/ktoken", lower_is_better=True, compute=compute)
