"""Idle power in W: E / t over the idle phase before the load."""

from tcabench.metrics.account import of_energy
from tcabench.metrics.spec import MetricSpec

SPEC = MetricSpec("power_idle_before", "W", lower_is_better=True, compute=of_energy(lambda e: e.idle_before))
