"""Which AMD GPUs there are, what they can tell, and which is the second die of a module."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tcabench.errors import MeterError, UsageError
from tcabench.power.meters.amd_library import asked, call

NO_READING = 0xFFFF  # AMD SMI's mark for a power it does not have, if it is not "N/A"
UJ_PER_J = UW_PER_W = 1_000_000
MOST_W = 10_000  # a power cap above it is in uW: bare metal tells uW, a virtualisation host W (amdsmi.h)


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as AMD SMI lists it. `first_die`: the index of the die that tells this one's energy, too; -1 for none.
    `has_second`: it tells the energy of the next one."""

    index: int
    handle: Any
    name: str
    uuid: str
    first_die: int = -1
    has_second: bool = False

    @property
    def label(self) -> str:
        return f"gpu{self.index}"

    @property
    def domain(self) -> str:
        """Its own, so that an NVIDIA GPU of the same number beside it is another thing."""
        return f"amd{self.label}"

    @property
    def who(self) -> str:
        return f"{self.label} ({self.name}, {self.uuid})"


@dataclass(frozen=True, slots=True)
class Power:
    """Socket power in W, None where this GPU does not tell: as of now, and averaged."""

    current_w: float | None
    average_w: float | None


def gpus_there(amdsmi: Any) -> list[Gpu]:
    """All GPUs of this machine, second dies marked. raises: MeterError without any."""
    handles = call(amdsmi.amdsmi_get_processor_handles, "AMD SMI")
    if not handles:
        raise MeterError("AMD SMI is there and finds no GPU", "amdsmi-unavailable")
    gpus = [_gpu(amdsmi, index, handle) for index, handle in enumerate(handles)]
    silent = {gpu.index for gpu in gpus if call(partial(_is_silent, amdsmi, gpu), gpu.who)}
    seconds = {i for i in silent if i % 2 and i - 1 not in silent and gpus[i - 1].name == gpus[i].name}
    return [
        replace(gpu, first_die=gpu.index - 1 if gpu.index in seconds else -1, has_second=gpu.index + 1 in seconds)
        for gpu in gpus
    ]


def selected(argument: str, gpus: Sequence[Gpu]) -> list[Gpu]:
    """Those named by index or UUID in `argument`, all for "". raises: UsageError."""
    if not argument:
        return list(gpus)
    known = {name: gpu for gpu in gpus for name in (str(gpu.index), gpu.uuid)}
    wanted = [part.strip() for part in argument.split(",")]
    there = ", ".join(f"{gpu.index} ({gpu.name})" for gpu in gpus)
    if strange := [part for part in wanted if part not in known]:
        raise UsageError(f"amdsmi: there is no GPU {strange[0]!r} here. There is: {there}", "meter-argument")
    chosen = list({known[part].index: known[part] for part in wanted}.values())
    for gpu in chosen:
        if gpu.first_die >= 0 and gpu.first_die not in {one.index for one in chosen}:
            raise UsageError(
                f"amdsmi: GPU {gpu.index} is the second die of a module that tells its energy by GPU {gpu.first_die} "
                f"alone: name amdsmi:{gpu.first_die}, whose energy is that of both dies",
                "meter-argument",
            )
    return chosen


def energy_j(amdsmi: Any, handle: Any) -> tuple[float, float]:
    """(energy in J, the counter's step in J). raises: AmdSmiException.

    AMD SMI tells a count and its step in uJ; the count was called "power" before release 6.2.1.
    """
    told = amdsmi.amdsmi_get_energy_count(handle)
    count = told["energy_accumulator"] if "energy_accumulator" in told else told["power"]
    step_j = told["counter_resolution"] / UJ_PER_J
    return count * step_j, step_j


def power_w(amdsmi: Any, handle: Any) -> Power:
    """What it tells of its socket's power. raises: AmdSmiException."""
    told = amdsmi.amdsmi_get_power_info(handle)
    return Power(watts(told.get("current_socket_power")), watts(told.get("average_socket_power")))


def watts(told: object) -> float | None:
    """A power in W; None for what AMD SMI does not have, "N/A" or its mark."""
    return float(told) if isinstance(told, int | float) and told < NO_READING else None


def power_cap_w(amdsmi: Any, handle: Any) -> float:
    """The power cap in W. raises: AmdSmiException."""
    told = float(amdsmi.amdsmi_get_power_cap_info(handle)["power_cap"])
    return told / UW_PER_W if told > MOST_W else told


def _gpu(amdsmi: Any, index: int, handle: Any) -> Gpu:
    who = f"gpu{index}"
    asic = call(lambda: asked(lambda: amdsmi.amdsmi_get_gpu_asic_info(handle)), who) or {}
    uuid = call(lambda: asked(lambda: amdsmi.amdsmi_get_gpu_device_uuid(handle)), who) or ""
    return Gpu(index, handle, str(asic.get("market_name") or "AMD GPU"), str(uuid))


def _is_silent(amdsmi: Any, gpu: Gpu) -> bool:
    """Whether it tells neither energy nor power: so the second die of an MI250 or MI250X, whose first die tells the
    energy of both (ml-energy/zeus, pull request 203; ROCm/rocm_smi_lib, issue 160)."""
    counted = asked(lambda: energy_j(amdsmi, gpu.handle))
    told = asked(lambda: power_w(amdsmi, gpu.handle))
    powers = (told.current_w, told.average_w) if told else ()
    return not any(powers) and not (counted and counted[0])
