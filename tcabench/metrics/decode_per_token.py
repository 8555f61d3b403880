"""Joules of decode per output token."""

from tcabench.metrics.account import of_split, per_token
from tcabench.metrics.spec import Measured, MetricSpec
from tcabench.records import Value


def compute(m: Measured) -> dict[str, Value]:
    """{"": E_decode / N} in J/token, E_decode by the split that the account names, N the window's output tokens."""
    return {"": per_token(m, of_split(m, lambda split: split.decode), "J/token")}


SPEC = MetricSpec("j_per_output_token_decode", "J/token", lower_is_better=True, compute=compute)
