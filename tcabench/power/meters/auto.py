"""The meter to use when none was named."""

import logging

from tcabench.errors import MeterError
from tcabench.power.meter import Meter
from tcabench.power.meters.estimate import open_estimate
from tcabench.power.meters.nvml import open_nvml

LOG = logging.getLogger("tcabench.power")


def open_auto(argument: str) -> list[Meter]:
    """NVML where a GPU can be read, else the estimate. Which and why is logged and kept as the fact "chosen".

    `argument` goes to NVML ("0,2": those GPUs only).
    """
    try:
        meters: list[Meter] = [*open_nvml(argument, chosen="chosen automatically: an NVIDIA GPU can be read here")]
    except MeterError as err:
        chosen = f"chosen automatically: no NVIDIA GPU can be read here ({err})"
        LOG.warning("power is estimated, not measured (grade E0), %s", chosen)
        return [*open_estimate("", chosen=chosen)]
    LOG.info("metering %s, chosen automatically: an NVIDIA GPU can be read here", ", ".join(m.name for m in meters))
    return meters
