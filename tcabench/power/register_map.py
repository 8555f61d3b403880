"""The door for Modbus register maps: which register of a meter is which quantity, as checked values.

A map is one YAML file. Shipped ones are named (`schneider-iem3000`), a user's own is a path (`./my-meter.yaml`). What
stands in it is data from the maker's document, with the place to look it up; a map that contradicts its own test
vector, or names a unit that is not the SI one of its kind, is refused before a meter is asked anything.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tcabench.door import Door, checked, read_yaml
from tcabench.power.maps import named_map, own_map
from tcabench.power.meters.modbus_decode import MAX_REGISTERS, Coding, Register
from tcabench.records import Instrument, Kind, Role

PROTOCOL = "modbus"
UNITS = {
    Kind.POWER: "W", Kind.ENERGY: "J", Kind.TEMPERATURE: "degC", Kind.FLOW: "L/min", Kind.HEAT: "W",
    Kind.HEAT_ENERGY: "J", Kind.WATER: "L", Kind.APPARENT_POWER: "VA", Kind.POWER_FACTOR: "1", Kind.VOLTAGE: "V",
    Kind.CURRENT: "A", Kind.FREQUENCY: "Hz",
}  # fmt: skip
COUNTERS = (Kind.ENERGY, Kind.HEAT_ENERGY, Kind.WATER)
SCHNEIDER = "schneider-datetime"

Order = Literal["big", "little"]
Number = Literal["float32", "float64", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Text = Annotated[str, Field(min_length=1)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]


class TestVector(Door):
    """Raw registers, and the value they stand for in the unit of the channel."""

    __test__ = False  # not a test class for pytest

    registers: Annotated[list[Annotated[int, Field(ge=0, le=0xFFFF)]], Field(min_length=1, max_length=4)]
    value: float


class Place(Door):
    """Where something stands. `address` goes over the wire as it is; `comment` has the number in the manual."""

    address: Annotated[int, Field(ge=0, le=0xFFFF)]
    function: Literal[3, 4] | None = None
    word_order: Order | None = None
    byte_order: Order | None = None
    comment: str = ""


class Quantity(Place):
    """A number: value = raw * scale + offset, in `unit`; raws in `not_available` mean that there is no value."""

    name: Name
    kind: Annotated[Kind, Field(strict=False)] | None = None
    type: Number
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0
    not_available: list[int | float] = Field(default_factory=list)
    test: TestVector | None = None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.kind is not None and self.unit != UNITS.get(self.kind):
            if self.kind not in UNITS:
                raise ValueError(f"kind {self.kind.value}: no map can have it; known: {', '.join(UNITS)}")
            raise ValueError(
                f"unit {self.unit!r}: {self.kind.value} is kept in {UNITS[self.kind]}; put the factor into scale"
            )
        if self.scale == 0:
            raise ValueError("scale is 0")
        return self

    def value_of(self, raw: int | float) -> float | None:
        """The value in `unit`; None where the device says that there is none (NaN, or a sentinel)."""
        if not math.isfinite(raw) or raw in self.not_available:
            return None
        return raw * self.scale + self.offset


class ChannelSpec(Quantity):
    """A quantity that is recorded. `resolution` and `modulus` in `unit`, `class_pct` in % of reading."""

    kind: Annotated[Kind, Field(strict=False)]
    unit: str
    update_s: Seconds
    class_pct: Annotated[float, Field(ge=0, le=100)]
    accuracy_source: Text
    average_s: Seconds = 0.0
    resolution: Annotated[float, Field(ge=0)] = 0.0
    modulus: Annotated[float, Field(ge=0)] = 0.0
    boundary: Literal["chip", "node", "rack", "facility"] = "rack"
    role: Annotated[Role, Field(strict=False)] = Role.LOAD
    instrument: Annotated[Instrument, Field(strict=False)] = Instrument.METER
    domain: str = ""
    note: str = ""
    optional: bool = False

    @model_validator(mode="after")
    def _only_counters_wrap(self) -> Self:
        if self.modulus and self.kind not in COUNTERS:
            raise ValueError(f"modulus: only a counter starts again at 0, and {self.kind.value} is none")
        return self


class CheckSpec(Quantity):
    """A quantity that is read once, at opening, to see that device and map belong together: its value must make sense
    for its kind, or be what `equals` says."""

    equals: float | None = None

    @model_validator(mode="after")
    def _checks_something(self) -> Self:
        if self.kind is None and self.equals is None:
            raise ValueError("give a kind, or the value that it equals")
        return self


class Identity(Door):
    """Who the device is: a `value` that the map knows, or registers that hold text or a number."""

    value: str | None = None
    address: Annotated[int, Field(ge=0, le=0xFFFF)] | None = None
    type: Number | Literal["ascii"] = "ascii"
    registers: Annotated[int, Field(ge=1, le=MAX_REGISTERS)] | None = None
    function: Literal[3, 4] | None = None
    comment: str = ""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.value is None) == (self.address is None):
            raise ValueError("give either value or address")
        if self.address is not None and (self.type == "ascii") != (self.registers is not None):
            raise ValueError("registers: how many hold the text is needed for type ascii, and only there")
        return self


class ClockSpec(Place):
    """A time by the device's own clock: a number of which `per_s` are a second since 1970 (UTC), or `SCHNEIDER`."""

    type: Number | Literal["schneider-datetime"]
    per_s: Literal[1, 1_000, 1_000_000, 1_000_000_000] = 1

    @property
    def width(self) -> int:
        """How many registers it takes."""
        return 4 if self.type == SCHNEIDER else Coding(self.type).registers


