"""Whether the stated interval (k = 2) holds the truth, and how much wider it is than the errors call for: runs that are
simulated, each with its own load and its own draw of everything unknown. The seeds are fixed.
"""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from math import floor
from typing import Any

from benchmarks.figures import Measured, at_least, at_most
from tcabench.energy import integrate
from tcabench.records import Channel, Context, Instrument, PowerSample, Quantity, Window
from tcabench.timeline import align
from tests.energy import simulated_meters as sim

RUNS, CHUNK = 1000, 50
LEAD_S, TAIL_S = 12.0, 15.0
S, WALL_NS = sim.S, 1_780_000_000 * sim.S
WIDEST = 2.0
Loads = tuple[Callable[[random.Random, float, float], Any], ...]

STEADY: Loads = (lambda rng, until_s, k: sim.steady(until_s, k * rng.uniform(200, 900)),)
STEPS: Loads = (lambda rng, until_s, k: sim.steps(rng, until_s, k * 100, k * 900, every_s=8),)
RAMPS: Loads = (lambda rng, until_s, k: sim.ramps(rng, until_s, k * 100, k * 900, every_s=8),)
QUICK: Loads = (lambda rng, until_s, k: sim.bursts(rng, until_s, k * 150, k * 900, on_s=0.3, off_s=0.4),)
SLOW: Loads = (lambda rng, until_s, k: sim.bursts(rng, until_s, k * 150, k * 900, on_s=3, off_s=5),)
SPIKES: Loads = (lambda rng, until_s, k: sim.spikes(rng, until_s, k * 300, k * 900, every_s=0.8, width_s=0.02),)
ALL = STEADY + STEPS + RAMPS + QUICK + SLOW + SPIKES


@dataclass(frozen=True)
class Way:
    """A meter, how long it is watched, the loads that it meters in turn, and how many times as high they are."""

    meter: Any
    window_s: float
    loads: Loads = ALL
    times: float = 1.0
    is_scraped: bool = False


RACK = 60.0  # a rack of accelerators in place of one
MEAN_1S = replace(sim.NVML, name="nvml.average", average_s=1.0, has_counter=False)
RAPL = sim.MeterProperties(
    "rapl", 5.0, 0.05, 0.001, 0.0, resolution_j=15.258e-6, jitter_s=0.01, has_power=False, starts_at_j=65_530.0,
    modulus_j=65_532.610987, boundary="chip", instrument=Instrument.CPU, domain="cpu0",
)  # fmt: skip
WAYS = {
    "NVML counter": Way(replace(sim.NVML, has_power=False), 30),
    "NVML integral": Way(replace(sim.NVML, has_counter=False), 30),
    "NVML, better of both": Way(sim.NVML, 30),
    "NVML power as 1 s mean": Way(MEAN_1S, 30),
    "RAPL, wraps": Way(RAPL, 30),
    "1 Hz PDU": Way(sim.PDU_1HZ, 120),
    "1 Hz PDU of instants": Way(replace(sim.PDU_1HZ, average_s=0.0, has_counter=False, known_s=0.0), 300),
    "1 Hz PDU, 20 % lost": Way(replace(sim.PDU_1HZ, has_counter=False, lost=0.2), 120),
    "PDU, 10 W and 0.1 kWh": Way(sim.APC, 300, STEADY + STEPS + RAMPS + QUICK + SLOW),
    "0.1 kWh counter, rack": Way(replace(sim.APC, has_power=False), 600, times=RACK),
    "sub-meter, class 0.5": Way(sim.SUBMETER, 120),
    "analyzer": Way(sim.ANALYZER, 30),
    # its readings must move, as real ones do: what stands still is taken for frozen
    "scraped, own clock": Way(
        replace(sim.PDU_1HZ, has_counter=False, known_s=0.0), 60, RAMPS + QUICK + SPIKES, is_scraped=True
    ),
}


@dataclass(frozen=True)
class Run:
    """One simulated run: the error over the stated half width on that side, and whether the interval held the truth."""

    error_of_half: float
    holds: bool


def measure(number: int, share: float, pool: Executor) -> Iterator[Measured]:
    """Coverage and width of every way over `share` of the runs, those of round `number`."""
    count = max(len(ALL), round(RUNS * share))
    jobs = {
        (name, has_class): [
            pool.submit(runs, name, has_class, number, first, min(first + CHUNK, count))
            for first in range(0, count, CHUNK)
        ]
        for has_class in (True, False)
        for name in WAYS
    }
    given = {key: [run for job in of_one for run in job.result()] for key, of_one in jobs.items()}
    for (name, has_class), found in given.items():
        held = sum(run.holds for run in found) / len(found)
        yield at_least(f"coverage{'' if has_class else ', no class error'}: {name}", held, 0.95, "share of runs")
    for (name, has_class), found in given.items():
        errors = sorted(run.error_of_half for run in found)
        wide = 1 / errors[floor(0.95 * len(errors))]
        unit = "of the width that holds 95 %"
        yield at_most(f"width{'' if has_class else ', no class error'}: {name}", wide, WIDEST, unit)
    answered = min(len(found) / count for found in given.values())
    yield at_least("runs that gave an energy, the least of all", answered, 0.9, "share of runs")


