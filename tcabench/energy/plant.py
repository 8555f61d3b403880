"""What the meters of the plant read over the window, summed by role."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum
from types import MappingProxyType

from tcabench.energy import budget
from tcabench.energy.arithmetic import less, plus
from tcabench.energy.boundary import Domain, held_by
from tcabench.energy.domain import EMPTY, Metered, Track
from tcabench.energy.series import Series
from tcabench.energy.trapezoid import gap_limit_ns, gaps
from tcabench.records import Alignment, Channel, Kind, NotMetered, Quantity, Role, Value, Window

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
class Readings:
    """What was read over one window. `placed`: meter -> how it was put on the run's clock; `frozen`: channels of which
    frozen readings were left out."""

    series: Mapping[str, Series]
    window: Window
    placed: Mapping[str, Alignment]
    frozen: Collection[str]

    def of(self, domain: Domain) -> Metered:
        """The energy of a domain over the window."""
        track = Track(domain, self.series, self.placed, self.frozen, may_be_zero=True)
        found = track.over(self.window.start_ns, self.window.end_ns)
        if isinstance(found.energy_j, NotMetered) and domain.power is None and domain.counter:
            return self._or_none_flowed(found, domain.counter)
        return found

    def _or_none_flowed(self, found: Metered, counter: Channel) -> Metered:
        """`found`, or 0 to one last digit where a counter of water or of heat reads the same all through the window.
        A counter of electricity that stands still tells of nothing: what it counts for draws power."""
        start_ns, end_ns = self.window.start_ns, self.window.end_ns
        samples, flows = self.series.get(counter.id, EMPTY), counter.kind in (Kind.WATER, Kind.HEAT_ENERGY)
        if not flows or counter.is_estimate or counter.id in self.frozen or not counter.resolution > 0:
            return found
        number, _ = gaps(samples, start_ns, end_ns, gap_limit_ns(counter.period_ns, counter.update_ns))
        first, last = bisect_right(samples.t_ns, start_ns), bisect_left(samples.t_ns, end_ns)
        if number or first >= last or len(set(samples.value[max(0, first - 1) : last + 1])) != 1:
            return found
        why = f"{counter.id} reads the same throughout: nothing flowed, to its last digit"
        return replace(found, energy_j=0.0, zero_up_j=counter.resolution, why=why)


@dataclass(frozen=True, slots=True)
class Total:
    """A sum over the window in J (water: L) and the channels it was taken from. `there`: whether there is a meter for
    it at all."""

    value: Value
    channels: tuple[str, ...] = ()
    there: bool = True


@dataclass(frozen=True, slots=True)
class Meters:
    """The domains of one role, and for those whose energy another one holds already, which one."""

    metered: Mapping[str, Metered]
    holders: Mapping[str, str]

    def above(self, name: str) -> tuple[str, ...]:
        """The domains that hold `name`, from the nearest outwards."""
        found = [name]
        while found[-1] in self.holders:
            found.append(self.holders[found[-1]])
        return tuple(found[1:])

    def total(self, names: Iterable[str], unit: str) -> Total:
        """The sum of the named domains. NotMetered as soon as one of them is."""
        some = [self.metered[name] for name in names]
        holes = [f"{one.domain}: {one.energy_j.why}" for one in some if isinstance(one.energy_j, NotMetered)]
        if holes:
            return Total(NotMetered("; ".join(holes)))
        parts = [(one.energy_j, one.components) for one in some if not isinstance(one.energy_j, NotMetered)]
        running = [part for part in parts if part[0] != 0]
        idle = [Quantity(0.0, 0.0, one.zero_up_j, unit) for one in some if one.energy_j == 0]
        drawn = [budget.quantity(fsum(value for value, _ in running), budget.added(running), unit)] if running else []
        return Total(plus(unit, *drawn, *idle), tuple(one.source.channel.id for one in some))


@dataclass(frozen=True, slots=True)
class Plant:
    """Sums over the window in J, water in L; NotMetered says which meter is missing or failed. `upstream` is what goes
    to the IT and its distribution, without the cooling that is fed beside them; `own` is the part of
    the cooling that serves the system under test alone, `shared` the rest; `has_own` and `has_shared` say whether
    there are meters of either. `channels` are those that the sums were taken from."""

    it_all: Value
    upstream: Value
    own: Value
    shared: Value
    site: Value
    reuse: Value
    water: Value
    roles: frozenset[Role]
    has_own: bool
    has_shared: bool
    channels: tuple[str, ...]


def plant(
    channels: Sequence[Channel],
    series: Mapping[str, Series],
    window: Window,
    own: Collection[str],
    all_it: Value | None,
    placed: Mapping[str, Alignment] = NOT_PLACED,
    frozen: Collection[str] = (),
) -> Plant:
    """The plant's sums. `own` names domains of cooling meters; `all_it` is the energy of all IT in J where that is
    known otherwise: the system under test is all there is. `placed` and `frozen` as in `Readings`."""
    readings = Readings(series, window, placed, frozen)
    found = {role: _total(channels, role, readings) for role in KINDS if role is not Role.COOLING}
    if all_it is not None:
        found[Role.IT] = Total(all_it)
    mine, rest = _cooling(channels, own, readings)
    found[Role.UPSTREAM] = _without_cooling(found[Role.UPSTREAM], channels, readings)
    return Plant(
        it_all=found[Role.IT].value, upstream=found[Role.UPSTREAM].value, own=mine.value, shared=rest.value,
        site=found[Role.SITE].value, reuse=found[Role.REUSE].value, water=found[Role.WATER].value,
        roles=frozenset(channel.role for channel in channels if channel.kind in KINDS.get(channel.role, ())),
        has_own=mine.there, has_shared=rest.there,
        channels=tuple(sorted({name for one in (*found.values(), mine, rest) for name in one.channels})),
    )  # fmt: skip


def _total(channels: Sequence[Channel], role: Role, readings: Readings) -> Total:
    """The sum of what the meters of `role` count, each domain once and none whose energy another one holds."""
    meters = _meters(channels, role, readings)
    if isinstance(meters, NotMetered):
        return Total(meters)
    outermost = [name for name in meters.metered if name not in meters.holders]
    return meters.total(outermost, "L" if role is Role.WATER else "J")


def _cooling(channels: Sequence[Channel], own: Collection[str], readings: Readings) -> tuple[Total, Total]:
    """(what serves the system under test alone, the rest). A meter of `own` within one of the rest is taken out of it;
    whatever lies within one of `own` is part of that."""
    meters = _meters(channels, Role.COOLING, readings)
    if isinstance(meters, NotMetered):
        there = any(channel.role is Role.COOLING and channel.kind in KINDS[Role.COOLING] for channel in channels)
        return Total(meters, there=False), Total(meters, there=there)
    if strange := sorted(set(own) - set(meters.metered)):
        said = f"cooling.own: no electricity meter of role cooling has the domain {', '.join(strange)}"
        return (Total(NotMetered(f"{said}; there is {', '.join(meters.metered)}")),) * 2
    if within_it := [*_fed_by(Role.IT, meters, channels), *_fed_by(Role.LOAD, meters, channels)]:
        why = f"{', '.join(within_it)}: cooling inside of what counts as IT would count twice; meter that IT without it"
        return (Total(NotMetered(why)),) * 2
    mine = [name for name in meters.metered if name in own and not set(own) & set(meters.above(name))]
    rest = [name for name in meters.metered if name not in own and name not in meters.holders]
    none = Total(NotMetered("no meter has the role cooling"), there=False)
    alone = meters.total(mine, "J") if mine else none
    within = [name for name in mine if name in meters.holders]
    shared = meters.total(rest, "J") if rest else none
    return alone, _without(shared, meters.total(within, "J"), within) if within else shared


def _without_cooling(upstream: Total, channels: Sequence[Channel], readings: Readings) -> Total:
    """A chiller that upstream feeds beside the IT is no loss of the distribution: taken out of what upstream reads."""
    meters = _meters(channels, Role.COOLING, readings)
    if isinstance(meters, NotMetered) or not upstream.channels:
        return upstream
    fed = _fed_by(Role.UPSTREAM, meters, channels)
    return _without(upstream, meters.total(fed, "J"), fed) if fed else upstream


def _fed_by(role: Role, meters: Meters, channels: Sequence[Channel]) -> list[str]:
    """Those of the outermost cooling meters whose nearest domain outwards, of the electrical ones, has this role."""
    outermost = {name: True for name in meters.metered if name not in meters.holders}
    electrical = {one.domain: one.role for one in channels if one.role in (Role.LOAD, Role.IT, Role.UPSTREAM)}
    parents = {one.domain: one.inside for one in channels if one.inside}
    holders = held_by(parents, outermost | dict.fromkeys(electrical, True))
    return [name for name in outermost if electrical.get(holders.get(name, "")) is role]


def _without(whole: Total, part: Total, names: Sequence[str]) -> Total:
    """The meters of `whole` less the domains `names` within them, which `part` sums up."""
    left = less("J", whole.value, part.value)
    if isinstance(left, Quantity) and left.value < 0:
        left = NotMetered(f"{', '.join(names)} reads more than what it is inside of")
    if isinstance(left, Quantity):
        left = Quantity(left.value, max(0.0, left.low), left.high, left.unit)
    return Total(left, whole.channels + part.channels if isinstance(left, Quantity) else ())


def _meters(channels: Sequence[Channel], role: Role, readings: Readings) -> Meters | NotMetered:
    """The domains of `role`, each once. NotMetered where there is none, or where what is inside of what cannot be."""
    able = [channel for channel in channels if channel.role is role and channel.kind in KINDS[role]]
    names = sorted({channel.domain for channel in able})
    if not names:
        return NotMetered(f"no meter has the role {role.value}")
    parents = _parents(channels, able)
    if isinstance(parents, NotMetered):
        return parents
    metered = {name: readings.of(_domain(name, able)) for name in names}
    holders = held_by(parents, {name: not isinstance(one.energy_j, NotMetered) for name, one in metered.items()})
    if why := next(filter(None, (_outgrown(metered[name], metered[holders[name]]) for name in holders)), ""):
        return NotMetered(why)
    return Meters(metered, holders)


def _parents(channels: Sequence[Channel], able: Sequence[Channel]) -> dict[str, str] | NotMetered:
    """domain -> the one it is inside of: one channel that says so speaks for its domain. Domains of other roles may
    stand between two of `able`. NotMetered where a domain is inside of itself, or of two."""
    names = {channel.domain for channel in able}
    said = sorted({(channel.domain, channel.inside) for channel in able if channel.inside})
    parents = {c.domain: c.inside for c in channels if c.inside and c.domain not in names} | dict(said)
    for name, inside in said:
        if parents[name] != inside:
            return NotMetered(f"{name} is said to be inside {inside} and inside {parents[name]}: give one inside=")
    for name in sorted(names):
        chain = [name]
        while (above := parents.get(chain[-1], "")) and above not in chain:
            chain.append(above)
        if above:
            way = " inside ".join((*chain, above))
            return NotMetered(f"{way}: that is a circle, and what is counted once cannot be told; correct inside=")
    return parents


def _outgrown(part: Metered, holder: Metered) -> str:
    """Why `part` cannot be inside `holder`: it reads more than both intervals allow. "" if it can."""
    inner, outer = part.value(), holder.value()
    if isinstance(inner, NotMetered) or isinstance(outer, NotMetered) or inner.low <= outer.high:
        return ""
    return f"{part.domain} is said to be inside {holder.domain}, but reads more than it"


def _domain(name: str, able: Sequence[Channel]) -> Domain:
    mine = [channel for channel in able if channel.domain == name]
    counter, rate = _best(mine, COUNTERS), _best(mine, RATES)
    meters = {one.kind: one.meter for one in (counter, rate) if one and one.kind in (Kind.ENERGY, Kind.POWER)}
    others = [channel for channel in mine if channel.kind in meters and channel.meter != meters[channel.kind]]
    return Domain(name, counter, rate, others=tuple(sorted(others, key=lambda channel: channel.id)))


def _best(channels: Sequence[Channel], kinds: Collection[Kind]) -> Channel | None:
    """An instrument before an estimate, then the narrower accuracy."""
    able = [channel for channel in channels if channel.kind in kinds]
    return min(able, key=lambda c: (c.is_estimate, c.gain_high - c.gain_low, c.id), default=None)
