"""The energy of one domain between two instants: by its counter or its power, whichever is known better there."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, inf, sqrt

from tcabench.energy import budget
from tcabench.energy.boundary import Domain
from tcabench.energy.series import Series
from tcabench.energy.source import MARKER, ByCounter, ByIntegral, Source, documented_delay_ns, nothing_drawn
from tcabench.energy.trapezoid import gap_limit_ns, gaps
from tcabench.records import Alignment, Channel, Component, DomainEnergy, NotMetered, Value

LARGEST_RESIDUAL = 0.02  # of counter/integral - 1; beyond it the two do not tell of the same thing
# A counter misses nothing between two readings, which no test on readings can prove of an integral: it goes first
# unless the integral's interval is narrower by more than a tenth.
NARROWER = 0.9
EMPTY = Series((), (), ())
NO_OTHER = NotMetered("there is no other channel")


@dataclass(frozen=True, slots=True)
class Metered:
    """Energy of one domain over one span: the value in J or why there is none, and how it came about. `other` is the
    energy by the way that was not taken, `why` says why not, and what was done to the readings."""

    domain: str
    source: Source
    energy_j: float | NotMetered
    components: tuple[Component, ...]
    residual_rel: float | None
    why_not_counter: str  # "" where the counter was used or there is none
    other: Value = NO_OTHER
    why: str = ""

    def record(self, start_ns: int, end_ns: int, note: str = "") -> DomainEnergy:
        """As it is told to the other stages; `note` goes before the rest of `why`."""
        energy, channel = self.energy_j, self.source.channel
        limit_ns = gap_limit_ns(channel.period_ns, channel.update_ns)
        number, longest_s = gaps(self.source.series, start_ns, end_ns, limit_ns)
        return DomainEnergy(
            domain=self.domain,
            method=self.source.method,
            channel=channel.id,
            energy=energy if isinstance(energy, NotMetered) else budget.quantity(energy, self.components, "J"),
            residual_rel=self.residual_rel,
            gaps=number,
            longest_gap_s=longest_s,
            other=self.other,
            why="; ".join(part for part in (note, self.why) if part),
        )


@dataclass(frozen=True, slots=True)
class _Way:
    """One source's energy in J over a span, with its budget."""

    source: Source
    energy_j: float
    components: tuple[Component, ...]

    @property
    def half_rel(self) -> float:
        return fsum(budget.combined(self.components)) / 2


class Track:
    """All samples of one domain. `alignments`: meter -> how its samples were put on the run's clock; `frozen`: channels
    of which frozen readings were left out."""

    def __init__(
        self,
        domain: Domain,
        series: Mapping[str, Series],
        alignments: Mapping[str, Alignment] | None = None,
        frozen: Collection[str] = (),
    ) -> None:
        self.name, self.inside = domain.name, domain.inside
        placed, counter, power = alignments or {}, domain.counter, domain.power
        self.power = ByIntegral(power, _of(power, series), placed.get(power.meter)) if power else None
        drawn_j = self.power.drawn_j if self.power else nothing_drawn
        self.counter = None
        if counter:
            found, was_frozen = placed.get(counter.meter), counter.id in frozen
            timed_by = power if power and power.meter == counter.meter else counter
            moved_ns = documented_delay_ns(timed_by) if found and found.method == MARKER else 0
            self.counter = ByCounter(counter, _of(counter, series), found, drawn_j, was_frozen, moved_ns)

    def over(self, start_ns: int, end_ns: int) -> Metered:
        """Energy over [start_ns, end_ns]: by the counter, unless the integral of power is known clearly better."""
        ways = [(source, _way(source, start_ns, end_ns)) for source in (self.counter, self.power) if source]
        usable = [way for _, way in ways if isinstance(way, _Way)]
        failed = [(source, way.why) for source, way in ways if isinstance(way, NotMetered)]
        if len(usable) == 2:
            return self._chosen(*usable)
        if usable:
            return self._alone(usable[0], failed)
        if not failed:
            raise ValueError(f"domain {self.name} has neither counter nor power")
        why_not = failed[0][1] if self.counter else ""
        none = NotMetered("; ".join(why for _, why in failed))
        return Metered(self.name, failed[0][0], none, (), None, why_not)

    def _alone(self, way: _Way, failed: Sequence[tuple[Source, str]]) -> Metered:
        """The one way that gave an energy, beside one that failed or is not there."""
        told = [f"{source.method} not taken: {why}" for source, why in failed]
        other = NotMetered(failed[0][1]) if failed else NO_OTHER
        lost = failed[0][1] if failed and way.source is self.power else ""
        why = "; ".join([*told, *way.source.notes])
        return Metered(self.name, way.source, way.energy_j, way.components, None, lost, other, why)

    def _chosen(self, counted: _Way, integrated: _Way) -> Metered:
        """Of two energies the one with the narrower interval, which reaches out to the other where they disagree."""
        residual = counted.energy_j / integrated.energy_j - 1
        by_power = integrated.half_rel < NARROWER * counted.half_rel
        taken, other = (integrated, counted) if by_power else (counted, integrated)
        halves = f"+-{100 * taken.half_rel:.3g} % against +-{100 * other.half_rel:.3g} % over this window"
        rule = "known better" if taken.half_rel <= other.half_rel else "known about as well, and it misses nothing"
        components = taken.components
        if _apart(residual, taken, other):
            components = (*components, budget.disagreement(residual, counted=not by_power))
        why = f"{other.source.method} not taken: the {taken.source.method} is {rule}, {halves}"
        lost = f"the counter is known less well ({halves})" if by_power else ""
        return Metered(
            self.name, taken.source, taken.energy_j, components, residual, lost,
            budget.quantity(other.energy_j, other.components, "J"), "; ".join([why, *taken.source.notes]),
        )  # fmt: skip


def _way(source: Source, start_ns: int, end_ns: int) -> _Way | NotMetered:
    energy_j = source.energy_j(start_ns, end_ns)
    if isinstance(energy_j, NotMetered):
        return energy_j
    way = _Way(source, energy_j, source.components(start_ns, end_ns, energy_j))
    if not way.half_rel < inf:
        return NotMetered(f"{source.channel.id}: what is stated of this channel gives no finite uncertainty")
    return way


def _apart(residual_rel: float, taken: _Way, other: _Way) -> bool:
    """Whether the two ways differ by more than both intervals allow, or by more than 2 % where the other one is known
    that well. What one class makes wrong in both alike explains no difference."""
    own, others = (_without_class(way.components) for way in (taken, other))
    allowed = own * own + others * others
    if _class(taken.source.channel) != _class(other.source.channel):
        halves = [max(c.down_rel, c.up_rel) for way in (taken, other) for c in way.components if c.name == budget.GAIN]
        allowed += fsum(half * half for half in halves)
    return abs(residual_rel) > sqrt(allowed) or (abs(residual_rel) > LARGEST_RESIDUAL and others <= LARGEST_RESIDUAL)


def _without_class(components: Sequence[Component]) -> float:
    return max(budget.combined([part for part in components if part.name != budget.GAIN]))


def _class(channel: Channel) -> tuple[str, float, float]:
    return channel.accuracy_source, channel.gain_low, channel.gain_high


def _of(channel: Channel, series: Mapping[str, Series]) -> Series:
    return series.get(channel.id, EMPTY)
