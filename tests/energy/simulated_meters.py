"""Meters that are played over loads whose energy is known exactly: for coverage tests here and for benchmarks.

Pure functions of a load, a meter's properties and a `random.Random`: the same seed gives the same samples. Nothing here
knows how the energy stage works.

    load = bursts(rng, until_s=400, low_w=200, high_w=900, on_s=0.3, off_s=0.7)
    channels, samples, truth = play(load, PDU_1HZ, rng)
    energy = integrate(channels, samples, window, "rack", Context(alignments=aligned(PDU_1HZ)))
    truth(window.start_ns, window.end_ns)  # J
"""

import random
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import floor, sqrt

from tcabench.records import Alignment, Channel, Instrument, Kind, PowerSample, Role

S = 1_000_000_000
Truth = Callable[[int, int], float]


class Load:
    """Power over time: a chain of straight pieces. `knots` are (instant in s, W just after it, W before the next)."""

    def __init__(self, knots: list[tuple[float, float, float]], until_s: float) -> None:
        self.t_s = [t for t, _, _ in knots]
        self.ends = [*self.t_s[1:], until_s]
        self.first = [w for _, w, _ in knots]
        self.last = [w for _, _, w in knots]
        spans = zip(self.t_s, self.ends, self.first, self.last, strict=True)
        self.drawn = [0.0, *accumulate((b - a) * (p + q) / 2 for a, b, p, q in spans)]

    def until(self, t_s: float) -> float:
        """Energy in J from the first knot to an instant."""
        i = max(0, min(bisect_right(self.t_s, t_s) - 1, len(self.t_s) - 1))
        span = self.ends[i] - self.t_s[i]
        x = t_s - self.t_s[i]
        slope = (self.last[i] - self.first[i]) / span if span > 0 else 0.0
        return self.drawn[i] + x * (self.first[i] + slope * x / 2)

    def mean_w(self, from_s: float, to_s: float) -> float:
        """Mean power in W over a span."""
        return (self.until(to_s) - self.until(from_s)) / (to_s - from_s)


def steady(until_s: float, level_w: float) -> Load:
    """The same power all the time."""
    return Load([(0.0, level_w, level_w)], until_s)


def steps(rng: random.Random, until_s: float, low_w: float, high_w: float, every_s: float) -> Load:
    """Levels drawn evenly, each held for a time drawn around `every_s`."""
    return _levels(until_s, lambda: (rng.uniform(0.2, 1.8) * every_s, rng.uniform(low_w, high_w)))


def bursts(rng: random.Random, until_s: float, low_w: float, high_w: float, on_s: float, off_s: float) -> Load:
    """On and off by turns, each for a time drawn from an exponential distribution of that mean."""
    turn = [False]

    def next_level() -> tuple[float, float]:
        turn[0] = not turn[0]
        return rng.expovariate(1 / (on_s if turn[0] else off_s)), high_w if turn[0] else low_w

    return _levels(until_s, next_level)


def spikes(rng: random.Random, until_s: float, base_w: float, peak_w: float, every_s: float, width_s: float) -> Load:
    """`base_w`, with spikes up to `peak_w` of `width_s` at random instants, one in `every_s` on average."""
    turn = [False]

    def next_level() -> tuple[float, float]:
        turn[0] = not turn[0]
        return (rng.expovariate(1 / every_s), base_w) if turn[0] else (width_s, peak_w)

    return _levels(until_s, next_level)


def ramps(rng: random.Random, until_s: float, low_w: float, high_w: float, every_s: float) -> Load:
    """Straight slopes between levels drawn evenly."""
    times, levels = [0.0], [rng.uniform(low_w, high_w)]
    while times[-1] < until_s:
        times.append(times[-1] + rng.uniform(0.2, 1.8) * every_s)
        levels.append(rng.uniform(low_w, high_w))
    return Load([(a, p, q) for (a, p), (_, q) in pairwise(zip(times, levels, strict=True))], times[-1])


def _levels(until_s: float, next_level: Callable[[], tuple[float, float]]) -> Load:
    knots, t_s = [], 0.0
    while t_s < until_s:
        span_s, level_w = next_level()
        knots.append((t_s, level_w, level_w))
        t_s += span_s
    return Load(knots, t_s)


@dataclass(frozen=True)
class MeterProperties:
    """A meter as its documents describe it. The class is a limit in % of reading, and so is what is played: a gain
    drawn evenly within it. `average_s` 0: an instant. `cuts`: the last digit of power is cut off, not rounded.
    `known_s`: how well its clock is known (k = 2), and by how much (normal) it is off."""

    name: str
    class_pct: float
    period_s: float
    update_s: float
    average_s: float = 0.0
    resolution_w: float = 0.001
    resolution_j: float = 0.001
    jitter_s: float = 0.0
    read_s: float = 0.0002
    known_s: float = 0.0
    has_power: bool = True
    has_counter: bool = True
    cuts: bool = False
    lost: float = 0.0
    starts_at_j: float = 5e6
    modulus_j: float = 0.0
    boundary: str = "rack"
    role: Role = Role.LOAD
    instrument: Instrument = Instrument.METER
    domain: str = "pdu"


