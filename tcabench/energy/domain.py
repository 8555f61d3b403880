"""The energy of one domain between two instants: by its counter or its power, whichever is known better there."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum, inf, sqrt

from tcabench.energy import budget
from tcabench.energy.boundary import Domain
from tcabench.energy.series import Series
from tcabench.energy.source import ByCounter, ByIntegral, Source, nothing_drawn, zero_up_j
from tcabench.energy.trapezoid import gap_limit_ns, gaps
from tcabench.records import Alignment, Channel, Component, DomainEnergy, Kind, NotMetered, Quantity, Value

LARGEST_RESIDUAL = 0.02  # of counter/integral - 1; beyond it the two do not tell of the same thing
# A counter misses nothing between two readings, which no test on readings can prove of an integral: it goes first
# unless the integral's interval is narrower by more than a tenth.
NARROWER = 0.9
ZERO = "reading of 0"
EMPTY = Series((), (), ())
NO_OTHER = NotMetered("there is no other channel")


@dataclass(frozen=True, slots=True)
class Metered:
    """Energy of one domain over one span: the value in J or why there is none, and how it came about. `other` is the
    energy by the way that was not taken, `why` says why not, and what was done to the readings. A meter that reads 0
    may have missed up to `zero_up_j`; it has no components, for those are relative."""

    domain: str
    source: Source
    energy_j: float | NotMetered
    components: tuple[Component, ...]
    residual_rel: float | None
    why_not_counter: str  # "" where the counter was used or there is none
    other: Value = NO_OTHER
    why: str = ""
    zero_up_j: float = 0.0

    def value(self) -> Value:
        """The energy in J with its interval."""
        if isinstance(self.energy_j, NotMetered):
            return self.energy_j
        if self.energy_j == 0:
            return Quantity(0.0, 0.0, self.zero_up_j, "J")
        return budget.quantity(self.energy_j, self.components, "J")

    def record(self, start_ns: int, end_ns: int, note: str = "") -> DomainEnergy:
        """As it is told to the other stages; `note` goes before the rest of `why`."""
        channel = self.source.channel
        limit_ns = gap_limit_ns(channel.period_ns, channel.update_ns)
        number, longest_s = gaps(self.source.series, start_ns, end_ns, limit_ns)
        return DomainEnergy(
            domain=self.domain,
            method=self.source.method,
            channel=channel.id,
            energy=self.value(),
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

    @property
    def value(self) -> Quantity:
        return budget.quantity(self.energy_j, self.components, "J")


class Track:
    """All samples of one domain. `alignments`: meter -> how its samples were put on the run's clock; `frozen`: channels
    of which frozen readings were left out. `may_be_zero`: a meter that reads exactly 0 W tells of an energy of 0, as of
    a feed on standby; else it tells of nothing."""

    def __init__(
        self,
        domain: Domain,
        series: Mapping[str, Series],
        alignments: Mapping[str, Alignment] | None = None,
        frozen: Collection[str] = (),
        *,
        may_be_zero: bool = False,
    ) -> None:
        self.name, self.inside, self._may_be_zero = domain.name, domain.inside, may_be_zero
        self._series, self._placed, self._frozen = series, alignments or {}, frozen
        self.power = self._by_power(domain.power) if domain.power else None
        self.counter = self._by_counter(domain.counter, self.power) if domain.counter else None
        self._others: tuple[Source, ...] = tuple(
            self._by_power(one) if one.kind is Kind.POWER else self._by_counter(one, None) for one in domain.others
        )

    def _by_power(self, channel: Channel) -> ByIntegral:
        return ByIntegral(channel, _of(channel, self._series), self._placed.get(channel.meter))

    def _by_counter(self, channel: Channel, power: ByIntegral | None) -> ByCounter:
        found = self._placed.get(channel.meter)
        drawn_j = power.drawn_j if power else nothing_drawn
        return ByCounter(channel, _of(channel, self._series), found, drawn_j, channel.id in self._frozen)

    def over(self, start_ns: int, end_ns: int) -> Metered:
        """Energy over [start_ns, end_ns]: by the counter, unless the integral of power is known clearly better. None
        where meters of one domain tell of different energies."""
        found = self._with_zero(self._taken(start_ns, end_ns), start_ns, end_ns)
        return self._compared(found, start_ns, end_ns)

    def _taken(self, start_ns: int, end_ns: int) -> Metered:
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

    def _with_zero(self, found: Metered, start_ns: int, end_ns: int) -> Metered:
        """`found`, or an energy of 0 where the power reads exactly that and no counter tells of more."""
        if not (self._may_be_zero and self.power):
            return found
        up_j = zero_up_j(self.power, start_ns, end_ns)
        if up_j is None:
            return found
        told, reads = found.value(), f"{self.power.channel.id} reads 0 W throughout"
        if isinstance(told, NotMetered):
            why = f"{reads}: 0 J to {up_j:.4g} J, by its last digit"
            return Metered(self.name, self.power, 0.0, (), None, found.why_not_counter, why=why, zero_up_j=up_j)
        if told.low <= up_j:
            return found
        why = f"{reads}, and {found.source.channel.id} tells of {told.value:.6g} J: one of them is wrong"
        return replace(found, energy_j=NotMetered(why), components=())

    def _compared(self, found: Metered, start_ns: int, end_ns: int) -> Metered:
        """`found`, with what further meters tell of the domain; none where that is something else."""
        own = [part for part in found.components if part.name != budget.RESIDUAL]
        mine, channel, told = replace(found, components=tuple(own)).value(), found.source.channel, [found.why]
        if isinstance(mine, NotMetered):
            return found
        beside = [one for one in (self.counter, self.power) if one and one.channel.meter != channel.meter]
        for source in (*self._others, *beside):
            other, way = source.channel, _way(source, start_ns, end_ns)
            if other.is_estimate is not channel.is_estimate:
                said = "one of the two is an estimate"
            elif isinstance(way, NotMetered):
                said = way.why
            elif way.value.low > mine.high or way.value.high < mine.low:
                return replace(found, energy_j=NotMetered(_two_feeds(channel, mine, other, way)), components=())
            else:
                said = f"it tells of {way.energy_j:.6g} J of the same, which is not added"
            if source not in beside:  # of that one it is told already why it was not taken
                told.append(f"{other.id} left out: {said}")
        return replace(found, why="; ".join(part for part in told if part))

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


def _two_feeds(channel: Channel, mine: Quantity, other: Channel, way: _Way) -> str:
    return (
        f"{channel.id} tells of {mine.value:.6g} J and {other.id} of {way.energy_j:.6g} J in one domain, more than "
        "both intervals allow: two feeds need two domains (domain=), two meters of one feed must agree"
    )


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
