"""Software carbon intensity per 1,000 output tokens."""

from tcabench.metrics.account import of_carbon, together
from tcabench.metrics.spec import Measured, MetricSpec
from tcabench.records import Value


def compute(m: Measured) -> dict[str, Value]:
    """{"": (E * I + M) / R} in g/ktoken with R = 1,000 output tokens, ISO/IEC 21031:2024.

    E is the energy inside the boundary, I the grid's intensity (location-based: the standard takes no market-based
    one), M the embodied emissions by reserved time and share. Without M there is no SCI. It holds as far as the
    boundary does: the standard asks for all hardware reserved, which is the facility's.
    """
    return {"": of_carbon(m, lambda carbon: together(carbon.location, carbon.embodied, "g"))}


SPEC = MetricSpec("sci_g_per_1k_output_tokens", "g/ktoken", lower_is_better=True, compute=compute)
