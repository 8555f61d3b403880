"""Heat that coolant loops take away: Q = integral of density * flow * heat capacity * (return - supply) dt.

A loop is what the `domain` of its channels names. Where a device tells its heat itself (EN 1434 meters, many CDUs),
that counts only if flow and temperatures cannot be had: some devices' own figure does not agree with them.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, sqrt
from typing import TypeVar

from tcabench.energy import budget
from tcabench.energy.boundary import Domain
from tcabench.energy.fluids import FLUIDS, Fluid, constant
from tcabench.energy.plant import NOT_PLACED, Readings
from tcabench.energy.series import Series
from tcabench.energy.trapezoid import gap_limit_ns, gaps, power_at, uncovered_ns
from tcabench.records import Alignment, Channel, Heat, Kind, NotMetered, Quantity, Role, Value, Window
from tcabench.site import Coolant
from tcabench.units import NS_PER_S, seconds

LITRES_PER_MIN = 1 / 60_000  # in m3/s
DEFAULT_SENSOR_K = 0.5  # k = 2
SMALLEST_RISE_K = 4.0  # below it two sensors of 0.1 K leave more than 3.5 % (k = 1): nothing to certify on
FEW_STEPS = 10  # a flow of fewer of its meter's steps is near nothing
SQRT3 = sqrt(3)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Loop:
    """One loop's heat, whom it serves ("sut" or "plant"), and what else is to be said. `doubt` says why nothing may be
    shared by this heat, "" if it may; `channels` are those that it was taken from."""

    heat: Heat
    serves: str
    notes: tuple[str, ...]
    doubt: str = ""
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sensors:
    """The three channels of a loop with their samples."""

    flow: tuple[Channel, Series]
    supply: tuple[Channel, Series]
    back: tuple[Channel, Series]

    def all(self) -> tuple[tuple[Channel, Series], ...]:
        return (self.flow, self.supply, self.back)


def loops(
    channels: Sequence[Channel],
    series: Mapping[str, Series],
    window: Window,
    coolants: Mapping[str, Coolant],
    placed: Mapping[str, Alignment] = NOT_PLACED,
    frozen: Collection[str] = (),
) -> tuple[Loop, ...]:
    """Every loop that has channels or stands in the site, by name. Heat in J, flow in L/min, rise in K. `placed` and
    `frozen` as in `Readings`."""
    readings = Readings(series, window, placed, frozen)
    names = sorted({channel.domain for channel in channels if _tells(channel)} | set(coolants))
    return tuple(_loop(name, [c for c in channels if c.domain == name], readings, coolants.get(name)) for name in names)


def _is_heat(channel: Channel) -> bool:
    return channel.kind in (Kind.HEAT, Kind.HEAT_ENERGY) and channel.role is not Role.REUSE


def _tells(channel: Channel) -> bool:
    """Whether a loop's heat can rest on it; heat of role INFO is a device's own figure, good for a comparison only."""
    if _is_heat(channel):
        return channel.role is not Role.INFO
    return (channel.kind, channel.role) in (
        (Kind.TEMPERATURE, Role.SUPPLY), (Kind.TEMPERATURE, Role.RETURN), (Kind.FLOW, Role.FLOW),
    )  # fmt: skip


def _loop(name: str, channels: Sequence[Channel], readings: Readings, coolant: Coolant | None) -> Loop:
    serves = coolant.serves if coolant else "sut"
    heats = [channel for channel in channels if _is_heat(channel)]
    told, by = _told(name, [channel for channel in heats if _tells(channel)], readings)
    sensors = _sensors(name, channels, readings.series, readings.window)
    if not isinstance(sensors, NotMetered):
        found, used = _found(name, sensors, readings.window, coolant), tuple(one.id for one, _ in sensors.all())
        if isinstance(found.heat, Quantity):
            notes = _disagreement(name, found.heat, _told(name, heats, readings)[0])
            return Loop(found, serves, notes, found.why, used)
        if isinstance(told, NotMetered):
            return Loop(found, serves, ())
        sensors = found.heat
    if isinstance(told, NotMetered):
        return Loop(_nothing(name, "", sensors), serves, ())
    why = f"as the device tells it: {sensors.why}"
    return Loop(Heat(name, told, sensors, sensors, "not asked", None, why), serves, (), channels=by)


def _nothing(name: str, fluid: str, why: NotMetered) -> Heat:
    return Heat(name, why, why, why, fluid, None)


def _sensors(
    name: str, channels: Sequence[Channel], series: Mapping[str, Series], window: Window
) -> Sensors | NotMetered:
    """Flow, supply and return of a loop, each read all through the window, or what is missing."""
    found, missing = [], []
    for kind, role in ((Kind.FLOW, Role.FLOW), (Kind.TEMPERATURE, Role.SUPPLY), (Kind.TEMPERATURE, Role.RETURN)):
        able = [channel for channel in channels if (channel.kind, channel.role) == (kind, role)]
        best = min(able, key=lambda c: (c.is_estimate, c.gain_high - c.gain_low, c.id), default=None)
        if best is None:
            missing.append(role.value)
            continue
        samples = series.get(best.id, Series((), (), ()))
        if why := _hole(best, samples, window):
            return NotMetered(why)
        found.append((best, samples))
    if missing:
        return NotMetered(f"loop {name} has no {' and no '.join(missing)} channel")
    return Sensors(*found)


def _hole(channel: Channel, samples: Series, window: Window) -> str:
    limit_ns = gap_limit_ns(channel.period_ns, channel.update_ns)
    number, longest_s = gaps(samples, window.start_ns, window.end_ns, limit_ns)
    if number:
        return f"{channel.id}: {number} gap(s), the longest {longest_s:.1f} s; {seconds(limit_ns):g} s may be bridged"
    empty = uncovered_ns(samples, window.start_ns, window.end_ns) >= window.end_ns - window.start_ns
    return f"{channel.id}: not one reading in the window" if empty else ""


def _found(name: str, sensors: Sensors, window: Window, coolant: Coolant | None) -> Heat:
    """The heat by flow and temperatures."""
    if coolant is None:
        return _nothing(name, "", NotMetered(f"the site does not say what flows in loop {name}: coolant.{name}.fluid"))
    fluid = _fluid(name, coolant)
    t_ns = _instants(sensors, window)
    supply_c, back_c = (_at(one[1], t_ns) for one in (sensors.supply, sensors.back))
    coldest, hottest = min(*supply_c, *back_c), max(*supply_c, *back_c)
    if not (fluid.holds(coldest) and fluid.holds(hottest)):
        why = (
            f"{coldest:.1f} to {hottest:.1f} degC: {fluid.name} is known from {fluid.low_c:g} to {fluid.high_c:g} degC"
        )
        return _nothing(name, fluid.name, NotMetered(why))
    flow = _at(sensors.flow[1], t_ns)
    mean_flow = _integral(t_ns, flow) / seconds(window.end_ns - window.start_ns)
    if mean_flow <= 0:
        return _nothing(name, fluid.name, NotMetered(f"{sensors.flow[0].id} shows no flow"))
    return _account(name, sensors, coolant, fluid, (t_ns, flow, supply_c, back_c), mean_flow)


def _account(
    name: str,
    sensors: Sensors,
    coolant: Coolant,
    fluid: Fluid,
    curves: tuple[Sequence[int], Sequence[float], Sequence[float], Sequence[float]],
    mean_flow: float,
) -> Heat:
    """The heat with its interval: flow, both sensors, the fluid and the sampling, each independent (GUM 5.1.2).

    The sensors' part is absolute, so the interval grows as the rise shrinks; the flow's smallest step likewise.
    """
    t_ns, flow, supply_c, back_c = curves
    carried = [
        v * LITRES_PER_MIN * _capacity(fluid, (a + b) / 2) for v, a, b in zip(flow, supply_c, back_c, strict=True)
    ]
    power = [w * (b - a) for w, a, b in zip(carried, supply_c, back_c, strict=True)]
    heat_j, per_k = _integral(t_ns, power), _integral(t_ns, carried)
    rise_k, sensors_k = heat_j / per_k, _sensors_k(sensors, coolant, supply_c, back_c)
    down, up = _flow_rel(sensors.flow[0], coolant, mean_flow)
    missed_j = heat_j - _integral(_thinned(t_ns), _thinned(power))
    others = (per_k * sensors_k, heat_j * _fluid_rel(fluid, supply_c, back_c), missed_j)
    low = heat_j - sqrt(fsum(x * x for x in (heat_j * down, *others)))
    high = heat_j + sqrt(fsum(x * x for x in (heat_j * up, *others)))
    if high < 0:
        why = f"loop {name} comes back {-rise_k:.2f} K colder than it goes: supply and return are swapped"
        return _nothing(name, fluid.name, NotMetered(why))
    return Heat(
        loop=name,
        heat=Quantity(heat_j, low, high, "J"),
        flow=Quantity(mean_flow, mean_flow * (1 - min(down, 1.0)), mean_flow * (1 + up), "L/min"),
        rise=Quantity(rise_k, rise_k - sensors_k, rise_k + sensors_k, "K"),
        fluid=f"{fluid.name} ({fluid.source})",
        balance_rel=None,
        why=_doubt(rise_k, mean_flow, sensors.flow[0]),
    )


def _doubt(rise_k: float, mean_flow: float, flow: Channel) -> str:
    doubts = []
    if rise_k < SMALLEST_RISE_K:
        doubts.append(f"a rise of {rise_k:.2f} K is below {SMALLEST_RISE_K:g} K: do not certify on this heat")
    if mean_flow < FEW_STEPS * flow.resolution:
        doubts.append(f"a flow of {mean_flow:g} L/min is near its meter's smallest step: do not certify on this heat")
    return "; ".join(doubts)


def _instants(sensors: Sensors, window: Window) -> list[int]:
    """Every instant in the window at which one of the sensors was read, and both ends, in ns."""
    inside = {window.start_ns, window.end_ns}
    for _, samples in sensors.all():
        first, last = bisect_right(samples.t_ns, window.start_ns), bisect_left(samples.t_ns, window.end_ns)
        inside.update(samples.t_ns[first:last])
    return sorted(inside)


def _at(samples: Series, t_ns: Sequence[int]) -> list[float]:
    return [power_at(samples, t) for t in t_ns]


def _integral(t_ns: Sequence[int], values: Sequence[float]) -> float:
    """Over time in s, by the trapezoid rule."""
    return fsum((t_ns[i + 1] - t_ns[i]) * (values[i] + values[i + 1]) for i in range(len(t_ns) - 1)) / (2 * NS_PER_S)


def _thinned(values: Sequence[T]) -> list[T]:
    """Every other value, and the last."""
    return [*values[:-1:2], values[-1]]


def _capacity(fluid: Fluid, t_c: float) -> float:
    """Density * heat capacity in J/(m3 K)."""
    return fluid.density_kg_m3(t_c) * fluid.cp_j_per_kg_k(t_c)


def _fluid(name: str, coolant: Coolant) -> Fluid:
    if coolant.fluid is not None:
        return FLUIDS[coolant.fluid]
    if coolant.density_kg_m3 is None or coolant.cp_j_per_kg_k is None or coolant.half_width_pct is None:
        raise ValueError(f"coolant.{name}: the site door lets no fluid without properties through")
    source = coolant.source or "as given in the site"
    return constant("coolant", coolant.density_kg_m3, coolant.cp_j_per_kg_k, coolant.half_width_pct / 100, source)


def _fluid_rel(fluid: Fluid, supply_c: Sequence[float], back_c: Sequence[float]) -> float:
    """The fluid's own half width, and that the flow meter may sit in the supply or in the return: the density there
    is up to half their difference off that of the mean temperature."""
    cold, hot = fsum(supply_c) / len(supply_c), fsum(back_c) / len(back_c)
    apart = abs(fluid.density_kg_m3(cold) / fluid.density_kg_m3(hot) - 1) / 2
    return sqrt(fluid.half_rel * fluid.half_rel + apart * apart)


def _sensors_k(sensors: Sensors, coolant: Coolant, supply_c: Sequence[float], back_c: Sequence[float]) -> float:
    """Half width (k = 2) of the rise in K: two sensors, each by itself."""
    halves = []
    for (channel, _), values in ((sensors.supply, supply_c), (sensors.back, back_c)):
        own = max(1 - channel.gain_low, channel.gain_high - 1) * abs(fsum(values) / len(values))
        half = coolant.sensor_half_width_k or own or DEFAULT_SENSOR_K
        step = channel.resolution / SQRT3
        halves.append(half * half + step * step)
    return sqrt(fsum(halves))


def _flow_rel(channel: Channel, coolant: Coolant, mean_flow: float) -> tuple[float, float]:
    """Relative half widths (k = 2) of the flow, down and up, with its meter's smallest step."""
    step = channel.resolution / SQRT3 / mean_flow
    given = coolant.flow_half_width_pct
    down, up = (given / 100, given / 100) if given else (1 - channel.gain_low, channel.gain_high - 1)
    return sqrt(down * down + step * step), sqrt(up * up + step * step)


