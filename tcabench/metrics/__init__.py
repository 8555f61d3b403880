"""One metric, one file, its formula in the docstring. `compute` runs those that a plan names."""

from tcabench.metrics.compute import DEFAULT_METRICS, METRICS, compute, stat_rel

__all__ = ["DEFAULT_METRICS", "METRICS", "compute", "stat_rel"]
