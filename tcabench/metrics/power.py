"""Mean, peak and idle power inside the boundary, in W, as the energy stage found them."""

from collections.abc import Callable

from tcabench.metrics.spec import Measured, MetricSpec
from tcabench.records import Energy, NotMetered, Value


def spec(name: str, pick: Callable[[Energy], Value]) -> MetricSpec:
    """A metric that reads one power figure of the energy account."""

    def compute(m: Measured) -> dict[str, Value]:
        return {"": m.energy if isinstance(m.energy, NotMetered) else pick(m.energy)}

    return MetricSpec(name, "W", lower_is_better=True, compute=compute)


MEAN = spec("power_mean", lambda e: e.mean_power)  # E / t over the window
PEAK = spec("power_peak", lambda e: e.peak_power)  # highest single reading in the window
IDLE = spec("power_idle", lambda e: e.idle_power)  # E / t over the idle phases before and after the load
