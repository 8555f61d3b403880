"""How rows come out of export files: a CSV as a whole or as it grows, a Parquet file as a whole."""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from tcabench.errors import MeterError
from tcabench.power.meters.export_columns import DELIMITERS, Decoder, Layout, Row

PARQUET = b"PAR1"  # a Parquet file starts and ends with it
TAIL_BYTES = 65_536  # of a file that is followed, read at opening
MOST_BYTES = 1_000_000  # read at once of a file that grew
BATCH_ROWS = 65_536


def is_parquet(path: str) -> bool:
    """Whether a file is Parquet, by its first bytes. raises: MeterError where it cannot be read."""
    try:
        with Path(path).expanduser().open("rb") as file:
            return file.read(4) == PARQUET
    except OSError as err:
        raise unreadable(path, err) from err


def unreadable(path: str, err: OSError) -> MeterError:
    return MeterError(f"{path}: the export cannot be read: {err.strerror or err}", "meter-unreachable")


def csv_rows(layout: Layout) -> Iterator[Row]:
    """Every row of a CSV file that counts, in order of the file. raises: MeterError."""
    try:
        with Path(layout.path).open(newline="", encoding=_codec(layout.encoding)) as file:
            lines = iter(file)
            head = _head(layout, [line for _, line in zip(range(layout.header), lines, strict=False)])
            reader, decoder = csv.reader(lines, delimiter=head[1]), Decoder(layout, _at(layout, head[0]))
            for cells in reader:
                if cells and (row := decoder.row(cells, layout.header + reader.line_num)):
                    yield row
    except OSError as err:
        raise unreadable(layout.path, err) from err
    except (UnicodeDecodeError, csv.Error) as err:
        raise _garbled(layout, err) from err


