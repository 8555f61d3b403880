"""What the columns of an export hold: options to a layout, a row to an instant and values in the units of channels."""

import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from tcabench.errors import MeterError, UsageError
from tcabench.power.address import Address
from tcabench.power.meters.export_time import instant_ns, zone_named
from tcabench.power.meters.possible_time import is_possible
from tcabench.records import Kind
from tcabench.units import NS_PER_S, seconds

OWN = (
    "time", "value", "unit", "unit_column", "kind", "tz", "tz_column", "time_format", "decimal", "delimiter",
    "encoding", "header", "only", "counts", "stamp", "every", "resolution", "follow",
)  # fmt: skip
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
NO_VALUE = frozenset({"", "-", "--", "nan", "n/a", "na", "null", "none"})
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}
ROWS_TO_LEARN = 1000
AHEAD_NS = 3600 * NS_PER_S  # a row dated later than this from now is refused
ENCODINGS = ("utf-8", "cp1252", "iso-8859-1", "iso-8859-15")  # those in which a line ends in one byte


class Unit(NamedTuple):
    """value in the channel's unit = number * factor + offset."""

    kind: Kind
    factor: float
    offset: float = 0.0


def _all(kind: Kind, **factors: float) -> dict[str, Unit]:
    return {name: Unit(kind, factor) for name, factor in factors.items()}


UNITS = {
    **_all(Kind.POWER, W=1, kW=1e3, MW=1e6),
    **_all(Kind.ENERGY, J=1, kJ=1e3, MJ=1e6, GJ=1e9, Wh=3600, kWh=3.6e6, MWh=3.6e9, GWh=3.6e12),
    **_all(Kind.APPARENT_POWER, VA=1, kVA=1e3, MVA=1e6),
    **_all(Kind.VOLTAGE, V=1, kV=1e3), **_all(Kind.CURRENT, A=1, mA=1e-3), **_all(Kind.FREQUENCY, Hz=1),
    "L/min": Unit(Kind.FLOW, 1), "l/min": Unit(Kind.FLOW, 1), "lpm": Unit(Kind.FLOW, 1), "L/s": Unit(Kind.FLOW, 60),
    "l/s": Unit(Kind.FLOW, 60), "m3/h": Unit(Kind.FLOW, 1000 / 60), "m³/h": Unit(Kind.FLOW, 1000 / 60),
    "gpm": Unit(Kind.FLOW, 3.785411784),  # US gallons
    **_all(Kind.WATER, L=1, l=1, m3=1000), "m³": Unit(Kind.WATER, 1000),
    **_all(Kind.TEMPERATURE, degC=1, C=1), "°C": Unit(Kind.TEMPERATURE, 1), "K": Unit(Kind.TEMPERATURE, 1, -273.15),
    **{name: Unit(Kind.TEMPERATURE, 5 / 9, -160 / 9) for name in ("degF", "F", "°F")},
    "1": Unit(Kind.POWER_FACTOR, 1), "%": Unit(Kind.POWER_FACTOR, 0.01),
}  # fmt: skip
SAME_UNIT = {Kind.HEAT: Kind.POWER, Kind.HEAT_ENERGY: Kind.ENERGY}  # kinds that no unit stands for by itself
CHANNEL_UNITS = {
    Kind.POWER: "W", Kind.ENERGY: "J", Kind.APPARENT_POWER: "VA", Kind.VOLTAGE: "V", Kind.CURRENT: "A",
    Kind.FREQUENCY: "Hz", Kind.FLOW: "L/min", Kind.WATER: "L", Kind.TEMPERATURE: "degC", Kind.POWER_FACTOR: "1",
    Kind.HEAT: "W", Kind.HEAT_ENERGY: "J",
}  # fmt: skip
COUNTERS = (Kind.ENERGY, Kind.HEAT_ENERGY, Kind.WATER)


