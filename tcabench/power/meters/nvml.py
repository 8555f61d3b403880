"""NVIDIA GPUs through NVML (the `pynvml` module of nvidia-ml-py): energy counter first, power beside it.

Sources: NVML API reference for the calls; for the accuracy that NVML does not state, Yang, Adamek, Armour, "Part-time
Power Measurements: nvidia-smi's Lack of Attention", SC24, doi 10.1109/SC41406.2024.00028.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pynvml

from tcabench.errors import MeterError
from tcabench.power.meter import Fact, Meter
from tcabench.power.meters.nvml_channels import Reading, power_readings
from tcabench.power.meters.nvml_facts import device_facts
from tcabench.power.meters.nvml_fields import Fields
from tcabench.power.meters.nvml_gpus import PCI, Gpu, gpus_there, modules, selected
from tcabench.power.meters.nvml_session import SESSION, STALE, call, meter_error
from tcabench.power.meters.nvml_telemetry import telemetry_readings
from tcabench.records import Channel


class NvmlMeter:
    """Some readings of one GPU."""

    def __init__(self, name: str, gpu: Gpu, readings: Sequence[Reading], facts: Mapping[str, Fact]) -> None:
        self.name, self._gpu, self._facts = name, gpu, facts
        self._channels = tuple(reading.channel for reading in readings)
        self._asks = [(reading.channel.id, reading.ask) for reading in readings if reading.ask is not None]
        self._fields = Fields({one.channel.id: one.field for one in readings if one.field is not None})
        self._handle: Any = gpu.handle
        self._is_open, self._is_stale, self._opening = True, False, SESSION.enter()

    def channels(self) -> tuple[Channel, ...]:
        return self._channels

    def read(self) -> list[tuple[str, float]]:
        """All channels of this meter; after a reload of the driver, by a handle of the new one.

        raises: MeterError of kind gpu-lost, nvml-permission, nvml-unavailable or nvml-read.
        """
        if self._is_stale:
            self._renew()
        handle = self._handle
        try:
            values = self._fields.read(handle)
            for id_, ask in self._asks:
                values.append((id_, ask(handle)))
        except pynvml.NVMLError as err:
            self._is_stale = err.value in STALE
            raise meter_error(err, self._gpu.who) from err
        return values

    def facts(self) -> dict[str, Fact]:
        return dict(self._facts)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            SESSION.leave()

    def _renew(self) -> None:
        self._opening = SESSION.renew(self._opening)
        self._handle = call(lambda: pynvml.nvmlDeviceGetHandleByUUID(self._gpu.uuid), self._gpu.who)
        self._is_stale = False


def open_nvml(argument: str, chosen: str = "named", pci: Path = PCI) -> list[Meter]:
    """Two meters per GPU: "nvml.gpu0" (energy counter and power, every 50 ms; power of its Grace module, if it has one)
    and, where the board has any, "nvml.gpu0.telemetry" (averaged and memory power, temperature, clocks, power limit,
    throttle reasons, utilisation, processes; every second).

    `argument` selects GPUs by NVML index or UUID ("0,2"); "" takes all. `pci` is where sysfs lists PCI devices.

    raises: MeterError of kind nvml-unavailable without driver, library, GPU, or a GPU that tells its power;
    UsageError for a GPU that is not there, or a MIG instance.
    """
    SESSION.enter()
    try:
        gpus = selected(argument, gpus_there())
        shared = modules(gpus, pci)
        seen = [shared.get(gpu.index, "") for gpu in gpus]
        asked = [
            _asked(gpu, module, module not in seen[:at])
            for at, (gpu, module) in enumerate(zip(gpus, seen, strict=True))
        ]
        return [meter for one in asked for meter in _meters_of(one, chosen)]
    finally:
        SESSION.leave()


@dataclass(frozen=True, slots=True)
class _Asked:
    """A GPU and all that it answers."""

    gpu: Gpu
    fast: tuple[Reading, ...]
    slow: tuple[Reading, ...]
    facts: Mapping[str, Fact]


def _asked(gpu: Gpu, module: str, is_first: bool) -> _Asked:
    power = call(lambda: power_readings(gpu, module, is_first), gpu.who)
    if not power.fast:
        raise MeterError(
            f"{gpu.who} tells NVML neither its energy nor its power: it cannot be metered through NVML. Virtual GPUs "
            "and some mobile boards are like that; meter the machine at its plug instead",
            "nvml-unavailable",
        )
    slow = (*power.slow, *call(lambda: telemetry_readings(gpu), gpu.who))
    return _Asked(gpu, power.fast, slow, call(lambda: device_facts(gpu.handle), gpu.who))


def _meters_of(asked: _Asked, chosen: str) -> list[Meter]:
    name, facts = f"nvml.{asked.gpu.domain}", {"chosen": {"value": chosen, "source": "tcabench"}, **asked.facts}
    meters: list[Meter] = [NvmlMeter(name, asked.gpu, asked.fast, facts)]
    if asked.slow:
        meters.append(NvmlMeter(f"{name}.telemetry", asked.gpu, asked.slow, {}))
    return meters
