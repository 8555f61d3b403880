"""What NVML can read of a GPU: one `Reading` per channel, and which of them this GPU supports."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pynvml

from tcabench.records import Channel, Kind

# +-5 % of reading, proportional and constant per board (SC24). A limit without a distribution is taken as
# rectangular: u = 5 %/sqrt(3), expanded with k = 2.
GAIN_HALF_WIDTH = 0.0577
ACCURACY = (
    "NVML states no accuracy for this part; +-5 % of reading between boards, constant per board (Yang, Adamek, Armour, "
    "SC24, doi 10.1109/SC41406.2024.00028), as a rectangular limit: k=2 half width 5.77 %"
)
UPDATE_NS = 100_000_000  # seen on Turing to Hopper (SC24); NVML states none
AVERAGE_NS = 1_000_000_000
FAST_NS, SLOW_NS = 50_000_000, 1_000_000_000
MHZ, MW_PER_W, MJ_PER_J = "MHz", 1000, 1000
GA100_PCI = 0x20  # high byte of the PCI device id of A100, A30, A800
UNSUPPORTED = (
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_INVALID_ARGUMENT,  # how some drivers refuse a field id newer than they are
)
THROTTLE_BITS = (
    "bits: 1 idle, 2 application clocks, 4 power cap, 8 hardware slowdown, 16 sync boost, 32 software thermal, "
    "64 hardware thermal, 128 power brake, 256 display clocks (nvmlClocksEventReasons)"
)
Ask = Callable[[Any], float]


@dataclass(frozen=True, slots=True)
class Reading:
    """A channel and the call that reads it: NVML handle -> value in the channel's unit; raises pynvml.NVMLError."""

    channel: Channel
    read: Ask


def energy_readings(domain: str, handle: Any) -> tuple[Reading, ...]:
    """Energy counter and power of a GPU, whichever it has. raises: NVMLError other than "not supported"."""
    board = _board_note(handle)
    readings = []
    if supported(energy_j, handle):
        note = "since the driver was loaded; steps about every 100 ms (observed, NVML states none)"
        channel = _channel(domain, "energy", Kind.ENERGY, "J", FAST_NS, UPDATE_NS, f"{note}{board}")
        readings.append(Reading(channel, energy_j))
    if supported(instant_power_w, handle):
        note = "NVML_FI_DEV_POWER_INSTANT; the sensor looks at 25 ms of each 100 ms on A100 and H100 (SC24)"
        channel = _channel(domain, "power", Kind.POWER, "W", FAST_NS, UPDATE_NS, f"{note}{board}")
        readings.append(Reading(channel, instant_power_w))
    elif supported(power_usage_w, handle):
        update_ns, note = _power_usage_note(handle)
        channel = _channel(domain, "power", Kind.POWER, "W", FAST_NS, update_ns, f"{note}{board}")
        readings.append(Reading(channel, power_usage_w))
    return tuple(readings)


def telemetry_readings(domain: str, handle: Any) -> tuple[Reading, ...]:
    """What explains the power, whichever of it the GPU has; read once a second."""
    rows: tuple[tuple[str, Kind, str, Ask, str], ...] = (
        ("temperature", Kind.TEMPERATURE, "degC", temperature_c, "GPU die"),
        ("clock_sm", Kind.CLOCK, MHZ, sm_clock_mhz, "streaming multiprocessors"),
        ("clock_memory", Kind.CLOCK, MHZ, memory_clock_mhz, "memory"),
        ("power_limit", Kind.POWER_LIMIT, "W", power_limit_w, "enforced: the lowest of all limits in force"),
        ("throttle", Kind.THROTTLE, "1", throttle_mask, THROTTLE_BITS),
        ("utilisation", Kind.UTILISATION, "1", utilisation, "share of the last sample period with a kernel running"),
    )
    return tuple(
        Reading(_channel(domain, name, kind, unit, SLOW_NS, 0, note), ask)
        for name, kind, unit, ask, note in rows
        if supported(ask, handle)
    )


def supported(ask: Callable[[Any], object], handle: Any) -> bool:
    """Whether this GPU and driver answer the question. raises: NVMLError for any trouble but "not supported"."""
    try:
        ask(handle)
    except pynvml.NVMLError as err:
        if err.value in UNSUPPORTED:
            return False
        raise
    return True