def unit_named(text: str, kind: Kind | None) -> Unit:
    """The unit of that name, for a channel of `kind`. raises: ValueError."""
    unit = UNITS.get(text.strip())
    if unit is None:
        alike = [name for name in UNITS if name.casefold() == text.strip().casefold()]
        close = alike or get_close_matches(text.strip(), UNITS, n=1)
        raise ValueError(f"unit {text!r} is not known{f'; did you mean {close[0]!r}?' if close else ''}")
    if kind is not None and SAME_UNIT.get(kind, kind) is not unit.kind:
        raise ValueError(f"unit {text!r} is one of {unit.kind.value}, not of {kind.value}")
    return unit if kind is None else unit._replace(kind=kind)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of values. `unit` is None where a column of units says it row by row."""

    name: str
    kind: Kind
    unit: Unit | None


@dataclass(frozen=True, slots=True)
class Layout:
    """What the options say of a file. `only`: the column and the text that a row must have there to count."""

    path: str
    columns: tuple[Column, ...]
    time: tuple[str, ...]
    zone: tzinfo | None
    tz_column: str
    unit_column: str
    time_format: str
    decimal: str
    delimiter: str
    encoding: str
    header: int
    only: tuple[str, str] | None
    shift_ns: int

    def names(self) -> list[str]:
        """Every column that is needed."""
        extra = [name for name in (self.tz_column, self.unit_column, self.only[0] if self.only else "") if name]
        return [*self.time, *(column.name for column in self.columns), *extra]


def layout_of(address: Address) -> Layout:
    """The layout that an address describes. raises: UsageError."""
    who = address.scheme
    columns, shift_s = _columns(address), 0.0
    if address.choice("stamp", "end", ("start", "end")) == "start":
        shift_s = address.number("every", 0.0, 0.0, 86_400.0)
        if not shift_s:
            raise UsageError(f"{who}: stamp=start needs every=SECONDS, the length of the interval", "meter-argument")
    only = address.option("only").partition(":")
    if "only" in address.options and not (only[0] and only[1]):
        raise UsageError(f"{who}: only={address.option('only')!r}: give only=COLUMN:TEXT", "meter-argument")
    try:
        zone = zone_named(address.option("tz")) if address.option("tz") else None
    except ValueError as err:
        raise UsageError(f"{who}: tz: {err}", "meter-argument") from err
    return Layout(
        path=str(Path(address.path).expanduser()), columns=columns, time=tuple(_list(address, "time")), zone=zone,
        tz_column=address.option("tz_column"), unit_column=address.option("unit_column"),
        time_format=address.option("time_format"), decimal=address.choice("decimal", "point", ("point", "comma")),
        delimiter=DELIMITERS.get(address.choice("delimiter", "auto", ("auto", *DELIMITERS)), ""),
        encoding=address.choice("encoding", "utf-8", ENCODINGS),
        header=int(address.number("header", 1, 1, 10_000)), only=(only[0], only[2]) if only[1] else None,
        shift_ns=round(shift_s * 1e9),
    )  # fmt: skip


def _columns(address: Address) -> tuple[Column, ...]:
    names, units, kinds = (_list(address, option) for option in ("value", "unit", "kind"))
    if not address.path or not names or not address.option("time"):
        raise UsageError(
            f"{address.scheme}: give {address.scheme}:PATH?time=COLUMN&value=COLUMN&unit=UNIT", "meter-argument"
        )
    if not units and not (address.option("unit_column") and kinds):
        raise UsageError(
            f"{address.scheme}: in which unit are the values? Give unit=kW, or unit_column=COLUMN and kind=power",
            "meter-argument",
        )
    if len({len(names), len(units or names), len(kinds or names)}) > 1:
        raise UsageError(f"{address.scheme}: value, unit and kind must name equally many columns", "meter-argument")
    found = [_column(address, name, units[i : i + 1], kinds[i : i + 1]) for i, name in enumerate(names)]
    if len({column.kind for column in found}) < len(found):
        raise UsageError(
            f"{address.scheme}: two columns of one kind would count as one thing: give each a --meter with a "
            "name= of its own",
            "meter-argument",
        )
    return tuple(found)


def _column(address: Address, name: str, unit: Sequence[str], kind: Sequence[str]) -> Column:
    try:
        wanted = Kind(kind[0]) if kind else None
        if wanted is not None and wanted not in CHANNEL_UNITS:
            raise ValueError
    except ValueError as err:
        known = ", ".join(sorted(CHANNEL_UNITS))
        raise UsageError(f"{address.scheme}: kind={kind[0]!r} is none of {known}", "meter-argument") from err
    try:
        known_unit = unit_named(unit[0], wanted) if unit else None
    except ValueError as err:
        raise UsageError(f"{address.scheme}: {err}. Known: {', '.join(UNITS)}", "meter-argument") from err
    if known_unit is not None:
        return Column(name, known_unit.kind, known_unit)
    if wanted is None:
        raise AssertionError("a column without unit and kind was let through")
    return Column(name, wanted, None)


def _list(address: Address, option: str) -> list[str]:
    return [part.strip() for part in address.option(option).split(",")] if address.option(option) else []


def number_in(cell: object, decimal: str) -> float | None:
    """The number in a cell; None where it says that there is none. raises: ValueError."""
    if cell is None:
        return None
    if isinstance(cell, int | float):
        return None if math.isnan(cell) else _finite(float(cell), cell)
    text = str(cell).strip()
    if text.casefold() in NO_VALUE:
        return None
    mark, other, name = (",", ".", "point") if decimal == "comma" else (".", ",", "comma")
    plain = text.replace(mark, ".")
    if other in text or not NUMBER.fullmatch(plain):  # a thousands separator could be taken for the decimal mark
        hint = f" with decimal={decimal}; decimal={name}?" if other in text else ""
        raise ValueError(f"{text!r} is no number{hint}")
    return _finite(float(plain), text)


def _finite(number: float, told: object) -> float:
    if not math.isfinite(number):
        raise ValueError(f"{told!r} is no number")
    return number


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its number in the file, its instant (Unix ns), and each column's value in the channel's unit."""

    number: int
    ns: int
    values: tuple[float | None, ...]


