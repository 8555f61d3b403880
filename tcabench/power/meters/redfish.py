"""PDUs, CDUs and servers over Redfish:
`redfish://host[:443]/redfish/v1/PowerEquipment/RackPDUs/1?user=NAME&password_env=VAR`.

What the path names decides what is read: a rack PDU (or one `outlet=A1`, `mains=AC1`, `branch=A` of it), a Sensor, a
Chassis or System (EnvironmentMetrics, else the older Power), a CDU with its coolant loops, or one of the resources
that hold the readings themselves. Source: DMTF DSP0266 1.22 and DSP0268 2025.4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tcabench.errors import MeterError, TcaError
from tcabench.power.address import Address, parse_address, period_ns
from tcabench.power.meter import Fact, Meter
from tcabench.power.meters.http_session import HTTP_OPTIONS, HttpSession
from tcabench.power.meters.redfish_channel import Watched
from tcabench.power.meters.redfish_schema import at, number, stamp_ns
from tcabench.power.meters.redfish_service import RedfishService
from tcabench.power.meters.redfish_walk import CIRCUITS, walk
from tcabench.records import Channel, ClockReading, Reading
from tcabench.units import seconds

OWN = ("user", "password_env", "password_file", "session", "loop", *CIRCUITS, *HTTP_OPTIONS)


class RedfishMeter:
    """Readings of one service, one GET for each resource that holds some of them."""

    def __init__(
        self, name: str, service: RedfishService, watched: Sequence[Watched], facts: Mapping[str, Fact]
    ) -> None:
        self.name, self._service, self._facts = name, service, dict(facts)
        self._watched: dict[str, tuple[Watched, ...]] = {}
        for one in watched:
            self._watched[one.uri] = (*self._watched.get(one.uri, ()), one)
        self._last_ns: dict[str, int] = {}

    def channels(self) -> tuple[Channel, ...]:
        return tuple(one.channel for group in self._watched.values() for one in group)

    def read(self) -> Sequence[Reading]:
        """All readings that are new: a Sensor's only when its ReadingTime has changed. null, or a word in place of a
        number, is no reading. raises: MeterError; the session and the connection are renewed by themselves."""
        return [reading for uri, group in self._watched.items() for reading in self._read(uri, group)]

    def facts(self) -> dict[str, Fact]:
        security: Fact = {"value": self._service.security(), "source": "the connection"}
        return {**self._facts, "security": security}

    def close(self) -> None:
        self._service.close()

    def _read(self, uri: str, group: Sequence[Watched]) -> list[Reading]:
        resource = self._service.get(uri)
        stamp = None
        if group[0].stamped:
            if (stamp := stamp_ns(resource.get("ReadingTime"))) is None:
                raise MeterError(
                    f"{self._service.http.where}{uri} has no ReadingTime of our day any more", "meter-protocol"
                )
            if stamp == self._last_ns.get(uri):
                return []
            self._last_ns[uri] = stamp
        found = [(one, number(at(resource, one.path))) for one in group]
        return [Reading(one.channel.id, value * one.scale, stamp) for one, value in found if value is not None]


class ClockedRedfishMeter(RedfishMeter):
    """A service whose Sensors stamp their readings."""

    def device_time(self) -> ClockReading:
        return self._service.time()


def open_redfish(argument: str) -> list[Meter]:
    """The meter behind `--meter redfish://...`. raises: UsageError, MeterError."""
    address = _named(parse_address("redfish", argument, 443, OWN))
    service = RedfishService(address, HttpSession(address, "on", seconds(period_ns(address, 1.0))))
    try:
        service.open()
        watched, facts = walk(service, address)
        return [_meter(address, service, watched, facts)]
    except TcaError:
        service.close()
        raise


def _meter(
    address: Address, service: RedfishService, watched: Sequence[Watched], facts: Mapping[str, Fact]
) -> RedfishMeter:
    about: dict[str, Fact] = {
        "address": {"value": service.http.where + address.path, "source": "the address"},
        "redfish_version": {"value": str(service.root.get("RedfishVersion")), "source": "ServiceRoot"},
        "polled": {"value": ", ".join(dict.fromkeys(one.uri for one in watched)), "source": "one GET each per reading"},
    }
    if not any(one.stamped for one in watched):
        return RedfishMeter(address.meter, service, watched, {**about, **facts})
    about["clock"] = {"value": service.find_clock(), "source": "ServiceRoot"}
    return ClockedRedfishMeter(address.meter, service, watched, {**about, **facts})


def _named(address: Address) -> Address:
    """Two outlets of one PDU are two meters: the outlet is part of the name."""
    circuit = "-".join(f"{name}-{address.options[name]}" for name in CIRCUITS if name in address.options)
    if not circuit or "name" in address.options:
        return address
    return replace(address, options={**address.options, "name": f"{address.label}-{circuit}".lower()})
