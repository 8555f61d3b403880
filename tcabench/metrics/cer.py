"""Cooling efficiency ratio over the window: heat removed / electricity of cooling, ISO/IEC 30134-7; interim."""

from tcabench.metrics.account import of_facility
from tcabench.metrics.spec import MetricSpec

SPEC = MetricSpec("cer", "1", lower_is_better=False, compute=of_facility(lambda f: f.cer))