def decimal_step(cell: object) -> float | None:
    """The value of the last digit of a number as it is written: 0.01 for 12.50; None for anything else."""
    text = str(cell).strip().replace(",", ".")
    if not NUMBER.fullmatch(text) or "e" in text.casefold():
        return None
    return float(f"1e-{len(text.partition('.')[2])}")


def _believed(ns: int) -> int:
    """The instant of a row. raises: ValueError for one that no meter can have seen yet: later rows would all seem to be
    out of order behind it."""
    ahead_ns = ns - time.time_ns()
    if ahead_ns > AHEAD_NS:
        raise ValueError(
            f"its time is {seconds(ahead_ns):.0f} s ahead of this machine's clock: is its zone (tz=) right?"
        )
    if not is_possible(ns):
        raise ValueError("its time is before 1973")
    return ns


class Decoder:
    """Rows of cells to `Row`s, given which cell is which column. `steps` holds the finest step in which the values of
    each column were written so far, in the unit of its channel."""

    def __init__(self, layout: Layout, at: Mapping[str, int]) -> None:
        self.layout, self._at, self._needed = layout, at, max(at.values()) + 1
        self.steps: dict[str, float] = {}
        self._to_learn = ROWS_TO_LEARN

    def row(self, cells: Sequence[object], number: int) -> Row | None:
        """One row; None where `only` does not want it. raises: MeterError with the row's number."""
        layout, at = self.layout, self._at
        try:
            if len(cells) < self._needed:
                raise ValueError(f"it has {len(cells)} cells, and {self._needed} are needed")
            if layout.only and str(cells[at[layout.only[0]]]).strip() != layout.only[1]:
                return None
            values = tuple(self._value(column, cells) for column in layout.columns)
            self._to_learn -= 1
            return Row(number, _believed(self._ns(cells) + layout.shift_ns), values)
        except ValueError as err:
            raise MeterError(f"{layout.path}: row {number}: {err}", "meter-read") from err

    def _ns(self, cells: Sequence[object]) -> int:
        layout = self.layout
        zone = layout.zone
        if layout.tz_column:
            zone = zone_named(str(cells[self._at[layout.tz_column]]).strip())
        text = " ".join(str(cells[self._at[name]]).strip() for name in layout.time)
        return instant_ns(text, zone, layout.time_format)

    def _value(self, column: Column, cells: Sequence[object]) -> float | None:
        number = number_in(cells[self._at[column.name]], self.layout.decimal)
        if number is None:
            return None
        unit = column.unit or unit_named(str(cells[self._at[self.layout.unit_column]]), column.kind)
        if self._to_learn > 0 and (step := decimal_step(cells[self._at[column.name]])) is not None:
            self.steps[column.name] = min(step * unit.factor, self.steps.get(column.name, math.inf))
        return number * unit.factor + unit.offset
