"""NVIDIA GPUs through NVML (the `pynvml` module of nvidia-ml-py): energy counter first, instant power beside it.

Sources: NVML API reference for the calls; for the accuracy that NVML does not state, Yang, Adamek, Armour, "Part-time
Power Measurements: nvidia-smi's Lack of Attention", SC24, doi 10.1109/SC41406.2024.00028.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pynvml

from tcabench.errors import MeterError, UsageError
from tcabench.power.meter import Fact, Meter
from tcabench.power.meters.nvml_channels import Reading, energy_readings, telemetry_readings
from tcabench.power.meters.nvml_facts import device_facts
from tcabench.records import Channel

T = TypeVar("T")

WHAT_TO_DO = {
    pynvml.NVML_ERROR_GPU_IS_LOST: (
        "gpu-lost",
        "The board fell off the bus. Look for Xid 79 in `dmesg`, check its power and seating, then reset the GPU or "
        "reboot; this run is incomplete.",
    ),
    pynvml.NVML_ERROR_RESET_REQUIRED: (
        "gpu-lost",
        "Reset the GPU (`nvidia-smi --gpu-reset`) or reboot, then run again.",
    ),
    pynvml.NVML_ERROR_NO_PERMISSION: (
        "nvml-permission",
        "Run as a user who may read /dev/nvidia*; in a container pass the GPU in with the `utility` driver capability.",
    ),
}
NO_DRIVER = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "libnvidia-ml.so.1 is not on this machine: there is no NVIDIA driver, or the "
    "container was not given the GPU",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is not loaded: try `nvidia-smi`, or load the nvidia module",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "libnvidia-ml.so.1 and the loaded driver are of different versions: "
    "reboot, or reload the nvidia module",
}


@dataclass(frozen=True, slots=True)
class Gpu:
    """One board as NVML knows it. `index` is NVML's, in order of PCI bus; CUDA_VISIBLE_DEVICES does not change it."""

    index: int
    handle: Any
    name: str
    uuid: str

    @property
    def domain(self) -> str:
        return f"gpu{self.index}"


class NvmlMeter:
    """Some readings of one GPU. Each holds NVML open for itself; NVML counts how often it was opened."""

    def __init__(self, name: str, gpu: Gpu, readings: tuple[Reading, ...], facts: dict[str, Fact]) -> None:
        self.name, self._gpu, self._readings, self._facts = name, gpu, readings, facts
        self._open = True
        _call(pynvml.nvmlInit, "NVML")

    def channels(self) -> tuple[Channel, ...]:
        return tuple(reading.channel for reading in self._readings)

    def read(self) -> list[tuple[str, float]]:
        """All channels of this meter. raises: MeterError of kind gpu-lost, nvml-permission or nvml-read."""
        try:
            return [(reading.channel.id, reading.read(self._gpu.handle)) for reading in self._readings]
        except pynvml.NVMLError as err:
            raise _meter_error(err, f"{self._gpu.domain} ({self._gpu.name}, {self._gpu.uuid})") from err

    def facts(self) -> dict[str, Fact]:
        return dict(self._facts)

    def close(self) -> None:
        if self._open:
            self._open = False
            pynvml.nvmlShutdown()


def open_nvml(argument: str, chosen: str = "named") -> list[Meter]:
    """Two meters per GPU: "nvml.gpu0" (energy counter and power, every 50 ms) and, where the board has any,
    "nvml.gpu0.telemetry" (temperature, clocks, power limit, throttle reasons, utilisation; every second).

    `argument` selects GPUs by NVML index or UUID ("0,2"); "" takes all.

    raises: MeterError of kind nvml-unavailable without driver, library, GPU, or a GPU that tells its power;
    UsageError for a GPU that is not there.
    """
    _call(pynvml.nvmlInit, "NVML")
    try:
        there = [_gpu(index) for index in range(_call(pynvml.nvmlDeviceGetCount, "NVML"))]
        asked = [(gpu, _asked(gpu)) for gpu in _selected(argument, there)]
        return [meter for gpu, found in asked for meter in _meters_of(gpu, *found, chosen)]
    finally:
        pynvml.nvmlShutdown()


def _asked(gpu: Gpu) -> tuple[tuple[Reading, ...], tuple[Reading, ...], dict[str, Fact]]:
    who = f"{gpu.domain} ({gpu.name}, {gpu.uuid})"
    energy = _call(lambda: energy_readings(gpu.domain, gpu.handle), who)
    if not energy:
        raise MeterError(
            f"{who} tells NVML neither its energy nor its power: it cannot be metered through NVML. Virtual GPUs and "
            "some mobile boards are like that; meter the machine at its plug instead",
            "nvml-unavailable",
        )
    telemetry = _call(lambda: telemetry_readings(gpu.domain, gpu.handle), who)
    return energy, telemetry, _call(lambda: device_facts(gpu.handle), who)


def _meters_of(
    gpu: Gpu, energy: tuple[Reading, ...], telemetry: tuple[Reading, ...], facts: dict[str, Fact], chosen: str
) -> list[Meter]:
    facts = {"chosen": {"value": chosen, "source": "tcabench"}, **facts}
    meters: list[Meter] = [NvmlMeter(f"nvml.{gpu.domain}", gpu, energy, facts)]
    if telemetry:
        meters.append(NvmlMeter(f"nvml.{gpu.domain}.telemetry", gpu, telemetry, {}))
    return meters


def _gpu(index: int) -> Gpu:
    who = f"gpu{index}"
    handle = _call(lambda: pynvml.nvmlDeviceGetHandleByIndex(index), who)
    name = _call(lambda: str(pynvml.nvmlDeviceGetName(handle)), who)
    return Gpu(index, handle, name, _call(lambda: str(pynvml.nvmlDeviceGetUUID(handle)), who))


def _selected(argument: str, gpus: list[Gpu]) -> list[Gpu]:
    if not gpus:
        raise MeterError("the NVIDIA driver is there and finds no GPU", "nvml-unavailable")
    if not argument:
        return gpus
    known = {name: gpu for gpu in gpus for name in (str(gpu.index), gpu.uuid)}
    wanted = [part.strip() for part in argument.split(",")]
    if strange := [part for part in wanted if part not in known]:
        there = ", ".join(f"{gpu.index} ({gpu.name})" for gpu in gpus)
        raise UsageError(f"nvml: there is no GPU {strange[0]!r} here. There is: {there}", "meter-argument")
    return list({known[part].index: known[part] for part in wanted}.values())


def _call(ask: Callable[[], T], who: str) -> T:
    try:
        return ask()
    except pynvml.NVMLError as err:
        raise _meter_error(err, who) from err


def _meter_error(err: pynvml.NVMLError, who: str) -> MeterError:
    if err.value in NO_DRIVER:
        return MeterError(f"NVML cannot be used: {NO_DRIVER[err.value]}", "nvml-unavailable")
    kind, what_to_do = WHAT_TO_DO.get(err.value, ("nvml-read", "`nvidia-smi -q` may tell more."))
    return MeterError(f"{who} cannot be read, NVML says: {err}. {what_to_do}", kind)