def runs(name: str, has_class: bool, number: int, first: int, end: int) -> list[Run]:
    """Some of the runs one way, with the meter's gain drawn within its class or (`has_class` False) a meter of class 0;
    those that give no energy, and say why, are not among them."""
    way = WAYS[name] if has_class else replace(WAYS[name], meter=replace(WAYS[name].meter, class_pct=0.0))
    found = (one_run(way, place, random.Random(f"{name} {number} {place}")) for place in range(first, end))
    return [run for run in found if run is not None]


def one_run(way: Way, place: int, rng: random.Random) -> Run | None:
    """A load, a meter over it, and what the energy stage says of it."""
    load = way.loads[place % len(way.loads)](rng, LEAD_S + way.window_s + TAIL_S, way.times)
    until_s = LEAD_S + way.window_s + rng.uniform(2, 5)
    start_ns = round((LEAD_S - rng.uniform(0, 1)) * S)
    end_ns = start_ns + round(way.window_s * S)
    window = Window(0, 0, 0, start_ns, end_ns, end_ns, "")
    if way.is_scraped:
        channels, samples, context = scraped(load, way.meter, rng, until_s, window)
    else:
        channels, samples, _ = sim.play(load, way.meter, rng, until_s)
        context = Context(alignments=sim.aligned(way.meter))
    total = integrate(channels, samples, window, way.meter.boundary, context).total
    if not isinstance(total, Quantity):
        return None
    truth_j = load.until(end_ns / S) - load.until(start_ns / S)
    half_j = total.value - total.low if total.value > truth_j else total.high - total.value
    return Run(abs(total.value - truth_j) / half_j, total.low <= truth_j <= total.high)


def scraped(
    load: Any, meter: Any, rng: random.Random, until_s: float, window: Window
) -> tuple[tuple[Channel, ...], tuple[PowerSample, ...], Context]:
    """A series that somebody else scrapes once a second and stamps by a clock of his own, up to half a minute off and
    drifting, read in batches; that clock is asked for the time every 10 s. Put on the run's clock by the timeline."""
    lead_s, drift, phase_s = rng.uniform(-30, 30), rng.uniform(-2e-5, 2e-5), rng.uniform(0, 1)
    gain = rng.uniform(1 - meter.class_pct / 100, 1 + meter.class_pct / 100)

    def device_ns(at_s: float, step_ns: int = 1_000_000) -> int:
        return (WALL_NS + round((at_s + lead_s + drift * at_s) * S)) // step_ns * step_ns

    (channel,) = sim.channels_of(meter)
    samples = []
    for tick in range(1, int(until_s)):
        at_s = tick + phase_s
        read_ns = round((at_s + rng.uniform(0.05, 0.9)) * S)
        watts = sim.power_register(load, meter, gain, at_s)
        samples.append(PowerSample(read_ns, 3_000_000, channel.id, watts, device_ns(at_s)))
    events = [_anchor("wall_anchor", 0.0), *(_asked(t, device_ns, rng, meter.name) for t in range(1, int(until_s), 10))]
    axis = align(
        [replace(channel, has_own_clock=True)], samples, [*events, _anchor("wall_anchor_end", until_s)], window
    )
    context = Context(alignments=axis.alignments, health=axis.health)
    return (replace(channel, has_own_clock=True),), axis.samples, context


def _anchor(event: str, at_s: float) -> dict[str, Any]:
    return {"t": round(at_s * S), "event": event, "wall_ns": str(WALL_NS + round(at_s * S)), "error_ns": 1000}


def _asked(at_s: float, device_ns: Callable[[float], int], rng: random.Random, meter: str) -> dict[str, Any]:
    """The time of that clock, on its way there and back for up to 40 ms in all."""
    there_s, back_s = rng.uniform(0.0005, 0.02), rng.uniform(0.0005, 0.02)
    return {
        "t": round((at_s + (there_s + back_s) / 2) * S), "event": "clock_exchange", "meter": meter,
        "before_ns": round(at_s * S), "after_ns": round((at_s + there_s + back_s) * S),
        "device_ns": str(device_ns(at_s + there_s)), "resolution_ns": 1_000_000,
    }  # fmt: skip
