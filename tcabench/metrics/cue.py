"""Carbon usage effectiveness over the window."""

from tcabench.metrics.account import NO_CARBON, NO_SITE, multiplied
from tcabench.metrics.interval import per
from tcabench.metrics.spec import Measured, MetricSpec
from tcabench.records import NotMetered, Value

G_PER_KG = 1000


def compute(m: Measured) -> dict[str, Value]:
    """{"": CO2 equivalent of the data centre's electricity / kWh of IT} in kg/kWh, ISO/IEC 30134-8: the grid's
    intensity (location-based) * pPUE. Interim and partial, as the pPUE is."""
    if isinstance(m.energy, NotMetered):
        return {"": m.energy}
    if m.energy.carbon is None:
        return {"": NO_CARBON}
    if m.energy.facility is None:
        return {"": NO_SITE}
    intensity = m.energy.carbon.intensity_location
    if not isinstance(intensity, NotMetered):
        intensity = per(intensity, G_PER_KG, "kg/kWh")
    return {"": multiplied(intensity, m.energy.facility.ppue, "kg/kWh")}


SPEC = MetricSpec("cue", "kg/kWh", lower_is_better=True, compute=compute)
