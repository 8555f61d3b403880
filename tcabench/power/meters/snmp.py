"""Rack PDUs and other meters over SNMP v2c and v3: `--meter "snmp://host?map=raritan-px&outlet=5"`.

Sources: RFC 3416 (GET), RFC 3414 and 7860 (user-based security), RFC 7460 (accuracy), RFC 2579 (DateAndTime); each map
names the maker's own MIB.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tcabench.errors import MeterError, UsageError
from tcabench.power.address import Address, Point, parse_address, place
from tcabench.power.maps import shipped
from tcabench.power.meter import Fact, Meter
from tcabench.power.meters.snmp_answer import Client, Value
from tcabench.power.meters.snmp_clock import clock_reading
from tcabench.power.meters.snmp_facts import device_facts, device_names
from tcabench.power.meters.snmp_security import OPTIONS, opened_client
from tcabench.power.meters.snmp_setup import Asked, Settled, ask, settled, setup_names
from tcabench.power.oid_map import INDEXES, PROTOCOL, Level, LoadedMap, filled, load_map
from tcabench.records import Channel, ClockReading, Reading, Role
from tcabench.units import NS_PER_S, seconds

PORT = 161
READ_S = 1.0  # the longest wait for an answer while a run lasts; a shorter period shortens it


@dataclass(frozen=True, slots=True)
class Wire:
    """A channel, and where in an answer its value, its stamp and its state stand."""

    channel: Channel
    settled: Settled
    value_at: int
    stamp_at: int | None
    state_at: int | None

    def reading(self, values: Sequence[Value]) -> Reading | None:
        """The reading in an answer; None where the device says that it has none."""
        raw = values[self.value_at]
        if self.settled.why_not(raw, None if self.state_at is None else values[self.state_at]):
            return None
        stamp = None if self.stamp_at is None else values[self.stamp_at]
        device_ns = stamp * NS_PER_S if isinstance(stamp, int) and stamp > 0 else None
        return Reading(self.channel.id, self.settled.value_of(raw), device_ns)


class SnmpMeter:
    """One level of one device. All its objects come in one GET, so that they belong together."""

    def __init__(
        self, name: str, client: Client, wires: Sequence[Wire], names: Sequence[str], facts: Mapping[str, Fact]
    ) -> None:
        self.name, self._client, self._wires, self._facts = name, client, tuple(wires), dict(facts)
        self._names = tuple(names)
        self._timeout_s = min(READ_S, *(seconds(wire.channel.period_ns) for wire in wires))

    def channels(self) -> tuple[Channel, ...]:
        return tuple(wire.channel for wire in self._wires)

    def read(self) -> list[Reading]:
        """All channels; one that the device marks as not available is left out. raises: MeterError; the next call may
        succeed again."""
        values = self._client.get(self._names, self._timeout_s)
        return [reading for wire in self._wires if (reading := wire.reading(values)) is not None]

    def facts(self) -> dict[str, Fact]:
        return dict(self._facts)

    def close(self) -> None:
        self._client.close()


class ClockedSnmpMeter(SnmpMeter):
    """One that stamps its readings by a clock, the object `clock`, that can be asked for the time."""

    clock: str

    def device_time(self) -> ClockReading:
        """The device's present time. raises: MeterError."""
        (value,) = self._client.get((self.clock,), self._timeout_s)
        reading = clock_reading(value)
        if isinstance(reading, str):
            raise MeterError(f"{self._client.who}: its clock cannot be used any more: {reading}", "meter-read")
        return reading


def open_snmp(argument: str) -> list[Meter]:
    """The meter behind "//host[:161]?map=NAME[&outlet=N...][&version=2c&community_env=VAR]" or with "&user=NAME&
    auth=sha256&auth_env=VAR&priv=aes128&priv_env=VAR"; opening reads it once, completely.

    raises: UsageError for an address that makes no sense; MeterError of kind meter-unreachable, meter-auth, meter-map
    (it answers, but not what the map says), meter-protocol or meter-read.
    """
    address = parse_address("snmp", argument, PORT, ("map", *OPTIONS, *INDEXES))
    if not address.host or not address.option("map"):
        raise UsageError(
            "snmp: it takes a host and a map, as in snmp://10.0.0.6?map=raritan-px. Maps: "
            f"{', '.join(shipped(PROTOCOL))}; or the path of your own",
            "meter-argument",
        )
    loaded = load_map(address.option("map"))
    level = loaded.map.level(address.options)
    index = _index(address, level)
    client = opened_client(address)
    try:
        return [_opened(_named(address, level), client, loaded, level, index)]
    except (MeterError, UsageError):
        client.close()
        raise


