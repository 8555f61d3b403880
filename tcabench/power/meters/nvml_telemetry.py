"""What explains a GPU's power: temperature, clocks, power limit, throttle reasons, utilisation, who else is on it."""

import os
from typing import Any

import pynvml

from tcabench.power.meters.nvml_channels import SLOW_NS, Ask, Reading
from tcabench.power.meters.nvml_fields import MILLI
from tcabench.power.meters.nvml_gpus import Gpu
from tcabench.power.meters.nvml_sampling import asked
from tcabench.records import Channel, Kind, Role

MHZ = "MHz"
THROTTLE_BITS = (
    "bits: 1 idle, 2 application clocks, 4 power cap, 8 hardware slowdown, 16 sync boost, 32 software thermal, "
    "64 hardware thermal, 128 power brake, 256 display clocks (nvmlClocksEventReasons)"
)
PROCESSES = (
    "processes with a compute or graphics context on the GPU, the server under test among them, without this one; in a "
    "container NVML may show none of the others"
)
RESOLUTION = {Kind.TEMPERATURE: 1.0, Kind.CLOCK: 1.0, Kind.UTILISATION: 0.01, Kind.POWER_LIMIT: 0.001}


def telemetry_readings(gpu: Gpu) -> tuple[Reading, ...]:
    """Whichever of it the GPU has. raises: NVMLError other than "not supported"."""
    rows: tuple[tuple[str, Kind, str, Ask, str], ...] = (
        ("temperature", Kind.TEMPERATURE, "degC", temperature_c, "GPU die"),
        ("clock_sm", Kind.CLOCK, MHZ, sm_clock_mhz, "streaming multiprocessors"),
        ("clock_memory", Kind.CLOCK, MHZ, memory_clock_mhz, "memory"),
        ("power_limit", Kind.POWER_LIMIT, "W", power_limit_w, "enforced: the lowest of all limits in force"),
        ("throttle", Kind.THROTTLE, "1", throttle_mask, THROTTLE_BITS),
        ("utilisation", Kind.UTILISATION, "1", utilisation, "share of the last sample period with a kernel running"),
        ("processes", Kind.PROCESSES, "1", other_processes, PROCESSES),
    )
    return tuple(
        Reading(_channel(gpu.domain, name, kind, unit, note), ask)
        for name, kind, unit, ask, note in rows
        if asked(ask, gpu.handle) is not None
    )


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
    return float(pynvml.nvmlDeviceGetEnforcedPowerLimit(handle)) / MILLI


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


def other_processes(handle: Any) -> float:
    """How many processes but this one have a context on the GPU, compute and graphics together.

    raises: NVMLError where it tells neither.
    """
    lists = (pynvml.nvmlDeviceGetComputeRunningProcesses, pynvml.nvmlDeviceGetGraphicsRunningProcesses)
    told = [processes for processes in (asked(ask, handle) for ask in lists) if processes is not None]
    if not told:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    return float(len({process.pid for processes in told for process in processes} - {os.getpid()}))


def _channel(domain: str, name: str, kind: Kind, unit: str, note: str) -> Channel:
    return Channel(
        id=f"nvml.{domain}.{name}", meter="nvml", domain=domain, kind=kind, unit=unit, boundary="chip",
        gain_low=1.0, gain_high=1.0, resolution=RESOLUTION.get(kind, 1.0), update_ns=0, period_ns=SLOW_NS,
        is_estimate=False, accuracy_source="NVML states none; shown, not computed with", note=note, role=Role.INFO,
    )  # fmt: skip
