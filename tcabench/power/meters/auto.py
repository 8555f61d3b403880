"""The meter to use when none was named."""

import logging
from collections.abc import Sequence

from tcabench.errors import MeterError, TcaError, UsageError
from tcabench.power.meter import Meter

LOG = logging.getLogger("tcabench.power")
CPU = "cpu"


def open_auto(argument: str) -> list[Meter]:
    """The accelerators, where there are any: NVML and AMD SMI. Else the processors, where their counters may be read:
    RAPL. Else the estimate. Which and why is logged and kept as the fact "chosen".

    Processors are left out where accelerators do the work: a figure of the chips is theirs alone, on every machine;
    `--meter nvml --meter rapl` has both. `argument` selects accelerators ("0,2") on a machine with those of one maker;
    "cpu" leaves them out.

    raises: MeterError where accelerators were selected and none can be read; UsageError for a selection that is not
    there, or may be of either of two makers.
    """
    whys: list[str] = []
    meters = [] if argument == CPU else _accelerators(argument, whys)
    if argument not in ("", CPU) and not meters:
        raise MeterError(
            f"auto: {argument!r} names accelerators, and there are none: {'; '.join(whys)}", "no-accelerator"
        )
    if meters := meters or _processors(whys):
        LOG.info("metering %s, chosen automatically", ", ".join(meter.name for meter in meters))
        return meters
    chosen = "chosen automatically: " + "; ".join(whys)
    LOG.warning("power is estimated, not measured (grade E0), %s", chosen)
    from tcabench.power.meters.estimate import open_estimate

    return open_estimate("", chosen=chosen)


def _accelerators(argument: str, whys: list[str]) -> list[Meter]:
    meters: list[Meter] = []
    try:
        meters.extend(_nvidia(argument, whys))
        meters.extend(_amd(argument, whys))
        _refuse_ambiguity(argument, meters)
    except TcaError:
        for meter in meters:
            meter.close()
        raise
    return meters


def _nvidia(argument: str, whys: list[str]) -> Sequence[Meter]:
    from tcabench.power.meters.nvml import open_nvml

    try:
        return open_nvml(argument, chosen="chosen automatically: an NVIDIA GPU can be read here")
    except MeterError as err:
        whys.append(f"no NVIDIA GPU can be read here ({err})")
        return []


def _amd(argument: str, whys: list[str]) -> Sequence[Meter]:
    from tcabench.power.meters.amdsmi import open_amdsmi

    try:
        return open_amdsmi(argument, chosen="chosen automatically: an AMD GPU can be read here")
    except MeterError as err:
        whys.append(f"no AMD GPU can be read here ({err})")
        return []


def _processors(whys: list[str]) -> list[Meter]:
    from tcabench.power.meters.rapl import open_rapl

    chosen = "; ".join([*whys, "the counters of the processors can be read here"])
    try:
        return open_rapl("", chosen=f"chosen automatically: {chosen}")
    except MeterError as err:
        whys.append(f"no counters of the processors can be read here ({err})")
        return []


def _refuse_ambiguity(argument: str, meters: Sequence[Meter]) -> None:
    """A number says nothing where GPUs of two makers are counted from 0 each."""
    makers = sorted({channel.meter for meter in meters for channel in meter.channels()})
    if argument and len(makers) > 1:
        why = f"auto: {argument!r} may be GPUs of {' or of '.join(makers)}: name them, as in {makers[0]}:{argument}"
        raise UsageError(why, "meter-argument")
