"""How often each generation of NVIDIA GPU looks at its power, and for how long: published findings, or a stated
assumption. NVML itself documents neither.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pynvml

MS = 1_000_000
SC24 = "Yang, Adamek, Armour, SC24, doi 10.1109/SC41406.2024.00028"
UNSUPPORTED = (
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_INVALID_ARGUMENT,  # how some drivers refuse a field id newer than they are
)
GA100_PCI = 0x20  # high byte of the PCI device id of A100, A30, A800
CONSUMER_BLACKWELL = 12  # compute capability; the data centre's Blackwell has 10


@dataclass(frozen=True, slots=True)
class Sampling:
    """A power reading that changes every `update_ns` and is the mean over the last `window_ns` (0: nobody knows)."""

    update_ns: int
    window_ns: int
    source: str

    def told(self) -> str:
        """In a sentence's part, e.g. "a new value every 100 ms, the mean of 25 ms: 25 % of the time is seen"."""
        every = f"a new value every {self.update_ns // MS} ms"
        if not self.window_ns:
            return f"{every}, over which time each is taken is not known ({self.source})"
        seen = min(1.0, self.window_ns / self.update_ns)
        return f"{every}, the mean of {self.window_ns // MS} ms: {100 * seen:.0f} % of the time is seen ({self.source})"


ASSUMED = Sampling(
    100 * MS,
    25 * MS,
    "assumed: nobody has published how this part samples; taken as the least seen on any, A100 and H100",
)
INSTANT: Mapping[str, Sampling] = {
    "Pascal": Sampling(20 * MS, 10 * MS, SC24),
    "Volta": Sampling(20 * MS, 10 * MS, SC24),
    "Turing": Sampling(100 * MS, 100 * MS, SC24),
    "GA10x": Sampling(100 * MS, 100 * MS, f"{SC24}, RTX 3090"),
    "GA100": Sampling(100 * MS, 25 * MS, f"{SC24}, A100"),
    "H100": Sampling(100 * MS, 25 * MS, f"{SC24}, H100"),
    "H200": Sampling(100 * MS, 25 * MS, f"assumed as H100, which has the same driver fields: {SC24}"),
    "GH200": Sampling(100 * MS, 20 * MS, f"{SC24}, GH200, where CPU and memory are mixed into it"),
    "GB20x": Sampling(20 * MS, 0, "seen on one board with driver 610.57, not published"),
}
AVERAGE = Sampling(100 * MS, 1000 * MS, f"NVML reference: a mean of 1 s; every 100 ms on H100: {SC24}")
COUNTER_NS = 100 * MS  # seen on Volta to Hopper
COUNTER_TOLD = "since the driver was loaded; steps about every 100 ms (observed, NVML states none)"


def instant_sampling(handle: Any) -> Sampling:
    """How the instant power reading of this GPU comes about."""
    return INSTANT.get(part(handle), ASSUMED)


def part(handle: Any) -> str:
    """The part that the table goes by, e.g. "GA100"; "" where it has no row."""
    name = str(pynvml.nvmlDeviceGetName(handle))
    architecture = asked(pynvml.nvmlDeviceGetArchitecture, handle)
    if architecture == pynvml.NVML_DEVICE_ARCH_AMPERE:
        return "GA100" if is_ga100(handle) else "GA10x"
    if architecture == pynvml.NVML_DEVICE_ARCH_HOPPER:
        return next((row for row in ("GH200", "H200", "H100") if row in name), "")
    if architecture == pynvml.NVML_DEVICE_ARCH_BLACKWELL:
        capability = asked(pynvml.nvmlDeviceGetCudaComputeCapability, handle)
        return "GB20x" if capability and capability[0] == CONSUMER_BLACKWELL else ""
    older = {
        pynvml.NVML_DEVICE_ARCH_PASCAL: "Pascal",
        pynvml.NVML_DEVICE_ARCH_VOLTA: "Volta",
        pynvml.NVML_DEVICE_ARCH_TURING: "Turing",
    }
    return older.get(architecture, "")


def plain_is_average(handle: Any) -> bool:
    """Whether nvmlDeviceGetPowerUsage is a mean of 1 s: on Ampere (except GA100) and newer. Source: NVML reference."""
    architecture = asked(pynvml.nvmlDeviceGetArchitecture, handle)
    return bool(architecture is not None and architecture >= pynvml.NVML_DEVICE_ARCH_AMPERE and not is_ga100(handle))


def is_ga100(handle: Any) -> bool:
    """Whether the GPU is an A100, A30 or A800."""
    info = asked(pynvml.nvmlDeviceGetPciInfo, handle)
    return bool(info is not None and info.pciDeviceId >> 24 == GA100_PCI)


def asked(ask: Callable[[Any], Any], handle: Any) -> Any:
    """The answer, or None where this GPU or driver does not have one. raises: NVMLError for any other trouble."""
    try:
        return ask(handle)
    except pynvml.NVMLError as err:
        if err.value not in UNSUPPORTED:
            raise
    return None
