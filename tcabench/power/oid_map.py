"""The door for SNMP object maps: which object of a device is which quantity, as checked values.

A map is one YAML file. Shipped ones are named (`raritan-px`), a user's own is a path (`./my-pdu.yaml`). A device tells
the same watts at several levels (cord, phase, branch, outlet), so a map has levels, of which a meter takes one.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from tcabench.door import Door, checked, read_yaml
from tcabench.power.maps import named_map, own_map
from tcabench.records import Instrument, Kind, Role

PROTOCOL = "snmp"
INDEXES = (
    "pdu", "inlet", "outlet", "device", "unit", "cord", "strap", "input", "supply", "branch", "receptacle", "entity",
)  # fmt: skip
"""Every placeholder an OID may have, which is at the same time the option that fills it."""
UNITS = {
    Kind.POWER: "W", Kind.ENERGY: "J", Kind.APPARENT_POWER: "VA", Kind.POWER_FACTOR: "1", Kind.VOLTAGE: "V",
    Kind.CURRENT: "A", Kind.FREQUENCY: "Hz", Kind.TEMPERATURE: "degC",
}  # fmt: skip
TEMPLATE = re.compile(r"[0-2](\.(0|[1-9][0-9]{0,9}|\{[a-z]+\})){2,}")


def _is_template(text: str) -> str:
    if not TEMPLATE.fullmatch(text):
        raise ValueError("is no object identifier like 1.3.6.1.4.1.13742.6.5.2.3.1.4.{pdu}.{inlet}.5")
    if strange := _placeholders(text) - set(INDEXES):
        raise ValueError(f"{{{min(strange)}}} is no index; known: {', '.join(INDEXES)}")
    return text


def _placeholders(text: str) -> set[str]:
    return set(re.findall(r"\{([a-z]+)\}", text))


Oid = Annotated[str, AfterValidator(_is_template)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Text = Annotated[str, Field(min_length=1)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]


class TestVector(Door):
    """What the object holds, and the value that stands for, in the unit of the channel. `digits` and `unit_code` are
    what the device would say beside it."""

    __test__ = False  # not a test class for pytest

    raw: int
    value: float
    digits: int = 0
    unit_code: int | None = None


class UnitCode(Door):
    """The object that names the unit of the value as a number, and the factor to the channel's unit for each."""

    oid: Oid
    factors: Annotated[dict[int, float], Field(min_length=1)]


class State(Door):
    """The object that says whether the value can be used, and when it can."""

    oid: Oid
    good: Annotated[list[int], Field(min_length=1)]


class Signed(Door):
    """Where a value that may be negative stands: `oid` holds for it when the object `minimum` is below 0."""

    minimum: Oid
    oid: Oid


class OidChannel(Door):
    """A quantity that is recorded: value = raw * scale, in `unit`, divided by 10 for each of the device's `digits` and
    multiplied by the factor of its `unit_code`, where the map has these. Raws in `not_available`, or below `minimum`,
    mean that there is no value.

    `resolution` is in `unit` (0: one step of the raw number, or the device's `step`), `modulus_raw` in steps of the
    raw number, `class_pct` in % of reading. `accuracy` is an object with hundredths of a percent (0: not known, then
    `class_pct` holds), `stamp` one with the seconds since 1970 (UTC) at which the device took the value.
    """

    name: Name
    kind: Annotated[Kind, Field(strict=False)]
    oid: Oid
    unit: str
    update_s: Seconds
    class_pct: Annotated[float, Field(ge=0, le=100)]
    accuracy_source: Text
    scale: float = 1.0
    not_available: list[int] = Field(default_factory=list)
    minimum: int | None = None
    average_s: Seconds = 0.0
    resolution: Annotated[float, Field(ge=0)] = 0.0
    modulus_raw: Annotated[int, Field(ge=0)] = 0
    boundary: Literal["chip", "node", "rack", "facility"] | None = None
    role: Annotated[Role, Field(strict=False)] = Role.LOAD
    instrument: Annotated[Instrument, Field(strict=False)] = Instrument.METER
    domain: str = ""
    note: str = ""
    comment: str = ""
    optional: bool = False
    digits: Oid | None = None
    unit_code: UnitCode | None = None
    step: Oid | None = None
    accuracy: Oid | None = None
    stamp: Oid | None = None
    state: State | None = None
    signed: Signed | None = None
    reset: Oid | None = None
    test: TestVector

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.kind not in UNITS:
            raise ValueError(f"kind {self.kind.value}: no map can have it; known: {', '.join(UNITS)}")
        if self.unit != UNITS[self.kind]:
            raise ValueError(
                f"unit {self.unit!r}: {self.kind.value} is kept in {UNITS[self.kind]}; put the factor into scale"
            )
        if not self.scale:
            raise ValueError("scale is 0")
        if self.modulus_raw and self.kind is not Kind.ENERGY:
            raise ValueError(f"modulus_raw: only a counter starts again at 0, and {self.kind.value} is none")
        made = self.value_of(self.test.raw, self.test.digits, self._factor(self.test.unit_code))
        if not self.is_there(self.test.raw) or not math.isclose(made, self.test.value, rel_tol=1e-12):
            raise ValueError(f"its test vector says {self.test.value:g}, the map makes {made} of it")
        return self

    def is_there(self, raw: int) -> bool:
        """False where the device says by this number that there is no value."""
        return raw not in self.not_available and (self.minimum is None or raw >= self.minimum)

    def value_of(self, raw: int, digits: int = 0, factor: float = 1.0) -> float:
        """The value in `unit`."""
        step: int = 10**digits
        return raw / step * self.scale * factor

    def _factor(self, code: int | None) -> float:
        if (code is None) != (self.unit_code is None):
            raise ValueError("test: unit_code is needed where the map has one, and only there")
        if self.unit_code is None or code is None:
            return 1.0
        if code not in self.unit_code.factors:
            raise ValueError(f"test: unit_code {code} has no factor")
        return self.unit_code.factors[code]