def energy_j(handle: Any) -> float:
    """Energy in J since the driver was loaded (Volta and newer)."""
    return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / MJ_PER_J


def instant_power_w(handle: Any) -> float:
    """Power in W, field 186, scope GPU: not averaged over a second, whatever the architecture."""
    (field,) = pynvml.nvmlDeviceGetFieldValues(
        handle, [(pynvml.NVML_FI_DEV_POWER_INSTANT, pynvml.NVML_POWER_SCOPE_GPU)]
    )
    if field.nvmlReturn != pynvml.NVML_SUCCESS:
        raise pynvml.NVMLError(field.nvmlReturn)
    return float(field.value.uiVal) / MW_PER_W


def power_usage_w(handle: Any) -> float:
    """Power in W; a mean over 1 s on Ampere (except GA100) and newer, instant before."""
    return float(pynvml.nvmlDeviceGetPowerUsage(handle)) / MW_PER_W


def temperature_c(handle: Any) -> float:
    """Die temperature in degC."""
    return float(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))


def sm_clock_mhz(handle: Any) -> float:
    """Clock of the multiprocessors in MHz."""
    return float(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM))


def memory_clock_mhz(handle: Any) -> float:
    """Memory clock in MHz."""
    return float(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM))


def power_limit_w(handle: Any) -> float:
    """The limit in force, in W."""
    return float(pynvml.nvmlDeviceGetEnforcedPowerLimit(handle)) / MW_PER_W


def throttle_mask(handle: Any) -> float:
    """Why the clocks are where they are, a bit mask (whole numbers below 2^53 are exact as float)."""
    try:
        return float(pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle))
    except pynvml.NVMLError as err:
        if err.value != pynvml.NVML_ERROR_FUNCTION_NOT_FOUND:
            raise
    return float(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))  # its name before driver 535


def utilisation(handle: Any) -> float:
    """0..1, NVML's own measure of how busy the GPU is."""
    return float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100


def is_ga100(handle: Any) -> bool:
    """Whether the GPU is an A100, A30 or A800, whose plain power reading is instant. Source: NVML reference."""
    return bool(pynvml.nvmlDeviceGetPciInfo(handle).pciDeviceId >> 24 == GA100_PCI)


def mig_on(handle: Any) -> bool:
    """Whether the board is cut into MIG instances."""
    return bool(pynvml.nvmlDeviceGetMigMode(handle)[0])


def _power_usage_note(handle: Any) -> tuple[int, str]:
    newer = supported(pynvml.nvmlDeviceGetArchitecture, handle) and (
        pynvml.nvmlDeviceGetArchitecture(handle) >= pynvml.NVML_DEVICE_ARCH_AMPERE
    )
    if newer and not (supported(is_ga100, handle) and is_ga100(handle)):
        return AVERAGE_NS, "nvmlDeviceGetPowerUsage: on Ampere (except GA100) and newer the mean of the last second"
    return UPDATE_NS, "nvmlDeviceGetPowerUsage: instant on GA100 and architectures before Ampere"


def _board_note(handle: Any) -> str:
    note = ""
    if supported(mig_on, handle) and mig_on(handle):
        note += "; MIG is on: this is the whole board, all of its instances together"
    if "GH200" in pynvml.nvmlDeviceGetName(handle):
        note += "; GH200: the counter is said to cover the whole module, so Grace's own energy must not be added"
    return note


def _channel(domain: str, name: str, kind: Kind, unit: str, period_ns: int, update_ns: int, note: str) -> Channel:
    metered = kind in (Kind.ENERGY, Kind.POWER)
    return Channel(
        id=f"nvml.{domain}.{name}",
        meter="nvml",
        domain=domain,
        kind=kind,
        unit=unit,
        boundary="chip",
        gain_low=1 - GAIN_HALF_WIDTH if metered else 1.0,
        gain_high=1 + GAIN_HALF_WIDTH if metered else 1.0,
        resolution={"J": 0.001, "W": 0.001, "degC": 1.0, MHZ: 1.0}.get(unit, 0.01 if kind is Kind.UTILISATION else 1.0),
        update_ns=update_ns,
        period_ns=period_ns,
        is_estimate=False,
        accuracy_source=ACCURACY if metered else "NVML states none; shown, not computed with",
        note=note,
    )
