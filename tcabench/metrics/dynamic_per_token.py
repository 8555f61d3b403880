"""Joules above idle per output token."""

from tcabench.metrics.account import per_token
from tcabench.metrics.spec import Measured, MetricSpec
from tcabench.records import NotMetered, Value


def compute(m: Measured) -> dict[str, Value]:
    """{"": (E - P_idle * t) / N} in J/token. It leaves out what the system draws for being there, so it flatters a
    system that is mostly idle: `j_per_output_token` stands beside it."""
    return {"": m.energy if isinstance(m.energy, NotMetered) else per_token(m, m.energy.dynamic, "J/token")}


SPEC = MetricSpec("j_per_output_token_dynamic", "J/token", lower_is_better=True, compute=compute)