def parquet_rows(layout: Layout) -> Iterator[Row]:
    """Every row of a Parquet file that counts; row 1 is the first. raises: MeterError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(layout.path) as file:
            at = _at(layout, file.schema_arrow.names)
            wanted = sorted(at, key=lambda name: at[name])
            decoder, number = Decoder(layout, {name: i for i, name in enumerate(wanted)}), 0
            for batch in file.iter_batches(BATCH_ROWS, columns=wanted):
                columns = [_plain(batch.column(name), name in layout.time) for name in wanted]
                for cells in zip(*columns, strict=True):
                    number += 1
                    if row := decoder.row(cells, number):
                        yield row
    except OSError as err:
        raise unreadable(layout.path, err) from err
    except pa.ArrowException as err:
        raise _garbled(layout, err) from err


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


class GrowingCsv:
    """A CSV file that somebody else appends to. Only lines that are complete are taken."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._offset = self._line = self._inode = 0
        self._decoder: Decoder | None = None
        self._delimiter = ","

    def last_rows(self) -> list[Row]:
        """The rows that are there at the end of the file now; from then on `new_rows` gives what is new.
        raises: MeterError."""
        self._begin()
        size = self._status().st_size
        if size - self._offset > TAIL_BYTES:
            self._skip_to(size - TAIL_BYTES)
        rows, trouble = self.new_rows()
        if trouble:
            raise trouble
        return rows

    def new_rows(self) -> tuple[list[Row], MeterError | None]:
        """Rows that were completed since the last call, and what was wrong with those that are not among them.
        raises: MeterError where the file cannot be read."""
        status = self._status()
        if self._decoder is None or status.st_ino != self._inode or status.st_size < self._offset:
            self._begin()  # begun anew by whoever writes it
        rows: list[Row] = []
        trouble: MeterError | None = None
        for line in self._lines():
            try:
                if (row := self._row(line)) is not None:
                    rows.append(row)
            except MeterError as err:
                trouble = trouble or err
        return rows, trouble

    def steps(self) -> Mapping[str, float]:
        """`Decoder.steps`, as far as the file was read."""
        return self._decoder.steps if self._decoder else {}

    def _row(self, line: str) -> Row | None:
        if self._decoder is None:
            raise AssertionError("the header is read before any row")
        if line.count('"') % 2:
            raise MeterError(
                f"{self._layout.path}: row {self._line}: a quoted cell runs on into the next line; follow=off reads it",
                "meter-read",
            )
        cells = next(csv.reader([line], delimiter=self._delimiter), [])
        return self._decoder.row(cells, self._line) if cells else None

    def _begin(self) -> None:
        """Read the header, and stand behind it."""
        self._offset = self._line = 0
        self._inode = self._status().st_ino
        lines = []
        for line in self._lines():
            lines.append(line)
            if len(lines) == self._layout.header:
                break
        names, self._delimiter = _head(self._layout, lines)
        self._decoder = Decoder(self._layout, _at(self._layout, names))

    def _lines(self) -> Iterator[str]:
        """Complete lines from where we stand; we stand behind each that was given."""
        fresh = self._fresh()
        if len(fresh) == MOST_BYTES and b"\n" not in fresh:
            raise MeterError(f"{self._layout.path}: a line of over {MOST_BYTES} bytes: is it a CSV file?", "meter-map")
        for raw in fresh.splitlines(keepends=True):
            if not raw.endswith(b"\n"):
                return
            start, self._offset = self._offset, self._offset + len(raw)
            self._line += 1
            try:
                yield raw.decode(_codec(self._layout.encoding) if start == 0 else self._layout.encoding)
            except UnicodeDecodeError as err:
                raise _garbled(self._layout, err) from err

    def _fresh(self) -> bytes:
        try:
            with Path(self._layout.path).open("rb") as file:
                file.seek(self._offset)
                return file.read(MOST_BYTES)
        except OSError as err:
            raise unreadable(self._layout.path, err) from err

    def _skip_to(self, offset: int) -> None:
        """Stand at the first line that begins behind `offset`, and know its number."""
        try:
            with Path(self._layout.path).open("rb") as file:
                file.seek(self._offset)
                while self._offset < offset and (chunk := file.read(min(MOST_BYTES, offset - self._offset))):
                    self._line += chunk.count(b"\n")
                    self._offset += len(chunk)
                self._offset += len(file.readline())
                self._line += 1
        except OSError as err:
            raise unreadable(self._layout.path, err) from err

    def _status(self) -> os.stat_result:
        try:
            return Path(self._layout.path).stat()
        except OSError as err:
            raise unreadable(self._layout.path, err) from err


def _codec(encoding: str) -> str:
    return "utf-8-sig" if encoding == "utf-8" else encoding  # programs from Windows put a mark in front


def _head(layout: Layout, lines: Sequence[str]) -> tuple[list[str], str]:
    """The names of the columns, and what stands between cells: what is given, or what finds most of those needed."""
    if len(lines) < layout.header:
        raise MeterError(f"{layout.path}: it has no header yet: line {layout.header} is missing", "meter-map")
    needed, text = set(layout.names()), lines[-1].rstrip("\r\n")
    read = {mark: [name.strip() for name in next(csv.reader([text], delimiter=mark), [])]
            for mark in ([layout.delimiter] if layout.delimiter else DELIMITERS.values())}  # fmt: skip
    best = max(read, key=lambda mark: (len(needed & set(read[mark])), len(read[mark])))
    return read[best], best


def _at(layout: Layout, names: Sequence[str]) -> dict[str, int]:
    """Where each column that is needed stands. raises: MeterError naming those that are there."""
    for name in layout.names():
        if names.count(name) != 1:
            what = "no column" if name not in names else "more than one column"
            raise MeterError(f"{layout.path}: there is {what} {name!r}. It has: {', '.join(names)}", "meter-map")
    return {name: names.index(name) for name in layout.names()}


def _garbled(layout: Layout, err: Exception) -> MeterError:
    if isinstance(err, UnicodeDecodeError):
        return MeterError(
            f"{layout.path}: it is not {layout.encoding} text: try encoding=cp1252 or another", "meter-map"
        )
    return MeterError(f"{layout.path}: not readable: {' '.join(str(err).split())}", "meter-map")
