"""What AMD SMI can read of a GPU: one `Reading` per channel, and whether its energy counter can be believed."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import sqrt
from typing import Any

from tcabench.power.meters.amd_gpus import Gpu, energy_j, power_cap_w, power_w, watts
from tcabench.power.meters.amd_library import asked, call
from tcabench.records import Channel, Kind, Role

FAST_NS, SLOW_NS = 50_000_000, 1_000_000_000
LIMIT_PCT = 10.0
HALF_WIDTH = 2 * LIMIT_PCT / 100 / sqrt(3)  # a rectangular limit, k = 2 (GUM, JCGM 100:2008, 4.3.7)
ACCURACY = (
    f"AMD states no accuracy; taken as +-{LIMIT_PCT:g} % of reading, rectangular: k=2 half width "
    f"{100 * HALF_WIDTH:.3g} %"
)
COUNTER_NOTE = "since the driver was loaded; AMD documents neither its interval nor its accuracy"
BOTH_DIES = "; of both dies of the module: its second die tells nothing"
LEAST_S, MOST_S, LOOK_S = 0.3, 1.2, 0.05
MOST_TIMES, LEAST_SHARE = 2.0, 0.1
UNKNOWN_CAP_W = 2500.0  # no accelerator is allowed more (2026)
Ask = Callable[[Any], float | None]


@dataclass(frozen=True, slots=True)
class Reading:
    """A channel and the call that reads it: handle -> value in the channel's unit, None where it has none now."""

    channel: Channel
    ask: Ask


def power_readings(amdsmi: Any, gpu: Gpu, distrust: str) -> list[Reading]:
    """Energy counter and powers of a GPU, whichever it has. `distrust`: why the counter is shown and not counted, ""
    where it can be believed. raises: MeterError."""
    both = BOTH_DIES if gpu.has_second else ""
    readings = []
    if (counted := call(lambda: asked(lambda: energy_j(amdsmi, gpu.handle)), gpu.who)) is not None:
        note = f"{COUNTER_NOTE}{both}" + (f"; shown, not counted: {distrust}" if distrust else "")
        channel = _channel(gpu, "energy", Kind.ENERGY, "J", note, counted[1])
        channel = _shown(channel) if distrust else channel
        readings.append(Reading(channel, lambda handle: energy_j(amdsmi, handle)[0]))
    told = call(lambda: asked(lambda: power_w(amdsmi, gpu.handle)), gpu.who)
    if told is not None and told.current_w:
        note = f"current_socket_power; AMD documents no interval and filters it{both}"
        readings.append(
            Reading(_channel(gpu, "power", Kind.POWER, "W", note, 1.0), lambda h: power_w(amdsmi, h).current_w)
        )
    if told is not None and told.average_w:
        note = f"average_socket_power; AMD documents neither its interval nor the time averaged{both}"
        channel = _channel(gpu, "power_average" if told.current_w else "power", Kind.POWER, "W", note, 1.0)
        channel = _shown(channel) if told.current_w else channel
        readings.append(Reading(channel, lambda h: power_w(amdsmi, h).average_w))
    return readings


def telemetry_readings(amdsmi: Any, gpu: Gpu) -> list[Reading]:
    """What explains the power, whichever of it the GPU has. raises: MeterError."""
    current, sensor, clocks = amdsmi.AmdSmiTemperatureMetric.CURRENT, amdsmi.AmdSmiTemperatureType, amdsmi.AmdSmiClkType
    rows: tuple[tuple[str, Kind, str, Ask, str], ...] = (
        (
            "temperature",
            Kind.TEMPERATURE,
            "degC",
            lambda h: float(amdsmi.amdsmi_get_temp_metric(h, sensor.HOTSPOT, current)),
            "hot spot",
        ),
        (
            "clock_gfx",
            Kind.CLOCK,
            "MHz",
            lambda h: watts(amdsmi.amdsmi_get_clock_info(h, clocks.GFX)["clk"]),
            "compute",
        ),
        (
            "clock_memory",
            Kind.CLOCK,
            "MHz",
            lambda h: watts(amdsmi.amdsmi_get_clock_info(h, clocks.MEM)["clk"]),
            "memory",
        ),
        ("power_limit", Kind.POWER_LIMIT, "W", lambda h: power_cap_w(amdsmi, h), "power cap"),
        (
            "utilisation",
            Kind.UTILISATION,
            "1",
            lambda h: _share(amdsmi.amdsmi_get_gpu_activity(h)["gfx_activity"]),
            "gfx_activity",
        ),
    )
    there = [row for row in rows if call(partial(asked, partial(row[3], gpu.handle)), gpu.who) is not None]
    return [Reading(_shown(_channel(gpu, name, kind, unit, note, 1.0)), ask) for name, kind, unit, ask, note in there]


