"""Readings in columns: a million of them take 30 MB, and no time of the garbage collector."""

from array import array
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any

from tcabench.records import PowerSample

Row = tuple[int, int, int, float, int | None]
"""A reading on its way: middle of the read (ns), how long it took (ns), number of its channel, value, the meter's own
stamp (Unix ns) or None."""

TYPES = {"t_ns": "q", "read_ns": "q", "number": "I", "value": "d"}


class Columns:
    """Readings, in the order in which they came. `stamps`: place of a reading -> the meter's own stamp."""

    def __init__(self, rows: Sequence[Row] = ()) -> None:
        self.columns = {name: array(code) for name, code in TYPES.items()}
        self.stamps: dict[int, int] = {}
        for column, values in zip(self.columns.values(), zip(*rows, strict=True), strict=False):
            column.extend(values)
        self.stamps = {at: row[4] for at, row in enumerate(rows) if row[4] is not None}

    def __len__(self) -> int:
        return len(self.columns["t_ns"])

    def extend(self, more: "Columns") -> None:
        """Put `more` at the end."""
        at = len(self)
        for name, column in more.columns.items():
            self.columns[name].extend(column)
        self.stamps.update((at + place, stamp) for place, stamp in more.stamps.items())

    def samples(self, channels: Sequence[str], first: int, end: int) -> list[PowerSample]:
        """The readings from place `first` to before `end`; `channels` has the names by number."""
        cut = zip(*(column[first:end] for column in self.columns.values()), strict=True)
        return [
            PowerSample(t_ns, read_ns, channels[number], value, self.stamps.get(at))
            for at, (t_ns, read_ns, number, value) in enumerate(cut, first)
        ]

    def to_wire(self) -> dict[str, Any]:
        """The same as JSON can hold it, to the last bit; for a process on this machine."""
        packed = {name: b64encode(column.tobytes()).decode("ascii") for name, column in self.columns.items()}
        return packed | {"stamps": list(self.stamps.items())}

    @classmethod
    def from_wire(cls, packed: dict[str, Any]) -> "Columns":
        """What `to_wire` gave."""
        made = cls()
        for name, column in made.columns.items():
            column.frombytes(b64decode(packed[name]))
        made.stamps = dict(packed["stamps"])
        return made
