"""From a resource's property to a channel: accuracy, interval and stamp come from its Sensor, where there is one."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tcabench.errors import MeterError
from tcabench.power.address import Address, Point, place
from tcabench.power.meter import Fact
from tcabench.power.meters.http_session import OPENING_S
from tcabench.power.meters.redfish_checks import sensor_contradiction
from tcabench.power.meters.redfish_schema import (
    Path,
    Resource,
    Row,
    at,
    duration_s,
    number,
    sensor_row,
    stamp_ns,
    step_of,
    type_of,
)  # fmt: skip
from tcabench.power.meters.redfish_service import RedfishService
from tcabench.records import Channel, Instrument, Kind, Role

CLASS_PCT = 5.0
UNSTATED = "no accuracy stated; taken as"
NOT_OF_LOOPS = ("role", "domain", "class", "certificate", "calibrated", "due")
TOLD = ("Implementation", "SensingInterval", "Accuracy", "ReadingAccuracy", "Precision", "AveragingInterval",
        "CalibrationTime", "SensorResetTime", "LifetimeStartDateTime")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scene:
    """Whose readings stand in this part of the tree, and what they are of."""

    instrument: Instrument
    boundary: str
    role: Role


@dataclass(frozen=True, slots=True)
class Part:
    """A resource that holds readings. `prefix` keeps its channels apart from those of other parts; `domain` "" is the
    meter's own; with `is_loop` the address's options on role, domain and accuracy do not speak of it."""

    uri: str
    resource: Resource
    rows: tuple[Row, ...]
    scene: Scene
    prefix: str = ""
    domain: str = ""
    is_loop: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Watched:
    """One reading: the number at `path` of the resource at `uri`, times `scale`. With `stamped` the resource is a
    Sensor, and its ReadingTime goes with the number."""

    uri: str
    path: Path
    scale: float
    stamped: bool
    channel: Channel


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a number comes from, and the Sensor behind it ({}: none)."""

    uri: str
    resource: Resource
    row: Row
    sensor: Resource


def watch(service: RedfishService, address: Address, part: Part, facts: dict[str, Fact]) -> Iterator[Watched]:
    """The readings of `part`; what it does not tell, and what its sensors say of themselves, goes into `facts`."""
    found: set[str] = set()
    for row in part.rows:
        name = part.prefix + row.quantity
        if row.quantity in found:
            continue  # EnergykWh beside EnergyJoules: the same energy, more coarsely
        value = at(part.resource, row.path)
        if number(value) is None:
            why = f"it reads {value!r}" if at(part.resource, row.path[:1]) is not None else "the service has none"
            facts.setdefault(f"missing.{name}", {"value": None, "source": _where(part.uri, row.path), "why": why})
            continue
        found.add(row.quantity)
        facts.pop(f"missing.{name}", None)
        yield _watched(address, part, _origin(service, part, row, name, facts))


def _origin(service: RedfishService, part: Part, row: Row, name: str, facts: dict[str, Fact]) -> _Origin:
    """Power and energy are read from the Sensor itself where it stamps them; else from the resource that was named,
    which holds several readings at once."""
    if type_of(part.resource) == "Sensor":
        facts[f"sensor.{name}"] = _told(part.uri, part.resource)
        return _Origin(part.uri, part.resource, row, part.resource)
    uri = at(part.resource, (*row.path[:-1], "DataSourceUri"))
    if not isinstance(uri, str) or not uri.startswith("/") or "#" in uri:
        return _Origin(part.uri, part.resource, row, {})
    try:
        sensor = service.get(uri, OPENING_S)
    except MeterError as err:
        if err.kind == "meter-unreachable":
            raise
        facts[f"sensor.{name}"] = {"value": None, "source": uri, "why": str(err)}
        return _Origin(part.uri, part.resource, row, {})
    own = sensor_row(sensor)
    original, copy = number(sensor.get("Reading")), number(at(part.resource, row.path))
    if own is None or own.unit != row.unit or original is None or copy is None:
        why = f"it is no Sensor of {row.unit} with a reading"
        facts[f"sensor.{name}"] = {"value": None, "source": uri, "why": why}
        return _Origin(part.uri, part.resource, row, {})
    facts[f"sensor.{name}"] = _told(uri, sensor)
    if contradiction := sensor_contradiction(copy * row.scale, original * own.scale):
        facts[f"check.{name}"] = {"value": contradiction, "source": f"{uri} and {part.uri}"}
    if row.kind not in (Kind.POWER, Kind.ENERGY) or stamp_ns(sensor.get("ReadingTime")) is None:
        return _Origin(part.uri, part.resource, row, sensor)
    return _Origin(uri, sensor, replace(own, quantity=row.quantity, role=row.role), sensor)


def _watched(address: Address, part: Part, origin: _Origin) -> Watched:
    row, path, note = origin.row, origin.row.path, part.note
    lifetime = (*path[:-1], "LifetimeReading")
    if row.kind is Kind.ENERGY and number(at(origin.resource, lifetime)) is not None:
        path, note = lifetime, f"{note} LifetimeReading: ResetMetrics does not reset it.".strip()
    shown = at(origin.resource, path)
    class_pct, source = _accuracy(origin, abs(float(shown)) * row.scale)
    stamped = type_of(origin.resource) == "Sensor" and stamp_ns(origin.resource.get("ReadingTime")) is not None
    point = Point(
        quantity=part.prefix + row.quantity, kind=row.kind, unit=row.unit, class_pct=class_pct, accuracy_source=source,
        resolution=step_of(shown) * row.scale, update_s=duration_s(origin.sensor.get("SensingInterval")),
        boundary=part.scene.boundary, role=row.role or part.scene.role, instrument=part.scene.instrument,
        has_own_clock=stamped, note=f"Read from {_where(origin.uri, path)}. {note}".strip(), domain=part.domain,
    )  # fmt: skip
    if part.is_loop:
        options = {name: text for name, text in address.options.items() if name not in NOT_OF_LOOPS}
        address = replace(address, options={**options, "name": address.label})
    return Watched(origin.uri, path, row.scale, stamped, place(address, point))


def _accuracy(origin: _Origin, reading: float) -> tuple[float, str]:
    """The limit of error in % of `reading`, and who says so. An absolute limit is set against the opening's reading."""
    percent, absolute = number(origin.sensor.get("Accuracy")), number(origin.sensor.get("ReadingAccuracy"))
    if percent:
        return abs(percent), f"the sensor's own Accuracy, {abs(percent):g} % of reading"
    limit = abs(absolute or 0.0) * origin.row.scale
    said = f"the sensor's own ReadingAccuracy, +-{limit:g} {origin.row.unit}"
    if not limit:
        limit, said = origin.row.limit, f"{UNSTATED} +-{origin.row.limit:g} {origin.row.unit}"
    if not limit:
        return CLASS_PCT, f"{UNSTATED} {CLASS_PCT:g} % of reading"
    return 100 * limit / max(reading, limit), f"{said} of the {reading:.4g} {origin.row.unit} at opening"


def _told(uri: str, sensor: Resource) -> Fact:
    """What a Sensor says of itself. AveragingInterval belongs to its AverageReading, which is not read here."""
    told = ", ".join(f"{name} {sensor[name]}" for name in TOLD if sensor.get(name) is not None)
    return {"value": told or "a sensor that states nothing of itself", "source": uri}


def _where(uri: str, path: Path) -> str:
    return f"{uri}#/{'/'.join(map(str, path))}"
