"""AMD GPUs through AMD SMI (the `amdsmi` module): energy counter and socket power.

Sources: AMD SMI API reference (amdsmi_get_energy_count, amdsmi_get_power_info); what it does not say is seen in
ROCm/amdsmi, issue 38 (impossible steps), and ml-energy/zeus, pull request 203 (two dies, one reading; powers not told).
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from tcabench.errors import MeterError
from tcabench.power.meter import Fact, Meter
from tcabench.power.meters.amd_channels import Reading, distrusted, most_w, power_readings, telemetry_readings
from tcabench.power.meters.amd_facts import device_facts
from tcabench.power.meters.amd_gpus import Gpu, gpus_there, selected
from tcabench.power.meters.amd_library import LIBRARY, meter_error
from tcabench.records import Channel, Kind, Role


class AmdMeter:
    """Some readings of one GPU. `limit_w` is what it cannot draw for a second."""

    def __init__(
        self, name: str, gpu: Gpu, readings: Sequence[Reading], facts: Mapping[str, Fact], limit_w: float
    ) -> None:
        self.name, self._gpu, self._readings, self._facts, self._limit_w = name, gpu, tuple(readings), facts, limit_w
        self._last: dict[str, tuple[float, float]] = {}
        self._is_open, amdsmi = True, LIBRARY.enter()
        self._trouble: type[Exception] = amdsmi.AmdSmiException

    def channels(self) -> tuple[Channel, ...]:
        return tuple(reading.channel for reading in self._readings)

    def read(self) -> list[tuple[str, float]]:
        """All channels of this meter that have a value now.

        raises: MeterError of kind gpu-lost, amdsmi-permission, amdsmi-unavailable or amdsmi-read, and of kind
        amdsmi-implausible once when the energy counter took a step that the GPU could not have drawn.
        """
        try:
            told = [(reading.channel, reading.ask(self._gpu.handle)) for reading in self._readings]
        except self._trouble as err:
            raise meter_error(err, self._gpu.who) from err
        values = [(channel.id, value) for channel, value in told if value is not None]
        for channel, value in told:
            if channel.kind is Kind.ENERGY and value is not None:
                self._check(channel.id, value)
        return values

    def facts(self) -> dict[str, Fact]:
        return dict(self._facts)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            LIBRARY.leave()

    def _check(self, id_: str, now_j: float) -> None:
        now_s = time.monotonic()
        last_s, last_j = self._last.get(id_, (now_s, now_j))
        self._last[id_] = now_s, now_j
        passed_s = now_s - last_s
        if now_j - last_j > self._limit_w * max(passed_s, 1.0):
            raise MeterError(
                f"{self._gpu.who}: its energy counter rose by {now_j - last_j:.6g} J within {passed_s:.3f} s, more "
                f"than {self._limit_w:g} W for a second: impossible (ROCm/amdsmi, issue 38). Nothing was corrected",
                "amdsmi-implausible",
            )


def open_amdsmi(argument: str, chosen: str = "named") -> list[Meter]:
    """Two meters per GPU: "amdsmi.gpu0" (energy counter and socket power, every 50 ms) and, where it has any,
    "amdsmi.gpu0.telemetry" (averaged power, temperature, clocks, power cap, activity; every second). The second die of
    an MI250 has the latter alone: its energy is in the first die's.

    `argument` selects GPUs by AMD SMI's index or UUID ("0,2"); "" takes all. Opening looks at the counters for at least
    0.3 s; one that cannot be believed is shown and not counted, and its GPU is metered by its power.

    raises: MeterError of kind meter-missing without the module, amdsmi-unavailable without library, driver, GPU, or a
    GPU that tells its power; UsageError for a GPU that is not there.
    """
    amdsmi = LIBRARY.enter()
    try:
        gpus = selected(argument, gpus_there(amdsmi))
        distrust = distrusted(amdsmi, [gpu for gpu in gpus if gpu.first_die < 0])
        asked = [(gpu, *_asked(amdsmi, gpu, distrust.get(gpu.index, ""))) for gpu in gpus]
        return [
            meter
            for gpu, power, slow, facts, limit_w in asked
            for meter in _meters(gpu, power, slow, facts, limit_w, chosen)
        ]
    finally:
        LIBRARY.leave()


def _asked(amdsmi: Any, gpu: Gpu, distrust: str) -> tuple[list[Reading], list[Reading], dict[str, Fact], float]:
    power = power_readings(amdsmi, gpu, distrust) if gpu.first_die < 0 else []
    if gpu.first_die < 0 and not any(reading.channel.role is Role.LOAD for reading in power):
        because = f" ({distrust})" if distrust else ""
        raise MeterError(
            f"{gpu.who} tells AMD SMI neither an energy that can be believed{because} nor its power. Virtual machines "
            "are like that; meter the machine at its plug instead",
            "amdsmi-unavailable",
        )
    fast = [reading for reading in power if reading.channel.role is Role.LOAD]
    slow = [reading for reading in power if reading.channel.role is not Role.LOAD]
    return fast, [*slow, *telemetry_readings(amdsmi, gpu)], device_facts(amdsmi, gpu, distrust), most_w(amdsmi, gpu)


def _meters(
    gpu: Gpu, power: Sequence[Reading], slow: Sequence[Reading], facts: Mapping[str, Fact], limit_w: float, chosen: str
) -> list[Meter]:
    name, facts = f"amdsmi.{gpu.label}", {"chosen": {"value": chosen, "source": "tcabench"}, **facts}
    meters: list[Meter] = [AmdMeter(name, gpu, power, facts, limit_w)] if power else []
    if slow:
        meters.append(AmdMeter(f"{name}.telemetry", gpu, slow, {} if power else facts, limit_w))
    return meters
