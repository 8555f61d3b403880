"""Exports of other metering systems as meters: `--meter csv:PATH?time=COLUMN&value=COLUMN&unit=kW`, and `parquet:`.

A data-centre management system writes what its meters said into a file, with its own times. Such a file is followed
while the run lasts, or read after it (`rows_between`): then it may be made when the run is over.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median

from tcabench.errors import MeterError, UsageError
from tcabench.power.address import Address, Point, parse_address, place
from tcabench.power.meter import Fact, Meter
from tcabench.power.meters.export_columns import CHANNEL_UNITS, COUNTERS, OWN, Column, Layout, Row, layout_of
from tcabench.power.meters.export_files import GrowingCsv, csv_rows, is_parquet, parquet_rows
from tcabench.records import Channel, Kind, Reading
from tcabench.units import NS_PER_S, seconds

CSV, PARQUET = "csv", "parquet"
ASSUMED_PCT, ASSUMED_DEGC_PCT = 5.0, 1.5
PERIOD_S = 1.0  # where nothing tells how far apart the rows are
SHORTEST_S, LONGEST_S = 0.02, 3600.0


def open_csv(argument: str) -> list[Meter]:
    """The meter behind a CSV file, `argument` being "PATH?time=COLUMN&value=COLUMN&unit=kW" and more options.

    With `follow=on` (the default) rows are given as they appear; with `follow=off` the file is read after the run by
    `rows_between`, and need not be there yet. raises: UsageError, MeterError.
    """
    address = parse_address(CSV, argument, 0, OWN)
    layout = layout_of(address)
    if address.choice("follow", "on", ("on", "off")) == "on":
        return [_followed(address, layout)]
    return [ExportMeter(address, layout, [], None)]


def open_parquet(argument: str) -> list[Meter]:
    """The meter behind a Parquet file, which is read after the run: such a file cannot grow. raises: UsageError."""
    address = parse_address(PARQUET, argument, 0, OWN)
    if address.choice("follow", "off", ("on", "off")) == "on":
        raise UsageError("parquet: a Parquet file cannot grow: leave follow=on out, or export CSV", "meter-argument")
    return [ExportMeter(address, layout_of(address), [], None)]


def _followed(address: Address, layout: Layout) -> Meter:
    growing = GrowingCsv(layout)
    return ExportMeter(address, layout, list(_in_order(layout, growing.last_rows())), growing)


def rows_between(path: str, options: Mapping[str, str], start_wall_ns: int, end_wall_ns: int) -> list[Reading]:
    """What the file at `path` holds of the time from `start_wall_ns` to `end_wall_ns` (Unix ns, both included), as
    readings of the channels that `csv:PATH?options` or `parquet:PATH?options` has. Rows of the whole file are checked.

    raises: UsageError for options, MeterError for a file that cannot be read, and for a row that is out of order, comes
    twice, or holds no number, with its number.
    """
    scheme = PARQUET if is_parquet(path) else CSV
    address = Address(scheme, "", 0, path, dict(options))
    layout = layout_of(address)
    channels = _channels(address, layout, 0.0, {})
    counted = _Counted(address, layout)
    rows = _in_order(layout, parquet_rows(layout) if scheme == PARQUET else csv_rows(layout))
    return [
        reading
        for row in map(counted.row, rows)
        if start_wall_ns <= row.ns <= end_wall_ns
        for reading in _readings(channels, row)
    ]


class ExportMeter:
    """One export file. `rows` are the last that were there at opening; the very last is the first reading."""

    def __init__(self, address: Address, layout: Layout, rows: Sequence[Row], growing: GrowingCsv | None) -> None:
        self.name, self._address, self._layout, self._growing = address.meter, address, layout, growing
        self._channels = _channels(address, layout, _spacing_s(rows), growing.steps() if growing else {})
        self._counted = _Counted(address, layout)
        self._waiting = [self._counted.row(row) for row in rows][-1:]
        self._last = rows[-1] if rows else None

    def channels(self) -> tuple[Channel, ...]:
        return self._channels

    def read(self) -> list[Reading]:
        """Rows that appeared since the last call, with the file's own times; nothing where it is read after the run.

        raises: MeterError for a file that is gone, and for a row that makes no sense, with its number; the sound rows
        beside it come with the next call.
        """
        if self._growing is not None:
            rows, trouble = self._growing.new_rows()
            trouble = self._take(rows) or trouble
            if trouble:
                raise trouble
        waiting, self._waiting = self._waiting, []
        return [reading for row in waiting for reading in _readings(self._channels, row)]

    def rows_between(self, start_wall_ns: int, end_wall_ns: int) -> list[Reading]:
        """`rows_between` for this file."""
        return rows_between(self._layout.path, self._address.options, start_wall_ns, end_wall_ns)

    def facts(self) -> dict[str, Fact]:
        layout, told = self._layout, "the command line"
        unknown = {"value": None, "source": layout.path, "why": "an export does not tell"}
        when = "as its rows appear" if self._growing else "after the run"
        return {
            "file": {"value": layout.path, "source": told},
            "columns": {"value": [column.name for column in layout.columns], "source": told},
            "time_zone": {"value": str(layout.zone or layout.tz_column or "in each time"), "source": told},
            "read": {"value": when, "source": told},
            "security": {"value": "none: a file on this machine", "source": "tcabench"},
            **dict.fromkeys(("maker", "model", "serial", "firmware", "accuracy"), unknown),
        }

    def close(self) -> None:
        """Nothing is held open."""

    def _take(self, rows: Iterable[Row]) -> MeterError | None:
        trouble: MeterError | None = None
        for row in rows:
            if (wrong := _disorder(self._layout, self._last, row)) is not None:
                trouble = trouble or wrong
                continue
            self._last = row
            self._waiting.append(self._counted.row(row))
        return trouble


class _Counted:
    """Turns energies of intervals (`counts=interval`) into a counter that starts at 0; leaves counters as they are."""

    def __init__(self, address: Address, layout: Layout) -> None:
        by_interval = address.choice("counts", "counter", ("counter", "interval")) == "interval"
        self._sums = {i: 0.0 for i, c in enumerate(layout.columns) if by_interval and c.kind in COUNTERS}
        if by_interval and not self._sums:
            raise UsageError(f"{address.scheme}: counts=interval: no column is an energy or a volume", "meter-argument")

    def row(self, row: Row) -> Row:
        if not self._sums:
            return row
        values = list(row.values)
        for i in self._sums:
            self._sums[i] += values[i] or 0.0
            values[i] = None if values[i] is None else self._sums[i]
        return replace(row, values=tuple(values))


def _readings(channels: Sequence[Channel], row: Row) -> Iterator[Reading]:
    for channel, value in zip(channels, row.values, strict=True):
        if value is not None:
            yield Reading(channel.id, value, row.ns)


def _in_order(layout: Layout, rows: Iterable[Row]) -> Iterator[Row]:
    last: Row | None = None
    for row in rows:
        if (wrong := _disorder(layout, last, row)) is not None:
            raise wrong
        last = row
        yield row


def _disorder(layout: Layout, last: Row | None, row: Row) -> MeterError | None:
    """What is wrong about the time of a row, seen from the row before it."""
    if last is None or row.ns > last.ns:
        return None
    if row.ns == last.ns:
        what = (
            f"has the time of row {last.number}: each time may be there once (only=COLUMN:TEXT picks one meter's rows)"
        )
    else:
        what = f"is {seconds(last.ns - row.ns):g} s earlier than row {last.number}: sort the export by time"
    return MeterError(f"{layout.path}: row {row.number} {what}", "meter-read")


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
