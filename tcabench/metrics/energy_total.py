"""Energy of the window in kWh: E inside the boundary."""

from tcabench.metrics.account import kwh, of_energy
from tcabench.metrics.spec import MetricSpec

SPEC = MetricSpec("energy_total", "kWh", lower_is_better=True, compute=of_energy(lambda e: kwh(e.total)))
