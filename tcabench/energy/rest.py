"""What in a node no meter of the run sees, by a model that was measured once: the site describes it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from tcabench.errors import UsageError
from tcabench.records import Channel, Component, DomainEnergy, Instrument, Kind, Quantity, Role

REST = "rest of node"
PACKAGE = re.compile(r"cpu\d*(\.die\d+)?")
SMALLEST_REL = 0.01  # no model of fans, boards and supplies is better
PARTS = (Instrument.DEVICE, Instrument.CPU)


@dataclass(frozen=True, slots=True)
class Rest:
    """Power in W = base_w + slope * (power that is metered), good to +-half_rel (k = 2)."""

    base_w: float
    slope: float
    half_rel: float
    source: str
    measured_on: str = ""

    def energy_j(self, metered_j: float, span_s: float) -> float:
        """Energy in J beside `metered_j` over a span."""
        return self.base_w * span_s + self.slope * metered_j

    def component(self, metered_j: float, span_s: float) -> Component:
        """What the model is good to, relative to the node's whole energy."""
        rest_j = self.energy_j(metered_j, span_s)
        half = self.half_rel * rest_j / (metered_j + rest_j)
        return Component(REST, half, half, self.source)

    def record(self, metered_j: float, span_s: float) -> DomainEnergy:
        """As it stands beside the metered domains."""
        rest_j = self.energy_j(metered_j, span_s)
        energy = Quantity(rest_j, rest_j * (1 - self.half_rel), rest_j * (1 + self.half_rel), "J")
        return DomainEnergy(REST, "model", "", energy, None, 0, 0.0, why=f"not metered: {self.source}")


NO_REST = Rest(0.0, 0.0, 0.0, "")


def rest_of_node(site: Mapping[str, Any]) -> Rest | None:
    """The site's model of the rest of its node, None where it has none. raises: UsageError for a model of nothing."""
    said = site.get("rest")
    if not said:
        return None
    if not float(said["base_w"]) + float(said["slope"]) > 0:
        raise UsageError("site: rest: base_w and slope are both 0: a rest of nothing is none, take it away", "site")
    half_rel = float(said["half_width_pct"]) / 100
    source = f"{said['source']}, measured on {said['measured_on']}: {float(said['base_w']):g} W and "
    source += f"{float(said['slope']):g} W per W metered, +-{100 * half_rel:g} %"
    return Rest(float(said["base_w"]), float(said["slope"]), half_rel, source, str(said["measured_on"]))


def doubted(rest: Rest, channels: Sequence[Channel], day: str) -> str:
    """Why a node with this model is not known well enough for E3, "" if it is: its processors' packages are counted,
    and the model was measured by the ISO date `day` to a credible half width."""
    if not any(c.instrument is Instrument.CPU and PACKAGE.fullmatch(c.domain) for c in channels):
        return "the rest of the node is modelled with no processor counters (a package's) beside the devices'"
    if rest.half_rel < SMALLEST_REL:
        return (
            f"the model of the rest of the node claims +-{100 * rest.half_rel:g} %, less than {100 * SMALLEST_REL:g} %"
        )
    try:
        if date.fromisoformat(rest.measured_on) <= date.fromisoformat(day):
            return ""
    except ValueError:
        return "the day of the run, or that on which the rest of the node was measured, is not known"
    return f"the rest of the node was measured on {rest.measured_on}, after the run of {day}"


def parts_of_node(channels: Sequence[Channel]) -> tuple[Channel, ...] | None:
    """The channels that the model stands beside: of devices and processors. None where a meter sees the whole node."""
    inside = [c for c in channels if c.boundary in ("chip", "node") and c.role is Role.LOAD]
    inside = [c for c in inside if c.kind in (Kind.POWER, Kind.ENERGY)]
    if any(c.boundary == "node" and c.instrument not in PARTS for c in inside):
        return None
    return tuple(inside)
