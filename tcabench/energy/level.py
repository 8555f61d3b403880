"""The energy at one boundary: its domains, each counted once, and what they add up to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum

from tcabench.energy import budget
from tcabench.energy.boundary import domains_inside, domains_of, held_by
from tcabench.energy.domain import ZERO, Metered, Track
from tcabench.energy.rest import NO_REST, Rest, parts_of_node, rest_of_node
from tcabench.energy.series import Series
from tcabench.records import Channel, Component, Context, DomainEnergy, NotMetered, Quantity, Value, Window
from tcabench.units import seconds


@dataclass(frozen=True, slots=True)
class Level:
    """What is metered at `boundary`. `tracks` and `metered` are the domains that count; `held` those whose energy the
    named other one holds already. With a model of the rest of a node, that is added. `total` is in J."""

    boundary: str
    tracks: tuple[Track, ...]
    metered: tuple[Metered, ...]
    held: tuple[tuple[Metered, str], ...]
    rest: Rest
    total: Value
    components: tuple[Component, ...]

    @property
    def is_modelled(self) -> bool:
        return self.rest is not NO_REST

    def part_j(self, start_ns: int, end_ns: int) -> float:
        """Energy in J of a part of the window, for which there must be a total."""
        metered_j = fsum(one.source.part_j(start_ns, end_ns) for one in self.metered)
        return metered_j + self.rest.energy_j(metered_j, seconds(end_ns - start_ns))

    def records(self, window: Window) -> tuple[DomainEnergy, ...]:
        """Every domain as it is told to the other stages, those that do not count marked so."""
        rows = [one.record(window.start_ns, window.end_ns) for one in self.metered]
        notes = [(one, f"inside {holder}, whose energy holds it: shown, not added") for one, holder in self.held]
        rows += [one.record(window.start_ns, window.end_ns, note) for one, note in notes]
        rows.sort(key=lambda row: row.domain)
        if self.is_modelled and not isinstance(self.total, NotMetered):
            metered_j = fsum(one.energy_j for one in self.metered if not isinstance(one.energy_j, NotMetered))
            rows.append(self.rest.record(metered_j, seconds(window.end_ns - window.start_ns)))
        return tuple(rows)


def level(
    channels: Sequence[Channel], series: Mapping[str, Series], window: Window, boundary: str, context: Context
) -> Level:
    """The energy of the system under test at `boundary` over the window.

    raises: UsageError for a boundary that does not exist.
    """
    domains, rest = domains_inside(channels, boundary), NO_REST
    if boundary == "node" and (said := rest_of_node(context.site)) and (parts := parts_of_node(channels)):
        domains, rest = domains_of(parts), said
    alignments = {one.meter: one for one in context.alignments}
    frozen = {one.channel for one in context.health if one.frozen_s > 0}
    several = len(domains) > 1
    tracks = {one.name: Track(one, series, alignments, frozen, may_be_zero=several) for one in domains}
    if window.start_ns >= window.end_ns:
        return Level(boundary, tuple(tracks.values()), (), (), rest, NotMetered("the window is empty"), ())
    metered = {name: track.over(window.start_ns, window.end_ns) for name, track in tracks.items()}
    parents = {domain.name: domain.inside for domain in domains if domain.inside}
    able = {name: not isinstance(one.energy_j, NotMetered) for name, one in metered.items()}
    holders = held_by(parents, able)
    counted = tuple(one for name, one in metered.items() if name not in holders)
    total, components = summed(counted, window.start_ns, window.end_ns, rest, nothing_there(channels, boundary))
    if why := _overfull(metered, holders):
        total, components = NotMetered(why), ()
    return Level(
        boundary,
        tuple(track for name, track in tracks.items() if name not in holders),
        counted,
        tuple((metered[name], holder) for name, holder in holders.items()),
        rest,
        total,
        components,
    )


def summed(
    metered: Sequence[Metered], start_ns: int, end_ns: int, rest: Rest = NO_REST, why_none: str = "nothing is metered"
) -> tuple[Value, tuple[Component, ...]]:
    """(energy in J of all of `metered` and the rest beside them over a span, its budget). A hole in one is a hole in
    the sum."""
    holes = [f"{one.domain}: {one.energy_j.why}" for one in metered if isinstance(one.energy_j, NotMetered)]
    if holes or not metered:
        return NotMetered("; ".join(holes) or why_none), ()
    parts = [(one.energy_j, one.components) for one in metered if not isinstance(one.energy_j, NotMetered)]
    metered_j = fsum(energy_j for energy_j, _ in parts)
    if not metered_j > 0:
        return NotMetered("every meter reads 0: whatever runs draws power, so these meters read nothing"), ()
    components = (*budget.added(parts), *_zeros(metered, metered_j))
    if rest is NO_REST:
        return budget.quantity(metered_j, components, "J"), components
    span_s = seconds(end_ns - start_ns)
    total_j = metered_j + rest.energy_j(metered_j, span_s)
    carried = (1 + rest.slope) * metered_j / total_j  # what is wrong in the metered part is wrong in the rest, too
    ours = [Component(c.name, c.down_rel * carried, c.up_rel * carried, c.source) for c in components]
    whole = (*ours, rest.component(metered_j, span_s))
    return budget.quantity(total_j, whole, "J"), whole


def _zeros(metered: Sequence[Metered], metered_j: float) -> tuple[Component, ...]:
    """What meters that read 0 may have missed, relative to the sum: up only."""
    zeros = [one for one in metered if one.energy_j == 0]
    if not zeros:
        return ()
    up_rel = fsum(one.zero_up_j for one in zeros) / metered_j
    return (Component(ZERO, 0.0, up_rel, "below the last digit of " + ", ".join(one.domain for one in zeros)),)


def _overfull(metered: Mapping[str, Metered], holders: Mapping[str, str]) -> str:
    """Why one domain cannot hold what is said to be inside of it, "" if each can: its parts draw more than it does."""
    for holder in dict.fromkeys(holders.values()):
        inside = [metered[name] for name, above in holders.items() if above == holder]
        parts, _ = summed([one for one in inside if not isinstance(one.energy_j, NotMetered)], 0, 0)
        whole = metered[holder].value()
        if isinstance(parts, Quantity) and isinstance(whole, Quantity) and parts.low > whole.high:
            names = ", ".join(one.domain for one in inside)
            return (
                f"{holder} reads {whole.value:.6g} J, and what is said to be inside of it ({names}) {parts.value:.6g} "
                "J: more than both intervals allow, so correct inside= or the meter"
            )
    return ""


def mean_power(energy: Value, span_s: float) -> Value:
    """Mean power in W of an energy over a span."""
    if isinstance(energy, NotMetered):
        return energy
    return Quantity(energy.value / span_s, energy.low / span_s, energy.high / span_s, "W")


def nothing_there(channels: Sequence[Channel], boundary: str) -> str:
    """Why there is no energy at a boundary that nothing meters."""
    elsewhere = sorted({channel.boundary for channel in channels})
    return f"no meter at boundary {boundary!r}" + (f" (there are at: {', '.join(elsewhere)})" if elsewhere else "")
