"""When was it? The times that exports hold, as whole ns since 1970 (UTC). What can be read in two ways is refused."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_AS_IF_LOCAL = datetime(1970, 1, 1)  # noqa: DTZ001 - for wall times without a zone
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
OFFSET = re.compile(r"([+ -])(\d\d):?(\d\d)")
# ns in one count, and the counts from 1973 to 2100: the ranges do not meet, so a number can mean one instant only
COUNTS = ((1_000_000_000, 10**8, 4_102_444_800), (1_000_000, 10**11, 4_102_444_800_000),
          (1_000, 10**14, 4_102_444_800_000_000), (1, 10**17, 4_102_444_800_000_000_000))  # fmt: skip


def zone_named(text: str) -> tzinfo:
    """The zone behind "UTC", "Z", "+02:00" or "Europe/Berlin". raises: ValueError.

    Short names such as CET are refused: in winter and in summer they mean one offset to some and two to others.
    """
    if text.upper() in ("UTC", "Z", "GMT"):
        return UTC
    if match := OFFSET.fullmatch(text):  # "+" arrives as a blank where an address is not percent-encoded
        sign, hours, minutes = match.groups()
        span = timedelta(hours=int(hours), minutes=int(minutes))
        if int(hours) > 14 or int(minutes) > 59:
            raise ValueError(f"{text!r} is no offset from UTC")
        return timezone(-span if sign == "-" else span)
    if "/" in text:
        try:
            return ZoneInfo(text)
        except (ZoneInfoNotFoundError, ValueError, OSError) as err:
            raise ValueError(f"no time zone {text!r} is known here (is the package tzdata installed?)") from err
    raise ValueError(f"{text!r} is no time zone: give UTC, an offset such as +02:00, or a place such as Europe/Berlin")


def instant_ns(text: str, zone: tzinfo | None, form: str) -> int:
    """The instant that `text` says: ISO 8601 with an offset, or without one and in `zone`; s, ms, us or ns since 1970;
    or as `form` says in strptime's letters ("" for none). raises: ValueError."""
    text = text.strip()
    if not form and NUMBER.fullmatch(text):
        return counted_ns(Decimal(text))
    try:
        when = datetime.strptime(text, form) if form else datetime.fromisoformat(text)  # noqa: DTZ007 - told below
    except ValueError as err:
        hint = f"time_format={form} does not fit" if form else "it is neither ISO 8601 nor a number since 1970"
        raise ValueError(f"time {text!r}: {hint}") from err
    return moment_ns(when, zone)


def counted_ns(count: Decimal) -> int:
    """A number of s, ms, us or ns since 1970, by its size. raises: ValueError for one that is none of these."""
    for ns, least, most in COUNTS:
        if least <= count <= most:
            return int(count * ns)
    raise ValueError(f"time {count}: no number of s, ms, us or ns since 1970 between 1973 and 2100")


def moment_ns(when: datetime, zone: tzinfo | None) -> int:
    """A date and time as ns since 1970. raises: ValueError for a local time that exists twice, or not at all."""
    if when.tzinfo is None:
        if zone is None:
            raise ValueError(f"time {when.isoformat(' ')!r} has no offset: add tz=, such as tz=UTC or tz=Europe/Berlin")
        when = _placed(when, zone)
    since = when - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000


def _placed(wall: datetime, zone: tzinfo) -> datetime:
    """Local time in `zone`: the two readings of an hour that comes twice, and of one that is left out, differ."""
    first, second = wall.replace(tzinfo=zone, fold=0), wall.replace(tzinfo=zone, fold=1)
    if first.utcoffset() == second.utcoffset():
        return first
    exists = first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == wall
    trouble = "comes twice there (the clocks go back)" if exists else "does not exist there (the clocks go forward)"
    raise ValueError(f"time {wall.isoformat(' ')!r} in {zone} {trouble}: export with an offset, or in UTC")