def _opened(address: Address, client: Client, loaded: LoadedMap, level: Level, index: Mapping[str, int]) -> SnmpMeter:
    facts_names = device_names(loaded.map, level, index)
    asked = ask(client, [*setup_names(level, index), *facts_names.values()])
    found = [settled(spec, index, asked) for spec in level.channels]
    described = [one for one in found if isinstance(one, Settled)]
    now = ask(client, [name for one in described for name in one.names])
    usable, left_out = _sorted_out(client.who, level, found, now)
    names = list(dict.fromkeys(name for one in usable for name in one.names))
    wires = [_wire(address, level, one, now, names) for one in usable]
    facts = device_facts(address, loaded, level, index, asked, left_out)
    clock = filled(loaded.map.clock, index) if loaded.map.clock else ""
    is_clocked = any(wire.channel.has_own_clock for wire in wires) and not isinstance(
        clock_reading(asked.get(clock)), str
    )
    meter = (ClockedSnmpMeter if is_clocked else SnmpMeter)(address.meter, client, wires, names, facts)
    if isinstance(meter, ClockedSnmpMeter):
        meter.clock = clock
    meter.read()  # all of it at once, as in the run
    return meter


def _sorted_out(
    who: str, level: Level, found: Sequence[Settled | str], now: Asked
) -> tuple[list[Settled], dict[str, str]]:
    """The channels that the device has, and why it does not have the others. raises: MeterError of kind meter-map when
    one is missing that must be there."""
    usable, why = [], {}
    for spec, one in zip(level.channels, found, strict=True):
        reason = one if isinstance(one, str) else one.why_not(now[one.oid], now.get(one.state))
        if reason and not spec.optional:
            raise MeterError(
                f"{who} answers, but not with {spec.name}: {reason}. Is it the right map, and the right number of "
                "inlet or outlet? May this user or community see that part? Does this model meter at this level?",
                "meter-map",
            )
        if isinstance(one, Settled) and not reason:
            usable.append(one)
        else:
            why[spec.name] = reason
    return usable, why


def _wire(address: Address, level: Level, one: Settled, now: Asked, names: Sequence[str]) -> Wire:
    spec, stamp = one.spec, now.get(one.stamp)
    has_stamp = isinstance(stamp, int) and stamp > 0
    point = Point(
        quantity=spec.name, kind=spec.kind, unit=spec.unit, class_pct=one.class_pct,
        accuracy_source=one.accuracy_source, resolution=one.resolution, update_s=spec.update_s,
        average_s=spec.average_s, modulus=one.modulus, boundary=spec.boundary or level.boundary, role=spec.role,
        instrument=spec.instrument, has_own_clock=has_stamp, note=spec.note, domain=spec.domain,
    )  # fmt: skip
    if spec.role is not Role.LOAD:  # `role` places the load that the device is for, not what the map itself places
        address = replace(address, options={name: text for name, text in address.options.items() if name != "role"})
    return Wire(
        place(address, point), one, names.index(one.oid), names.index(one.stamp) if has_stamp else None,
        names.index(one.state) if one.state else None,
    )  # fmt: skip


def _index(address: Address, level: Level) -> dict[str, int]:
    """The numbers that fill the placeholders of the level's OIDs. raises: UsageError."""
    for name in INDEXES:
        if name in address.options and name not in (*level.index, "entity"):
            raise UsageError(
                f"snmp: at the level {level.name!r} of this map there is no {name!r}; it takes "
                f"{', '.join(level.index)}",
                "meter-argument",
            )
    index = {}
    for name, default in level.index.items() | ({"entity": None} if "entity" in address.options else {}).items():
        text = address.option(name, "" if default is None else str(default))
        if not text.isdecimal() or int(text) > 2**31 - 1:
            raise UsageError(f"snmp: {name}={text!r}: at the level {level.name!r}, say which one by its number",
                             "meter-argument")  # fmt: skip
        index[name] = int(text)
    return index


def _named(address: Address, level: Level) -> Address:
    """An outlet of a device is not the device: without a name of its own it is called by host and number."""
    if "name" in address.options:
        return address
    given = "".join(f"-{name}{address.options[name]}" for name in level.index if name in address.options)
    return replace(address, options={**address.options, "name": address.label + given}) if given else address
