"""A Modbus meter that is open: read as its map says, in as few requests as it lets."""

from collections.abc import Sequence

from tcabench.errors import MeterError
from tcabench.power.meter import Fact
from tcabench.power.meters.modbus_link import Link
from tcabench.power.meters.modbus_opening import Found, read_plan
from tcabench.power.meters.possible_time import is_possible
from tcabench.power.register_map import ClockSpec, RegisterMap
from tcabench.records import Channel, ClockReading, Reading
from tcabench.units import NS_PER_S


class ModbusMeter:
    """One device: every channel that its map names and that it has."""

    def __init__(self, name: str, link: Link, whole: RegisterMap, found: Found) -> None:
        self.name, self._link, self._map, self._found = name, link, whole, found

    def channels(self) -> tuple[Channel, ...]:
        return tuple(source.channel for source in self._found.sources)

    def read(self) -> list[Reading]:
        """All values that the device has now; one that it marks as not available is left out.

        raises: MeterError of kind meter-unreachable, meter-auth, meter-map, meter-protocol or meter-read; the next
        call connects anew.
        """
        words = read_plan(self._link, self._found.plan)
        stamp = self._map.stamp
        device_ns = None if stamp is None else self._ns(stamp, words[self._map.register(stamp)])
        readings = []
        for source in self._found.sources:
            value = source.spec.value_of(source.coding.number(words[source.register]))
            if value is not None:
                readings.append(Reading(source.channel.id, value, device_ns))
        return readings

    def facts(self) -> dict[str, Fact]:
        return dict(self._found.facts)

    def close(self) -> None:
        self._link.close()

    def _ns(self, clock: ClockSpec, words: Sequence[int]) -> int:
        """A time by the device's clock, in ns since 1970. raises: MeterError for one that cannot be, such as all ones,
        by which a device says that it has none: without it, nothing tells when the values beside it were taken."""
        number = self._map.coding(clock).number(words)
        if not is_possible(number * (NS_PER_S // clock.per_s)):
            raise MeterError(
                f"{self.name}: {self._map.register(clock)} hold {number:g}, which is no time of our day. Is the "
                "device's clock set?",
                "meter-read",
            )
        return round(number * (NS_PER_S // clock.per_s))


class ClockedModbusMeter(ModbusMeter):
    """One that stamps its values by its own clock, and tells the time."""

    def __init__(self, name: str, link: Link, whole: RegisterMap, found: Found, clock: ClockSpec) -> None:
        super().__init__(name, link, whole, found)
        self._clock = clock

    def device_time(self) -> ClockReading:
        """The device's present time. raises: MeterError."""
        words = self._link.words(self._map.register(self._clock))
        return ClockReading(self._ns(self._clock, words), NS_PER_S // self._clock.per_s)
