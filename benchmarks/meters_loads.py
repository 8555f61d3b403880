"""Loads that played meters draw: steps, ramps, bursts and spikes one after the other, of exactly known energy."""

import random
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import floor, inf
from typing import Any

from tcabench.timeline.marker import CHIPS, chips
from tests.energy import simulated_meters as sim

RIPPLE, RIPPLE_S = 0.02, 0.5
STRAIGHT_S = 0.1


def rippled_steps(rng: random.Random, until_s: float) -> Any:
    """Levels held for some seconds, with the ripple of 2 % that every real load has: what stands still is frozen."""
    knots: list[tuple[float, float, float]] = []
    level, until_level_s, t_s = 0.0, 0.0, 0.0
    while t_s < until_s:
        if t_s >= until_level_s:
            level, until_level_s = rng.uniform(0, 1), t_s + rng.uniform(0.2, 1.8) * 4
        watts = level * (1 + rng.uniform(-RIPPLE, RIPPLE))
        knots.append((t_s, watts, watts))
        t_s += rng.uniform(0.5, 1.5) * RIPPLE_S
    return sim.Load(knots, t_s)


PARTS: Mapping[str, Callable[[random.Random, float], Any]] = {
    "steps": rippled_steps,
    "ramps": lambda rng, until_s: sim.ramps(rng, until_s, 0, 1, every_s=4),
    "bursts": lambda rng, until_s: sim.bursts(rng, until_s, 0, 1, on_s=0.3, off_s=0.4),
    "spikes of 20 ms": lambda rng, until_s: sim.spikes(rng, until_s, 0.2, 1, every_s=0.8, width_s=0.02),
}


@dataclass(frozen=True)
class Chain:
    """A load marker, then every part of PARTS for `part_s`; before and after, nothing. `low_w` is drawn at 0, `high_w`
    at 1, and between those the load marker switches."""

    chip_s: float
    part_s: float
    seed: int
    low_w: float
    high_w: float

    @property
    def marker_s(self) -> float:
        """How long the marker lasts; a rest of two chips follows."""
        return self.chip_s * CHIPS

    def first_s(self, place: int) -> float:
        """When a part begins; the one after the last is the end."""
        return self.marker_s + 2 * self.chip_s + place * self.part_s

    def edges(self) -> list[tuple[float, bool]]:
        """When the marker switches, and whether on."""
        levels = zip((_begin_s(place, self.chip_s) for place in range(CHIPS)), chips(self.seed, CHIPS), strict=True)
        held = [(-1.0, False), *levels, (self.marker_s, False)]
        return [(at_s, on) for (_, was), (at_s, on) in pairwise(held) if on != was]

    def load(self) -> Any:
        """The chain as one load: 0 to 1, the marker from 0 s on."""
        knots = [(at_s, float(on), float(on)) for at_s, on in self.edges()]
        for place, (name, part) in enumerate(PARTS.items()):
            found = part(random.Random(f"{self.seed} {name}"), self.part_s + 1)
            pieces = zip(found.t_s, found.ends, found.first, found.last, strict=True)
            knots += [_cut(self.first_s(place), self.part_s, *piece) for piece in pieces if piece[0] < self.part_s]
        end_s = self.first_s(len(PARTS))
        return sim.Load([*knots, (end_s, 0.0, 0.0)], end_s + 1e6)

    def levels(self, load: Any, epoch_s: float) -> list[tuple[int, float]]:
        """(ns of time.monotonic(), W from then on) for a chain that begins at `epoch_s`: slopes as stairs, each of the
        energy of its piece of slope."""
        stairs = []
        for t_s, end_s, first, last in zip(load.t_s, load.ends, load.first, load.last, strict=True):
            count = 1 if first == last else max(1, floor((end_s - t_s) / STRAIGHT_S))
            for i in range(count):
                at_s, share = t_s + (end_s - t_s) * i / count, first + (last - first) * (i + 0.5) / count
                stairs.append((round((epoch_s + at_s) * 1e9), self.low_w + (self.high_w - self.low_w) * share))
        return stairs

    def between_j(self, load: Any, start_s: float, end_s: float) -> float:
        """Energy in J between two instants, in s since the chain began."""
        drawn = load.until(end_s) - load.until(start_s)
        return float(self.low_w * (end_s - start_s) + (self.high_w - self.low_w) * drawn)


def _begin_s(place: int, chip_s: float) -> float:
    """When a chip begins, a little off its even place as the load generator plays it."""
    return chip_s * (place + ((place * 0.618034 % 1 - 0.5) / 4 if place else 0.0))


def _cut(
    first_s: float, part_s: float, t_s: float, end_s: float, first: float, last: float
) -> tuple[float, float, float]:
    """A piece of a part, ended where the part ends."""
    if end_s > part_s:
        last = first + (last - first) * (part_s - t_s) / (end_s - t_s)
    return first_s + t_s, first, last


class Played:
    """The chain as a test server wants it: W over s since the server's own start. It begins at `epoch_s` of
    time.monotonic(), which may be told while the server runs, ahead of time."""

    def __init__(self, chain: Chain) -> None:
        self.chain, self.epoch_s, self.start_s, self._load = chain, inf, 0.0, chain.load()
        self._swing_w = chain.high_w - chain.low_w

    def __call__(self, t_s: float) -> float:
        """Power in W."""
        x_s, load = self.start_s + t_s - self.epoch_s, self._load
        if x_s < 0:
            return self.chain.low_w
        i = bisect_right(load.t_s, x_s) - 1
        part = (x_s - load.t_s[i]) / (load.ends[i] - load.t_s[i])
        return float(self.chain.low_w + self._swing_w * (load.first[i] + (load.last[i] - load.first[i]) * part))

    def joules(self, t_s: float) -> float:
        """Energy in J from the server's start to `t_s` after it."""
        x_s = self.start_s + t_s - self.epoch_s
        return float(self.chain.low_w * t_s + (self._swing_w * self._load.until(x_s) if x_s > 0 else 0.0))
