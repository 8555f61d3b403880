"""The energy of one domain between two instants: by its counter where that can be used, else by its power."""

from collections.abc import Mapping
from dataclasses import dataclass

from tcabench.energy import budget
from tcabench.energy.boundary import Domain
from tcabench.energy.series import Series
from tcabench.energy.source import ByCounter, ByIntegral, Source
from tcabench.energy.trapezoid import gap_limit_ns, gaps
from tcabench.records import Channel, Component, DomainEnergy, NotMetered

LARGEST_RESIDUAL = 0.02  # of counter/integral - 1; beyond it the two do not tell of the same thing
EMPTY = Series((), (), ())


@dataclass(frozen=True, slots=True)
class Metered:
    """Energy of one domain over one span: the value in J or why there is none, and how it came about."""

    domain: str
    source: Source
    energy_j: float | NotMetered
    components: tuple[Component, ...]
    residual_rel: float | None
    why_not_counter: str  # "" where the counter was used or there is none

    def record(self, start_ns: int, end_ns: int) -> DomainEnergy:
        """As it is told to the other stages."""
        energy, channel = self.energy_j, self.source.channel
        number, longest_s = gaps(self.source.series, start_ns, end_ns, gap_limit_ns(channel.period_ns))
        return DomainEnergy(
            domain=self.domain,
            method=self.source.method,
            channel=channel.id,
            energy=energy if isinstance(energy, NotMetered) else budget.quantity(energy, self.components, "J"),
            residual_rel=self.residual_rel,
            gaps=number,
            longest_gap_s=longest_s,
        )


class Track:
    """All samples of one domain."""

    def __init__(self, domain: Domain, series: Mapping[str, Series]) -> None:
        self.name = domain.name
        self.counter = ByCounter(domain.counter, _of(domain.counter, series)) if domain.counter else None
        self.power = ByIntegral(domain.power, _of(domain.power, series)) if domain.power else None

    def over(self, start_ns: int, end_ns: int) -> Metered:
        """Energy over [start_ns, end_ns]."""
        counted = self.counter.energy_j(start_ns, end_ns) if self.counter else NotMetered("")
        integrated = self.power.energy_j(start_ns, end_ns) if self.power else NotMetered("")
        if self.counter and not isinstance(counted, NotMetered):
            residual = None if isinstance(integrated, NotMetered) else counted / integrated - 1
            components = self.counter.components(start_ns, end_ns, counted)
            if residual is not None and abs(residual) > LARGEST_RESIDUAL:
                components = (*components, budget.disagreement(residual))
            return Metered(self.name, self.counter, counted, components, residual, "")
        why_not = counted.why if isinstance(counted, NotMetered) else ""
        if self.power and not isinstance(integrated, NotMetered):
            components = self.power.components(start_ns, end_ns, integrated)
            return Metered(self.name, self.power, integrated, components, None, why_not)
        whys = [value.why for value in (counted, integrated) if isinstance(value, NotMetered) and value.why]
        return Metered(self.name, self._any(), NotMetered("; ".join(whys)), (), None, why_not)

    def _any(self) -> Source:
        source = self.counter or self.power
        if source is None:
            raise ValueError(f"domain {self.name} has neither counter nor power")
        return source


def _of(channel: Channel, series: Mapping[str, Series]) -> Series:
    return series.get(channel.id, EMPTY)
