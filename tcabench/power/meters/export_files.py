"""How rows come out of a CSV export while somebody else appends to it."""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tcabench.errors import MeterError
from tcabench.power.meters.export_columns import DELIMITERS, Decoder, Layout, Row
from tcabench.units import seconds

TAIL_BYTES = 65_536  # of a file that is followed, read at opening
MOST_BYTES = 1_000_000  # read at once of a file that grew


def disorder(layout: Layout, last: Row | None, row: Row) -> MeterError | None:
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


def unreadable(path: str, err: OSError) -> MeterError:
    return MeterError(f"{path}: the export cannot be read: {err.strerror or err}", "meter-unreachable")


class GrowingCsv:
    """A CSV file that somebody else appends to. Only lines that are complete are taken."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._offset = self._line = self._inode = 0
        self._decoder: Decoder | None = None
        self._delimiter = ","

    def last_rows(self) -> list[Row | MeterError]:
        """As `new_rows`: the rows that are there at the end of the file now. raises: MeterError."""
        self._begin()
        size = self._status().st_size
        if size - self._offset > TAIL_BYTES:
            self._skip_to(size - TAIL_BYTES)
        return self.new_rows()

    def new_rows(self) -> list[Row | MeterError]:
        """Rows that were completed since the last call, and in their places what is wrong with others.
        raises: MeterError where the file cannot be read."""
        status = self._status()
        if self._decoder is None or status.st_ino != self._inode or status.st_size < self._offset:
            self._begin()  # begun anew by whoever writes it
        found: list[Row | MeterError] = []
        for line in self._lines():
            try:
                if (row := self._row(line)) is not None:
                    found.append(row)
            except MeterError as err:
                found.append(err)
        return found

    def steps(self) -> Mapping[str, float]:
        """`Decoder.steps`, as far as the file was read."""
        return self._decoder.steps if self._decoder else {}

    def _row(self, line: str) -> Row | None:
        if self._decoder is None:
            raise AssertionError("the header is read before any row")
        if line.count('"') % 2:
            raise MeterError(
                f"{self._layout.path}: row {self._line}: a quoted cell runs on into the next line: export without "
                "line breaks in cells",
                "meter-read",
            )
        cells = next(csv.reader([line], delimiter=self._delimiter), [])
        return self._decoder.row(cells, self._line) if cells else None

    def _begin(self) -> None:
        """Read the header, and stand behind it. Until there is one, nothing is known of the columns: raises."""
        self._decoder = None
        self._offset = self._line = 0
        self._inode = self._status().st_ino
        lines = []
        for line in self._lines():
            lines.append(line)
            if len(lines) == self._layout.header:
                break
        names, self._delimiter = _head(self._layout, lines)
        self._decoder = Decoder(self._layout, column_places(self._layout, names))

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
                raise garbled(self._layout, err) from err

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


def column_places(layout: Layout, names: Sequence[str]) -> dict[str, int]:
    """Where each column that is needed stands. raises: MeterError naming those that are there."""
    for name in layout.names():
        if names.count(name) != 1:
            what = "no column" if name not in names else "more than one column"
            raise MeterError(f"{layout.path}: there is {what} {name!r}. It has: {', '.join(names)}", "meter-map")
    return {name: names.index(name) for name in layout.names()}


def garbled(layout: Layout, err: Exception) -> MeterError:
    if isinstance(err, UnicodeDecodeError):
        return MeterError(
            f"{layout.path}: it is not {layout.encoding} text: try encoding=cp1252 or another", "meter-map"
        )
    return MeterError(f"{layout.path}: not readable: {' '.join(str(err).split())}", "meter-map")
