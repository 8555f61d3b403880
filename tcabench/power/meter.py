"""What a meter is, and how one is opened by its name."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from tcabench.errors import UsageError
from tcabench.power.address import refuse_twins
from tcabench.records import Channel, ClockReading, Reading
from tcabench.registry import Registry

Fact = Mapping[str, Any]


class Meter(Protocol):
    """An instrument, or a model standing in for one (`Channel.is_estimate`). Each meter is read by one thread."""

    @property
    def name(self) -> str:
        """Unique within a run, e.g. "nvml.gpu0"."""
        ...

    def channels(self) -> tuple[Channel, ...]:
        """The streams that `read` feeds; the same ones from opening to closing."""
        ...

    def read(self) -> Sequence[Reading | tuple[str, float]]:
        """(channel id, value in the channel's unit), as of now; a channel may be left out where it has no news. A
        meter with a clock of its own gives `Reading`s with its stamps, several of one channel where it kept them.

        raises: MeterError, saying what to do; the next call may succeed again.
        """
        ...

    def facts(self) -> dict[str, Fact]:
        """What is known of the device: name -> {"value", "source"}; value None comes with a "why"."""
        ...

    def close(self) -> None:
        """Release the device; a second call does nothing."""
        ...


@runtime_checkable
class ClockedMeter(Meter, Protocol):
    """A meter that stamps its readings by a clock of its own (`Channel.has_own_clock`), and can be asked the time."""

    def device_time(self) -> ClockReading:
        """The meter's present time. The sampler notes its own clock before and after the call. raises: MeterError."""
        ...


Opener = Callable[[str], Sequence[Meter]]
"""What a registry line names: the text after the colon of `--meter NAME:TEXT` ("" without one) -> its meters."""

METERS = Registry(
    "meter",
    "tcabench.meters",
    {
        "auto": "tcabench.power.meters.auto:open_auto",
        "nvml": "tcabench.power.meters.nvml:open_nvml",
        "amdsmi": "tcabench.power.meters.amdsmi:open_amdsmi",
        "rapl": "tcabench.power.meters.rapl:open_rapl",
        "hwmon": "tcabench.power.meters.hwmon:open_hwmon",
        "estimate": "tcabench.power.meters.estimate:open_estimate",
        "modbus": "tcabench.power.meters.modbus:open_modbus",
        "snmp": "tcabench.power.meters.snmp:open_snmp",
        "redfish": "tcabench.power.meters.redfish:open_redfish",
        "prometheus": "tcabench.power.meters.prometheus:open_prometheus",
        "csv": "tcabench.power.meters.export:open_csv",
        "parquet": "tcabench.power.meters.export:open_parquet",
        "mqtt": "tcabench.power.meters.mqtt:open_mqtt",
        "bacnet": "tcabench.power.meters.bacnet:open_bacnet",
    },
)


def open_meters(names: Sequence[str], apart: bool = False) -> list[Meter]:
    """The meters behind `names` ("nvml", "nvml:0,2", "estimate:idle=1.5,busy=5", "auto"), ready to be read.

    One name may open several meters: `nvml` opens two per GPU, so that a board that is lost, or slow telemetry,
    never holds up the energy readings. "auto" takes NVML where a GPU can be read and else the estimate; which and
    why is the fact "chosen" of each meter, and is logged. With `apart` the meters live in a process of their own, where
    a recording reads them undisturbed by what this process computes.

    raises: PluginError for an unknown name, UsageError for arguments that make no sense, MeterError for a meter
    that cannot be read here. What was already open is closed again.
    """
    if apart:
        from tcabench.power.apart import open_apart

        return open_apart(names)
    refuse_twins(names)
    meters: list[Meter] = []
    try:
        for name in names:
            kind, _, argument = name.partition(":")
            meters.extend(METERS.load(kind)(argument))
            _refuse_doubles(meters)
    except BaseException:
        for meter in meters:
            meter.close()
        raise
    return meters


def _refuse_doubles(meters: Sequence[Meter]) -> None:
    names = Counter(meter.name for meter in meters)
    channels = Counter(channel.id for meter in meters for channel in meter.channels())
    for name, times in [*names.items(), *channels.items()]:
        if times > 1:
            raise UsageError(
                f"{name!r} is metered twice: name each meter once, or tell two apart with name=", "meter-twice"
            )
