"""Idle power in W: E / t over the idle phase after the load, when everything is warm."""

from tcabench.metrics.account import of_energy
from tcabench.metrics.spec import MetricSpec

SPEC = MetricSpec("power_idle_after", "W", lower_is_better=True, compute=of_energy(lambda e: e.idle_after))
