"""Water usage effectiveness over the window: litres / kWh of IT, ISO/IEC 30134-9; interim."""

from tcabench.metrics.account import of_facility
from tcabench.metrics.spec import MetricSpec

SPEC = MetricSpec("wue", "L/kWh", lower_is_better=True, compute=of_facility(lambda f: f.wue))
