"""Energy of the window above idle in kWh: E - P_idle * t inside the boundary."""

from tcabench.metrics.account import kwh, of_energy
from tcabench.metrics.spec import MetricSpec

SPEC = MetricSpec("energy_dynamic", "kWh", lower_is_better=True, compute=of_energy(lambda e: kwh(e.dynamic)))
