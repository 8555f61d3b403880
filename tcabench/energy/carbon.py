"""CO2 equivalent of the window's energy, location- and market-based side by side, and the embodied share.

Location-based: the grid the site stands on. Market-based: what was contracted for (GHG Protocol Scope 2 Guidance).
Embodied, after SCI (ISO/IEC 21031:2024): M = TE * TiR/EL * RR/ToR, with TE the hardware's embodied emissions, TiR the
time it was reserved, EL its expected lifespan, RR/ToR the share reserved. SCI itself takes no market-based figure.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import fsum

from tcabench.door import checked
from tcabench.energy.arithmetic import scaled, stated, times
from tcabench.records import Carbon, Context, NotMetered, Quantity, Value, Window
from tcabench.site import CarbonAccount, Hours, Intensity
from tcabench.units import J_PER_KWH, NS_PER_S, seconds

YEAR_S = 31_557_600  # Julian
G_PER_KG = 1000


def emissions(
    boundary: str,
    total: Value,
    window: Window,
    context: Context,
    part_j: Callable[[int, int], float] | None = None,
) -> Carbon | None:
    """Emissions in g of `total` (J, at `boundary`) over the window; None where the site says nothing of carbon.

    `part_j(start_ns, end_ns)` gives the energy in J of a part of the window, for intensity by the hour; without it the
    energy is taken as spread evenly. raises: UsageError for a site that makes no sense.
    """
    said = context.site.get("carbon")
    if said is None:
        return None
    asked, energy = checked(CarbonAccount, said, "site: carbon"), scaled(total, 1 / J_PER_KWH, "kWh")
    spread = None if isinstance(total, NotMetered) else part_j
    location, source_location = _location(asked, window, context, spread)
    market, source_market = _market(asked)
    embodied, source_embodied = _embodied(asked, window)
    return Carbon(
        boundary=boundary,
        location=times("g", energy, location),
        market=times("g", energy, market),
        embodied=embodied,
        intensity_location=location,
        intensity_market=market,
        source_location=source_location,
        source_market=source_market,
        source_embodied=source_embodied,
    )


def _location(
    asked: CarbonAccount, window: Window, context: Context, part_j: Callable[[int, int], float] | None
) -> tuple[Value, str]:
    """Intensity of the grid in g/kWh with its source: by the hour where that covers the window, else of the year."""
    if asked.hourly is None:
        return _of_the_year(asked.location)
    hours = _Hours(asked.hourly, window, context.start_wall_ns)
    if not (why := hours.why_not()):
        return hours.intensity(part_j), hours.source(part_j is not None)
    value, source = _of_the_year(asked.location)
    if isinstance(value, NotMetered):
        return NotMetered(why), f"none: {why}"
    return value, f"{source}; not by the hour: {why}"


def _of_the_year(said: Intensity | None) -> tuple[Value, str]:
    if said is None:
        return NotMetered("the site gives no location-based intensity (carbon.country or carbon.location)"), "none"
    about = ", ".join(text for text in (said.country, str(said.year), said.source, said.licence) if text)
    return stated(said.g_per_kwh, said.half_width_pct, "g/kWh"), f"{about}, +-{said.half_width_pct:g} % (k = 2)"


@dataclass(frozen=True, slots=True)
class _Hours:
    """Intensity by the hour over one window that began at `start_wall_ns` (Unix ns; 0: not known)."""

    said: Hours
    window: Window
    start_wall_ns: int

    def why_not(self) -> str:
        """Why the rows cannot be used; "" if they can."""
        if self.start_wall_ns == 0:
            return "the wall time of the window is not known"
        covered_ns = sum(end - start for start, end, _ in self._parts())
        span_ns = self.window.end_ns - self.window.start_ns
        if covered_ns < span_ns:
            return f"{self.said.file} leaves {seconds(span_ns - covered_ns):.0f} s of the window without a figure"
        return ""

    def intensity(self, part_j: Callable[[int, int], float] | None) -> Quantity:
        """The mean in g/kWh, each hour weighted by the energy in it."""
        weights = [(part_j(start, end) if part_j else float(end - start), g) for start, end, g in self._parts()]
        mean = fsum(weight * g for weight, g in weights) / fsum(weight for weight, _ in weights)
        return stated(mean, self.said.half_width_pct, "g/kWh")

    def source(self, is_weighted: bool) -> str:
        how = "weighted by the energy of each" if is_weighted else "energy taken as even over the window"
        number = sum(1 for _ in self._parts())
        return (
            f"{self.said.source}, {self.said.file} (sha256 {self.said.sha256[:12]}), {number} row(s), {how}, "
            f"+-{self.said.half_width_pct:g} % (k = 2)"
        )

    def _parts(self) -> Iterator[tuple[int, int, float]]:
        """(start, end, g/kWh) of what of each row lies in the window, in ns of the run's clock."""
        offset_ns = self.window.start_ns - self.start_wall_ns
        for start_s, end_s, g_per_kwh in self.said.rows:
            start_ns = max(self.window.start_ns, start_s * NS_PER_S + offset_ns)
            end_ns = min(self.window.end_ns, end_s * NS_PER_S + offset_ns)
            if start_ns < end_ns:
                yield start_ns, end_ns, g_per_kwh


def _market(asked: CarbonAccount) -> tuple[Value, str]:
    said = asked.market
    if said is None:
        return NotMetered("the site gives no market-based intensity (carbon.market)"), "none"
    source = f"{said.instrument}, {said.year}, {said.source}, +-{said.half_width_pct:g} % (k = 2)"
    return stated(said.g_per_kwh, said.half_width_pct, "g/kWh"), source


def _embodied(asked: CarbonAccount, window: Window) -> tuple[Value, str]:
    said = asked.embodied
    if said is None:
        return NotMetered("the site gives no embodied emissions (carbon.embodied)"), "none"
    time_share = seconds(window.end_ns - window.start_ns) / (said.lifetime_years * YEAR_S)
    source = (
        f"{said.kg:g} kg over {said.lifetime_years:g} years, {100 * said.share:g} % of it reserved, {said.source}, "
        f"+-{said.half_width_pct:g} % (k = 2)"
    )
    return stated(said.kg * G_PER_KG * time_share * said.share, said.half_width_pct, "g"), source
