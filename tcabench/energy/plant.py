"""What the meters of the plant read over the window, summed by role."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from types import MappingProxyType

from tcabench.energy import budget
from tcabench.energy.boundary import Domain
from tcabench.energy.domain import Metered, Track
from tcabench.energy.series import Series
from tcabench.records import Alignment, Channel, Kind, NotMetered, Role, Value, Window

COUNTERS = (Kind.ENERGY, Kind.HEAT_ENERGY, Kind.WATER)
NOT_PLACED: Mapping[str, Alignment] = MappingProxyType({})
RATES = (Kind.POWER, Kind.HEAT)
KINDS = {
    Role.IT: (Kind.ENERGY, Kind.POWER),
    Role.UPSTREAM: (Kind.ENERGY, Kind.POWER),
    Role.COOLING: (Kind.ENERGY, Kind.POWER),
    Role.SITE: (Kind.ENERGY, Kind.POWER),
    Role.REUSE: (Kind.ENERGY, Kind.POWER, Kind.HEAT_ENERGY, Kind.HEAT),
    Role.WATER: (Kind.WATER,),
}


@dataclass(frozen=True, slots=True)
class Plant:
    """Sums over the window in J, water in L; NotMetered says which meter is missing or failed. `own` is the part of
    the cooling that serves the system under test alone, `shared` the rest."""

    it_all: Value
    upstream: Value
    own: Value
    shared: Value
    site: Value
    reuse: Value
    water: Value
    roles: frozenset[Role]


def plant(
    channels: Sequence[Channel],
    series: Mapping[str, Series],
    window: Window,
    own: Collection[str],
    all_it: Value | None,
    placed: Mapping[str, Alignment] = NOT_PLACED,
) -> Plant:
    """The plant's sums. `own` names domains of cooling meters; `all_it` is the energy of all IT in J where that is
    known otherwise: the system under test is all there is. `placed`: meter -> how it was put on the run's clock."""

    def total(able: Sequence[Channel], role: Role) -> Value:
        return total_of(able, series, window, role, placed)

    cooling = [channel for channel in channels if channel.role is Role.COOLING]
    metered = [channel for channel in channels if channel.kind in KINDS.get(channel.role, ())]
    return Plant(
        it_all=all_it or total(channels, Role.IT),
        upstream=total(channels, Role.UPSTREAM),
        own=total([channel for channel in cooling if channel.domain in own], Role.COOLING),
        shared=total([channel for channel in cooling if channel.domain not in own], Role.COOLING),
        site=total(channels, Role.SITE),
        reuse=total(channels, Role.REUSE),
        water=total(channels, Role.WATER),
        roles=frozenset(channel.role for channel in metered),
    )


def total_of(
    channels: Sequence[Channel],
    series: Mapping[str, Series],
    window: Window,
    role: Role,
    placed: Mapping[str, Alignment],
) -> Value:
    """The sum of what the meters of `role` count over the window, in J or (water) L, each domain once and none whose
    energy another one already holds. NotMetered as soon as one of them is."""
    able = [channel for channel in channels if channel.role is role and channel.kind in KINDS[role]]
    names = sorted({channel.domain for channel in able if channel.inside not in {c.domain for c in able}})
    if not names:
        return NotMetered(f"no meter has the role {role.value}")
    metered = [_metered(name, able, series, window, placed) for name in names]
    holes = [f"{one.domain}: {one.energy_j.why}" for one in metered if isinstance(one.energy_j, NotMetered)]
    if holes:
        return NotMetered("; ".join(holes))
    parts = [(one.energy_j, one.components) for one in metered if not isinstance(one.energy_j, NotMetered)]
    unit = "L" if role is Role.WATER else "J"
    return budget.quantity(fsum(value for value, _ in parts), budget.added(parts), unit)


def _metered(
    name: str,
    able: Sequence[Channel],
    series: Mapping[str, Series],
    window: Window,
    placed: Mapping[str, Alignment],
) -> Metered:
    mine = [channel for channel in able if channel.domain == name]
    domain = Domain(name, _best(mine, COUNTERS), _best(mine, RATES))
    return Track(domain, series, placed).over(window.start_ns, window.end_ns)


def _best(channels: Sequence[Channel], kinds: Collection[Kind]) -> Channel | None:
    """An instrument before an estimate, then the narrower accuracy."""
    able = [channel for channel in channels if channel.kind in kinds]
    return min(able, key=lambda c: (c.is_estimate, c.gain_high - c.gain_low, c.id), default=None)
