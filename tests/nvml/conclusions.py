"""What a transcript shows: the energy counter against the integral of each power, and how late each power comes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from math import fsum, sqrt
from typing import TYPE_CHECKING

from tcabench.energy import integrate
from tcabench.records import Channel, Kind, NotMetered, Role, Value, Window

if TYPE_CHECKING:
    from transcript import Phase, Transcript

STEP_NS, MOST_NS = 5_000_000, 2_000_000_000
COMPARED = ("idle before", "load", "idle after")


@dataclass(frozen=True, slots=True)
class Residual:
    """Over one phase: energy by the counter and by one power channel in J, and counter/integral - 1."""

    phase: str
    power: str
    counter_j: Value
    integral_j: Value
    rel: float | None


@dataclass(frozen=True, slots=True)
class Lag:
    """By how much a power channel trails the load in ns, where that fits best, and how well (-1..1). `expected_ns` is
    what its channel says, (update + average)/2; both are as if read without delay."""

    phase: str
    power: str
    lag_ns: int
    fit: float
    expected_ns: int


def residuals(told: "Transcript") -> list[Residual]:
    """Each counter against each power of its domain, over each phase in which the load does not change."""
    phases = [phase for phase in told.phases if phase.name in COMPARED or phase.period_s]
    return [_residual(told, phase, counter, power) for phase in phases for counter, power in _pairs(told)]


def lags(told: "Transcript") -> list[Lag]:
    """Each power channel in each square wave that is slow enough for it: half a period holds its update and average."""
    powers = [channel for channel in told.channels if channel.kind is Kind.POWER]
    return [
        _lag(told, phase, channel)
        for phase in told.phases
        for channel in powers
        if phase.period_s and phase.period_s * 1e9 / 2 >= channel.update_ns + channel.average_ns
    ]


def in_words(told: "Transcript") -> str:
    """What the tool concludes."""
    energy = integrate(told.channels, told.samples, told.window, "chip")
    lines = [
        f"window: {_j(energy.total)} J, {_j(energy.mean_power)} W, at rest {_j(energy.idle_power)} W",
        f"grade: {energy.grade}, {energy.grade_why}",
    ]
    for one in residuals(told):
        rel = "" if one.rel is None else f": counter/integral - 1 = {100 * one.rel:+.2f} %"
        lines.append(f"{one.phase}: counter {_j(one.counter_j)} J, {one.power} {_j(one.integral_j)} J{rel}")
    lines += [
        f"{one.phase}: {one.power} trails by {one.lag_ns / 1e6:.0f} ms (fit {one.fit:.3f}), "
        f"{one.expected_ns / 1e6:.0f} ms expected"
        for one in lags(told)
    ]
    return "\n".join(lines)


def _pairs(told: "Transcript") -> Iterator[tuple[Channel, Channel]]:
    for counter in told.channels:
        for power in told.channels:
            if (counter.kind, power.kind, counter.domain) == (Kind.ENERGY, Kind.POWER, power.domain):
                yield counter, power


def _residual(told: "Transcript", phase: "Phase", counter: Channel, power: Channel) -> Residual:
    window = Window(0, 0, phase.start_ns, phase.start_ns, phase.end_ns, phase.end_ns, "")
    by = [
        integrate([replace(one, role=Role.LOAD, inside="")], told.samples, window, "chip").total
        for one in (counter, power)
    ]
    counted, integrated = by
    rel = None
    if not isinstance(counted, NotMetered) and not isinstance(integrated, NotMetered):
        rel = counted.value / integrated.value - 1
    return Residual(phase.name, power.id, counted, integrated, rel)


def _lag(told: "Transcript", phase: "Phase", channel: Channel) -> Lag:
    from_ns = phase.start_ns + min(MOST_NS, (phase.end_ns - phase.start_ns) // 4)  # the first waves settle
    samples = [s for s in told.samples if s.channel == channel.id and from_ns < s.t_ns < phase.end_ns]
    fits = []
    for lag_ns in range(0, min(MOST_NS, round(phase.period_s * 1e9)), STEP_NS):
        on = _load_at([s.t_ns - lag_ns for s in samples], told.edges)
        fits.append((_correlation([s.value for s in samples], on), -lag_ns))
    fit, negative_ns = max(fits, default=(0.0, 0))
    return Lag(phase.name, channel.id, -negative_ns, fit, (channel.update_ns + channel.average_ns) // 2)


def _load_at(t_ns: list[int], edges: tuple[tuple[int, bool], ...]) -> list[float]:
    """1 where the load was on, else 0; `t_ns` in order."""
    on, spans = [], iter(pairwise([*edges, (max([edges[-1][0], *t_ns]) + 1, False)]))
    start, end = next(spans)
    for t in t_ns:
        while t >= end[0]:
            start, end = next(spans)
        on.append(float(start[1] and t >= start[0]))
    return on


def _correlation(x: list[float], y: list[float]) -> float:
    if not x:
        return 0.0
    mean_x, mean_y = fsum(x) / len(x), fsum(y) / len(y)
    xy = fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    xx, yy = fsum((a - mean_x) ** 2 for a in x), fsum((b - mean_y) ** 2 for b in y)
    return xy / sqrt(xx * yy) if xx and yy else 0.0


def _j(value: Value) -> str:
    return f"not metered ({value.why})" if isinstance(value, NotMetered) else f"{value.value:.6g}"
