"""Energy by every meter's real protocol server against what was truly drawn: all of them in one recording of the real
sampler, over steps, ramps, bursts and spikes.
"""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, fsum
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import Measured, at_least, at_most, told
from benchmarks.meters_loads import PARTS, Chain
from benchmarks.meters_stages import Stages, environment, gpus, played, plug_in, watts_of
from tcabench.clock import SystemClock, wall_anchor
from tcabench.energy import integrate
from tcabench.power import open_meters, recording
from tcabench.records import Channel, Context, Kind, NotMetered, PowerSample, Quantity, Role, Window
from tcabench.timeline import align

KINDS = ("modbus", "snmp2", "snmp3", "redfish", "prometheus", "csv", "mqtt", "bacnet", "rapl")
TITLES = {
    "nvml": "NVML", "rapl": "RAPL", "modbus": "Modbus", "snmp2": "SNMP v2c", "snmp3": "SNMP v3",
    "redfish": "Redfish", "prometheus": "Prometheus", "csv": "CSV", "mqtt": "MQTT", "bacnet": "BACnet",
}  # fmt: skip
WINDOW_S, MARGIN_S, TAIL_S, SOON_S, CHIP_S = 30.0, 3.0, 5.0, 2.0, 4.0
LARGEST = 0.005
S = 1_000_000_000


@dataclass(frozen=True)
class Seen:
    """One kind of meter over one window: what was drawn, what we say and within which limits, what a script says."""

    truth_j: float
    ours: Quantity | NotMetered
    naive_j: float

    @property
    def error(self) -> float:
        return abs(self.ours.value / self.truth_j - 1) if isinstance(self.ours, Quantity) else 1.0

    @property
    def naive_error(self) -> float:
        return abs(self.naive_j / self.truth_j - 1)

    @property
    def holds(self) -> bool:
        return isinstance(self.ours, Quantity) and self.ours.low <= self.truth_j <= self.ours.high


def measure(number: int, share: float, folder: Path) -> Iterator[Measured]:
    """Errors of every meter over every part, and against a script's; a shorter window where `share` is small."""
    window_s = max(6.0, WINDOW_S * share)
    chain = Chain(max(1.0, CHIP_S * share), window_s + 2 * MARGIN_S, number, 0.0, 1.0)
    found = seen(chain, window_s, folder)
    for kind, parts in found.items():
        for part, one in parts.items():
            yield at_most(f"error: {TITLES[kind]}, {part}", one.error, LARGEST, "of the energy")
    for part, first_s in windows(chain, window_s):
        yield told(f"error of exact rows of 1 s, {part}", of_rows(chain, first_s, window_s), "of the energy")
    for kind, parts in found.items():
        ratio = median(one.error for one in parts.values()) / median(one.naive_error for one in parts.values())
        yield at_most(f"error, tcabench / a script's trapezoid: {TITLES[kind]}", ratio, 1.0, "ratio of medians")
    every = [one for parts in found.values() for one in parts.values()]
    held = sum(one.holds for one in every) / len(every)
    yield at_least("interval holds the truth, all servers and loads", held, 0.95, "share of energies")


def seen(chain: Chain, window_s: float, folder: Path) -> dict[str, dict[str, Seen]]:
    """kind -> part -> what came of it."""
    levels = folder / f"levels-{chain.seed}"
    levels.write_text("")
    low_w = watts_of("nvml", chain).low_w
    scene = gpus(folder / "nvml", gpus=1, low_w=low_w, levels=levels, update_ms=100, window_ms=25)
    with plug_in(folder), environment(scene), played(KINDS, chain, folder) as stages:
        meters = open_meters(["nvml", *(name for names in stages.names.values() for name in names)], apart=True)
        try:
            tape = _record(meters, stages, chain, levels)
        finally:
            for meter in meters:
                meter.close()
    return tape.accounts(chain, window_s)


