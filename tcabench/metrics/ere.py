"""Energy reuse effectiveness over the window: (E_DC - E_reuse) / E_IT, after The Green Grid (2010); interim."""

from tcabench.metrics.account import of_facility
from tcabench.metrics.spec import MetricSpec

SPEC = MetricSpec("ere", "1", lower_is_better=True, compute=of_facility(lambda f: f.ere))