def _told(name: str, channels: Sequence[Channel], readings: Readings) -> tuple[Value, tuple[str, ...]]:
    """(heat as a device of the loop tells it, by its counter or the integral of its heat flow; from which channel)."""
    able = {kind: [c for c in channels if c.kind is kind] for kind in (Kind.HEAT_ENERGY, Kind.HEAT)}
    best = {
        kind: min(found, key=lambda c: (c.gain_high - c.gain_low, c.id), default=None) for kind, found in able.items()
    }
    if best[Kind.HEAT_ENERGY] is None and best[Kind.HEAT] is None:
        return NotMetered(f"loop {name} has no heat meter"), ()
    metered = readings.of(Domain(name, best[Kind.HEAT_ENERGY], best[Kind.HEAT]))
    if isinstance(metered.energy_j, NotMetered):
        return metered.energy_j, ()
    return budget.quantity(metered.energy_j, metered.components, "J"), (metered.source.channel.id,)


def _disagreement(name: str, heat: Value, told: Value) -> tuple[str, ...]:
    """A note where the device's own figure and flow times rise cannot both be right."""
    if isinstance(heat, NotMetered) or isinstance(told, NotMetered):
        return ()
    if told.low <= heat.high and heat.low <= told.high:
        return ()
    rel = told.value / heat.value - 1
    return (f"loop {name}: the device tells {100 * rel:+.1f} % against flow and temperatures, which is beyond both",)