@dataclass(frozen=True)
class Taped:
    """What was recorded of a chain that began at `epoch_s` of time.monotonic()."""

    epoch_s: float
    channels: tuple[Channel, ...]
    samples: tuple[PowerSample, ...]
    events: tuple[Any, ...]

    def accounts(self, chain: Chain, window_s: float) -> dict[str, dict[str, Seen]]:
        """kind -> part -> energies, over a window of `window_s` somewhere in each part."""
        found: dict[str, dict[str, Seen]] = {kind: {} for kind in TITLES}
        for part, first_s in windows(chain, window_s):
            for kind, one in self._kinds(chain, first_s, first_s + window_s):
                found[kind][part] = one
        return found

    def _kinds(self, chain: Chain, from_s: float, to_s: float) -> Iterator[tuple[str, Seen]]:
        """Every kind over one window, in s since the chain began: the product's own way from readings to energy."""
        start_ns, end_ns = (round((self.epoch_s + at_s) * S) for at_s in (from_s, to_s))
        window, load = Window(0, 0, start_ns, start_ns, end_ns, end_ns, "planned"), chain.load()
        axis = align(self.channels, self.samples, self.events, window)
        context = Context(alignments=axis.alignments, health=axis.health)
        for kind in TITLES:
            channels = [one for one in self.channels if kind_of(one) == kind]
            ours = integrate(channels, axis.samples, window, channels[0].boundary, context).total
            truth_j = watts_of(kind, chain).between_j(load, from_s, to_s)
            yield kind, Seen(truth_j, ours, script(channels, self.samples, window))


def windows(chain: Chain, window_s: float) -> Iterator[tuple[str, float]]:
    """(part, when its window begins, in s since the chain began)."""
    for place, part in enumerate(PARTS):
        shift_s = (chain.part_s - window_s) / 2 + random.Random(f"{chain.seed} {part}").uniform(-0.5, 0.5)
        yield part, chain.first_s(place) + shift_s


def of_rows(chain: Chain, from_s: float, window_s: float) -> float:
    """How far off a table is that holds the exact mean of each second, when its first and its last row count in part:
    no reader of such a table can know more."""
    watts, load, to_s = watts_of("csv", chain), chain.load(), from_s + window_s
    rows = [(float(row), watts.between_j(load, row, row + 1.0)) for row in range(floor(from_s), ceil(to_s))]
    counted_j = fsum(joules * (min(to_s, row + 1) - max(from_s, row)) for row, joules in rows)
    return abs(counted_j / watts.between_j(load, from_s, to_s) - 1)


def kind_of(channel: Channel) -> str:
    """Of TITLES; "" for a channel that no energy is taken from."""
    is_counted = channel.role is Role.LOAD and channel.kind in (Kind.POWER, Kind.ENERGY)
    return channel.meter.rpartition(".")[2].partition("-")[0] if is_counted else ""


def script(channels: Sequence[Channel], samples: Sequence[PowerSample], window: Window) -> float:
    """What a script makes of the same readings, each taken when it came: trapezoids under the power, held flat to the
    ends; of a counter alone, the last reading less the first."""
    powers = [channel.id for channel in channels if channel.kind is Kind.POWER]
    wanted = powers[0] if powers else channels[0].id
    inside = [(s.t_ns, s.value) for s in samples if s.channel == wanted and window.start_ns <= s.t_ns < window.end_ns]
    if len(inside) < 2:
        return 0.0
    if not powers:
        return inside[-1][1] - inside[0][1]
    points = [(window.start_ns, inside[0][1]), *inside, (window.end_ns, inside[-1][1])]
    return fsum((b - a) / S * (p + q) / 2 for (a, p), (b, q) in pairwise(points))


def _record(meters: Sequence[Any], stages: Stages, chain: Chain, levels: Path) -> Taped:
    anchor = wall_anchor()
    began = {"t": anchor.mono_ns, "event": "wall_anchor", "wall_ns": str(anchor.wall_ns), "error_ns": anchor.error_ns}
    with recording(meters, SystemClock(), lambda samples: None) as tape:
        time.sleep(SOON_S)
        epoch_s = time.monotonic() + SOON_S
        gpu = watts_of("nvml", chain)
        part = levels.with_suffix(".part")
        part.write_text("".join(f"{t_ns} {watts!r}\n" for t_ns, watts in gpu.levels(gpu.load(), epoch_s)))
        part.replace(levels)
        stages.begin(epoch_s)
        time.sleep(epoch_s - time.monotonic() + chain.first_s(len(PARTS)) + TAIL_S)
    channels = tuple(channel for meter in meters for channel in meter.channels())
    return Taped(epoch_s, channels, tape.samples(), (began, *_marked(chain, epoch_s), *tape.events()))


def _marked(chain: Chain, epoch_s: float) -> Iterator[dict[str, Any]]:
    """What a run notes of its load marker."""
    for phase, at_s in (("marker_start", 0.0), ("marker_end", chain.marker_s)):
        yield {"t": round((epoch_s + at_s) * S), "event": "phase", "phase": phase}
    for at_s, on in chain.edges():
        yield {"t": round((epoch_s + at_s) * S), "event": "marker_chip", "on": on}
