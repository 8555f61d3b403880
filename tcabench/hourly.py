"""A file of carbon intensity by the hour (or any other even step), as plain numbers on the axis of UTC."""

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tcabench.errors import UsageError

COLUMNS = ("time", "g_per_kwh")
MAX_BYTES = 20_000_000


@dataclass(frozen=True, slots=True)
class Hourly:
    """`rows` are (start, end, g/kWh), instants in whole s of Unix time; `sha256` (hex) is of the whole file."""

    rows: tuple[tuple[int, int, float], ...]
    sha256: str


def read_hourly(path: Path, time_zone: str | None, earliest: datetime, latest: datetime) -> Hourly:
    """The rows of a CSV file with the columns time and g_per_kwh that touch [earliest, latest].

    A row holds from its time to the next row's, and no longer than the file's smallest step: beyond is a hole.
    Times are ISO 8601, either with an offset or local to `time_zone` (an IANA name); an hour that comes twice in autumn
    is read in the file's order. raises: UsageError naming file, line and cure.
    """
    data = _read(path)
    zone = _zone(time_zone, path)
    points = list(_points(data.decode("utf-8-sig", "replace").splitlines(), zone, path))
    if len(points) < 2:
        raise UsageError(f"{path}: {len(points)} row(s): an hourly file has at least two", "carbon")
    start, end = earliest.timestamp(), latest.timestamp()
    rows = tuple(row for row in _rows(points) if row[1] > start and row[0] < end)
    return Hourly(rows, sha256(data).hexdigest())


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as err:
        raise UsageError(f"carbon.hourly.file: {path} cannot be read: {err.strerror}", "carbon") from err
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path}: {len(data)} bytes; no hourly file is larger than {MAX_BYTES}", "carbon")
    return data


def _zone(name: str | None, path: Path) -> tzinfo | None:
    try:
        return None if name is None else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as err:
        raise UsageError(
            f"{path}: carbon.hourly.time_zone: {name!r} is no time zone known here; write an IANA name such as "
            "Europe/Berlin, or UTC (the names come with the system's tzdata)",
            "carbon",
        ) from err


def _points(lines: Sequence[str], zone: tzinfo | None, path: Path) -> Iterator[tuple[int, float]]:
    """(Unix s, g/kWh) of each line, strictly rising."""
    table = csv.DictReader(lines)
    missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
    if missing:
        raise UsageError(f"{path}: no column {' and '.join(missing)}; the first line names time,g_per_kwh", "carbon")
    before: datetime | None = None
    for row in table:
        where = f"{path}: line {table.line_num}"
        at, g_per_kwh = _instant(row["time"], zone, before, where), _number(row["g_per_kwh"], where)
        if before is not None and at <= before:
            raise UsageError(f"{where}: {row['time']} does not come after the line before", "carbon")
        before = at
        yield round(at.timestamp()), g_per_kwh


def _instant(text: str, zone: tzinfo | None, before: datetime | None, where: str) -> datetime:
    """A written time in UTC."""
    try:
        given = datetime.fromisoformat(text.strip())
    except (ValueError, AttributeError) as err:
        raise UsageError(
            f"{where}: time {text!r} is not like 2026-11-23T14:00 or 2026-11-23T14:00+01:00", "carbon"
        ) from err
    if given.tzinfo is not None:
        return given.astimezone(UTC)
    if zone is None:
        raise UsageError(f"{where}: {text} has no offset; say which carbon.hourly.time_zone it is in", "carbon")
    at = given.replace(tzinfo=zone).astimezone(UTC)
    if at.astimezone(zone).replace(tzinfo=None) != given:
        raise UsageError(f"{where}: there is no {text} in {zone}: the clock was put forward over it", "carbon")
    later = given.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return later if before is not None and at <= before < later else at


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if not 0 <= value <= 10_000:
        raise UsageError(f"{where}: g_per_kwh {text!r} is not a number of 0 to 10,000 g/kWh", "carbon")
    return value


def _rows(points: Sequence[tuple[int, float]]) -> Iterator[tuple[int, int, float]]:
    step = min(later[0] - earlier[0] for earlier, later in pairwise(points))
    ends = [*(later[0] for later in points[1:]), points[-1][0] + step]
    for (start, g_per_kwh), end in zip(points, ends, strict=True):
        yield start, min(end, start + step), g_per_kwh


def reach(now: datetime) -> tuple[datetime, datetime]:
    """What a run that starts now may need: an hour back, and on to the end of the longest measuring window (7 days)
    with its idle, warm-up and drain."""
    return now - timedelta(hours=1), now + timedelta(days=8)
