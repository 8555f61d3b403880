"""From the resource that an address names to the readings to take."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from tcabench.errors import MeterError, UsageError
from tcabench.power.address import Address
from tcabench.power.meter import Fact
from tcabench.power.meters.http_session import OPENING_S
from tcabench.power.meters.redfish_channel import Part, Scene, Watched, watch
from tcabench.power.meters.redfish_checks import heat_contradiction, power_contradiction
from tcabench.power.meters.redfish_schema import LOOP, ROWS, Resource, at, number, sensor_row, type_of
from tcabench.power.meters.redfish_service import RedfishService
from tcabench.records import Instrument, Kind, Role

SCENES = {
    "PowerEquipment": Scene(Instrument.METER, "rack", Role.LOAD),
    "ThermalEquipment": Scene(Instrument.METER, "facility", Role.COOLING),
}
COMPUTER = Scene(Instrument.BMC, "node", Role.LOAD)
# where a resource keeps its readings; the first of its links that leads to one is taken
METRICS = {
    "PowerDistribution": ("Metrics",),
    "PowerSupply": ("Metrics",),
    "Chassis": ("EnvironmentMetrics", "Power"),
    "ComputerSystem": ("EnvironmentMetrics",),
    "ThermalSubsystem": ("ThermalMetrics",),
}
CIRCUITS = {"outlet": "Outlets", "mains": "Mains", "branch": "Branches"}
IDENTITY = {"maker": "Manufacturer", "model": "Model", "serial": "SerialNumber", "firmware": "FirmwareVersion"}
SAFE = "/:@!$&'()*+,;=~"
EXAMPLE = "as in redfish://10.0.0.7/redfish/v1/PowerEquipment/RackPDUs/1"


def walk(service: RedfishService, address: Address) -> tuple[tuple[Watched, ...], dict[str, Fact]]:
    """The readings of the resource that `address` names, and what it says of itself.

    raises: UsageError for options that do not fit it, MeterError of kind meter-map where it leads to no reading.
    """
    uri = quote(address.path.rstrip("/"), safe=SAFE)
    if not uri:
        raise UsageError(f"redfish: the address names no resource, {EXAMPLE}", "meter-argument")
    named = service.get(uri, OPENING_S)
    facts = _identity(service, uri, named)
    found: list[Watched] = []
    for part in _parts(service, address, uri, named):
        _check(part, named, facts)
        found.extend(watch(service, address, part, facts))
    if not found:
        missing = "; ".join(f"{fact['source']}: {fact['why']}" for fact in facts.values() if fact["value"] is None)
        raise MeterError(f"{service.http.where}{uri} gives no reading now. {missing}", "meter-map")
    return tuple(_warned(one, facts) for one in found), facts


def _parts(service: RedfishService, address: Address, uri: str, named: Resource) -> Iterator[Part]:
    kind, scene = type_of(named), _scene(uri)
    circuit = [name for name in CIRCUITS if name in address.options]
    if circuit and (len(circuit) > 1 or kind != "PowerDistribution"):
        raise UsageError("redfish: one of outlet=, mains=, branch= at most, and only for a PDU", "meter-argument")
    if kind == "CoolantConnector" and "role" in address.options:
        raise UsageError("redfish: a coolant connector's channels have their own roles: leave role= out")
    if circuit:
        uri = _member(service, uri, named, circuit[0], address.option(circuit[0]))
        yield _part(service, uri, scene)
    elif kind == "CoolingUnit":
        yield from _cooling_unit(service, address, named, scene)
    elif kind == "Sensor":
        if (row := sensor_row(named)) is None or named.get("ReadingBasis", "Zero") != "Zero":
            raise MeterError(
                f"{service.http.where}{uri} is a sensor of {named.get('ReadingUnits')!r} "
                f"({named.get('ReadingBasis', 'Zero')}), which is no part of an energy account",
                "meter-map",
            )
        yield Part(uri, named, (row,), scene)
    elif kind in ROWS:
        yield Part(uri, named, ROWS[kind], scene)
    else:
        yield _linked(service, uri, named, scene)


def _linked(service: RedfishService, uri: str, named: Resource, scene: Scene) -> Part:
    """The resource that `named` keeps its readings in."""
    for link in METRICS.get(type_of(named), ()):
        if isinstance(target := at(named, (link, "@odata.id")), str):
            part = _part(service, target, scene)
            if any(number(at(part.resource, row.path)) is not None for row in part.rows):
                return part
    listed = named.get("Members")
    members = [at(one, ("@odata.id",)) for one in listed] if isinstance(listed, list) else []
    there = f" It lists: {', '.join(map(str, members[:8]))}" if members else ""
    links = [name for name in CIRCUITS.values() if name in named]
    there += f" It has {', '.join(links)}: try outlet=, mains= or branch=" if links else ""
    raise MeterError(
        f"{service.http.where}{uri} ({type_of(named) or 'no @odata.type'}) leads to no power or energy reading.{there}",
        "meter-map",
    )


def _cooling_unit(service: RedfishService, address: Address, named: Resource, scene: Scene) -> Iterator[Part]:
    """A CDU's electricity, and its loops. The loop towards the IT counts (`loop=primary` takes the other side); both
    carry the same heat, so the other one is shown only."""
    counted = address.choice("loop", "secondary", ("secondary", "primary"))
    if isinstance(target := at(named, ("EnvironmentMetrics", "@odata.id")), str):
        yield _part(service, target, scene)
    for side in ("secondary", "primary"):
        if not isinstance(collection := at(named, (f"{side.title()}CoolantConnectors", "@odata.id")), str):
            continue
        rows = LOOP if side == counted else tuple(replace(row, role=Role.INFO) for row in LOOP)
        for uri in service.members(collection):
            name = f"{side}.{uri.rpartition('/')[2]}"
            domain = f"{address.option('domain') or address.label}.{name}"
            yield Part(uri, service.get(uri, OPENING_S), rows, scene, f"{name}.", domain, is_loop=True)


def _part(service: RedfishService, uri: str, scene: Scene) -> Part:
    resource = service.get(uri, OPENING_S)
    return Part(uri, resource, ROWS.get(type_of(resource), ()), scene)


def _scene(uri: str) -> Scene:
    root = uri.removeprefix("/redfish/v1/").partition("/")[0]
    return SCENES.get(root, COMPUTER)


def _member(service: RedfishService, uri: str, named: Resource, option: str, wanted: str) -> str:
    """The URI of one outlet, mains or branch by its Id."""
    collection = at(named, (CIRCUITS[option], "@odata.id"))
    members = service.members(collection) if isinstance(collection, str) else ()
    by_id = {one.rstrip("/").rpartition("/")[2]: one for one in members}
    if wanted not in by_id:
        there = ", ".join(list(by_id)[:24]) or "none"
        raise MeterError(
            f"{service.http.where}{uri} has no {option} {wanted!r}. There is: {there}. The service names them so; "
            "its labels may differ",
            "meter-map",
        )
    return by_id[wanted]


def _identity(service: RedfishService, uri: str, named: Resource) -> dict[str, Fact]:
    """Maker, model, serial number and firmware, from the resource or from the nearest above it that has them."""
    owner, at_uri = named, uri
    while not owner.get("Manufacturer") and at_uri.count("/") > 4:
        at_uri = at_uri.rpartition("/")[0]
        try:
            owner = service.get(at_uri, OPENING_S)
        except MeterError as err:
            if err.kind == "meter-unreachable":
                raise
    facts: dict[str, Fact] = {"map": {"value": str(named.get("@odata.type")), "source": uri}}
    for fact, name in IDENTITY.items():
        value = owner.get(name)
        said: Fact = {"value": str(value)} if value else {"value": None, "why": "the service does not say"}
        facts[fact] = {**said, "source": at_uri}
    return facts


def _check(part: Part, named: Resource, facts: dict[str, Fact]) -> None:
    """Hold the part against physics; note the coolant that the service states for a loop."""
    coolant: Any = part.resource.get("Coolant") or named.get("Coolant")
    coolant = coolant if isinstance(coolant, dict) and part.rows and part.rows[0].kind is Kind.FLOW else {}
    for name, value in coolant.items():
        told = number(value)
        facts[f"coolant.{part.prefix}{name}"] = {"value": str(value) if told is None else told, "source": part.uri}
    if contradiction := power_contradiction(part.resource):
        facts[f"check.{part.prefix}power"] = {"value": contradiction, "source": part.uri}
    if contradiction := heat_contradiction(part.resource, coolant):
        facts[f"check.{part.prefix}heat"] = {"value": contradiction, "source": part.uri}


def _warned(one: Watched, facts: dict[str, Fact]) -> Watched:
    """The channel's note names the contradiction that it is part of."""
    quantity = one.channel.id.removeprefix(f"{one.channel.meter}.")
    loop = quantity.rpartition(".")[0]
    names = (f"check.{quantity}", f"check.{loop}.heat" if loop else "check.heat")
    said = " ".join(f"WARNING: {facts[name]['value']}." for name in dict.fromkeys(names) if name in facts)
    return replace(one, channel=replace(one.channel, note=f"{one.channel.note} {said}".strip())) if said else one
