"""How rows come out of a Parquet file that is written anew from time to time: it cannot grow at its end."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from tcabench.errors import MeterError
from tcabench.power.meters.export_columns import Decoder, Layout, Row
from tcabench.power.meters.export_files import column_places, disorder, garbled, unreadable

BATCH_ROWS = 65_536


class RenewedParquet:
    """A Parquet file that is read again, as a whole, whenever its inode, size or time of change is another."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._seen: tuple[int, ...] = ()
        self._last: Row | None = None
        self._told: frozenset[str] = frozenset()

    def last_rows(self) -> list[Row | MeterError]:
        """As `new_rows`: all rows that are there now. raises: MeterError."""
        return self.new_rows()

    def new_rows(self) -> list[Row | MeterError]:
        """Rows later than all that were given before, and in their places what is wrong with others, told once each.
        raises: MeterError where the file cannot be read."""
        try:
            status = Path(self._layout.path).stat()
        except OSError as err:
            raise unreadable(self._layout.path, err) from err
        now = (status.st_ino, status.st_size, status.st_mtime_ns)
        if now == self._seen:
            return []
        found = list(self._fresh())
        self._seen = now
        told = frozenset(str(one) for one in found if isinstance(one, MeterError))
        found = [one for one in found if isinstance(one, Row) or str(one) not in self._told]
        self._told = told
        self._last = next((one for one in reversed(found) if isinstance(one, Row)), self._last)
        return found

    def steps(self) -> Mapping[str, float]:
        """Nothing: a Parquet file does not hold how finely its numbers were written."""
        return {}

    def _fresh(self) -> Iterator[Row | MeterError]:
        last: Row | None = None
        for one in _rows(self._layout):
            if isinstance(one, Row) and (wrong := disorder(self._layout, last, one)) is not None:
                yield wrong
                continue
            if isinstance(one, MeterError):
                yield one
                continue
            last = one
            if self._last is None or one.ns > self._last.ns:
                yield one


def _rows(layout: Layout) -> Iterator[Row | MeterError]:
    """Every row of the file that counts, or what is wrong with it; row 1 is the first. raises: MeterError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(layout.path) as file:
            at = column_places(layout, file.schema_arrow.names)
            wanted = sorted(at, key=lambda name: at[name])
            decoder, number = Decoder(layout, {name: i for i, name in enumerate(wanted)}), 0
            for batch in file.iter_batches(BATCH_ROWS, columns=wanted):
                columns = [_plain(batch.column(name), name in layout.time) for name in wanted]
                for cells in zip(*columns, strict=True):
                    number += 1
                    if (one := _one(decoder, cells, number)) is not None:
                        yield one
    except OSError as err:
        raise unreadable(layout.path, err) from err
    except pa.ArrowException as err:
        raise garbled(layout, err) from err


def _one(decoder: Decoder, cells: Sequence[object], number: int) -> Row | MeterError | None:
    try:
        return decoder.row(cells, number)
    except MeterError as err:
        return err


def _plain(column: Any, is_time: bool) -> Sequence[object]:
    """A column as plain values; times as text that `instant_ns` reads: an instant as ns since 1970, a time without a
    zone as ISO 8601."""
    import pyarrow as pa

    if not is_time:
        return list(column.to_pylist())
    if pa.types.is_timestamp(column.type):
        form = pa.timestamp("ns", column.type.tz) if column.type.tz else pa.timestamp("us")
        cast = column.cast(form, safe=False)
        return list((cast.cast(pa.int64()) if column.type.tz else cast).to_pylist())
    return [_told(value) for value in column.to_pylist()]


def _told(value: object) -> object:
    return value.isoformat() if isinstance(value, date | datetime) else value
