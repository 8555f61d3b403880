"""The power and energy that NVML can read of a GPU: one `Reading` per channel, and which of them this GPU supports."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pynvml

from tcabench.power.meters.nvml_fields import MILLI, Field, Fields
from tcabench.power.meters.nvml_gpus import Gpu
from tcabench.power.meters.nvml_sampling import (
    AVERAGE,
    COUNTER_NS,
    COUNTER_TOLD,
    MS,
    UNSUPPORTED,
    Sampling,
    asked,
    instant_sampling,
    plain_is_average,
)
from tcabench.records import Channel, Kind, Role

# +-5 % of reading, proportional and constant per board (SC24). A limit without a distribution is taken as
# rectangular: u = 5 %/sqrt(3), expanded with k = 2.
GAIN_HALF_WIDTH = 0.0577
ACCURACY = (
    "NVML states no accuracy for this part; +-5 % of reading between boards, constant per board (Yang, Adamek, Armour, "
    "SC24, doi 10.1109/SC41406.2024.00028), as a rectangular limit: k=2 half width 5.77 %"
)
FAST_NS, SLOW_NS = 50 * MS, 1000 * MS
GPU, MODULE, MEMORY = pynvml.NVML_POWER_SCOPE_GPU, pynvml.NVML_POWER_SCOPE_MODULE, pynvml.NVML_POWER_SCOPE_MEMORY
INSTANT, AVERAGED = pynvml.NVML_FI_DEV_POWER_INSTANT, pynvml.NVML_FI_DEV_POWER_AVERAGE
ENERGY = (pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, GPU)
Ask = Callable[[Any], float]


@dataclass(frozen=True, slots=True)
class Reading:
    """A channel and how it is read: by a call of its own (handle -> value in the channel's unit; raises NVMLError), or
    as a field (id, scope), of which one call reads all."""

    channel: Channel
    ask: Ask | None = None
    field: Field | None = None


@dataclass(frozen=True, slots=True)
class Readings:
    """What is read of one GPU: `fast` 20 times, `slow` once a second."""

    fast: tuple[Reading, ...]
    slow: tuple[Reading, ...]


def power_readings(gpu: Gpu, module: str, first_of_module: bool) -> Readings:
    """Energy counter and power of a GPU, whichever it has, and those of its `module` ("" without one) once.

    Where there are an instant and an averaged power, the instant one counts and the other is shown.
    raises: NVMLError other than "not supported".
    """
    there = fields_there(gpu.handle)
    covered = module if gpu.counts_module else ""
    counter = _counter(gpu, there, covered)
    whole = _module_power(gpu, module, there) if module and first_of_module else []
    own = _gpu_power(gpu, there, covered if counter or whole else "")
    fast = [one for one in (*counter, *own, *whole) if one.channel.period_ns == FAST_NS]
    slow = [one for one in (*own, *whole, *_memory_power(gpu, there)) if one.channel.period_ns == SLOW_NS]
    return Readings(tuple(fast), tuple(slow))


def fields_there(handle: Any) -> frozenset[Field]:
    """The energy and power fields that this GPU answers; those of a module or its memory with more than 0 W, for parts
    without them answer 0 (seen by ml-energy/zeus). raises: NVMLError other than "not supported"."""
    wanted = [ENERGY, (INSTANT, GPU), (AVERAGED, GPU), (INSTANT, MODULE), (AVERAGED, MODULE), (AVERAGED, MEMORY)]
    fields = Fields({field: field for field in wanted})
    told = asked(lambda board: fields.read(board, UNSUPPORTED), handle) or []
    return frozenset(field for field, value in told if value > 0 or field[1] == GPU)


def power_usage_w(handle: Any) -> float:
    """Power in W; a mean over 1 s on Ampere (except GA100) and newer, instant before."""
    return float(pynvml.nvmlDeviceGetPowerUsage(handle)) / MILLI


def counted_j(handle: Any) -> float:
    """Energy in J since the driver was loaded (Volta and newer)."""
    return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / MILLI


def _counter(gpu: Gpu, there: frozenset[Field], covered: str) -> list[Reading]:
    """As a field it comes with the power in one call; a driver without that field has a call for it."""
    if ENERGY in there:
        return [Reading(_counter_channel(gpu, covered), field=ENERGY)]
    return [] if asked(counted_j, gpu.handle) is None else [Reading(_counter_channel(gpu, covered), counted_j)]


def _counter_channel(gpu: Gpu, covered: str) -> Channel:
    note = f"{COUNTER_TOLD}{_board_note(gpu)}"
    if covered:
        note += (
            "; GH200: this counter is said to cover the whole module, Grace and its memory too, so no other energy of "
            "the module may be added (ml-energy/zeus, pull request 172)"
        )
    return _channel(covered or gpu.domain, "energy", Kind.ENERGY, Sampling(COUNTER_NS, 0, ""), note)


def _gpu_power(gpu: Gpu, there: frozenset[Field], inside: str) -> list[Reading]:
    board = _board_note(gpu)
    average = f"NVML_FI_DEV_POWER_AVERAGE: {AVERAGE.told()}{board}"
    if (INSTANT, GPU) in there:
        sampling = instant_sampling(gpu.handle)
        note = f"NVML_FI_DEV_POWER_INSTANT: {sampling.told()}{board}"
        readings = [Reading(_channel(gpu.domain, "power", Kind.POWER, sampling, note, inside), field=(INSTANT, GPU))]
        if (AVERAGED, GPU) in there:
            note = f"{average}; shown beside the instant power, not counted"
            readings.append(Reading(_shown(gpu.domain, "power_average", AVERAGE, note, inside), field=(AVERAGED, GPU)))
        return readings
    if (AVERAGED, GPU) in there:
        return [Reading(_channel(gpu.domain, "power", Kind.POWER, AVERAGE, average, inside), field=(AVERAGED, GPU))]
    if asked(power_usage_w, gpu.handle) is None:
        return []
    sampling = AVERAGE if plain_is_average(gpu.handle) else instant_sampling(gpu.handle)
    what = "on Ampere (except GA100) and newer a mean" if sampling is AVERAGE else "instant on GA100 and before Ampere"
    note = f"nvmlDeviceGetPowerUsage, {what}: {sampling.told()}{board}"
    return [Reading(_channel(gpu.domain, "power", Kind.POWER, sampling, note, inside), power_usage_w)]


def _module_power(gpu: Gpu, module: str, there: frozenset[Field]) -> list[Reading]:
    """Counted where the energy counter covers the module, too. Elsewhere (GB200, GB300: one Grace, two GPUs) the GPUs
    are counted each by itself and the module is shown."""
    for field, sampling in (((INSTANT, MODULE), instant_sampling(gpu.handle)), ((AVERAGED, MODULE), AVERAGE)):
        if field not in there:
            continue
        note = f"power of the whole module: Grace, its GPUs and memory, regulators: {sampling.told()}"
        if gpu.counts_module:
            return [Reading(_channel(module, "power", Kind.POWER, sampling, note), field=field)]
        return [Reading(_shown(module, "power", sampling, f"{note}; shown, not counted: its GPUs are"), field=field)]
    return []


def _memory_power(gpu: Gpu, there: frozenset[Field]) -> list[Reading]:
    if (AVERAGED, MEMORY) not in there:
        return []
    note = f"power of the GPU's memory, a part of the GPU's: {AVERAGE.told()}"
    channel = _shown(f"{gpu.domain}.memory", "power", AVERAGE, note, gpu.domain)
    return [Reading(channel, field=(AVERAGED, MEMORY))]


def _board_note(gpu: Gpu) -> str:
    mode = asked(pynvml.nvmlDeviceGetMigMode, gpu.handle)
    return "; MIG is on: this is the whole board, all of its instances together" if mode and mode[0] else ""


def _shown(domain: str, name: str, sampling: Sampling, note: str, inside: str = "") -> Channel:
    return _channel(domain, name, Kind.POWER, sampling, note, inside, Role.INFO, SLOW_NS)


def _channel(
    domain: str, name: str, kind: Kind, sampling: Sampling, note: str, inside: str = "", role: Role = Role.LOAD,
    period_ns: int = FAST_NS,
) -> Channel:  # fmt: skip
    return Channel(
        id=f"nvml.{domain}.{name}", meter="nvml", domain=domain, kind=kind, unit="J" if kind is Kind.ENERGY else "W",
        boundary="chip", gain_low=1 - GAIN_HALF_WIDTH, gain_high=1 + GAIN_HALF_WIDTH, resolution=0.001,
        update_ns=sampling.update_ns, period_ns=period_ns, is_estimate=False, accuracy_source=ACCURACY, note=note,
        role=role, inside=inside, average_ns=sampling.window_ns,
    )  # fmt: skip