class Level(Door):
    """One way to meter the device: at its inlet, at one outlet. `index` are the options that say which one, with what
    holds when they are not given (null: they must be). A level is taken when the option of its name is given, else the
    first one is."""

    name: Name
    index: dict[str, Annotated[int, Field(ge=0)] | None]
    boundary: Literal["chip", "node", "rack", "facility"] = "rack"
    channels: Annotated[list[OidChannel], Field(min_length=1)]

    @model_validator(mode="after")
    def _of_one_piece(self) -> Self:
        for name in self.index:
            if name not in INDEXES:
                raise ValueError(f"index {name!r} is not known; known: {', '.join(INDEXES)}")
        if len({one.name for one in self.channels}) < len(self.channels):
            raise ValueError("two channels have the same name")
        if all(one.optional for one in self.channels):
            raise ValueError("every channel is optional: nothing would tell that it is the right map")
        places = [(one.domain, one.kind, one.role) for one in self.channels]
        if len(set(places)) < len(places):
            raise ValueError("two channels of one kind, role and domain would count as one thing")
        used = _placeholders(" ".join(one.model_dump_json() for one in self.channels))
        if missing := used - set(self.index):
            raise ValueError(f"{{{min(missing)}}} stands in an OID, but not in index")
        return self


class Identity(Door):
    """Who the device is: a `value` that the map knows, or an object that holds it."""

    value: str | None = None
    oid: Oid | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.value is None) == (self.oid is None):
            raise ValueError("give either value or oid")
        return self


class OidMap(Door):
    """One family of devices. `clock` is an object with its present time (DateAndTime of RFC 2579)."""

    name: Name
    title: Text
    source: Text
    levels: Annotated[list[Level], Field(min_length=1)]
    identity: dict[Literal["maker", "model", "serial", "firmware"], Identity] = Field(default_factory=dict)
    clock: Oid | None = None

    @model_validator(mode="after")
    def _of_one_piece(self) -> Self:
        used = _placeholders(" ".join([self.clock or "", *(one.oid or "" for one in self.identity.values())]))
        for level in self.levels:
            if missing := used - set(level.index):
                raise ValueError(
                    f"level {level.name}: {{{min(missing)}}} stands in identity or clock, not in its index"
                )
        return self

    def level(self, options: Mapping[str, str]) -> Level:
        """The level that the options ask for."""
        return next((level for level in self.levels if level.name in options), self.levels[0])


@dataclass(frozen=True, slots=True)
class LoadedMap:
    """A checked map with the sha256 of its file."""

    map: OidMap
    sha256: str


def load_map(name_or_path: str) -> LoadedMap:
    """The shipped map of that name, or the one in the file (any text with a "/", or that ends in .yaml or .yml).

    raises: UsageError with file, field and cure, or with the names that are known.
    """
    if "/" in name_or_path or name_or_path.endswith((".yaml", ".yml")):
        where, data = name_or_path, own_map(Path(name_or_path).expanduser(), "object map")
    else:
        where, data = f"map {name_or_path}", named_map(PROTOCOL, name_or_path, "object map", "my-pdu")
    return LoadedMap(checked(OidMap, read_yaml(data, where), where), sha256(data).hexdigest())


def filled(template: str, index: Mapping[str, int]) -> str:
    """The object identifier that `template` stands for. raises: KeyError for an index that is not given."""
    return template.format_map(index)
