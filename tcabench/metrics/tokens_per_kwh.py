"""Output tokens per kWh: the founding letter's figure, the reciprocal of J/token."""

from tcabench.metrics.energy_per_token import energy_per_token
from tcabench.metrics.spec import Measured, MetricSpec
from tcabench.records import NotMetered, Quantity, Value
from tcabench.units import J_PER_KWH


def compute(m: Measured) -> dict[str, Value]:
    """{"": 3.6e6 / (J/token)} in token/kWh. The interval's ends are the reciprocals of the other's ends."""
    joules = energy_per_token(m)
    if isinstance(joules, NotMetered):
        return {"": joules}
    if joules.low <= 0:
        return {"": NotMetered("the interval of J/token reaches zero, so tokens/kWh has no upper bound")}
    low, high = J_PER_KWH / joules.high, J_PER_KWH / joules.low
    return {"": Quantity(J_PER_KWH / joules.value, low, high, "token/kWh")}


SPEC = MetricSpec("output_tokens_per_kwh", "token/kWh", lower_is_better=False, compute=compute)
