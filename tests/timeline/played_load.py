"""A load that follows a marker, and meters that watch it: each with its own delay, averaging, digits and noise."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tcabench.records import Channel, PowerSample, Window
from tcabench.testing import power_channel
from tcabench.timeline.marker import Marker, chips

S = 1_000_000_000
CHIP_S, IDLE_S, GRID_S = 4.0, 10.0, 0.02
START_S = 1000.0  # of the run's clock, when the marker begins
WALL_NS = 1_780_000_000 * S  # wall time at 0 of the run's clock
IDLE_W, BUSY_W = 60.0, 300.0


def ns(t_s: float) -> int:
    """An instant of the run's clock; `t_s` counts from the beginning of the marker."""
    return round((START_S + t_s) * S)


@dataclass
class Load:
    """Power of the system under test: idle, the marker, then load for `load_s`, with noise that remembers itself for
    half a second. `flat` leaves the marker out."""

    seed: int = 0
    load_s: float = 40.0
    noise: float = 0.03
    flat: bool = False
    power: list[float] = field(default_factory=list)
    joules: list[float] = field(default_factory=lambda: [0.0])

    def __post_init__(self) -> None:
        self.pattern = chips(self.seed)
        self.ends_s = [0.0, *(end_s(place, len(self.pattern)) for place in range(len(self.pattern)))]
        self.marker_s, self.rng = self.ends_s[-1], random.Random(self.seed)
        level, wobble = IDLE_W, 0.0
        for step in range(round((IDLE_S + self.marker_s + self.load_s + IDLE_S) / GRID_S)):
            busy = self.is_on(step * GRID_S - IDLE_S)
            level += ((BUSY_W if busy else IDLE_W) - level) * GRID_S / 0.3
            wobble += -wobble * GRID_S / 0.5 + self.rng.gauss(0, 1) * (2 * GRID_S / 0.5) ** 0.5
            self.power.append(level + wobble * (self.noise * BUSY_W if busy else 1.0))
            self.joules.append(self.joules[-1] + self.power[-1] * GRID_S)

    def is_on(self, t_s: float) -> bool:
        if t_s >= self.marker_s:
            return t_s < self.marker_s + self.load_s
        place = sum(end <= t_s for end in self.ends_s) - 1
        return place >= 0 and self.pattern[place] and not self.flat

    def j(self, t_s: float) -> float:
        """Energy since the beginning."""
        place = min(max((t_s + IDLE_S) / GRID_S, 0.0), len(self.power) - 0.001)
        return self.joules[int(place)] + (place - int(place)) * self.power[int(place)] * GRID_S

    def w(self, t_s: float, mean_s: float = GRID_S) -> float:
        """Mean power over the `mean_s` before an instant."""
        return (self.j(t_s) - self.j(t_s - mean_s)) / mean_s

    def edges(self) -> tuple[tuple[int, bool], ...]:
        levels = [(0.0, False), *zip(self.ends_s[:-1], self.pattern, strict=True), (self.marker_s, False)]
        return tuple((ns(t), on) for (_, was), (t, on) in pairwise(levels) if on != was)

    def marker(self) -> Marker:
        return Marker(ns(0), ns(self.marker_s), self.edges())

    def window(self) -> Window:
        """All of the load but its first 4 s."""
        end_s = self.marker_s + self.load_s
        return Window(
            ns(-IDLE_S), ns(0), ns(self.marker_s), ns(self.marker_s + 4), ns(end_s), ns(end_s), "planned",
            ns(end_s), ns(end_s + IDLE_S),
        )  # fmt: skip

    def events(self) -> list[dict[str, Any]]:
        """What the journal would hold: phases, edges, the wall clock at both ends."""
        last_s = self.marker_s + self.load_s
        phases = {"marker_start": 0.0, "marker_end": self.marker_s, "load_start": self.marker_s, "load_stop": last_s}
        return [
            anchor("wall_anchor", -IDLE_S),
            *({"t": ns(t), "event": "phase", "phase": name} for name, t in phases.items()),
            *({"t": t, "event": "marker_chip", "on": on} for t, on in self.edges()),
            anchor("wall_anchor_end", last_s + IDLE_S),
        ]

    def until_s(self) -> float:
        return self.marker_s + self.load_s + IDLE_S - 1


def end_s(place: int, count: int) -> float:
    """When a chip ends, a little off its even place as the marker is played."""
    return CHIP_S * (place + 1 + (0 if place + 1 == count else ((place + 1) * 0.618034 % 1 - 0.5) / 4))


def anchor(event: str, t_s: float, step_ns: int = 0) -> dict[str, Any]:
    return {"t": ns(t_s), "event": event, "wall_ns": str(WALL_NS + ns(t_s) + step_ns), "error_ns": 1000}


@dataclass
class Watch:
    """A meter: it shows, `every_s`, the mean over `mean_s` of what was `delay_s` ago, times `gain`, in whole `digit`s.
    With `lead_s` it has a clock of its own, that much ahead of wall time, and stamps its readings."""

    load: Load
    channel: Channel
    every_s: float = 1.0
    mean_s: float = 1.0
    delay_s: float = 0.0
    phase_s: float = 0.0
    digit: float = 0.1
    noise: float = 0.005
    gain: float = 1.1
    lead_s: float | None = None
    read_ns: int = 400_000

    def samples(self) -> list[PowerSample]:
        return list(self._samples())

    def _samples(self) -> Iterator[PowerSample]:
        t_s, rng = (
            -IDLE_S + self.mean_s + self.delay_s + self.phase_s,
            random.Random(f"{self.load.seed} {self.channel}"),
        )
        while t_s < self.load.until_s():
            watts = self.gain * self.load.w(t_s - self.delay_s, self.mean_s) * (1 + rng.gauss(0, self.noise))
            stamp = None if self.lead_s is None else WALL_NS + ns(t_s + self.lead_s)
            yield PowerSample(ns(t_s), self.read_ns, self.channel.id, round(watts / self.digit) * self.digit, stamp)
            t_s += self.every_s

    @property
    def lag_s(self) -> float:
        """How late its readings are on average."""
        return self.delay_s + self.mean_s / 2


def fast(load: Load) -> Watch:
    """What every node has: an instant reading 20 times a second."""
    return Watch(load, power_channel("gpu.power", meter="gpu", domain="gpu0"), 0.05, 0.02, gain=1.0, digit=0.001)


def slow(load: Load, every_s: float = 1.0, **more: Any) -> Watch:
    """A rack meter that averages over its update interval."""
    settings: dict[str, Any] = {"period_ns": round(every_s * S), "update_ns": round(every_s * S), "boundary": "rack"}
    settings |= more.pop("channel", {})
    channel = power_channel("pdu.power", **({"meter": "pdu", "domain": "rack", "resolution": 0.1} | settings))
    return Watch(load, channel, every_s, more.pop("mean_s", every_s), **more)
