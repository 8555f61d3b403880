"""What NVML knows of a GPU, for the evidence: each fact with the call it came from, or why there is none."""

import os
from collections.abc import Callable
from typing import Any

import pynvml

from tcabench.power.meter import Fact
from tcabench.power.meters.nvml_sampling import UNSUPPORTED

ARCHITECTURES = {
    pynvml.NVML_DEVICE_ARCH_KEPLER: "Kepler",
    pynvml.NVML_DEVICE_ARCH_MAXWELL: "Maxwell",
    pynvml.NVML_DEVICE_ARCH_PASCAL: "Pascal",
    pynvml.NVML_DEVICE_ARCH_VOLTA: "Volta",
    pynvml.NVML_DEVICE_ARCH_TURING: "Turing",
    pynvml.NVML_DEVICE_ARCH_AMPERE: "Ampere",
    pynvml.NVML_DEVICE_ARCH_ADA: "Ada",
    pynvml.NVML_DEVICE_ARCH_HOPPER: "Hopper",
    pynvml.NVML_DEVICE_ARCH_BLACKWELL: "Blackwell",
    pynvml.NVML_DEVICE_ARCH_RUBIN: "Rubin",
}
Row = tuple[str, str, Callable[[Any], object]]

ROWS: tuple[Row, ...] = (
    ("name", "nvmlDeviceGetName", lambda h: pynvml.nvmlDeviceGetName(h)),
    ("uuid", "nvmlDeviceGetUUID", lambda h: pynvml.nvmlDeviceGetUUID(h)),
    ("architecture", "nvmlDeviceGetArchitecture", lambda h: _architecture(pynvml.nvmlDeviceGetArchitecture(h))),
    ("pci_device_id", "nvmlDeviceGetPciInfo", lambda h: f"0x{pynvml.nvmlDeviceGetPciInfo(h).pciDeviceId:08X}"),
    ("pci_bus_id", "nvmlDeviceGetPciInfo", lambda h: str(pynvml.nvmlDeviceGetPciInfo(h).busId)),
    (
        "compute_capability",
        "nvmlDeviceGetCudaComputeCapability",
        lambda h: ".".join(map(str, pynvml.nvmlDeviceGetCudaComputeCapability(h))),
    ),
    ("memory_bytes", "nvmlDeviceGetMemoryInfo", lambda h: pynvml.nvmlDeviceGetMemoryInfo(h).total),
    ("driver_version", "nvmlSystemGetDriverVersion", lambda h: pynvml.nvmlSystemGetDriverVersion()),
    ("nvml_version", "nvmlSystemGetNVMLVersion", lambda h: pynvml.nvmlSystemGetNVMLVersion()),
    ("vbios_version", "nvmlDeviceGetVbiosVersion", lambda h: pynvml.nvmlDeviceGetVbiosVersion(h)),
    ("power_limit_w", "nvmlDeviceGetEnforcedPowerLimit", lambda h: pynvml.nvmlDeviceGetEnforcedPowerLimit(h) / 1000),
    (
        "power_limit_default_w",
        "nvmlDeviceGetPowerManagementDefaultLimit",
        lambda h: pynvml.nvmlDeviceGetPowerManagementDefaultLimit(h) / 1000,
    ),
    (
        "power_limit_range_w",
        "nvmlDeviceGetPowerManagementLimitConstraints",
        lambda h: [limit / 1000 for limit in pynvml.nvmlDeviceGetPowerManagementLimitConstraints(h)],
    ),
    (
        "clock_sm_max_mhz",
        "nvmlDeviceGetMaxClockInfo",
        lambda h: pynvml.nvmlDeviceGetMaxClockInfo(h, pynvml.NVML_CLOCK_SM),
    ),
    (
        "temperature_slowdown_c",
        "nvmlDeviceGetTemperatureThreshold",
        lambda h: pynvml.nvmlDeviceGetTemperatureThreshold(h, pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN),
    ),
    ("mig_mode", "nvmlDeviceGetMigMode", lambda h: "on" if pynvml.nvmlDeviceGetMigMode(h)[0] else "off"),
    ("ecc_mode", "nvmlDeviceGetEccMode", lambda h: "on" if pynvml.nvmlDeviceGetEccMode(h)[0] else "off"),
    (
        "persistence_mode",
        "nvmlDeviceGetPersistenceMode",
        lambda h: "on" if pynvml.nvmlDeviceGetPersistenceMode(h) else "off",
    ),
    ("other_compute_processes", "nvmlDeviceGetComputeRunningProcesses", lambda h: other_compute_processes(h)),
)


def device_facts(handle: Any) -> dict[str, Fact]:
    """Facts of one GPU as of now: name -> {"value", "source"}, with "why" where the value is None.

    raises: NVMLError for any trouble but "not supported" and "no permission".
    """
    return {name: _fact(f"NVML {source}", ask, handle) for name, source, ask in ROWS}


def other_compute_processes(handle: Any) -> int:
    """How many processes but this one compute on the GPU; the server under test is among them if it already runs."""
    return sum(process.pid != os.getpid() for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle))


def _fact(source: str, ask: Callable[[Any], object], handle: Any) -> Fact:
    try:
        return {"value": ask(handle), "source": source}
    except pynvml.NVMLError as err:
        if err.value not in (*UNSUPPORTED, pynvml.NVML_ERROR_NO_PERMISSION):
            raise
        return {"value": None, "source": source, "why": str(err)}


def _architecture(number: int) -> str:
    return ARCHITECTURES.get(number, f"number {number}")