class RegisterMap(Door):
    """One family of meters. `clock` is the device's present time, `stamp` the time at which it took its values; with
    both, readings carry the device's own stamps."""

    name: Name
    title: Text
    source: Text
    function: Literal[3, 4] = 3
    word_order: Order = "big"
    byte_order: Order = "big"
    max_registers: Annotated[int, Field(ge=1, le=MAX_REGISTERS)] = MAX_REGISTERS
    max_gap: Annotated[int, Field(ge=0, le=MAX_REGISTERS)] = 0
    channels: Annotated[list[ChannelSpec], Field(min_length=1)]
    checks: list[CheckSpec] = Field(default_factory=list)
    identity: dict[Literal["maker", "model", "serial", "firmware"], Identity] = Field(default_factory=dict)
    clock: ClockSpec | None = None
    stamp: ClockSpec | None = None

    @model_validator(mode="after")
    def _of_one_piece(self) -> Self:
        _refuse_doubles(self)
        if self.stamp and (not self.clock or SCHNEIDER in (self.clock.type, self.stamp.type)):
            raise ValueError("stamp: needs a clock beside it, and both as a number since 1970")
        for one in (*self.channels, *self.checks):
            if self.coding(one).registers > self.max_registers:
                raise ValueError(f"{one.name}: takes more registers than max_registers allows in one request")
            if one.test:
                _try_out(self, one, one.test)
        return self

    def coding(self, spec: Quantity | ClockSpec) -> Coding:
        """How the number of a quantity lies in its registers."""
        return Coding(spec.type, spec.word_order or self.word_order, spec.byte_order or self.byte_order)

    def register(self, spec: Quantity | ClockSpec) -> Register:
        """Where it stands."""
        count = spec.width if isinstance(spec, ClockSpec) else self.coding(spec).registers
        return Register(spec.function or self.function, spec.address, count)


@dataclass(frozen=True, slots=True)
class LoadedMap:
    """A checked map with the sha256 of its file."""

    map: RegisterMap
    sha256: str

    def ordered(self, orders: Mapping[str, str]) -> "LoadedMap":
        """The same with `word_order` and `byte_order` as a user overruled them."""
        return replace(self, map=self.map.model_copy(update=dict(orders)))


def load_map(name_or_path: str) -> LoadedMap:
    """The shipped map of that name, or the one in the file (any text with a "/", or that ends in .yaml or .yml).

    raises: UsageError with file, field and cure, or with the names that are known.
    """
    if "/" in name_or_path or name_or_path.endswith((".yaml", ".yml")):
        where, data = name_or_path, own_map(Path(name_or_path).expanduser(), "register map")
    else:
        where, data = f"map {name_or_path}", named_map(PROTOCOL, name_or_path, "register map", "my-meter")
    return LoadedMap(checked(RegisterMap, read_yaml(data, where), where), sha256(data).hexdigest())


def _refuse_doubles(whole: RegisterMap) -> None:
    names = Counter(one.name for one in (*whole.channels, *whole.checks))
    places = Counter((one.domain, one.kind.value, one.role.value) for one in whole.channels)
    for name, times in names.items():
        if times > 1:
            raise ValueError(f"{name!r} is there twice")
    for (domain, kind, role), times in places.items():
        if times > 1:
            raise ValueError(
                f"there are {times} channels of kind {kind}, role {role} in domain {domain!r}: they would count as one "
                "thing; give each a domain of its own"
            )


def _try_out(whole: RegisterMap, spec: Quantity, vector: TestVector) -> None:
    coding = whole.coding(spec)
    if len(vector.registers) != coding.registers:
        raise ValueError(f"{spec.name}: its test vector has {len(vector.registers)} registers, {spec.type} takes "
                         f"{coding.registers}")  # fmt: skip
    value = spec.value_of(coding.number(vector.registers))
    if value is None or not math.isclose(value, vector.value, rel_tol=1e-6, abs_tol=1e-12):
        raise ValueError(f"{spec.name}: its test vector says {vector.value:g}, the map makes {value} of it")
