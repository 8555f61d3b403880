"""Heat that the coolant took away."""

from tcabench.metrics.account import NO_SITE, kwh
from tcabench.metrics.spec import Measured, MetricSpec
from tcabench.records import NotMetered, Value


def compute(m: Measured) -> dict[str, Value]:
    """{loop: integral of density * flow * heat capacity * (return - supply)} in kWh over the window, loop by loop: a
    loop of the plant holds the heat of those within, so they are never added."""
    if isinstance(m.energy, NotMetered):
        return {"": m.energy}
    facility = m.energy.facility
    if facility is None:
        return {"": NO_SITE}
    return {heat.loop: kwh(heat.heat) for heat in facility.heat} or {"": NotMetered("no coolant loop is metered")}


SPEC = MetricSpec("heat_removed", "kWh", lower_is_better=False, compute=compute)