def distrusted(amdsmi: Any, gpus: Sequence[Gpu]) -> Mapping[int, str]:
    """GPU index -> why its energy counter cannot be believed, after looking at all of them for 0.3 s to 1.2 s.

    Counters that stand still, and steps that no power supply could feed, were seen (ROCm/amdsmi, issue 38): the mean
    power that a counter tells must not be above twice the power cap, nor below a tenth of the power told beside it.
    raises: MeterError.
    """
    began_s, last = time.monotonic(), {}
    first = {gpu.index: _counted(amdsmi, gpu) for gpu in gpus}
    waiting = [gpu for gpu in gpus if first[gpu.index] is not None]
    while waiting and (passed_s := time.monotonic() - began_s) < MOST_S:
        time.sleep(LOOK_S)
        for gpu in waiting:
            last[gpu.index] = (_counted(amdsmi, gpu), time.monotonic() - began_s)
        waiting = [gpu for gpu in waiting if passed_s < LEAST_S or last[gpu.index][0] == first[gpu.index]]
    return {
        gpu.index: why
        for gpu in gpus
        if (start_j := first[gpu.index]) is not None
        and (why := _distrust(amdsmi, gpu, (last[gpu.index][0] or 0.0) - start_j, last[gpu.index][1]))
    }


def most_w(amdsmi: Any, gpu: Gpu) -> float:
    """What a GPU cannot draw for a second: twice its power cap. raises: MeterError."""
    cap_w = call(lambda: asked(lambda: power_cap_w(amdsmi, gpu.handle)), gpu.who)
    return MOST_TIMES * (cap_w or UNKNOWN_CAP_W)


def _counted(amdsmi: Any, gpu: Gpu) -> float | None:
    told = call(lambda: asked(lambda: energy_j(amdsmi, gpu.handle)), gpu.who)
    return told[0] if told else None


def _distrust(amdsmi: Any, gpu: Gpu, gained_j: float, passed_s: float) -> str:
    if gained_j == 0:
        return f"the counter stood still for {passed_s:.1f} s"
    told = call(lambda: asked(lambda: power_w(amdsmi, gpu.handle)), gpu.who)
    beside_w = (told.current_w or told.average_w or 0.0) if told else 0.0
    counted_w, limit_w = gained_j / passed_s, most_w(amdsmi, gpu)
    if LEAST_SHARE * beside_w <= counted_w <= limit_w:
        return ""
    return f"the counter told {counted_w:.4g} W over {passed_s:.1f} s, beside {beside_w:g} W and at most {limit_w:g} W"


def _share(told: object) -> float | None:
    """A share of 0..1 from a whole number of %."""
    pct = watts(told)
    return None if pct is None else pct / 100


def _shown(channel: Channel) -> Channel:
    return replace(channel, role=Role.INFO, period_ns=SLOW_NS)


def _channel(gpu: Gpu, name: str, kind: Kind, unit: str, note: str, resolution: float) -> Channel:
    is_metered = kind in (Kind.ENERGY, Kind.POWER)
    half = HALF_WIDTH if is_metered else 0.0
    return Channel(
        id=f"amdsmi.{gpu.label}.{name}", meter="amdsmi", domain=gpu.domain, kind=kind, unit=unit, boundary="chip",
        gain_low=1 - half, gain_high=1 + half, resolution=0.01 if kind is Kind.UTILISATION else resolution,
        update_ns=0, period_ns=FAST_NS, is_estimate=False,
        accuracy_source=ACCURACY if is_metered else "AMD states none; shown, not computed with", note=note,
        inside=f"amdgpu{gpu.first_die}" if gpu.first_die >= 0 else "",
    )  # fmt: skip
