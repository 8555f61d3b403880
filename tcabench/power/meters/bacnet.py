"""Building meters over BACnet/IP, an extra: `bacnet://host[:47808]/DEVICE?object=analog-input,1[;analog-input,2]`.

DEVICE is the device's instance number. The unit is the object's own, and it decides the kind; `kind=heat` tells a heat
meter from an electric one. Source: ANSI/ASHRAE 135, clause 12.2 (Analog Input) and 15.5 (ReadProperty).
"""

import asyncio
import math
import re
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tcabench.errors import MeterError, TcaError, UsageError
from tcabench.power.address import Address, Point, parse_address, period_ns, place
from tcabench.power.meter import Fact, Meter
from tcabench.power.meters.stated_unit import FACTORS, Scale, scale_of
from tcabench.records import Channel, Kind, Reading
from tcabench.units import seconds

OWN = ("object", "kind", "address", "timeout", "update")
OPENING_S = 5.0
CLASS_PCT = 5.0
# Status_Flags that mean that Present_Value is no measurement (clause 12.2.6)
VALUE, FLAGS = "present-value", "status-flags"
NO_READING = ("fault", "overridden", "out-of-service")
# BACnetEngineeringUnits (clause 21): the kind they stand for unless kind= says otherwise, and our name of the unit
UNITS: dict[str, tuple[Kind, str]] = {
    "milliwatts": (Kind.POWER, "mW"), "watts": (Kind.POWER, "W"), "kilowatts": (Kind.POWER, "kW"),
    "megawatts": (Kind.POWER, "MW"), "joules": (Kind.ENERGY, "J"), "kilojoules": (Kind.ENERGY, "kJ"),
    "megajoules": (Kind.ENERGY, "MJ"), "watt-hours": (Kind.ENERGY, "Wh"), "kilowatt-hours": (Kind.ENERGY, "kWh"),
    "megawatt-hours": (Kind.ENERGY, "MWh"), "degrees-celsius": (Kind.TEMPERATURE, "degC"),
    "degrees-kelvin": (Kind.TEMPERATURE, "K"), "degrees-fahrenheit": (Kind.TEMPERATURE, "F"),
    "liters-per-minute": (Kind.FLOW, "L/min"), "liters-per-second": (Kind.FLOW, "L/s"),
    "liters-per-hour": (Kind.FLOW, "L/h"), "cubic-meters-per-hour": (Kind.FLOW, "m3/h"),
    "us-gallons-per-minute": (Kind.FLOW, "gal/min"), "liters": (Kind.WATER, "L"), "cubic-meters": (Kind.WATER, "m3"),
    "volt-amperes": (Kind.APPARENT_POWER, "VA"), "kilovolt-amperes": (Kind.APPARENT_POWER, "kVA"),
    "volts": (Kind.VOLTAGE, "V"), "amperes": (Kind.CURRENT, "A"), "hertz": (Kind.FREQUENCY, "Hz"),
    "power-factor": (Kind.POWER_FACTOR, "1"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Watched:
    """One object: its identifier, how its numbers become ours, and its channel."""

    object: str
    scale: Scale
    channel: Channel


class BacnetLink:
    """ReadProperty requests to one device, over a stack that runs in a thread of its own."""

    def __init__(self, host: str, port: int, local: str, timeout_s: float) -> None:
        """raises: MeterError of kind meter-missing without the library, or meter-unreachable."""
        try:
            import bacpypes3.app  # noqa: F401
        except ImportError as err:
            why = "BACnet needs the library bacpypes3: pip install 'tcabench[bacnet]'"
            raise MeterError(why, "meter-missing") from err
        self.where, self.timeout_s = f"bacnet://{host}:{port}", timeout_s
        self._target = f"{host}:{port}"
        self._application: Any = None
        self._takes_many = True
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=self.where, daemon=True)
        self._thread.start()
        try:
            self._application = self._await(self._started(local), OPENING_S)
        except MeterError as err:
            self.close()
            why = f"BACnet cannot be spoken from the local address {local}. Give another with address=IP/BITS:PORT"
            raise MeterError(why, "meter-unreachable") from err

    def ask(self, what: str, name: str, timeout_s: float = 0.0) -> Any:
        """The property `name` of the object `what` ("analog-input,1"), None where the object has no such property.

        raises: MeterError of kind meter-unreachable, meter-map (no such object), meter-read.
        """
        return self._await(self._property(what, name), timeout_s or self.timeout_s)

    def measured(self, objects: Sequence[str]) -> list[float | None]:
        """Present_Value of each object, None where its Status_Flags say that it is no measurement; in one request
        where the device knows ReadPropertyMultiple (clause 15.7), which small ones need not. raises: as `ask`."""
        found: dict[tuple[str, str], Any] | None = None
        if self._takes_many:
            found = self._await(self._several(objects), self.timeout_s)
            self._takes_many = found is not None
        if found is None:
            found = {(what, name): self.ask(what, name) for what in objects for name in (VALUE, FLAGS)}
        return [_sound(found.get((what, VALUE)), found.get((what, FLAGS))) for what in objects]

    def close(self) -> None:
        """End the stack and its thread; a second call does nothing."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._ended(), self._loop).result(OPENING_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(OPENING_S)
        if not self._thread.is_alive():
            self._loop.close()

    async def _started(self, local: str) -> Any:
        from bacpypes3.app import Application
        from bacpypes3.argparse import SimpleArgumentParser

        application = Application.from_args(
            SimpleArgumentParser().parse_args(["--address", local, "--instance", "4194302", "--name", "tcabench"])
        )
        # a packet that is lost is sent again twice within the time-out
        application.device_object.apduTimeout = max(50, round(self.timeout_s * 300))
        application.device_object.numberOfApduRetries = 2
        for link in application.link_layers.values():
            await asyncio.gather(
                *link.server._transport_tasks
            )  # without it, a port in use would be waited for for ever
        return application

    async def _ended(self) -> None:
        if self._application is not None:
            self._application.close()
        under_way = asyncio.all_tasks() - {asyncio.current_task()}
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await asyncio.sleep(0)  # the socket is closed in the loop's next round

    async def _several(self, objects: Sequence[str]) -> dict[tuple[str, str], Any] | None:
        """Value and flags of all objects; None where the device does not know the service."""
        from bacpypes3.apdu import ErrorRejectAbortNack
        from bacpypes3.pdu import Address as Target

        wanted = [part for what in objects for part in (what, [VALUE, FLAGS])]
        try:
            rows = await self._application.read_property_multiple(Target(self._target), wanted)
        except ErrorRejectAbortNack as err:
            rows = err
        if isinstance(rows, list):
            return {(f"{what[0]},{what[1]}", str(name)): value for what, name, _, value in rows}
        if "unrecognized-service" in str(rows):
            return None
        if "no-response" in str(rows):
            raise TimeoutError(str(rows))
        raise MeterError(f"{self.where} refuses to tell {', '.join(objects)}: {rows}", "meter-read")

    async def _property(self, what: str, name: str) -> Any:
        from bacpypes3.apdu import ErrorRejectAbortNack
        from bacpypes3.pdu import Address as Target

        try:
            return await self._application.read_property(Target(self._target), what, name)
        except ErrorRejectAbortNack as err:
            said = str(err)
        if "unknown-property" in said:
            return None
        if "no-response" in said:
            raise TimeoutError(said)
        if "unknown-object" in said:
            raise MeterError(f"{self.where} has no object {what}", "meter-map")
        raise MeterError(f"{self.where} refuses to tell {name} of {what}: {said}", "meter-read")

    def _await(self, work: Any, timeout_s: float) -> Any:
        future = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, timeout_s), self._loop)
        try:
            return future.result(timeout_s + 1.0)
        except TimeoutError as err:
            future.cancel()
            why = f"{self.where} did not answer within {timeout_s:g} s. Check host, port and that it is in this network"
            raise MeterError(why, "meter-unreachable") from err
        except (OSError, ValueError, TypeError, AttributeError) as err:
            raise MeterError(f"{self.where}: {type(err).__name__}: {err}", "meter-protocol") from err


class BacnetMeter:
    """Objects of one device."""

    def __init__(self, name: str, link: BacnetLink, watched: Sequence[Watched], facts: dict[str, Fact]) -> None:
        self.name, self._link, self._watched, self._facts = name, link, tuple(watched), facts

    def channels(self) -> tuple[Channel, ...]:
        return tuple(one.channel for one in self._watched)

    def read(self) -> Sequence[Reading]:
        """Present_Value of each object whose Status_Flags say that it is a measurement. raises: MeterError."""
        values = self._link.measured([one.object for one in self._watched])
        found = zip(self._watched, values, strict=True)
        return [Reading(one.channel.id, one.scale.of(value)) for one, value in found if value is not None]

    def facts(self) -> dict[str, Fact]:
        return dict(self._facts)

    def close(self) -> None:
        self._link.close()


def open_bacnet(argument: str) -> list[Meter]:
    """The meter behind `--meter bacnet://...`. raises: UsageError, MeterError."""
    address = parse_address("bacnet", argument, 47808, OWN)
    device, objects = address.path.strip("/"), [one for one in address.option("object").split(";") if one]
    if not address.host or not re.fullmatch(r"\d{1,7}", device) or not objects:
        raise UsageError(
            "bacnet: host, device number and object are needed, as in bacnet://10.0.0.10/998?object=analog-input,1",
            "meter-argument",
        )
    for one in objects:
        if not re.fullmatch(r"(large-)?analog-(input|value|output),\d{1,7}", one):
            raise UsageError(f"bacnet: object={one!r} is none like analog-input,1 or analog-value,2", "meter-argument")
    if "kind" in address.options and len(objects) > 1:
        raise UsageError("bacnet: kind= speaks of one object; leave it out, the units tell", "meter-argument")
    timeout_s = address.number("timeout", min(1.0, seconds(period_ns(address, 1.0))), 0.05, 60.0)
    link = BacnetLink(address.host, address.port, address.option("address") or _local(address), timeout_s)
    try:
        facts = _identity(link, f"device,{device}")
        watched = [_watched(address, link, one, facts) for one in objects]
        if all(value is None for value in link.measured(objects)):
            raise MeterError(f"{link.where}: {', '.join(objects)} report a fault, or are out of service", "meter-read")
        return [BacnetMeter(address.meter, link, watched, facts)]
    except TcaError:
        link.close()
        raise


def _sound(value: Any, flags: Any) -> float | None:
    said = str(flags).split(";")
    if any(flag in said for flag in NO_READING) or not isinstance(value, float) or not math.isfinite(value):
        return None
    return float(value)


def _watched(address: Address, link: BacnetLink, what: str, facts: dict[str, Fact]) -> Watched:
    unit, name = str(link.ask(what, "units", OPENING_S)), str(link.ask(what, "object-name", OPENING_S))
    if unit not in UNITS:
        raise MeterError(f"{link.where}: {what} ({name}) is in {unit}, no unit of an energy account", "meter-map")
    kind, stated = UNITS[unit]
    if "kind" in address.options:
        kind = Kind(address.choice("kind", "", [one.value for one in FACTORS]))
    scale = scale_of("bacnet", kind, stated)
    facts[f"object.{what}"] = {"value": f"{name}, {unit}, {link.ask(what, 'reliability', OPENING_S)}", "source": what}
    source, class_pct = f"no accuracy stated; taken as {CLASS_PCT:g} % of reading", CLASS_PCT
    every = link.ask(what, "update-interval", OPENING_S)  # 1/100 s
    resolution = link.ask(what, "resolution", OPENING_S)
    step = _step(link.ask(what, "present-value", OPENING_S)) if resolution is None else float(resolution)
    point = Point(
        quantity=what.replace(",", "-"), kind=kind, unit=scale.unit, class_pct=class_pct, accuracy_source=source,
        resolution=step * scale.factor, update_s=address.number("update", int(every or 0) / 100, 0.0, 86_400.0),
        boundary="facility", note=f"{name}: Present_Value of {what}.",
    )  # fmt: skip
    return Watched(what, scale, place(address, point))


def _step(value: Any) -> float:
    """The distance of a REAL (32 bits) from the next one: a counter of 100,000 kWh advances in steps of 0.008 kWh."""
    if not isinstance(value, float) or not math.isfinite(value):
        return 0.0
    (bits,) = struct.unpack(">I", struct.pack(">f", abs(value)))
    (above,) = struct.unpack(">f", struct.pack(">I", bits + 1))
    return float(above - abs(value))


def _identity(link: BacnetLink, device: str) -> dict[str, Fact]:
    """What the device object says of itself. raises: MeterError where that device is not there."""
    facts: dict[str, Fact] = {
        "address": {"value": f"{link.where}/{device.partition(',')[2]}", "source": "the address"},
        "security": {"value": "none: BACnet/IP has no authentication", "source": "ANSI/ASHRAE 135"},
    }
    names = {"maker": "vendor-name", "model": "model-name", "firmware": "firmware-revision", "serial": "serial-number"}
    for fact, name in names.items():
        value = link.ask(device, name, OPENING_S)
        said: Fact = {"value": str(value)} if value else {"value": None, "why": "the device does not say"}
        facts[fact] = {**said, "source": f"{device} {name}"}
    return facts


def _local(address: Address) -> str:
    """This machine's address towards the device, with a port of its own: nothing is sent to find it out."""
    import socket

    try:
        family, kind, *_, target = socket.getaddrinfo(address.host, address.port, socket.AF_INET, socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(target)
            return f"{probe.getsockname()[0]}/32:0"
    except OSError as err:
        raise MeterError(f"bacnet: {address.host} cannot be reached: {err}", "meter-unreachable") from err