NVML = MeterProperties(
    "nvml", 5.0, 0.05, 0.1, 0.025, jitter_s=0.01, boundary="chip", instrument=Instrument.DEVICE, domain="gpu0"
)
PDU_1HZ = MeterProperties("pdu", 1.0, 1.0, 1.0, 1.0, 1.0, 3600.0, jitter_s=0.05, read_s=0.003, known_s=0.05)
APC = MeterProperties("apc", 3.0, 1.0, 2.0, 0.0, 10.0, 360_000.0, jitter_s=0.05, read_s=0.004)
SUBMETER = MeterProperties("iem", 0.5, 0.5, 0.5, 0.2, 0.1, 3600.0, jitter_s=0.02, read_s=0.002)
ANALYZER = MeterProperties("analyzer", 0.1, 0.1, 0.1, 0.1, 0.01, 0.1, jitter_s=0.005, known_s=0.01)


def channels_of(meter: MeterProperties) -> tuple[Channel, ...]:
    """The channels of a meter."""
    kinds = ((Kind.POWER, meter.has_power), (Kind.ENERGY, meter.has_counter))
    return tuple(_channel(meter, kind) for kind, there in kinds if there)


def _channel(meter: MeterProperties, kind: Kind) -> Channel:
    half = 2 * meter.class_pct / 100 / sqrt(3)
    return Channel(
        id=f"{meter.name}.{meter.domain}.{kind.value}", meter=meter.name, domain=meter.domain, kind=kind,
        unit="J" if kind is Kind.ENERGY else "W", boundary=meter.boundary, gain_low=1 - half, gain_high=1 + half,
        resolution=meter.resolution_j if kind is Kind.ENERGY else meter.resolution_w,
        update_ns=round(meter.update_s * S), period_ns=round(meter.period_s * S), is_estimate=False,
        accuracy_source=f"class {meter.class_pct:g}", role=meter.role, instrument=meter.instrument,
        average_ns=0 if kind is Kind.ENERGY else round(meter.average_s * S), class_pct=meter.class_pct,
        modulus=meter.modulus_j if kind is Kind.ENERGY else 0.0,
    )  # fmt: skip


def aligned(*meters: MeterProperties) -> tuple[Alignment, ...]:
    """What is known of where the meters' samples lie on the run's clock."""
    return tuple(Alignment(meter.name, 0, round(meter.known_s * S), "host clock") for meter in meters)


def play(
    load: Load, meter: MeterProperties, rng: random.Random, until_s: float = 0.0
) -> tuple[tuple[Channel, ...], list[PowerSample], Truth]:
    """(channels, samples, truth): what a sampler sees of `meter` over `load` up to `until_s` (all of it), and the true
    energy in J between two instants in ns.

    The registers are refreshed every `update_s` from an instant drawn at random; each read takes the last refresh
    before an instant drawn within its call.
    """
    gain = rng.uniform(1 - meter.class_pct / 100, 1 + meter.class_pct / 100)
    phase_s, off_s = rng.uniform(0, meter.update_s), rng.gauss(0, meter.known_s / 2) if meter.known_s else 0.0
    power, counter = (f"{meter.name}.{meter.domain}.{kind.value}" for kind in (Kind.POWER, Kind.ENERGY))
    samples, read_ns = [], round(meter.read_s * S)
    for tick in range(int((until_s or load.ends[-1]) / meter.period_s)):
        at_s = tick * meter.period_s + rng.uniform(0, meter.jitter_s)
        if rng.random() < meter.lost:
            continue
        seen_s = at_s + off_s + rng.uniform(-0.5, 0.5) * meter.read_s
        fresh_s = floor((seen_s - phase_s) / meter.update_s) * meter.update_s + phase_s
        t_ns = round(at_s * S)
        if meter.has_power:
            samples.append(PowerSample(t_ns, read_ns, power, power_register(load, meter, gain, fresh_s)))
        if meter.has_counter:
            samples.append(PowerSample(t_ns, read_ns, counter, counter_register(load, meter, gain, fresh_s)))
    return channels_of(meter), samples, lambda a, b: load.until(b / S) - load.until(a / S)


def power_register(load: Load, meter: MeterProperties, gain: float, at_s: float) -> float:
    """The power in W that the meter shows after a refresh."""
    digits = gain * load.mean_w(at_s - max(meter.average_s, 1e-4), at_s) / meter.resolution_w
    return (floor(digits) if meter.cuts else round(digits)) * meter.resolution_w


def counter_register(load: Load, meter: MeterProperties, gain: float, at_s: float) -> float:
    """The counter in J that the meter shows after a refresh: whole digits, from 0 again at its modulus."""
    whole = floor((meter.starts_at_j + gain * load.until(at_s)) / meter.resolution_j) * meter.resolution_j
    return whole % meter.modulus_j if meter.modulus_j else whole
