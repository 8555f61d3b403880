"""Exports of other metering systems as meters: `--meter csv:PATH?time=COLUMN&value=COLUMN&unit=kW`, and `parquet:`.

A data-centre management system writes what its meters said into a file, with its own times. Such a file is followed
while the run lasts: a CSV as it grows, a Parquet file whenever it is written anew.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import Protocol

from tcabench.errors import MeterError, UsageError
from tcabench.power.address import Address, Point, parse_address, place
from tcabench.power.meter import Fact, Meter
from tcabench.power.meters.export_columns import CHANNEL_UNITS, COUNTERS, OWN, Column, Layout, Row, layout_of
from tcabench.power.meters.export_files import GrowingCsv, disorder
from tcabench.power.meters.export_parquet import RenewedParquet
from tcabench.records import Channel, Kind, Reading
from tcabench.units import NS_PER_S

CSV, PARQUET = "csv", "parquet"
ASSUMED_PCT, ASSUMED_DEGC_PCT = 5.0, 1.5
PERIOD_S = 1.0  # where nothing tells how far apart the rows are
SHORTEST_S, LONGEST_S = 0.02, 3600.0
FAR_BELOW = 1e12  # J or L: nothing in between two rows comes near it


class Followed(Protocol):
    """A file that is read as its rows appear. What is wrong with a row stands in the row's place."""

    def last_rows(self) -> list[Row | MeterError]: ...

    def new_rows(self) -> list[Row | MeterError]: ...

    def steps(self) -> Mapping[str, float]: ...


def open_csv(argument: str) -> list[Meter]:
    """The meter behind a CSV file that grows, `argument` being "PATH?time=COLUMN&value=COLUMN&unit=kW" and more
    options. raises: UsageError, MeterError."""
    address = parse_address(CSV, argument, 0, OWN)
    layout = _layout(address)
    return [_opened(address, layout, GrowingCsv(layout))]


def open_parquet(argument: str) -> list[Meter]:
    """The meter behind a Parquet file that is written anew from time to time, with options as for CSV. The whole file
    is read each time it has changed. raises: UsageError, MeterError."""
    address = parse_address(PARQUET, argument, 0, OWN)
    layout = _layout(address)
    return [_opened(address, layout, RenewedParquet(layout))]


def _layout(address: Address) -> Layout:
    if address.option("follow", "on") != "on":
        raise UsageError(
            f"{address.scheme}: an export is read while the run lasts, as its rows appear: leave follow= out",
            "meter-argument",
        )
    return layout_of(address)


def _opened(address: Address, layout: Layout, followed: Followed) -> Meter:
    summed = _summed(address, layout)
    rows = list(_in_order(layout, followed.last_rows()))
    channels = _channels(address, layout, _spacing_s(rows), followed.steps())
    if summed and not channels[0].update_ns:
        raise UsageError(
            f"{address.scheme}: counts=interval needs every=SECONDS, the length of the interval: too few rows to tell",
            "meter-argument",
        )
    return ExportMeter(address.meter, layout, channels, followed, _Counted(summed, channels[0].update_ns), rows)


class ExportMeter:
    """One export file. `rows` are the last that were there at opening; the very last is the first reading."""

    def __init__(
        self, name: str, layout: Layout, channels: tuple[Channel, ...], followed: Followed, counted: "_Counted",
        rows: Sequence[Row],
    ) -> None:  # fmt: skip
        self.name, self._layout, self._channels, self._followed, self._counted = (
            name, layout, channels, followed, counted,
        )  # fmt: skip
        self._waiting = [counted.row(row) for row in rows][-1:]
        self._last = rows[-1] if rows else None

    def channels(self) -> tuple[Channel, ...]:
        return self._channels

    def read(self) -> list[Reading]:
        """Rows that appeared since the last call, with the file's own times.

        raises: MeterError for a file that is gone, and for a row that makes no sense, with its number; the sound rows
        beside it come with the next call.
        """
        if (trouble := self._take(self._followed.new_rows())) is not None:
            raise trouble
        waiting, self._waiting = self._waiting, []
        return [reading for row in waiting for reading in _readings(self._channels, row)]

    def facts(self) -> dict[str, Fact]:
        layout, told = self._layout, "the command line"
        unknown = {"value": None, "source": layout.path, "why": "an export does not tell"}
        return {
            "file": {"value": layout.path, "source": told},
            "columns": {"value": [column.name for column in layout.columns], "source": told},
            "time_zone": {"value": str(layout.zone or layout.tz_column or "in each time"), "source": told},
            "read": {"value": "as its rows appear", "source": told},
            "security": {"value": "none: a file on this machine", "source": "tcabench"},
            **dict.fromkeys(("maker", "model", "serial", "firmware", "accuracy"), unknown),
        }

    def close(self) -> None:
        """Nothing is held open."""

    def _take(self, found: Iterable[Row | MeterError]) -> MeterError | None:
        """Keeps the sound rows for `read`; what was wrong first."""
        trouble: MeterError | None = None
        for one in found:
            wrong = one if isinstance(one, MeterError) else disorder(self._layout, self._last, one)
            if isinstance(one, MeterError) or wrong is not None:
                trouble = trouble or wrong
                self._counted.interrupt()
                continue
            self._last = one
            self._waiting.append(self._counted.row(one))
        return trouble


