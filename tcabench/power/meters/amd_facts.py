"""What AMD SMI knows of a GPU, for the evidence: each fact with the call it came from, or why there is none."""

import os
from collections.abc import Callable
from typing import Any

from tcabench.power.meter import Fact
from tcabench.power.meters.amd_gpus import Gpu, power_cap_w

Row = tuple[str, str, Callable[[Any, Any], object]]

ROWS: tuple[Row, ...] = (
    ("name", "amdsmi_get_gpu_asic_info", lambda smi, h: smi.amdsmi_get_gpu_asic_info(h)["market_name"]),
    ("uuid", "amdsmi_get_gpu_device_uuid", lambda smi, h: smi.amdsmi_get_gpu_device_uuid(h)),
    ("pci_bus_id", "amdsmi_get_gpu_device_bdf", lambda smi, h: smi.amdsmi_get_gpu_device_bdf(h)),
    (
        "architecture",
        "amdsmi_get_gpu_asic_info",
        lambda smi, h: smi.amdsmi_get_gpu_asic_info(h)["target_graphics_version"],
    ),
    (
        "driver_version",
        "amdsmi_get_gpu_driver_info",
        lambda smi, h: smi.amdsmi_get_gpu_driver_info(h)["driver_version"],
    ),
    ("vbios_version", "amdsmi_get_gpu_vbios_info", lambda smi, h: smi.amdsmi_get_gpu_vbios_info(h)["version"]),
    ("library_version", "amdsmi_get_lib_version", lambda smi, h: _version(smi.amdsmi_get_lib_version())),
    ("module_version", "amdsmi.__version__", lambda smi, h: smi.__version__),
    ("power_limit_w", "amdsmi_get_power_cap_info", power_cap_w),
    ("other_processes", "amdsmi_get_gpu_process_list", lambda smi, h: _others(smi.amdsmi_get_gpu_process_list(h))),
)


def device_facts(amdsmi: Any, gpu: Gpu, distrust: str) -> dict[str, Fact]:
    """Facts of one GPU as of now: name -> {"value", "source"}, with "why" where the value is None."""
    facts = {name: _fact(amdsmi, f"AMD SMI {source}", ask, gpu.handle) for name, source, ask in ROWS}
    if gpu.first_die >= 0:
        told = f"second die: its energy is in that of gpu{gpu.first_die}"
    else:
        told = f"not counted: {distrust}" if distrust else "counted"
    return {**facts, "energy_counter": {"value": told, "source": "tcabench, on opening"}}


def _fact(amdsmi: Any, source: str, ask: Callable[[Any, Any], object], handle: Any) -> Fact:
    try:
        return {"value": ask(amdsmi, handle), "source": source}
    except amdsmi.AmdSmiException as err:
        return {"value": None, "source": source, "why": " ".join(str(getattr(err, "err_info", err)).split())}


def _others(processes: list[dict[str, Any]]) -> int:
    """How many processes but this one use the GPU; the server under test is among them if it already runs."""
    return sum(process["pid"] != os.getpid() for process in processes)


def _version(told: dict[str, Any]) -> str:
    return f"{told['major']}.{told['minor']}.{told['release']}"
