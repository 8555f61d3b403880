"""Which NVIDIA GPUs there are, which were asked for, and which share a module with a Grace processor."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pynvml

from tcabench.errors import MeterError, UsageError
from tcabench.power.meters.nvml_sampling import asked
from tcabench.power.meters.nvml_session import call

PCI = Path("/sys/bus/pci/devices")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One board as NVML knows it. `index` is NVML's, in order of PCI bus; CUDA_VISIBLE_DEVICES does not change it.
    `bus` is its PCI address as sysfs writes it, "" where NVML does not say."""

    index: int
    handle: Any
    name: str
    uuid: str
    bus: str

    @property
    def domain(self) -> str:
        return f"gpu{self.index}"

    @property
    def who(self) -> str:
        return f"{self.domain} ({self.name}, {self.uuid})"

    @property
    def counts_module(self) -> bool:
        """Whether its energy counter covers the whole module: so on GH200 (ml-energy/zeus, pull request 172)."""
        return "GH200" in self.name


def gpus_there() -> list[Gpu]:
    """All GPUs of this machine. raises: MeterError."""
    return [_gpu(index) for index in range(call(pynvml.nvmlDeviceGetCount, "NVML"))]


def selected(argument: str, gpus: Sequence[Gpu]) -> list[Gpu]:
    """Those named by index or UUID in `argument`, all for "". raises: MeterError without any; UsageError."""
    if not gpus:
        raise MeterError("the NVIDIA driver is there and finds no GPU", "nvml-unavailable")
    if not argument:
        return list(gpus)
    known = {name: gpu for gpu in gpus for name in (str(gpu.index), gpu.uuid)}
    wanted = [part.strip() for part in argument.split(",")]
    for part in wanted:
        if part not in known:
            raise UsageError(_not_there(part, gpus), "meter-argument")
    return list({known[part].index: known[part] for part in wanted}.values())


def modules(gpus: Sequence[Gpu], pci: Path) -> dict[int, str]:
    """GPU index -> domain of the module it shares with a Grace processor, named by that processor's socket.

    The socket is the NUMA node of the GPU's PCI device: GPUs of one module are on one, and all of them tell the power
    of the same module (seen on GH200, GB200, GB300). A GPU whose node is not known has no module; on GH200, with one
    GPU per module, the GPU's own number serves then.
    """
    sockets = {gpu.index: _numa_node(gpu.bus, pci) for gpu in gpus}
    if all(gpu.counts_module for gpu in gpus) and len(set(sockets.values()) - {None}) < len(gpus):
        return {gpu.index: f"module{gpu.index}" for gpu in gpus}
    return {index: f"module{socket}" for index, socket in sockets.items() if socket is not None}


def _gpu(index: int) -> Gpu:
    who = f"gpu{index}"
    handle = call(lambda: pynvml.nvmlDeviceGetHandleByIndex(index), who)
    name = call(lambda: str(pynvml.nvmlDeviceGetName(handle)), who)
    uuid = call(lambda: str(pynvml.nvmlDeviceGetUUID(handle)), who)
    info = call(lambda: asked(pynvml.nvmlDeviceGetPciInfo, handle), who)
    return Gpu(index, handle, name, uuid, _sysfs_address(str(info.busId)) if info is not None else "")


def _sysfs_address(bus_id: str) -> str:
    """NVML writes the domain in 8 digits and capitals, sysfs in 4 and small letters."""
    domain, _, rest = bus_id.lower().partition(":")
    return f"{domain[-4:]}:{rest}"


def _numa_node(bus: str, pci: Path) -> int | None:
    try:
        node = int((pci / bus / "numa_node").read_text()) if bus else -1
    except (OSError, ValueError):
        return None  # not told, as in most containers and virtual machines
    return node if node >= 0 else None


def _not_there(part: str, gpus: Sequence[Gpu]) -> str:
    there = ", ".join(f"{gpu.index} ({gpu.name})" for gpu in gpus)
    if not part.startswith("MIG-"):
        return f"nvml: there is no GPU {part!r} here. There is: {there}"
    return (
        f"nvml: {part} is a MIG instance, and NVML tells power and energy for whole boards alone. Name the board"
        f"{_board_of(part)}; its reading holds all of its instances together. There is: {there}"
    )


def _board_of(mig_uuid: str) -> str:
    try:
        instance = pynvml.nvmlDeviceGetHandleByUUID(mig_uuid)
        board = pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(instance)
        return f" that holds it, nvml:{pynvml.nvmlDeviceGetIndex(board)}"
    except pynvml.NVMLError:
        return ""  # the hint goes without: the refusal is the same
