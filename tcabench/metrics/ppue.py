"""Partial power usage effectiveness over the window: (E_IT + cooling + loss) / E_IT, as far as those are known.

Interim and partial: the PUE of ISO/IEC 30134-2 is of 12 months and a whole data centre.
"""

from tcabench.metrics.account import of_facility
from tcabench.metrics.spec import MetricSpec

SPEC = MetricSpec("ppue_interim", "1", lower_is_better=True, compute=of_facility(lambda f: f.ppue))