def _summed(address: Address, layout: Layout) -> tuple[int, ...]:
    """Which columns hold energies of intervals (`counts=interval`). raises: UsageError."""
    if address.choice("counts", "counter", ("counter", "interval")) == "counter":
        return ()
    if not (found := tuple(i for i, column in enumerate(layout.columns) if column.kind in COUNTERS)):
        raise UsageError(f"{address.scheme}: counts=interval: no column is an energy or a volume", "meter-argument")
    return found


class _Counted:
    """Turns the energies of intervals in the columns `summed` into counters; leaves all others as they are.

    Where an interval is missing, what it held is not known: the counter starts anew, and so far below that it cannot be
    taken for one that goes on, nor the start for a stray reading in between (`energy.mend`).
    """

    def __init__(self, summed: Sequence[int], every_ns: int) -> None:
        self._every_ns, self._last_ns = every_ns, 0
        self._sums, self._starts = dict.fromkeys(summed, 0.0), dict.fromkeys(summed, 0.0)
        self._broken: set[int] = set()

    def row(self, row: Row) -> Row:
        """The row with sums in the place of energies. One more than 1.5 intervals after the last starts anew."""
        if self._last_ns and 2 * (row.ns - self._last_ns) > 3 * self._every_ns:
            self.interrupt()
        self._last_ns = row.ns
        values = list(row.values)
        for i in self._sums:
            values[i] = self._sum(i, values[i])
        return replace(row, values=tuple(values))

    def interrupt(self) -> None:
        """A row in between was refused."""
        self._broken.update(self._sums)

    def _sum(self, i: int, value: float | None) -> float | None:
        if value is None:
            self._broken.add(i)
            return None
        if i in self._broken:
            self._broken.remove(i)
            self._starts[i] -= FAR_BELOW
            self._sums[i] = self._starts[i]
        else:
            self._sums[i] += value
        return self._sums[i]


def _readings(channels: Sequence[Channel], row: Row) -> Iterator[Reading]:
    for channel, value in zip(channels, row.values, strict=True):
        if value is not None:
            yield Reading(channel.id, value, row.ns)


def _in_order(layout: Layout, found: Iterable[Row | MeterError]) -> Iterator[Row]:
    """raises: MeterError for the first row that is not sound."""
    last: Row | None = None
    for one in found:
        wrong = one if isinstance(one, MeterError) else disorder(layout, last, one)
        if isinstance(one, MeterError) or wrong is not None:
            raise wrong or AssertionError("it was wrong a moment ago")
        last = one
        yield one


def _channels(address: Address, layout: Layout, spacing_s: float, steps: Mapping[str, float]) -> tuple[Channel, ...]:
    every_s = address.number("every", spacing_s, 0.0, 86_400.0)
    return tuple(_channel(address, column, every_s, steps.get(column.name, 0.0)) for column in layout.columns)


def _channel(address: Address, column: Column, every_s: float, step: float) -> Channel:
    degrees = column.kind is Kind.TEMPERATURE
    class_pct = ASSUMED_DEGC_PCT if degrees else ASSUMED_PCT
    factor = abs(column.unit.factor) if column.unit else 1.0
    point = Point(
        quantity=column.kind.value, kind=column.kind, unit=CHANNEL_UNITS[column.kind], class_pct=class_pct,
        accuracy_source=f"no accuracy stated; taken as {class_pct:g} % of reading" + " in degC" * degrees,
        resolution=address.number("resolution", 0.0) * factor or step, update_s=every_s,
        average_s=every_s if "stamp" in address.options else 0.0,
        period_s=min(max(every_s or PERIOD_S, SHORTEST_S), LONGEST_S), has_own_clock=True,
        note=f"from {address.path}, column {column.name}",
    )  # fmt: skip
    return place(address, point)


def _spacing_s(rows: Sequence[Row]) -> float:
    """How far apart rows are, in s: the middle one of the distances; 0 for fewer than 3 rows."""
    steps = [later.ns - row.ns for row, later in pairwise(rows)]
    return median(steps) / NS_PER_S if len(steps) > 1 else 0.0
